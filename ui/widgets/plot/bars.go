package plot

import (
	"image"
	"image/color"
	"image/draw"
	"math"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/driver/desktop"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"
)

// Bars is a small bar chart of one value per band (loss by noise level), with the values of before behind it. Heights
// are logarithmic: losses at the two ends of the noise differ by orders of magnitude.
type Bars struct {
	widget.BaseWidget
	// Low and High name the two ends of the bands.
	Low, High string
	// Now and Before name the values and those of before in the legend.
	Now, Before string

	values, before []float64
	names          []string
	hover          int
	low, high      *canvas.Text
	info           *canvas.Text
	top, bottom    *canvas.Text // of the vertical axis
	keys           [2]*canvas.Text
	swatches       [2]*canvas.Rectangle
	raster         *canvas.Raster
}

// NewBars returns an empty chart whose bands run from low to high.
func NewBars(low, high string) *Bars {
	b := &Bars{Low: low, High: high, hover: -1}
	b.ExtendBaseWidget(b)
	return b
}

// Set gives the bands' values, those of an earlier time (nil for none) and the bands' names for the read-out.
// Values that are not finite are bands with nothing measured yet.
func (b *Bars) Set(values, before []float64, names []string) {
	b.values, b.before, b.names = values, before, names
	b.Refresh()
}

// MinSize is that of a small chart.
func (b *Bars) MinSize() fyne.Size {
	b.ExtendBaseWidget(b)
	return fyne.NewSize(80, 70)
}

// MouseIn shows the value under the pointer.
func (b *Bars) MouseIn(e *desktop.MouseEvent) { b.MouseMoved(e) }

// MouseMoved shows the value under the pointer.
func (b *Bars) MouseMoved(e *desktop.MouseEvent) {
	n := len(b.values)
	if n == 0 || b.Size().Width <= 0 {
		return
	}
	left := b.axis()
	h := min(max(int((e.Position.X-left)/max(b.Size().Width-left, 1)*float32(n)), 0), n-1)
	if h != b.hover {
		b.hover = h
		b.Refresh()
	}
}

// MouseOut hides the read-out.
func (b *Bars) MouseOut() {
	b.hover = -1
	b.Refresh()
}

// CreateRenderer builds the canvas objects.
func (b *Bars) CreateRenderer() fyne.WidgetRenderer {
	b.low, b.high, b.info = canvas.NewText("", color.Transparent), canvas.NewText("", color.Transparent), canvas.NewText("", color.Transparent)
	b.high.Alignment = fyne.TextAlignTrailing
	b.top, b.bottom = canvas.NewText("", color.Transparent), canvas.NewText("", color.Transparent)
	for i := range b.keys {
		b.keys[i], b.swatches[i] = canvas.NewText("", color.Transparent), canvas.NewRectangle(color.Transparent)
	}
	b.raster = crisp(b.draw)
	r := &barsRenderer{b: b}
	r.style()
	return r
}

type barsRenderer struct{ b *Bars }

func (r *barsRenderer) Layout(s fyne.Size) {
	b, h := r.b, textSize()*1.5
	left := b.axis()
	b.info.Move(fyne.NewPos(0, 0))
	b.info.Resize(fyne.NewSize(s.Width, h))
	x := float32(0)
	for i, k := range b.keys {
		b.swatches[i].Move(fyne.NewPos(x, h/2-4))
		b.swatches[i].Resize(fyne.NewSize(8, 8))
		k.Move(fyne.NewPos(x+12, 0))
		k.Resize(k.MinSize())
		x += 24 + k.MinSize().Width
	}
	b.raster.Move(fyne.NewPos(left, h))
	b.raster.Resize(fyne.NewSize(max(s.Width-left, 1), max(s.Height-2*h, 1)))
	b.top.Move(fyne.NewPos(0, h))
	b.bottom.Move(fyne.NewPos(0, s.Height-2*h))
	b.low.Move(fyne.NewPos(left, s.Height-h))
	b.low.Resize(fyne.NewSize((s.Width-left)/2, h))
	b.high.Move(fyne.NewPos(left+(s.Width-left)/2, s.Height-h))
	b.high.Resize(fyne.NewSize((s.Width-left)/2, h))
}

// axis is the width of the vertical axis's labels.
func (b *Bars) axis() float32 {
	if b.top.Text == "" {
		return 0
	}
	return max(b.top.MinSize().Width, b.bottom.MinSize().Width) + 6
}

func (r *barsRenderer) MinSize() fyne.Size { return r.b.MinSize() }
func (r *barsRenderer) Destroy()           {}
func (r *barsRenderer) Objects() []fyne.CanvasObject {
	b := r.b
	return []fyne.CanvasObject{b.raster, b.low, b.high, b.info, b.top, b.bottom, b.keys[0], b.keys[1], b.swatches[0], b.swatches[1]}
}

func (r *barsRenderer) style() {
	b := r.b
	for _, t := range []*canvas.Text{b.low, b.high, b.info, b.top, b.bottom, b.keys[0], b.keys[1]} {
		t.Color, t.TextSize = themed(theme.ColorNamePlaceHolder), textSize()
	}
	b.low.Text, b.high.Text, b.info.Text = b.Low, b.High, ""
	b.top.Text, b.bottom.Text = "", ""
	if low, top := b.span(); top > 0 {
		b.top.Text, b.bottom.Text = fewDigits(top), fewDigits(low)
	}
	b.swatches[0].FillColor, b.swatches[1].FillColor = Color(0), withAlpha(themed(theme.ColorNameForeground), 0.2)
	b.keys[0].Text, b.keys[1].Text = b.Now, b.Before
	hovered := b.hover >= 0 && b.hover < len(b.values)
	for i := range b.keys { // the value under the pointer takes the legend's place
		b.keys[i].Hidden = hovered || len(b.values) == 0 || i == 1 && len(b.before) == 0
		b.swatches[i].Hidden = b.keys[i].Hidden
	}
	if h := b.hover; h >= 0 && h < len(b.values) {
		b.info.Color = themed(theme.ColorNameForeground)
		if h < len(b.names) {
			b.info.Text = b.names[h] + "   "
		}
		b.info.Text += fourDigits(b.values[h])
		if h < len(b.before) && finite(b.before[h]) {
			b.info.Text += "   (" + fourDigits(b.before[h]) + ")"
		}
	}
}

func (r *barsRenderer) Refresh() {
	r.style()
	r.Layout(r.b.Size()) // the axis may have become wider
	canvas.Refresh(r.b)
}

// fewDigits prints an axis's end with two significant digits.
func fewDigits(y float64) string { return Number(y, math.Pow(10, math.Floor(math.Log10(y))-1)) }

func fourDigits(y float64) string {
	if !finite(y) {
		return "–"
	}
	return Number(y, math.Pow(10, math.Floor(math.Log10(math.Max(math.Abs(y), 1e-300)))-3))
}

// span is the range of the vertical axis; the lowest bar still shows.
func (b *Bars) span() (low, top float64) {
	low = math.Inf(1)
	for _, vs := range [][]float64{b.values, b.before} {
		for _, v := range vs {
			if finite(v) && v > 0 {
				top, low = math.Max(top, v), math.Min(low, v)
			}
		}
	}
	return low / 1.6, top
}

func (b *Bars) draw(w, h int) image.Image {
	img := image.NewRGBA(image.Rect(0, 0, max(w, 1), max(h, 1)))
	n := len(b.values)
	low, top := b.span()
	draw.Draw(img, image.Rect(0, h-1, w, h), &image.Uniform{withAlpha(themed(theme.ColorNameForeground), 0.25)}, image.Point{}, draw.Over)
	if n == 0 || top <= 0 {
		return img
	}
	gap := 1
	if w/n > 12 {
		gap = 2
	}
	bar := func(i int, v float64, c color.Color, inset int) {
		if finite(v) && v > 0 {
			x0, x1 := i*w/n+inset, (i+1)*w/n-gap-inset
			draw.Draw(img, image.Rect(x0, h-max(int(math.Log(v/low)/math.Log(top/low)*float64(h-2)), 1), max(x1, x0+1), h), &image.Uniform{c}, image.Point{}, draw.Over)
		}
	}
	for i, v := range b.before {
		if i < n {
			bar(i, v, withAlpha(themed(theme.ColorNameForeground), 0.2), 0)
		}
	}
	for i, v := range b.values {
		c := Color(0)
		if i == b.hover {
			c = Color(1)
		}
		bar(i, v, c, min(w/n/6, 4))
	}
	return img
}

// Heat is a small picture of values over training time (left to right) and noise level (bottom to top), each noise level
// scaled on its own so that progress shows at every level, dark for high and bright for low.
type Heat struct {
	widget.BaseWidget
	// Low and High name the ends of the noise, Worse and Better those of the colour bar; Moment prints a column's place.
	Low, High, Worse, Better string
	Moment                   func(x float64) string

	raster, bar           *canvas.Raster
	low, high             *canvas.Text
	from, to              *canvas.Text
	worse, better         *canvas.Text
	info                  *canvas.Text
	columns               [][]float64
	at                    []float64 // place of each column in time
	hoverColumn, hoverRow int
}

// NewHeat returns an empty chart whose rows run from low to high noise.
func NewHeat(low, high string) *Heat {
	h := &Heat{Low: low, High: high, Moment: func(x float64) string { return Number(x, 1) }, hoverColumn: -1}
	h.ExtendBaseWidget(h)
	return h
}

// Set gives one column of values, lowest noise first, for each moment, and the moments.
func (h *Heat) Set(columns [][]float64, at []float64) {
	h.columns, h.at = columns, at
	h.Refresh()
}

// MinSize is that of a small chart.
func (h *Heat) MinSize() fyne.Size {
	h.ExtendBaseWidget(h)
	return fyne.NewSize(80, 70)
}

// MouseIn shows the value under the pointer.
func (h *Heat) MouseIn(e *desktop.MouseEvent) { h.MouseMoved(e) }

// MouseMoved shows the value under the pointer.
func (h *Heat) MouseMoved(e *desktop.MouseEvent) {
	cols := len(h.columns)
	if cols == 0 || h.raster == nil {
		return
	}
	at, size := e.Position.Subtract(h.raster.Position()), h.raster.Size()
	c, r := -1, -1
	if at.X >= 0 && at.Y >= 0 && at.X < size.Width && at.Y < size.Height {
		c = min(int(at.X/size.Width*float32(cols)), cols-1)
		rows := len(h.columns[c])
		r = rows - 1 - int(at.Y/size.Height*float32(rows))
	}
	if c != h.hoverColumn || r != h.hoverRow {
		h.hoverColumn, h.hoverRow = c, r
		h.Refresh()
	}
}

// MouseOut hides the read-out.
func (h *Heat) MouseOut() {
	h.hoverColumn = -1
	h.Refresh()
}

// CreateRenderer builds the canvas objects.
func (h *Heat) CreateRenderer() fyne.WidgetRenderer {
	for _, t := range []**canvas.Text{&h.low, &h.high, &h.from, &h.to, &h.worse, &h.better, &h.info} {
		*t = canvas.NewText("", color.Transparent)
	}
	h.to.Alignment, h.better.Alignment = fyne.TextAlignTrailing, fyne.TextAlignLeading
	h.raster = crisp(h.draw)
	h.bar = crisp(func(w, hgt int) image.Image {
		img := image.NewRGBA(image.Rect(0, 0, max(w, 1), max(hgt, 1)))
		for x := range w {
			for y := range hgt {
				img.SetRGBA(x, y, heatColor(float64(x)/float64(max(w-1, 1))))
			}
		}
		return img
	})
	r := &heatRenderer{h}
	r.style()
	return r
}

type heatRenderer struct{ h *Heat }

func (r *heatRenderer) Layout(s fyne.Size) {
	h, line := r.h, textSize()*1.5
	left := max(h.low.MinSize().Width, h.high.MinSize().Width) + 6
	if h.low.Text == "" || left > s.Width/2 {
		left = 0
	}
	h.low.Hidden, h.high.Hidden = left == 0, left == 0
	// the colour bar, or the value under the pointer, above; the moments below
	h.info.Move(fyne.NewPos(0, 0))
	h.info.Resize(fyne.NewSize(s.Width, line))
	names := h.worse.MinSize().Width + h.better.MinSize().Width + 12
	bar := max(min(s.Width/5, 90, s.Width-names), 12)
	h.worse.Move(fyne.NewPos(0, 0))
	x := h.worse.MinSize().Width + 6
	h.bar.Move(fyne.NewPos(x, line/2-4))
	h.bar.Resize(fyne.NewSize(bar, 8))
	h.better.Move(fyne.NewPos(x+bar+6, 0))
	h.raster.Move(fyne.NewPos(left, line))
	h.raster.Resize(fyne.NewSize(max(s.Width-left, 1), max(s.Height-2*line, 1)))
	h.high.Move(fyne.NewPos(0, line))
	h.low.Move(fyne.NewPos(0, s.Height-2*line))
	h.from.Move(fyne.NewPos(left, s.Height-line))
	h.to.Move(fyne.NewPos(left, s.Height-line))
	h.to.Resize(fyne.NewSize(max(s.Width-left, 1), line))
}

func (r *heatRenderer) MinSize() fyne.Size { return r.h.MinSize() }
func (r *heatRenderer) Destroy()           {}
func (r *heatRenderer) Objects() []fyne.CanvasObject {
	h := r.h
	return []fyne.CanvasObject{h.raster, h.bar, h.low, h.high, h.from, h.to, h.worse, h.better, h.info}
}

func (r *heatRenderer) style() {
	h := r.h
	for _, t := range []*canvas.Text{h.low, h.high, h.from, h.to, h.worse, h.better, h.info} {
		t.Color, t.TextSize = themed(theme.ColorNamePlaceHolder), textSize()
	}
	empty := len(h.columns) == 0
	h.low.Text, h.high.Text, h.worse.Text, h.better.Text = h.Low, h.High, h.Worse, h.Better
	h.from.Text, h.to.Text, h.info.Text = "", "", ""
	if n := len(h.at); n > 0 {
		h.from.Text, h.to.Text = h.Moment(h.at[0]), h.Moment(h.at[n-1])
	}
	if c := h.hoverColumn; c >= 0 && c < len(h.columns) && h.hoverRow >= 0 && h.hoverRow < len(h.columns[c]) {
		n := len(h.columns[c])
		h.info.Color = themed(theme.ColorNameForeground)
		h.info.Text = fourDigits(h.columns[c][h.hoverRow])
		if c < len(h.at) {
			h.info.Text = h.Moment(h.at[c]) + "   " + Number(float64(h.hoverRow)/float64(n), 0.01) + "–" + Number(float64(h.hoverRow+1)/float64(n), 0.01) + "   " + h.info.Text
		}
	}
	for _, o := range []fyne.CanvasObject{h.bar, h.worse, h.better} {
		if empty || h.info.Text != "" {
			o.Hide()
		} else {
			o.Show()
		}
	}
}

func (r *heatRenderer) Refresh() {
	r.style()
	r.Layout(r.h.Size())
	canvas.Refresh(r.h)
}

func (h *Heat) draw(w, hgt int) image.Image {
	img := image.NewRGBA(image.Rect(0, 0, max(w, 1), max(hgt, 1)))
	cols := len(h.columns)
	if cols == 0 || len(h.columns[cols-1]) == 0 {
		return img
	}
	rows := len(h.columns[cols-1])
	lo, hi := make([]float64, rows), make([]float64, rows)
	for r := range rows {
		lo[r], hi[r] = math.Inf(1), math.Inf(-1)
		for _, c := range h.columns {
			if r < len(c) && finite(c[r]) && c[r] > 0 {
				l := math.Log(c[r])
				lo[r], hi[r] = math.Min(lo[r], l), math.Max(hi[r], l)
			}
		}
	}
	for y := range hgt {
		r := rows - 1 - y*rows/hgt
		for x := range w {
			c := h.columns[x*cols/w]
			if r < len(c) && finite(c[r]) && c[r] > 0 {
				f := 1.0
				if hi[r] > lo[r] {
					f = (hi[r] - math.Log(c[r])) / (hi[r] - lo[r])
				}
				img.SetRGBA(x, y, heatColor(f))
			}
		}
	}
	return img
}
