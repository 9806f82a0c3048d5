// Package e2e drives the real window, by mouse and keyboard, on a virtual screen.
//
// Its tests build the program with the tag uitest, which makes the window write what it shows and where, four times a
// second, to the file that UNNOISE_UI_DUMP names. They need Xvfb and xdotool, leave screenshots in ui/e2e/screenshots
// (ImageMagick's import takes them) and fail when the window's log has a line about the wrong thread, a data race or a panic.
package e2e
