package kit

import (
	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	uitheme "unnoise/ui/theme"
)

// Fyne gives every key to the control that was clicked last, and its controls drop those they have no use for. The
// controls here hand them on to the window, so that Delete, '.' or '?' work wherever somebody has clicked.

// List is a list that hands on keys. With Arrows it moves its selection with them.
type List struct {
	widget.List
	Arrows bool
}

// NewList makes a list.
func NewList(length func() int, create func() fyne.CanvasObject, update func(widget.ListItemID, fyne.CanvasObject)) *List {
	l := &List{}
	l.Length, l.CreateItem, l.UpdateItem = length, create, update
	l.ExtendBaseWidget(l)
	return l
}

// TypedKey implements fyne.Focusable.
func (l *List) TypedKey(ev *fyne.KeyEvent) {
	if l.Arrows && (ev.Name == fyne.KeyUp || ev.Name == fyne.KeyDown) {
		l.List.TypedKey(ev)
		l.List.TypedKey(&fyne.KeyEvent{Name: fyne.KeySpace}) // selects
		return
	}
	handOnKey(l, ev)
}

// TypedRune implements fyne.Focusable.
func (l *List) TypedRune(r rune) { handOnRune(l, r) }

// Check is a check box that hands on keys.
type Check struct{ widget.Check }

// NewCheck makes a check box.
func NewCheck(text string, changed func(bool)) *Check {
	c := &Check{}
	c.Text, c.OnChanged = text, changed
	c.ExtendBaseWidget(c)
	return c
}

// TypedKey implements fyne.Focusable.
func (c *Check) TypedKey(ev *fyne.KeyEvent) {
	if ev.Name != fyne.KeySpace { // comes as a character, too
		handOnKey(c, ev)
	}
}

// TypedRune implements fyne.Focusable.
func (c *Check) TypedRune(r rune) {
	if r == ' ' {
		c.Check.TypedRune(r)
		return
	}
	handOnRune(c, r)
}

// Select is a choice of one that hands on keys.
type Select struct{ widget.Select }

// NewSelect makes a choice.
func NewSelect(options []string, changed func(string)) *Select {
	s := &Select{}
	s.Options, s.OnChanged, s.PlaceHolder = options, changed, "–"
	s.ExtendBaseWidget(s)
	return s
}

// widestSelect is how wide a choice asks to be for its longest option; where there is more room, it takes it.
const widestSelect = 190

// MinSize leaves room for the options, of which Fyne regards the place holder alone.
func (s *Select) MinSize() fyne.Size {
	s.ExtendBaseWidget(s)
	size := s.Select.MinSize()
	holder := fyne.MeasureText(s.PlaceHolder, theme.TextSize(), fyne.TextStyle{}).Width
	room := size.Width - holder
	for _, o := range s.Options {
		size.Width = max(size.Width, min(room+fyne.MeasureText(o, theme.TextSize(), fyne.TextStyle{}).Width, widestSelect))
	}
	return size
}

// TypedKey implements fyne.Focusable.
func (s *Select) TypedKey(ev *fyne.KeyEvent) {
	switch ev.Name {
	case fyne.KeySpace, fyne.KeyUp, fyne.KeyDown, fyne.KeyLeft, fyne.KeyRight:
		s.Select.TypedKey(ev)
	default:
		handOnKey(s, ev)
	}
}

// TypedRune implements fyne.Focusable.
func (s *Select) TypedRune(r rune) {
	if r != ' ' {
		handOnRune(s, r)
	}
}

// Slider is a slider that hands on keys.
type Slider struct{ widget.Slider }

// NewSlider makes a slider with whole steps.
func NewSlider(least, most float64) *Slider {
	s := &Slider{}
	s.Min, s.Max, s.Step = least, most, 1
	s.ExtendBaseWidget(s)
	return s
}

// CreateRenderer implements fyne.Widget.
func (s *Slider) CreateRenderer() fyne.WidgetRenderer {
	r := &sliderRenderer{s.Slider.CreateRenderer()}
	r.tint()
	return r
}

// sliderRenderer draws the track such that one sees how far it goes: Fyne draws it in the colour of fields.
type sliderRenderer struct{ fyne.WidgetRenderer }

// Refresh implements fyne.WidgetRenderer.
func (r *sliderRenderer) Refresh() {
	r.WidgetRenderer.Refresh()
	r.tint()
}

func (r *sliderRenderer) tint() {
	if track, ok := r.Objects()[0].(*canvas.Rectangle); ok {
		track.FillColor = uitheme.Color(uitheme.ColorNameTrack)
	}
}

// TypedKey implements fyne.Focusable.
func (s *Slider) TypedKey(ev *fyne.KeyEvent) {
	switch ev.Name {
	case fyne.KeyLeft, fyne.KeyRight:
		s.Slider.TypedKey(ev)
	default:
		handOnKey(s, ev)
	}
}

// TypedRune implements fyne.Focusable.
func (s *Slider) TypedRune(r rune) { handOnRune(s, r) }

func handOnKey(o fyne.CanvasObject, ev *fyne.KeyEvent) {
	if c := fyne.CurrentApp().Driver().CanvasForObject(o); c != nil && c.OnTypedKey() != nil {
		c.OnTypedKey()(ev)
	}
}

func handOnRune(o fyne.CanvasObject, r rune) {
	if c := fyne.CurrentApp().Driver().CanvasForObject(o); c != nil && c.OnTypedRune() != nil {
		c.OnTypedRune()(r)
	}
}

// scrolls lists what scrolls around an object, from the window in.
func scrolls(o fyne.CanvasObject) (out []*container.Scroll) {
	for _, w := range fyne.CurrentApp().Driver().AllWindows() {
		c := w.Canvas()
		for _, root := range append(c.Overlays().List(), c.Content()) {
			for _, p := range pathTo(root, o) {
				if s, ok := p.(*container.Scroll); ok {
					out = append(out, s)
				}
			}
		}
	}
	return out
}

// Reveal scrolls what is around an object until it is in view, with a little room around it.
func Reveal(o fyne.CanvasObject) {
	const room = 12
	d := fyne.CurrentApp().Driver()
	for _, s := range scrolls(o) {
		at := d.AbsolutePositionForObject(o).Subtract(d.AbsolutePositionForObject(s))
		by := float32(0)
		if low := at.Y + o.Size().Height + room - s.Size().Height; low > 0 {
			by = low
		}
		if high := at.Y - room; high-by < 0 { // the top of what is too tall
			by = high
		}
		if by != 0 && s.Content != nil {
			y := min(max(s.Offset.Y+by, 0), max(0, s.Content.Size().Height-s.Size().Height))
			s.ScrollToOffset(fyne.NewPos(s.Offset.X, y))
		}
	}
}

// Wheel lies over a control that would keep the wheel for itself, and scrolls what is around the control instead. Inner,
// which may be nil, is what scrolls within it and comes first as long as it can.
type Wheel struct {
	widget.BaseWidget
	over  fyne.CanvasObject
	inner *container.Scroll
}

// NewWheel makes a wheel over a control.
func NewWheel(over fyne.CanvasObject, inner *container.Scroll) *Wheel {
	w := &Wheel{over: over, inner: inner}
	w.ExtendBaseWidget(w)
	return w
}

// CreateRenderer implements fyne.Widget.
func (w *Wheel) CreateRenderer() fyne.WidgetRenderer { return widget.NewSimpleRenderer(Gap(0, 0)) }

// Scrolled implements fyne.Scrollable.
func (w *Wheel) Scrolled(ev *fyne.ScrollEvent) {
	if in := w.inner; in != nil && in.Content != nil {
		end := in.Content.Size().Height - in.Size().Height
		if (ev.Scrolled.DY > 0 && in.Offset.Y > 0) || (ev.Scrolled.DY < 0 && in.Offset.Y < end-0.5) {
			in.Scrolled(ev)
			return
		}
	}
	if around := scrolls(w.over); len(around) > 0 {
		around[len(around)-1].Scrolled(ev)
	}
}
