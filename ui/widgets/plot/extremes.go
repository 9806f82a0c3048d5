package plot

import "math"

// fan is how many points, or blocks of the level below, one block of [extremes] stands for.
const fan = 16

// extremes finds the lowest and the highest of any stretch of a growing list of values without looking at all of them: it
// keeps those of every 16 values, of every 256, and so on. A stretch costs O(log n), a new value O(1) on average.
type extremes struct {
	levels [][]extreme
}

// extreme is the lowest and the highest finite value of a stretch, by index, the first of equals; −1 where there is none.
type extreme struct {
	low, high int32
	gap       bool // some value is not finite
}

// add brings the levels up to date with values that were appended.
func (e *extremes) add(ys []float64) {
	if len(e.levels) == 0 {
		e.levels = [][]extreme{nil}
	}
	for n := len(e.levels[0]); (n+1)*fan <= len(ys); n++ {
		b := nothing()
		for i := n * fan; i < (n+1)*fan; i++ {
			b.value(ys, i)
		}
		e.levels[0] = append(e.levels[0], b)
	}
	for k := 1; ; k++ {
		below := e.levels[k-1]
		if len(below) < fan {
			return
		}
		if k == len(e.levels) {
			e.levels = append(e.levels, nil)
		}
		for n := len(e.levels[k]); (n+1)*fan <= len(below); n++ {
			b := nothing()
			for _, o := range below[n*fan : (n+1)*fan] {
				b.block(ys, o)
			}
			e.levels[k] = append(e.levels[k], b)
		}
	}
}

// cut forgets all but the first n values.
func (e *extremes) cut(n int) {
	for k := range e.levels {
		n /= fan
		e.levels[k] = e.levels[k][:min(n, len(e.levels[k]))]
	}
}

// find looks through ys[i:j]; ys is what was given to add.
func (e *extremes) find(ys []float64, i, j int) extreme {
	b := nothing()
	for i < j {
		size, k := 1, -1
		for k+1 < len(e.levels) && i%(size*fan) == 0 && i+size*fan <= j && i/(size*fan) < len(e.levels[k+1]) {
			size *= fan
			k++
		}
		if k < 0 {
			b.value(ys, i)
		} else {
			b.block(ys, e.levels[k][i/size])
		}
		i += size
	}
	return b
}

func nothing() extreme { return extreme{low: -1, high: -1} }

func (b *extreme) value(ys []float64, i int) {
	y := ys[i]
	if !finite(y) {
		b.gap = true
		return
	}
	if b.low < 0 || y < ys[b.low] {
		b.low = int32(i)
	}
	if b.high < 0 || y > ys[b.high] {
		b.high = int32(i)
	}
}

// block takes in a stretch that follows.
func (b *extreme) block(ys []float64, o extreme) {
	b.gap = b.gap || o.gap
	if o.low < 0 {
		return
	}
	if b.low < 0 || ys[o.low] < ys[b.low] {
		b.low = o.low
	}
	if b.high < 0 || ys[o.high] > ys[b.high] {
		b.high = o.high
	}
}

// span returns the least and the greatest finite value of ys[i:j], of the positive ones if positive; (+∞, −∞) if there is
// none.
func (e *extremes) span(ys []float64, i, j int, positive bool) (lo, hi float64) {
	b := e.find(ys, i, j)
	lo, hi = math.Inf(1), math.Inf(-1)
	if b.low < 0 {
		return lo, hi
	}
	if !positive || ys[b.low] > 0 {
		return ys[b.low], ys[b.high]
	}
	for _, y := range ys[i:j] { // the least of the positive ones is not kept
		if finite(y) && y > 0 {
			lo, hi = math.Min(lo, y), math.Max(hi, y)
		}
	}
	return lo, hi
}
