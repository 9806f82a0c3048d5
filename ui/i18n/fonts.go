package i18n

import "unnoise/app/fonts"

// HasChineseFont says whether the system has a font with Chinese characters. It reads the system's fonts: call it off the
// UI thread.
func HasChineseFont() (bool, error) { return fonts.Has("简图") }
