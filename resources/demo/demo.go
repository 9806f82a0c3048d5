// Package demo draws Unnoise's built-in dataset: little planets, mushrooms, fish and gems, 32 × 32 pixels in colour. All of it is computed from a
// seed, so the program has something to learn from on a machine that has no pictures and no network.
package demo

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// Size is the width and height of a picture in pixels.
const Size = 32

const supersample = 4

// classes in the order of their folders, with the function that draws one of each.
var classes = []struct {
	name string
	draw func(r *rand.Rand) func(x, y float64) rgb
}{
	{"fish", fish},
	{"gem", gem},
	{"mushroom", mushroom},
	{"planet", planet},
}

// Classes gives the names of the classes, sorted.
func Classes() []string {
	out := make([]string, len(classes))
	for i, c := range classes {
		out[i] = c.name
	}
	return out
}

// Draw draws picture number index of a class (0…3, see [Classes]). The same arguments give the same picture, whatever
// the number of pictures.
func Draw(class, index int, seed uint64) *image.RGBA {
	return paint(Size, supersample, classes[class].draw(stream(seed, uint64(class), uint64(index))))
}

func stream(seed, class, index uint64) *rand.Rand {
	var key [32]byte
	copy(key[:], "demo/1")
	binary.LittleEndian.PutUint64(key[8:], seed)
	binary.LittleEndian.PutUint64(key[16:], class)
	binary.LittleEndian.PutUint64(key[24:], index)
	return rand.New(rand.NewChaCha8(key))
}

// Write draws n pictures, the classes in turn, as PNG files into one folder per class below dir. Files that are there already are
// replaced. It takes a few milliseconds a picture.
func Write(ctx context.Context, dir string, n int, seed uint64) error {
	for _, c := range classes {
		if err := os.MkdirAll(filepath.Join(dir, c.name), 0o755); err != nil {
			return fmt.Errorf("make the demo's folder: %w", err)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range n {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			class, index := i%len(classes), i/len(classes)
			name := fmt.Sprintf("%s-%04d.png", classes[class].name, index)
			return writePNG(filepath.Join(dir, classes[class].name, name), Draw(class, index, seed))
		})
	}
	return g.Wait()
}

func writePNG(path string, img image.Image) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write the demo's pictures: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := png.Encode(f, img); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// light falls from the upper left, a little from the front.
var light = [3]float64{-0.53, -0.60, 0.60}

// planet is a shaded ball with bands of cloud, half of the time with a ring, in the dark.
func planet(r *rand.Rand) func(x, y float64) rgb {
	hue := r.Float64()
	base := lch(between(r, 0.66, 0.78), 0.15, hue)
	band := lch(between(r, 0.80, 0.92), 0.09, hue+between(r, 0.05, 0.16))
	air := lch(0.75, 0.12, hue+0.05)
	ringed := r.IntN(2) == 0
	radius := between(r, 0.58, 0.70)
	if ringed {
		radius = between(r, 0.46, 0.52)
	}
	cx, cy := between(r, -0.05, 0.05), between(r, -0.05, 0.05)
	tilt := between(r, -0.5, 0.5)
	freq, phase, warp := between(r, 5, 9), between(r, 0, 6.28), between(r, 0, 0.25)
	night := lch(0.22, 0.06, 0.76)
	dusk := lch(0.32, 0.09, between(r, 0.74, 0.86))
	ring := band.mix(rgb{1, 1, 1}, 0.25)
	return func(x, y float64) rgb {
		c := night.mix(dusk, clamp(0.5+0.4*x+0.45*y))
		x, y = x-cx, y-cy
		u, v := turn(x, y, -tilt)
		d := math.Hypot(x, y) - radius
		c = c.mix(air, 0.5*math.Exp(-max(d, 0)/0.10)) // a glow of atmosphere
		inRing := 0.0
		if ringed {
			k := math.Hypot(u, v/0.30) / radius
			inRing = smooth(1.30, 1.36, k) * (1 - smooth(1.80, 1.86, k))
			inRing *= 0.92 - 0.5*math.Exp(-square((k-1.57)/0.04))
			if v < 0 {
				c = c.mix(ring.scale(0.70+0.30*smooth(-0.30*radius, 0, v)), inRing)
			}
		}
		if d < 0.02 {
			nx, ny := x/radius, y/radius
			nz := math.Sqrt(max(0, 1-nx*nx-ny*ny))
			lit := nx*light[0] + ny*light[1] + nz*light[2]
			s := 0.5 + 0.5*math.Sin(freq*(v/radius+warp*math.Sin(3*u/radius+phase))+phase)
			surface := base.mix(band, smooth(0.35, 0.75, s))
			ball := surface.scale(0.07 + 1.0*smooth(-0.25, 1.0, lit))
			ball = ball.mix(air, 0.35*square(1-nz)*smooth(-0.3, 0.5, lit))
			ball = ball.mix(rgb{1, 1, 1}, 0.45*smooth(0.90, 1.0, lit))
			if ringed { // the ring's shadow
				ball = ball.scale(1 - 0.35*inside(math.Abs(v-0.10*radius)-0.05))
			}
			c = c.mix(ball, inside(d))
		}
		if ringed && v >= 0 {
			c = c.mix(ring, inRing)
		}
		return c
	}
}

// mushroom is a spotted cap on a pale stem on a green mound.
func mushroom(r *rand.Rand) func(x, y float64) rgb {
	hues := []float64{0.075, 0.055, 0.125, 0.97, 0.88, 0.80, 0.70} // red, …, orange, pink, purple, blue
	hue := hues[r.IntN(len(hues))] + between(r, -0.012, 0.012)
	cap1, cap2 := lch(between(r, 0.60, 0.68), 0.20, hue), lch(0.40, 0.15, hue-0.03)
	cream, shade := lch(0.96, 0.03, 0.22), lch(0.74, 0.06, 0.17)
	sky, haze := lch(0.88, 0.06, between(r, 0.45, 0.62)), lch(0.97, 0.03, 0.25)
	grass, deep := lch(0.74, 0.17, 0.37), lch(0.50, 0.13, 0.39)
	rx, ry := between(r, 0.66, 0.82), between(r, 0.60, 0.76)
	stem := between(r, 0.19, 0.27)
	rim := between(r, -0.02, 0.10)
	lean := between(r, -0.08, 0.08)
	type spot struct{ x, y, s float64 }
	var spots []spot
	for _, p := range []point{{-0.42, -0.28}, {0.08, -0.62}, {0.46, -0.24}, {0.0, -0.20}} {
		spots = append(spots, spot{p.x + between(r, -0.06, 0.06), p.y + between(r, -0.05, 0.05), between(r, 0.11, 0.17)})
	}
	return func(x, y float64) rgb {
		c := sky.mix(haze, smooth(-1, 0.7, y))
		mound := ellipse(x, y-1.30, 1.9, 0.72)
		c = c.mix(grass.mix(deep, smooth(0.60, 1.15, y)), inside(mound))
		c = c.mix(deep.scale(0.7), 0.6*(1-smooth(0.5, 1.15, math.Hypot((x-0.10)/0.52, (y-0.80)/0.12)))) // its shadow
		x -= lean * (0.8 - y) * 0.5
		// The stem widens at its foot.
		w := stem * (1 + 0.35*smooth(0.2, 0.8, y))
		bottom := 0.74 + 0.06*math.Sqrt(max(0, 1-(x/w)*(x/w)))
		if d := max(math.Abs(x)-w, y-bottom, rim-0.1-y); d < 0.02 {
			s := cream.mix(shade, smooth(-0.3, 1, x/w))
			s = s.mix(shade.scale(0.75), 0.8*(1-smooth(rim, rim+0.28, y)))
			c = c.mix(s, inside(d))
		}
		// The cap: the upper part of an ellipse over a curved rim.
		brim := rim + 0.13*math.Sqrt(max(0, 1-(x/rx)*(x/rx)))
		d := ellipse(x, y-rim, rx, ry)
		if y > rim {
			d = ellipse(x, y-rim, rx, 0.13)
		}
		if d < 0.02 {
			nx, ny := x/rx, (y-rim)/ry
			nz := math.Sqrt(max(0, 1-nx*nx-ny*ny))
			lit := nx*light[0] + ny*light[1] + nz*light[2]
			s := cap2.mix(cap1, smooth(-0.35, 0.75, lit))
			for _, p := range spots {
				px, py := (nx-p.x)/p.s/(0.75+0.25*nz), (ny-p.y)/p.s/0.95
				s = s.mix(cream.scale(0.80+0.2*clamp(lit)), inside((math.Hypot(px, py)-1)*p.s*rx))
			}
			s = s.mix(rgb{1, 1, 1}, 0.40*smooth(0.90, 1.0, lit))
			s = s.mix(cap2.scale(0.6), 0.6*smooth(brim-0.10, brim, y))
			c = c.mix(s, inside(d))
		}
		return c
	}
}

// fish is a striped fish in blue water, looking left or right.
func fish(r *rand.Rand) func(x, y float64) rgb {
	hues := []float64{0.16, 0.12, 0.24, 0.05, 0.97, 0.86} // orange, …, yellow, red, pink, purple
	hue := hues[r.IntN(len(hues))] + between(r, -0.015, 0.015)
	back, belly := lch(between(r, 0.68, 0.76), 0.18, hue), lch(0.93, 0.07, hue+0.04)
	fin := lch(0.62, 0.19, hue-0.04)
	stripe := lch(0.97, 0.02, hue)
	if r.IntN(2) == 0 {
		stripe = lch(0.38, 0.12, hue+between(r, 0.30, 0.55))
	}
	top, bottom := lch(between(r, 0.78, 0.86), 0.10, between(r, 0.53, 0.60)), lch(0.47, 0.12, between(r, 0.62, 0.69))
	look := float64(1 - 2*r.IntN(2))
	rx, ry := between(r, 0.52, 0.60), between(r, 0.34, 0.46)
	tilt := between(r, -0.12, 0.12)
	tail := between(r, 0.30, 0.42)
	stripes := 1 + r.IntN(2)
	cx, cy := between(r, -0.03, 0.03), between(r, -0.05, 0.05)
	return func(x, y float64) rgb {
		c := top.mix(bottom, smooth(-1.1, 1.1, y+0.15*x))
		x, y = turn((x-cx)*look/1.12, (y-cy)/1.12, tilt)
		x -= 0.16 // the body lies in front of the middle, the tail behind
		// Tail and fins.
		lobe := math.Abs(y) - tail*smooth(-0.28, -0.96, x) - 0.03
		notch := -0.90 + 0.20*(1-math.Abs(y)/tail)
		d := max(lobe, x+0.36, notch-x)
		c = c.mix(fin.mix(back, smooth(-1.0, -0.4, x)), inside(d))
		dorsal := triangle(x, y, point{-0.38, -0.5 * ry}, point{0.30, -0.6 * ry}, point{-0.30, -ry - 0.24})
		ventral := triangle(x, y, point{-0.15, 0.6 * ry}, point{0.22, 0.6 * ry}, point{-0.20, ry + 0.18})
		c = c.mix(fin, inside(min(dorsal, ventral)))
		// The body.
		d = ellipse(x, y, rx, ry)
		if d < 0.02 {
			nx, ny := x/rx, y/ry
			nz := math.Sqrt(max(0, 1-nx*nx-ny*ny))
			s := back.mix(belly, smooth(-0.05, 0.75, ny))
			for k := range stripes {
				at := 0.10 - 0.52*float64(k)
				s = s.mix(stripe, inside(math.Abs(nx-at+0.16*ny*ny)-0.10))
			}
			lit := 0.35 + 0.65*nz - 0.25*ny
			s = s.scale(0.50 + 0.55*clamp(lit))
			c = c.mix(s, inside(d))
			// The eye.
			ex, ey := x-0.58*rx, y+0.16*ry
			c = c.mix(rgb{1, 1, 1}, inside(math.Hypot(ex, ey)-0.115))
			c = c.mix(rgb{0.01, 0.01, 0.03}, inside(math.Hypot(ex-0.02, ey)-0.072))
		}
		// A fin on the side.
		side := triangle(x, y, point{0.02, 0.05}, point{-0.22, 0.02}, point{-0.19, 0.23})
		return c.mix(fin.scale(0.9), inside(side-0.02))
	}
}

// gem is a cut stone in the colour of its kind.
func gem(r *rand.Rand) func(x, y float64) rgb {
	hues := []float64{0.07, 0.17, 0.40, 0.54, 0.70, 0.83, 0.97} // ruby, topaz, emerald, aquamarine, sapphire, amethyst, tourmaline
	hue := hues[r.IntN(len(hues))] + between(r, -0.015, 0.015)
	tone := func(b float64) rgb {
		return lch(0.28+0.60*b, 0.19*(1-0.75*math.Pow(2*math.Abs(b-0.48), 2.2)), hue+0.03*(b-0.5))
	}
	warm := between(r, 0.10, 0.20)
	wall, floor := lch(0.93, 0.035, warm), lch(0.80, 0.05, warm-0.08)
	w, h := between(r, 0.72, 0.84), between(r, 0.66, 0.78)
	table := between(r, 0.52, 0.62) * w
	crown, girdle := -0.52+between(r, -0.04, 0.04), -0.16+between(r, -0.04, 0.04)
	in := 0.42 * w
	tilt := between(r, -0.14, 0.14)
	a, m, b := point{-table, crown}, point{0, crown}, point{table, crown}
	l, gl, gr, rr := point{-w, girdle}, point{-in, girdle}, point{in, girdle}, point{w, girdle}
	tip := point{0, h}
	j := func() float64 { return between(r, -0.05, 0.05) }
	facets := []struct {
		a, b, c point
		tone    float64
	}{
		{l, a, gl, 0.62 + j()},
		{a, m, gl, 0.92 + j()},
		{gl, m, gr, 0.74 + j()},
		{m, b, gr, 0.55 + j()},
		{b, rr, gr, 0.36 + j()},
		{l, gl, tip, 0.72 + j()},
		{gl, gr, tip, 0.48 + j()},
		{gr, rr, tip, 0.20 + j()},
	}
	glow := tone(0.75)
	return func(x, y float64) rgb {
		c := wall.mix(floor, smooth(-0.2, 1.0, y))
		c = c.mix(glow, 0.50*math.Exp(-square(x/0.55)-square((y-0.84)/0.16))) // coloured light on the ground
		x, y = turn(x, y, tilt)
		for _, f := range facets {
			d := triangle(x, y, f.a, f.b, f.c)
			if d > 0.02 {
				continue
			}
			s := tone(clamp(f.tone + 0.12*(-x-y)))
			s = s.mix(rgb{1, 1, 1}, 0.22*smooth(-0.035, 0, d)) // light on the edges
			c = c.mix(s, inside(d-0.008))
		}
		sx, sy := x-a.x*0.72, y-crown-0.12
		star := math.Exp(-math.Abs(sx)/0.035-math.Abs(sy)/0.16) + math.Exp(-math.Abs(sx)/0.16-math.Abs(sy)/0.035)
		return c.mix(rgb{1, 1, 1}, star)
	}
}
