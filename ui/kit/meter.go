package kit

import (
	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	uitheme "unnoise/ui/theme"
)

// Meter is a thin bar of progress; below 0 it is full and pale, for work whose length is not known. It does not move by
// itself, so it costs nothing between two values.
type Meter struct {
	widget.BaseWidget
	width    float32
	fraction float64
}

// NewMeter makes a meter at least so wide.
func NewMeter(width float32) *Meter {
	m := &Meter{width: width}
	m.ExtendBaseWidget(m)
	return m
}

// Set shows a fraction in [0,1], or a negative one for work of unknown length.
func (m *Meter) Set(f float64) {
	width := float64(max(m.width, m.Size().Width))
	if pixels := func(v float64) int { return int(v * width * 2) }; m.Visible() && pixels(f) == pixels(m.fraction) {
		return
	}
	m.fraction = f
	Show(true, m)
	m.Refresh()
}

// Fraction is what the meter shows.
func (m *Meter) Fraction() float64 { return m.fraction }

// MinSize implements fyne.Widget.
func (m *Meter) MinSize() fyne.Size { return fyne.NewSize(m.width, 6) }

// CreateRenderer implements fyne.Widget.
func (m *Meter) CreateRenderer() fyne.WidgetRenderer {
	r := &meterRenderer{m: m, back: canvas.NewRectangle(nil), bar: canvas.NewRectangle(nil)}
	r.back.CornerRadius, r.bar.CornerRadius = 3, 3
	r.style()
	return r
}

type meterRenderer struct {
	m         *Meter
	back, bar *canvas.Rectangle
}

func (r *meterRenderer) Destroy() {}

func (r *meterRenderer) Objects() []fyne.CanvasObject { return []fyne.CanvasObject{r.back, r.bar} }

func (r *meterRenderer) MinSize() fyne.Size { return r.m.MinSize() }

func (r *meterRenderer) Layout(size fyne.Size) {
	r.back.Resize(size)
	f := float32(r.m.fraction)
	if f < 0 {
		f = 1
	}
	r.bar.Resize(fyne.NewSize(max(size.Height, f*size.Width), size.Height))
}

func (r *meterRenderer) style() {
	r.back.FillColor = uitheme.Color(theme.ColorNameSeparator)
	name := theme.ColorNamePrimary
	if r.m.fraction < 0 {
		name = theme.ColorNameFocus
	}
	r.bar.FillColor = uitheme.Color(name)
}

func (r *meterRenderer) Refresh() {
	r.style()
	r.Layout(r.m.Size())
	r.back.Refresh()
	r.bar.Refresh()
}
