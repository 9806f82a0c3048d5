package page

import (
	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/driver/desktop"
	"fyne.io/fyne/v2/widget"
)

// Entry is a field for text in which the window's own shortcuts (Ctrl+Enter, Ctrl+1 …) work too.
type Entry struct {
	widget.Entry
	s *Services
}

// NewEntry makes a field for one line.
func (s *Services) NewEntry() *Entry {
	e := &Entry{s: s}
	e.ExtendBaseWidget(e)
	e.Scroll = fyne.ScrollHorizontalOnly
	return e
}

// NewMultiLineEntry makes a field for wrapped lines.
func (s *Services) NewMultiLineEntry() *Entry {
	e := &Entry{s: s}
	e.ExtendBaseWidget(e)
	e.MultiLine = true
	e.Wrapping = fyne.TextWrapWord
	return e
}

// TypedShortcut implements fyne.Shortcutable.
func (e *Entry) TypedShortcut(sc fyne.Shortcut) {
	if c, ok := sc.(*desktop.CustomShortcut); ok {
		if canvas, ok := e.s.Window.Canvas().(fyne.Shortcutable); ok {
			canvas.TypedShortcut(c)
			return
		}
	}
	e.Entry.TypedShortcut(sc)
}

// TypedKey implements fyne.Focusable: Escape closes the dialog around it or leaves the field, so that single keys work again.
func (e *Entry) TypedKey(ev *fyne.KeyEvent) {
	if ev.Name == fyne.KeyEscape {
		if e.s.Escape() {
			return
		}
		e.s.Window.Canvas().Unfocus()
		return
	}
	e.Entry.TypedKey(ev)
}
