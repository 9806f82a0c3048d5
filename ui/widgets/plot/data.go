package plot

import (
	"math"
	"slices"
	"sort"

	"unnoise/app/studio"
)

// Series is one line of a [Plot]. X must be ascending; a Y that is not finite leaves a gap.
type Series struct {
	Name string
	X, Y []float64
	// Exact series are drawn as they are, with a dot at every value: held-out loss, say, which comes rarely. Others are drawn
	// smoothed, over their own faint raw line.
	Exact bool
	// Hidden series keep their place and colour in the legend and are not drawn.
	Hidden bool
	// Color is 1 + the index of the palette colour to use; 0 means the next one.
	Color int
}

// line is a series with what the plot derives from it.
type line struct {
	Series
	smooth []float64
	mean   studio.Smoother // so that a new value costs O(1)

	rawEnds, smoothEnds extremes // of Y and of smooth
}

// extend brings the smoothed values up to date.
func (l *line) extend(beta float64) {
	for i := len(l.smooth); i < len(l.Y); i++ {
		y := l.Y[i]
		if !finite(y) {
			l.smooth = append(l.smooth, math.NaN())
			continue
		}
		l.smooth = append(l.smooth, l.mean.Add(y, beta))
	}
	l.rawEnds.add(l.Y)
	l.smoothEnds.add(l.smooth)
}

// cut drops all values but the first n.
func (l *line) cut(n int) {
	l.X, l.Y = l.X[:n], l.Y[:n]
	l.rawEnds.cut(n)
}

func (l *line) resmooth(beta float64) {
	l.smooth, l.mean = slices.Grow(l.smooth[:0], len(l.Y)), studio.Smoother{}
	l.smoothEnds.cut(0)
	l.extend(beta)
}

// window returns the half-open index range of the points needed to draw [x0, x1]: those inside and one on either side.
func (l *line) window(x0, x1 float64) (lo, hi int) {
	lo = max(sort.SearchFloat64s(l.X, x0)-1, 0)
	hi = min(sort.Search(len(l.X), func(i int) bool { return l.X[i] > x1 })+1, len(l.X))
	return lo, max(lo, hi)
}

// nearest returns the index of the value whose X is nearest to x, or -1.
func (l *line) nearest(x float64) int {
	if len(l.X) == 0 {
		return -1
	}
	i := sort.SearchFloat64s(l.X, x)
	if i == len(l.X) || (i > 0 && x-l.X[i-1] < l.X[i]-x) {
		i--
	}
	return i
}

// point is a vertex in pixels. A NaN y ends the stroke.
type point struct{ x, y float32 }

// decimate turns the points [lo, hi) into pixel vertices, keeping at most the first, lowest, highest and last of each pixel
// column, which draws the same pixels as all of them (Jugel et al., “M4: A Visualization-Oriented Time Series Data
// Aggregation”, VLDB 2014). toY must be monotonic and is called only for values that are kept; ends are the extremes of
// ys. Cost: linear in the pixel columns, not in hi−lo, save where values are not finite.
func decimate(dst []point, xs, ys []float64, ends *extremes, lo, hi int, x0, scale float64, toY func(float64) float32) []point {
	dst = dst[:0]
	for i := lo; i < hi; {
		if !finite(ys[i]) {
			if n := len(dst); n > 0 && finite(float64(dst[n-1].y)) {
				dst = append(dst, point{0, float32(math.NaN())})
			}
			i++
			continue
		}
		end := x0 + (math.Floor((xs[i]-x0)*scale)+1)/scale // where the next pixel column begins
		j := next(xs, i, hi, end)
		b := ends.find(ys, i, j)
		for k := i + 1; b.gap; k++ { // the stroke ends at the first gap
			if !finite(ys[k]) {
				j, b = k, ends.find(ys, i, k)
			}
		}
		dst = emit(dst, xs, ys, i, int(b.low), int(b.high), j-1, x0, scale, toY)
		i = j
	}
	return dst
}

// next is the first index in (i, hi) whose X is at least end, or hi. Cost: logarithmic in its distance.
func next(xs []float64, i, hi int, end float64) int {
	step := 1
	for i+step < hi && xs[i+step] < end {
		step *= 2
	}
	lo := i + step/2 // of it, xs < end or it is i itself
	return lo + 1 + sort.SearchFloat64s(xs[lo+1:min(i+step, hi)], end)
}

func emit(dst []point, xs, ys []float64, first, low, high, last int, x0, scale float64, toY func(float64) float32) []point {
	a, b := min(low, high), max(low, high)
	prev := -1
	for _, k := range [4]int{first, a, b, last} {
		if k != prev {
			dst = append(dst, point{float32((xs[k] - x0) * scale), toY(ys[k])})
			prev = k
		}
	}
	return dst
}

func finite(v float64) bool { return v-v == 0 }
