package plot

import (
	"math"
	"strconv"
	"strings"
)

// tick is one labelled position on an axis, in data units.
type tick struct {
	value float64
	label string
}

// niceStep returns the 1-2-5 step nearest below span/n intervals (Heckbert, “Nice numbers for graph labels”, Graphics Gems, 1990).
func niceStep(span float64, n int) float64 {
	raw := span / float64(max(n, 1))
	mag := math.Pow(10, math.Floor(math.Log10(raw)))
	switch f := raw / mag; {
	case f <= 1:
		return mag
	case f <= 2:
		return 2 * mag
	case f <= 5:
		return 5 * mag
	default:
		return 10 * mag
	}
}

// linearTicks returns about n round values inside [lo, hi].
func linearTicks(lo, hi float64, n int, format func(v, step float64) string) []tick {
	span := hi - lo
	if !(span > 0) || math.IsInf(span, 0) {
		return nil
	}
	step := niceStep(span, n)
	var out []tick
	for k := math.Ceil(lo/step - 1e-9); k*step <= hi+step*1e-9 && len(out) < 4*n+4; k++ {
		v := k * step
		out = append(out, tick{v, format(v, step)})
	}
	return out
}

// logTicks returns ticks for an axis whose bounds are given as base-10 logarithms: whole decades, and 2 and 5 between
// them where there is room. Under one decade of span it falls back to round values on the linear scale.
func logTicks(lo, hi float64, n int, format func(v, step float64) string) []tick {
	if !(hi > lo) {
		return nil
	}
	if hi-lo < 0.7 {
		ts := linearTicks(math.Pow(10, lo), math.Pow(10, hi), n, format)
		return ts
	}
	stride := math.Max(1, math.Ceil((hi-lo)/float64(max(n, 1))))
	var out []tick
	for d := math.Floor(lo); d <= hi+1e-9; d += stride {
		for _, m := range []float64{1, 2, 5} {
			if m > 1 && (stride > 1 || 3*(hi-lo) > float64(n)*1.5) {
				break
			}
			v := m * math.Pow(10, d)
			if l := math.Log10(v); l >= lo-1e-9 && l <= hi+1e-9 {
				out = append(out, tick{v, format(v, v)})
			}
		}
	}
	return out
}

// Number prints v with just the decimals that a spacing of step needs, with k, M and G above ten thousand
// and an exponent for the very small.
func Number(v, step float64) string {
	if v == 0 {
		return "0"
	}
	a, s := math.Abs(v), math.Abs(step)
	switch {
	case a >= 1e12 || (a < 1e-4 && s < 1e-4):
		return strings.Replace(strconv.FormatFloat(v, 'g', 3, 64), "e-0", "e-", 1)
	case a >= 1e9:
		return trim(v/1e9, s/1e9) + "G"
	case a >= 1e6:
		return trim(v/1e6, s/1e6) + "M"
	case a >= 1e4:
		return trim(v/1e3, s/1e3) + "k"
	default:
		return trim(v, s)
	}
}

// trim prints v with the decimals that step needs.
func trim(v, step float64) string {
	d := 0
	if step > 0 && step < 1 {
		d = int(math.Ceil(-math.Log10(step) - 1e-9))
	}
	return strconv.FormatFloat(v, 'f', min(d, 8), 64)
}

// Duration prints seconds as a short clock: 42 s, 3:05 min, 2:10 h.
func Duration(sec, _ float64) string {
	neg := ""
	if sec < 0 {
		neg, sec = "−", -sec
	}
	s := int64(sec + 0.5)
	switch {
	case s < 60:
		return neg + strconv.FormatInt(s, 10) + " s"
	case s < 3600:
		return neg + strconv.FormatInt(s/60, 10) + ":" + two(s%60) + " min"
	default:
		return neg + strconv.FormatInt(s/3600, 10) + ":" + two(s%3600/60) + " h"
	}
}

func two(n int64) string {
	if n < 10 {
		return "0" + strconv.FormatInt(n, 10)
	}
	return strconv.FormatInt(n, 10)
}
