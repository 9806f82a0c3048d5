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

	values, before []float64
	names          []string
	hover          int
	low, high      *canvas.Text
	info           *canvas.Text
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
	h := min(max(int(e.Position.X/b.Size().Width*float32(n)), 0), n-1)
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
	b.raster = crisp(b.draw)
	r := &barsRenderer{b: b}
	r.style()
	return r
}

type barsRenderer struct{ b *Bars }

func (r *barsRenderer) Layout(s fyne.Size) {
	h := textSize() * 1.5
	r.b.info.Move(fyne.NewPos(0, 0))
	r.b.info.Resize(fyne.NewSize(s.Width, h))
	r.b.raster.Move(fyne.NewPos(0, h))
	r.b.raster.Resize(fyne.NewSize(s.Width, max(s.Height-2*h, 1)))
	r.b.low.Move(fyne.NewPos(0, s.Height-h))
	r.b.low.Resize(fyne.NewSize(s.Width/2, h))
	r.b.high.Move(fyne.NewPos(s.Width/2, s.Height-h))
	r.b.high.Resize(fyne.NewSize(s.Width/2, h))
}

func (r *barsRenderer) MinSize() fyne.Size { return r.b.MinSize() }
func (r *barsRenderer) Destroy()           {}
func (r *barsRenderer) Objects() []fyne.CanvasObject {
	return []fyne.CanvasObject{r.b.raster, r.b.low, r.b.high, r.b.info}
}

func (r *barsRenderer) style() {
	b := r.b
	for _, t := range []*canvas.Text{b.low, b.high, b.info} {
		t.Color, t.TextSize = themed(theme.ColorNamePlaceHolder), textSize()
	}
	b.low.Text, b.high.Text, b.info.Text = b.Low, b.High, ""
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
	canvas.Refresh(r.b)
}

func fourDigits(y float64) string {
	if !finite(y) {
		return "–"
	}
	return Number(y, math.Pow(10, math.Floor(math.Log10(math.Max(math.Abs(y), 1e-300)))-3))
}

func (b *Bars) draw(w, h int) image.Image {
	img := image.NewRGBA(image.Rect(0, 0, max(w, 1), max(h, 1)))
	n, top, low := len(b.values), 0.0, math.Inf(1)
	for _, vs := range [][]float64{b.values, b.before} {
		for _, v := range vs {
			if finite(v) && v > 0 {
				top, low = math.Max(top, v), math.Min(low, v)
			}
		}
	}
	low /= 1.6 // the lowest bar still shows
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
	raster  *canvas.Raster
	columns [][]float64
}

// NewHeat returns an empty chart.
func NewHeat() *Heat {
	h := &Heat{}
	h.ExtendBaseWidget(h)
	return h
}

// Set gives one column of values, lowest noise first, for each moment.
func (h *Heat) Set(columns [][]float64) {
	h.columns = columns
	h.Refresh()
}

// MinSize is that of a small chart.
func (h *Heat) MinSize() fyne.Size {
	h.ExtendBaseWidget(h)
	return fyne.NewSize(60, 60)
}

// CreateRenderer builds the canvas objects.
func (h *Heat) CreateRenderer() fyne.WidgetRenderer {
	h.raster = crisp(h.draw)
	return widget.NewSimpleRenderer(h.raster)
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
