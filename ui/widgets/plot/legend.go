package plot

import (
	"image/color"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/driver/desktop"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"
)

// legend lists the series above the plot, in as many rows as needed; a tap hides or shows one.
type legend struct {
	widget.BaseWidget
	p     *Plot
	items []*legendItem
}

func newLegend(p *Plot) *legend {
	l := &legend{p: p}
	l.ExtendBaseWidget(l)
	return l
}

func (l *legend) update() {
	for len(l.items) < len(l.p.lines) {
		l.items = append(l.items, newLegendItem(l.p))
	}
	l.items = l.items[:len(l.p.lines)]
	for i, s := range l.p.lines {
		l.items[i].set(s.Name, l.p.color(i), s.Hidden)
	}
}

// arrange flows the items into rows no wider than w and returns the height.
func (l *legend) arrange(w float32) float32 {
	x, y := float32(0), float32(0)
	h := textSize()*1.5 + 4
	if len(l.items) == 0 {
		return 4
	}
	for _, it := range l.items {
		iw := min(it.MinSize().Width, w)
		if x > 0 && x+iw > w {
			x, y = 0, y+h
		}
		it.Move(fyne.NewPos(x, y))
		it.Resize(fyne.NewSize(iw, h))
		x += iw + 8
	}
	return y + h
}

func (l *legend) CreateRenderer() fyne.WidgetRenderer { return &legendRenderer{l} }

type legendRenderer struct{ l *legend }

func (r *legendRenderer) Layout(fyne.Size)   {}
func (r *legendRenderer) MinSize() fyne.Size { return fyne.NewSize(0, 0) }
func (r *legendRenderer) Destroy()           {}
func (r *legendRenderer) Refresh()           {}
func (r *legendRenderer) Objects() []fyne.CanvasObject {
	out := make([]fyne.CanvasObject, len(r.l.items))
	for i, it := range r.l.items {
		out[i] = it
	}
	return out
}

type legendItem struct {
	widget.BaseWidget
	p      *Plot
	hidden bool
	swatch *canvas.Rectangle
	text   *canvas.Text
}

func newLegendItem(p *Plot) *legendItem {
	it := &legendItem{p: p, swatch: canvas.NewRectangle(color.Transparent), text: canvas.NewText("", color.Transparent)}
	it.swatch.CornerRadius = 2
	it.ExtendBaseWidget(it)
	return it
}

func (it *legendItem) set(name string, c color.NRGBA, hidden bool) {
	fg := themed(theme.ColorNameForeground)
	if hidden {
		c, fg = withAlpha(c, 0.25), withAlpha(fg, 0.4)
	}
	it.hidden = hidden
	it.swatch.FillColor, it.text.Color = c, fg
	it.text.Text, it.text.TextSize = name, textSize()
}

// Tapped hides or shows the series.
func (it *legendItem) Tapped(*fyne.PointEvent) { it.p.SetHidden(it.text.Text, !it.hidden) }

// Cursor shows that the item can be clicked.
func (it *legendItem) Cursor() desktop.Cursor { return desktop.PointerCursor }

func (it *legendItem) MinSize() fyne.Size {
	m := it.text.MinSize()
	return fyne.NewSize(m.Width+20, m.Height)
}

func (it *legendItem) CreateRenderer() fyne.WidgetRenderer { return &legendItemRenderer{it} }

type legendItemRenderer struct{ it *legendItem }

func (r *legendItemRenderer) Layout(s fyne.Size) {
	r.it.swatch.Move(fyne.NewPos(2, s.Height/2-5))
	r.it.swatch.Resize(fyne.NewSize(10, 10))
	m := r.it.text.MinSize()
	r.it.text.Move(fyne.NewPos(17, (s.Height-m.Height)/2))
	r.it.text.Resize(m)
}
func (r *legendItemRenderer) MinSize() fyne.Size { return r.it.MinSize() }
func (r *legendItemRenderer) Destroy()           {}
func (r *legendItemRenderer) Refresh()           { canvas.Refresh(r.it) }
func (r *legendItemRenderer) Objects() []fyne.CanvasObject {
	return []fyne.CanvasObject{r.it.swatch, r.it.text}
}
