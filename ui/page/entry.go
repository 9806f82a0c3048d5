package page

import (
	"slices"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/driver/desktop"
	"fyne.io/fyne/v2/widget"

	"unnoise/ui/kit"
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

// CreateRenderer implements fyne.Widget.
func (e *Entry) CreateRenderer() fyne.WidgetRenderer {
	r := e.Entry.CreateRenderer()
	var inner *container.Scroll
	for _, o := range r.Objects() {
		if s, ok := o.(*container.Scroll); ok {
			inner = s
		}
	}
	return &entryRenderer{r, kit.NewWheel(e, inner)}
}

// entryRenderer is that of an entry with the wheel over it.
type entryRenderer struct {
	fyne.WidgetRenderer
	wheel *kit.Wheel
}

// Objects implements fyne.WidgetRenderer.
func (r *entryRenderer) Objects() []fyne.CanvasObject {
	return append(slices.Clip(r.WidgetRenderer.Objects()), r.wheel)
}

// Layout implements fyne.WidgetRenderer.
func (r *entryRenderer) Layout(size fyne.Size) {
	r.WidgetRenderer.Layout(size)
	r.wheel.Resize(size)
}

// FocusGained implements fyne.Focusable.
func (e *Entry) FocusGained() {
	e.Entry.FocusGained()
	e.s.typing, e.s.typingOn = e, e.s.Window.Canvas().Overlays().Top()
}

// FocusLost implements fyne.Focusable.
func (e *Entry) FocusLost() {
	e.Entry.FocusLost()
	if e.s.typing == e {
		e.s.typing, e.s.typingOn = nil, nil
	}
}

// stopTyping tells the entry that had the keyboard when its dialog closed: Fyne does not, and its cursor would blink on out
// of sight, painting the window four times a second.
func (s *Services) stopTyping() {
	if s.typingOn != nil && !slices.Contains(s.Window.Canvas().Overlays().List(), s.typingOn) {
		s.typing.FocusLost()
	}
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
