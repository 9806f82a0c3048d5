package plot

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"testing"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/driver/desktop"
	"fyne.io/fyne/v2/test"
	"github.com/stretchr/testify/require"
	"golang.org/x/image/vector"
)

func ramp(n int) (xs, ys []float64) {
	for i := range n {
		xs, ys = append(xs, float64(i)), append(ys, float64(i%10))
	}
	return xs, ys
}

func shown(t testing.TB, p *Plot, w, h float32) fyne.Window {
	test.NewTempApp(t)
	win := test.NewWindow(p)
	win.SetPadded(false)
	win.Resize(fyne.NewSize(w, h))
	t.Cleanup(win.Close)
	return win
}

// Decimation must keep the exact extremes of every pixel column, whatever the data.
func TestDecimateKeepsExtremes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const n, width = 20_000, 100
	xs, ys := make([]float64, n), make([]float64, n)
	for i := range xs {
		xs[i], ys[i] = float64(i), r.NormFloat64()
	}
	ys[137], ys[15_000] = 50, -50
	scale := float64(width) / float64(n-1)
	pts := decimate(nil, xs, ys, ends(ys), 0, n, 0, scale, func(y float64) float32 { return float32(y) })
	require.LessOrEqual(t, len(pts), 4*(width+1))
	lo, hi := map[int]float32{}, map[int]float32{}
	for _, p := range pts {
		c := int(p.x)
		if _, ok := lo[c]; !ok {
			lo[c], hi[c] = p.y, p.y
		}
		lo[c], hi[c] = min(lo[c], p.y), max(hi[c], p.y)
	}
	for i := range xs {
		c := int(float32(xs[i] * scale))
		y := float32(ys[i])
		require.GreaterOrEqual(t, y, lo[c]-1e-6)
		require.LessOrEqual(t, y, hi[c]+1e-6)
	}
	require.Equal(t, float32(50), hi[int(137*scale)])
}

func TestDecimateGaps(t *testing.T) {
	nan := math.NaN()
	id := func(y float64) float32 { return float32(y) }
	gaps := []float64{nan, 1, math.Inf(1), nan, 2}
	pts := decimate(nil, []float64{0, 1, 2, 3, 4}, gaps, ends(gaps), 0, 5, 0, 10, id)
	require.Len(t, pts, 3)
	require.Equal(t, float32(1), pts[0].y)
	require.True(t, math.IsNaN(float64(pts[1].y)))
	require.Equal(t, float32(2), pts[2].y)
	require.Empty(t, decimate(nil, []float64{0, 1}, []float64{nan, nan}, ends([]float64{nan, nan}), 0, 2, 0, 1, id))
}

func ends(ys []float64) *extremes {
	var e extremes
	e.add(ys)
	return &e
}

// Whatever was appended and cut, any stretch has the extremes that looking at all its values finds.
func TestExtremes(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var e extremes
	var ys []float64
	for range 300 {
		for range r.IntN(400) {
			y := math.Round(r.NormFloat64() * 20) // many are equal
			if r.IntN(200) == 0 {
				y = math.NaN()
			}
			ys = append(ys, y)
		}
		if r.IntN(5) == 0 {
			ys = ys[:len(ys)-r.IntN(len(ys)/2+1)]
			e.cut(len(ys))
		}
		e.add(ys)
		for range 20 {
			i := r.IntN(len(ys) + 1)
			j := i + r.IntN(len(ys)-i+1)
			want := nothing()
			for k := i; k < j; k++ {
				want.value(ys, k)
			}
			require.Equal(t, want, e.find(ys, i, j), "%d:%d of %d", i, j, len(ys))
			positive := r.IntN(2) == 0
			lo, hi := math.Inf(1), math.Inf(-1)
			for _, y := range ys[i:j] {
				if finite(y) && (!positive || y > 0) {
					lo, hi = min(lo, y), max(hi, y)
				}
			}
			a, b := e.span(ys, i, j, positive)
			require.Equal(t, []float64{lo, hi}, []float64{a, b})
		}
	}
}

// Points that lie unevenly, with gaps among them, give the vertices that going through all of them gives.
func TestDecimateLooksAtColumnsOnly(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	id := func(y float64) float32 { return float32(y) }
	for range 200 {
		n := 1 + r.IntN(5000)
		xs, ys := make([]float64, n), make([]float64, n)
		x := 0.0
		for i := range xs {
			x += math.Exp(3 * r.NormFloat64())
			xs[i], ys[i] = x, r.NormFloat64()
			if r.IntN(500) == 0 {
				ys[i] = math.NaN()
			}
		}
		x0, scale := xs[0], 300/(x-xs[0]+1)
		lo := r.IntN(n)
		hi := lo + r.IntN(n-lo+1)
		var want []point
		for i := lo; i < hi; {
			if !finite(ys[i]) {
				if k := len(want); k > 0 && finite(float64(want[k-1].y)) {
					want = append(want, point{0, float32(math.NaN())})
				}
				i++
				continue
			}
			end := x0 + (math.Floor((xs[i]-x0)*scale)+1)/scale
			low, high, j := i, i, i+1
			for ; j < hi && xs[j] < end && finite(ys[j]); j++ {
				if ys[j] < ys[low] {
					low = j
				} else if ys[j] > ys[high] {
					high = j
				}
			}
			want = emit(want, xs, ys, i, low, high, j-1, x0, scale, id)
			i = j
		}
		got := decimate(nil, xs, ys, ends(ys), lo, hi, x0, scale, id)
		require.Len(t, got, len(want))
		for i := range want { // NaN is not equal to itself
			require.Equal(t, math.Float32bits(want[i].x), math.Float32bits(got[i].x))
			require.Equal(t, math.Float32bits(want[i].y), math.Float32bits(got[i].y))
		}
	}
}

// The smoothed curve of a constant is that constant from the first value on (bias taken out), and appending gives the
// same numbers as setting all at once.
func TestSmoothing(t *testing.T) {
	l := &line{Series: Series{X: []float64{0, 1, 2}, Y: []float64{3, 3, 3}}}
	l.resmooth(0.9)
	for _, v := range l.smooth {
		require.InDelta(t, 3, v, 1e-12)
	}
	all, one := New(), New()
	xs, ys := ramp(50)
	all.Set(Series{Name: "a", X: xs, Y: ys})
	one.Set(Series{Name: "a"})
	for i := range xs {
		one.Append("a", xs[i], ys[i])
	}
	require.Equal(t, all.lines[0].smooth, one.lines[0].smooth)
	one.Append("a", 20, 7) // a resumed run repeats from step 20
	x, y, _, ok := one.Last("a")
	require.True(t, ok)
	require.Equal(t, []float64{20, 7}, []float64{x, y})
	require.Len(t, one.lines[0].X, 21)
	require.Len(t, one.lines[0].smooth, 21)
}

func TestZoomIsKeptWhileDataArrives(t *testing.T) {
	p := New()
	xs, ys := ramp(101)
	p.Set(Series{Name: "loss", X: xs, Y: ys})
	shown(t, p, 600, 300)
	x0, x1, _, _ := p.Range()
	require.Equal(t, []float64{0, 100}, []float64{x0, x1})
	area := p.rend.area()
	mid := fyne.NewPos(area.pos.X+area.size.Width/2, area.pos.Y+area.size.Height/2)
	p.Scrolled(&fyne.ScrollEvent{PointEvent: fyne.PointEvent{Position: mid}, Scrolled: fyne.NewDelta(0, 50)})
	x0, x1, _, _ = p.Range()
	require.True(t, p.Zoomed())
	require.Less(t, x1-x0, 90.0)
	require.InDelta(t, 50, (x0+x1)/2, 0.5)
	p.Append("loss", 500, 1)
	p.Refresh()
	a, b, _, _ := p.Range()
	require.Equal(t, []float64{x0, x1}, []float64{a, b})
	p.Dragged(&fyne.DragEvent{Dragged: fyne.NewDelta(area.size.Width/2, 0)})
	a, _, _, _ = p.Range()
	require.InDelta(t, x0-(x1-x0)/2, a, 1e-6)
	p.DoubleTapped(nil)
	a, b, _, _ = p.Range()
	require.Equal(t, []float64{0, 500}, []float64{a, b})
}

func TestLegendTogglesAndSurvivesSet(t *testing.T) {
	p := New()
	xs, ys := ramp(10)
	p.Set(Series{Name: "train", X: xs, Y: ys}, Series{Name: "held-out", X: xs, Y: ys, Exact: true})
	shown(t, p, 600, 300)
	var told string
	p.OnToggle = func(n string, h bool) { told = n }
	test.Tap(p.rend.legend.items[1])
	require.Equal(t, "held-out", told)
	require.True(t, p.lines[1].Hidden)
	p.Set(Series{Name: "train", X: xs, Y: ys}, Series{Name: "held-out", X: xs, Y: ys, Exact: true})
	require.True(t, p.lines[1].Hidden)
}

func TestLogAxisLeavesOutWhatHasNoLogarithm(t *testing.T) {
	p := New()
	p.SetSmoothing(0)
	p.Set(Series{Name: "a", X: []float64{0, 1, 2, 3}, Y: []float64{-1, 0, 0.01, 100}})
	p.SetLog(true)
	_, _, lo, hi := p.Range()
	require.Less(t, lo, 0.01)
	require.Greater(t, lo, 0.001)
	require.Greater(t, hi, 100.0)
	shown(t, p, 400, 300)
	require.GreaterOrEqual(t, len(p.rend.yt), 3)
}

// The painted line must be where the data says: a step from low to high crosses the middle at the middle.
func TestPaintedPixels(t *testing.T) {
	for _, px := range []int{1, 2} {
		p := New()
		p.SetSmoothing(0)
		p.Set(Series{Name: "a", X: []float64{0, 100}, Y: []float64{0, 1}})
		shown(t, p, 500, 300)
		area := p.rend.area()
		w, h := int(area.size.Width)*px, int(area.size.Height)*px
		img := p.rend.paint.draw(p, w, h).(*image.RGBA)
		c := p.color(0)
		darkest, at := 0.0, -1
		for y := range h {
			q := img.RGBAAt(w/2, y)
			if q.A > 200 && math.Abs(float64(q.R)-float64(c.R)) < 40 && float64(q.A) > darkest {
				darkest, at = float64(q.A), y
			}
		}
		require.InDelta(t, h/2, at, float64(3*px))
	}
}

// A line is drawn in strips, each as high as the line is there: no seam may show and nothing may be cut off. Of a straight
// line each column of pixels has as much ink as its slope and thickness take; of a bent one, ink around where it goes.
func TestStripsShowNoSeam(t *testing.T) {
	const w, h, thick = 10*strip + 7, 200, 3
	paint := func(every float64, at func(x float64) float64, column func(x int, ink, middle float64)) {
		q := painter{img: image.NewRGBA(image.Rect(0, 0, w, h)), ras: vector.NewRasterizer(w, h)}
		for x := -every / 2; x < w+every; x += every {
			q.points = append(q.points, point{float32(x), float32(at(x))})
		}
		q.stroke(thick, color.NRGBA{255, 0, 0, 255})
		for x := range w {
			ink, sum := 0.0, 0.0
			for y := range h {
				a := float64(q.img.RGBAAt(x, y).A) / 255
				ink, sum = ink+a, sum+a*(float64(y)+0.5)
			}
			column(x, ink, sum/ink)
		}
	}
	slope := 0.4
	straight := func(x float64) float64 { return 20 + slope*x }
	paint(4*w, straight, func(x int, ink, middle float64) {
		require.InDelta(t, thick*math.Sqrt(1+slope*slope), ink, 0.1, "column %d", x)
		require.InDelta(t, straight(float64(x)+0.5), middle, 0.1, "column %d", x)
	})
	bent := func(x float64) float64 { return h/2 + 80*math.Sin(x/35) }
	paint(6, bent, func(x int, _, middle float64) {
		require.InDelta(t, bent(float64(x)+0.5), middle, 0.8, "column %d", x)
	})
}

func TestHoverReadsTheNearestValue(t *testing.T) {
	p := New()
	p.SetSmoothing(0)
	p.XTitle = "step"
	p.Set(Series{Name: "a", X: []float64{0, 50, 100}, Y: []float64{1, 7.25, 3}})
	shown(t, p, 500, 300)
	area := p.rend.area()
	pos := fyne.NewPos(area.pos.X+area.size.Width*0.52, area.pos.Y+20)
	p.MouseMoved(&desktop.MouseEvent{PointEvent: fyne.PointEvent{Position: pos}})
	require.Equal(t, "step 50", p.rend.info[0].Text)
	require.Equal(t, "a  7.250", p.rend.info[1].Text)
	n := len(p.rend.objects)
	p.MouseOut()
	require.Less(t, len(p.rend.objects), n)
}

func TestDegenerateData(t *testing.T) {
	nan := math.NaN()
	for name, s := range map[string]Series{
		"empty": {}, "one": {X: []float64{3}, Y: []float64{2}}, "nan": {X: []float64{1, 2}, Y: []float64{nan, nan}},
		"constant": {X: []float64{1, 2}, Y: []float64{5, 5}}, "huge": {X: []float64{1, 2}, Y: []float64{1e300, -1e300}},
		"same x": {X: []float64{1, 1}, Y: []float64{5, 6}},
	} {
		t.Run(name, func(t *testing.T) {
			p := New()
			s.Name = name
			p.Set(s)
			shown(t, p, 300, 200)
			for _, log := range []bool{false, true} {
				p.SetLog(log)
				require.NotNil(t, p.rend.paint.draw(p, 300, 200))
			}
		})
	}
}

// The first value of a training is shown as a dot in the middle, also where smoothing has changed its last bit.
func TestOneValueIsShown(t *testing.T) {
	for _, y := range []float64{0.114, 0.163, 7e-9, 0} {
		for _, beta := range []float64{0, 0.9, 0.97} {
			p := New()
			p.SetSmoothing(beta)
			p.Set(Series{Name: "a", X: []float64{25}, Y: []float64{y}})
			p.SetLog(y > 0)
			shown(t, p, 300, 200)
			v := p.computeView()
			require.Greater(t, v.y1-v.y0, 1e-7, "%v %v", y, beta)
			img := p.rend.paint.draw(p, 300, 200).(*image.RGBA)
			require.Greater(t, img.RGBAAt(150, 100).A, uint8(200), "%v %v", y, beta)
		}
	}
}

func TestTicks(t *testing.T) {
	var got []string
	for _, k := range linearTicks(0, 1, 5, Number) {
		got = append(got, k.label)
	}
	require.Equal(t, []string{"0", "0.2", "0.4", "0.6", "0.8", "1.0"}, got)
	got = nil
	for _, k := range logTicks(-3, 1, 6, Number) {
		got = append(got, k.label)
	}
	require.Equal(t, []string{"0.001", "0.01", "0.1", "1", "10"}, trimmed(got))
	require.Equal(t, "12.5k", Number(12_500, 500))
	require.Equal(t, "2:05 min", Duration(125, 1))
	require.Equal(t, "1:01 h", Duration(3660, 1))
	require.Nil(t, linearTicks(1, 1, 5, Number))
}

func trimmed(in []string) []string {
	for i, s := range in {
		if len(s) > 1 && s[0] == '0' {
			for s[len(s)-1] == '0' {
				s = s[:len(s)-1]
			}
		}
		if s == "1.0" || s == "10.0" {
			s = s[:len(s)-2]
		}
		in[i] = s
	}
	return in
}

func TestBarsAndHeat(t *testing.T) {
	test.NewTempApp(t)
	b := NewBars("low", "high")
	b.Set([]float64{1, 2, math.NaN(), 4}, []float64{4, 4, 4, 4}, []string{"0–0.25"})
	w := test.NewWindow(b)
	defer w.Close()
	w.Resize(fyne.NewSize(200, 120))
	b.MouseMoved(&desktop.MouseEvent{PointEvent: fyne.PointEvent{Position: fyne.NewPos(5, 50)}})
	require.Equal(t, "0–0.25   1.000   (4.000)", b.info.Text)
	require.True(t, b.keys[0].Hidden, "the value under the pointer takes the legend's place")
	b.MouseOut()
	b.Now, b.Before = "now", "before"
	b.Refresh()
	require.False(t, b.keys[0].Hidden || b.keys[1].Hidden)
	require.Equal(t, []string{"now", "before"}, []string{b.keys[0].Text, b.keys[1].Text})
	require.Equal(t, []string{"4.0", "0.62"}, []string{b.top.Text, b.bottom.Text}, "the ends of the axis")
	require.Positive(t, b.raster.Position().X, "which has room of its own")
	img := b.draw(80, 40).(*image.RGBA)
	c := Color(0)
	require.Equal(t, c.B, img.RGBAAt(69, 10).B) // the highest bar reaches up
	require.NotEqual(t, c.B, img.RGBAAt(9, 10).B)
	h := NewHeat("low", "high")
	h.Worse, h.Better = "worst", "best"
	h.Set([][]float64{{8, 1}, {4, 1}, {1, 1}}, []float64{10, 20, 30})
	hw := test.NewWindow(h)
	defer hw.Close()
	hw.Resize(fyne.NewSize(300, 120))
	require.Equal(t, []string{"10", "30"}, []string{h.from.Text, h.to.Text}, "the ends of the time")
	require.True(t, h.bar.Visible() && h.worse.Text == "worst" && h.better.Text == "best")
	at, size := h.raster.Position(), h.raster.Size()
	h.MouseMoved(&desktop.MouseEvent{PointEvent: fyne.PointEvent{Position: at.AddXY(size.Width/2, size.Height-2)}})
	require.Equal(t, "20   0–0.50   4.000", h.info.Text, "the moment, the noise and the loss under the pointer")
	require.False(t, h.bar.Visible())
	h.MouseOut()
	require.True(t, h.bar.Visible())
	pic := h.draw(3, 2).(*image.RGBA)
	require.Equal(t, heatColor(0), pic.RGBAAt(0, 1))
	require.Equal(t, heatColor(1), pic.RGBAAt(2, 1))
}

// Redrawing costs as much for a million points as for ten thousand: what it costs is the pixels.
func BenchmarkRedraw(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			xs, ys := make([]float64, n), make([]float64, n)
			r := rand.New(rand.NewPCG(1, 1))
			for i := range xs {
				x := float64(i) / float64(n)
				xs[i], ys[i] = float64(i), math.Exp(-5*x)+0.1*r.NormFloat64()
			}
			p := New()
			p.Set(Series{Name: "loss", X: xs, Y: ys})
			shown(b, p, 1000, 400)
			b.ReportAllocs()
			for b.Loop() {
				p.rend.rebuild()
				p.rend.paint.draw(p, 1000, 400)
			}
		})
	}
}
