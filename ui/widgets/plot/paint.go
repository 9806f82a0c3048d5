package plot

import (
	"image"
	"image/color"
	"image/draw"
	"math"

	"fyne.io/fyne/v2/theme"
	"golang.org/x/image/vector"
)

// painter draws the lines at device pixels. It keeps its buffers between frames.
type painter struct {
	img    *image.RGBA
	ras    *vector.Rasterizer
	points []point
}

func (q *painter) draw(p *Plot, w, h int) image.Image {
	if w <= 0 || h <= 0 {
		return image.NewRGBA(image.Rect(0, 0, 1, 1))
	}
	if q.img == nil || q.img.Rect.Dx() != w || q.img.Rect.Dy() != h {
		q.img = image.NewRGBA(image.Rect(0, 0, w, h))
		q.ras = vector.NewRasterizer(w, h)
	}
	clear(q.img.Pix)
	v := p.view
	if !v.ok || p.rend == nil {
		return q.img
	}
	px := float32(1) // device pixels per Fyne unit
	if width := p.rend.area().size.Width; width > 0 {
		px = float32(w) / width
	}
	grid := &image.Uniform{withAlpha(themed(theme.ColorNameForeground), 0.13)}
	thick := max(int(px+0.5), 1)
	for _, t := range p.rend.xt {
		x := int(math.Round((t.value - v.x0) / (v.x1 - v.x0) * float64(w)))
		draw.Draw(q.img, image.Rect(x, 0, x+thick, h), grid, image.Point{}, draw.Over)
	}
	sy := float64(h) / (v.y1 - v.y0)
	for _, t := range p.rend.yt {
		y := int(math.Round((v.y1 - v.axisY(t.value)) * sy))
		draw.Draw(q.img, image.Rect(0, y, w, y+thick), grid, image.Point{}, draw.Over)
	}
	sx := float64(w) / (v.x1 - v.x0)
	limit := float64(4 * h)
	toY := func(y float64) float32 {
		d := (v.y1 - v.axisY(y)) * sy
		if math.IsInf(d, 1) {
			return float32(math.NaN()) // not positive, on a log axis
		}
		return float32(math.Min(math.Max(d, -limit), limit))
	}
	smoothing := p.beta > 0
	for i, l := range p.lines { // faint raw lines first, under every smoothed one
		if !l.Hidden && !l.Exact && smoothing {
			q.line(l, l.Y, &l.rawEnds, v, sx, toY, px, withAlpha(p.color(i), 0.28))
		}
	}
	for i, l := range p.lines {
		if l.Hidden {
			continue
		}
		ys, ends := p.shown(l)
		q.line(l, ys, ends, v, sx, toY, 1.6*px, p.color(i))
		if l.Exact && len(q.points) < w/4 {
			q.dots(2.6*px, p.color(i))
		}
	}
	return q.img
}

func (q *painter) line(l *line, ys []float64, ends *extremes, v view, sx float64, toY func(float64) float32, width float32, c color.NRGBA) {
	lo, hi := l.window(v.x0, v.x1)
	q.points = decimate(q.points, l.X, ys, ends, lo, hi, v.x0, sx, toY)
	q.ras.Reset(q.img.Rect.Dx(), q.img.Rect.Dy())
	half := width / 2
	limit := float32(4 * q.img.Rect.Dx())
	for i := range q.points {
		q.points[i].x = min(max(q.points[i].x, -limit), limit)
	}
	for i := 1; i < len(q.points); i++ {
		a, b := q.points[i-1], q.points[i]
		dx, dy := b.x-a.x, b.y-a.y
		n := float32(math.Sqrt(float64(dx*dx + dy*dy)))
		if !(n > 1e-6) { // also NaN: a gap
			continue
		}
		ux, uy := dx/n*half, dy/n*half
		// Reach half a radius past both ends, so that corners close.
		a.x, a.y, b.x, b.y = a.x-ux/2, a.y-uy/2, b.x+ux/2, b.y+uy/2
		q.ras.MoveTo(a.x-uy, a.y+ux)
		q.ras.LineTo(b.x-uy, b.y+ux)
		q.ras.LineTo(b.x+uy, b.y-ux)
		q.ras.LineTo(a.x+uy, a.y-ux)
		q.ras.ClosePath()
	}
	if len(q.points) == 1 || (len(q.points) == 2 && !finite(float64(q.points[1].y))) {
		q.dots(2.2*width, c)
		return
	}
	q.ras.Draw(q.img, q.img.Rect, &image.Uniform{c}, image.Point{})
}

func (q *painter) dots(r float32, c color.NRGBA) {
	q.ras.Reset(q.img.Rect.Dx(), q.img.Rect.Dy())
	for _, p := range q.points {
		if !finite(float64(p.y)) {
			continue
		}
		for k := range 12 {
			s, cs := math.Sincos(float64(k) * math.Pi / 6)
			x, y := p.x+r*float32(cs), p.y+r*float32(s)
			if k == 0 {
				q.ras.MoveTo(x, y)
			} else {
				q.ras.LineTo(x, y)
			}
		}
		q.ras.ClosePath()
	}
	q.ras.Draw(q.img, q.img.Rect, &image.Uniform{c}, image.Point{})
}
