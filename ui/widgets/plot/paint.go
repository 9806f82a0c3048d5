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
	limit := float32(4 * q.img.Rect.Dx())
	for i := range q.points {
		q.points[i].x = min(max(q.points[i].x, -limit), limit)
	}
	if len(q.points) == 1 || (len(q.points) == 2 && !finite(float64(q.points[1].y))) {
		q.dots(2.2*width, c)
		return
	}
	q.stroke(width, c)
}

// strip is how many pixels of a line's width are drawn at once: over so few a line is seldom high, and what is drawn costs
// by its area.
const strip = 32

// stroke draws the line through the points, which go from left to right.
func (q *painter) stroke(width float32, c color.NRGBA) {
	half, reach := width/2, width+1 // reach is how far past its ends a piece may colour pixels
	ink := image.NewUniform(c)
	first := 1 // the piece i goes from point i−1 to point i
	for x := 0; x < q.img.Rect.Dx(); x += strip {
		box := image.Rect(x, 0, x+strip, q.img.Rect.Dy()).Intersect(q.img.Rect)
		left, right := float32(box.Min.X)-reach, float32(box.Max.X)+reach
		gap := func(i int) bool { return !finite(float64(q.points[i-1].y)) || !finite(float64(q.points[i].y)) }
		for first < len(q.points) && (gap(first) || q.points[first].x < left) {
			first++
		}
		last, top, bottom := first, float32(math.Inf(1)), float32(math.Inf(-1))
		for ; last < len(q.points); last++ {
			if gap(last) {
				continue
			}
			a, b := q.points[last-1], q.points[last]
			if a.x > right {
				break
			}
			top, bottom = min(top, a.y, b.y), max(bottom, a.y, b.y)
		}
		if last == first {
			continue
		}
		box.Min.Y, box.Max.Y = max(box.Min.Y, int(top-reach)), min(box.Max.Y, int(bottom+reach)+1)
		if box.Empty() {
			continue
		}
		q.ras.Reset(box.Dx(), box.Dy())
		for i := first; i < last; i++ {
			if !gap(i) {
				q.piece(q.points[i-1], q.points[i], half, point{float32(box.Min.X), float32(box.Min.Y)})
			}
		}
		q.ras.Draw(q.img, box, ink, image.Point{})
	}
}

// piece adds a straight piece of a line to what is drawn next, around an origin.
func (q *painter) piece(a, b point, half float32, origin point) {
	dx, dy := b.x-a.x, b.y-a.y
	n := float32(math.Sqrt(float64(dx*dx + dy*dy)))
	if n <= 1e-6 {
		return
	}
	ux, uy := dx/n*half, dy/n*half
	// Reach half a radius past both ends, so that corners close.
	a.x, a.y, b.x, b.y = a.x-ux/2-origin.x, a.y-uy/2-origin.y, b.x+ux/2-origin.x, b.y+uy/2-origin.y
	q.ras.MoveTo(a.x-uy, a.y+ux)
	q.ras.LineTo(b.x-uy, b.y+ux)
	q.ras.LineTo(b.x+uy, b.y-ux)
	q.ras.LineTo(a.x+uy, a.y-ux)
	q.ras.ClosePath()
}

// dots draws a disc at every point.
func (q *painter) dots(r float32, c color.NRGBA) {
	ink := image.NewUniform(c)
	for _, p := range q.points {
		if !finite(float64(p.y)) {
			continue
		}
		box := image.Rect(int(p.x-r)-1, int(p.y-r)-1, int(p.x+r)+2, int(p.y+r)+2).Intersect(q.img.Rect)
		if box.Empty() {
			continue
		}
		q.ras.Reset(box.Dx(), box.Dy())
		for k := range 12 {
			s, cs := math.Sincos(float64(k) * math.Pi / 6)
			x, y := p.x+r*float32(cs)-float32(box.Min.X), p.y+r*float32(s)-float32(box.Min.Y)
			if k == 0 {
				q.ras.MoveTo(x, y)
			} else {
				q.ras.LineTo(x, y)
			}
		}
		q.ras.ClosePath()
		q.ras.Draw(q.img, box, ink, image.Point{})
	}
}
