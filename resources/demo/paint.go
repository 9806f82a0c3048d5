package demo

import (
	"image"
	"math"
	"math/rand/v2"
)

// rgb is a colour in linear light, 0…1 a channel. Light adds up linearly, so shading and anti-aliasing happen here and the
// sRGB curve is applied last.
type rgb struct{ r, g, b float64 }

func (a rgb) mix(b rgb, t float64) rgb {
	t = clamp(t)
	return rgb{a.r + t*(b.r-a.r), a.g + t*(b.g-a.g), a.b + t*(b.b-a.b)}
}

func (a rgb) scale(k float64) rgb { return rgb{a.r * k, a.g * k, a.b * k} }

// lch is the colour of lightness l (0…1), chroma c (0…0.3) and hue h (turns) in Oklab, where equal steps look equal.
// B. Ottosson, "A perceptual color space for image processing" (2020).
func lch(l, c, h float64) rgb {
	a, b := c*math.Cos(2*math.Pi*h), c*math.Sin(2*math.Pi*h)
	cube := func(v float64) float64 { return v * v * v }
	x, y, z := cube(l+0.3963377774*a+0.2158037573*b), cube(l-0.1055613458*a-0.0638541728*b), cube(l-0.0894841775*a-1.2914855480*b)
	return rgb{
		clamp(4.0767416621*x - 3.3077115913*y + 0.2309699292*z),
		clamp(-1.2684380046*x + 2.6097574011*y - 0.3413193965*z),
		clamp(-0.0041960863*x - 0.7034186147*y + 1.7076147010*z),
	}
}

func clamp(v float64) float64 { return min(max(v, 0), 1) }

func square(v float64) float64 { return v * v }

// smooth is the Hermite step from 0 at a to 1 at b.
func smooth(a, b, x float64) float64 {
	t := clamp((x - a) / (b - a))
	return t * t * (3 - 2*t)
}

// inside is 1 where the distance d to an outline is negative, 0 where it is positive, and soft over about half a pixel.
func inside(d float64) float64 { return 1 - smooth(-0.016, 0.016, d) }

// ellipse is about the signed distance from (x, y) to an ellipse around the origin.
func ellipse(x, y, rx, ry float64) float64 {
	k := math.Hypot(x/rx, y/ry)
	g := math.Hypot(x/(rx*rx), y/(ry*ry))
	if g == 0 {
		return -min(rx, ry)
	}
	return k * (k - 1) / g
}

type point struct{ x, y float64 }

// triangle is the signed distance to the lines of a triangle, exact inside.
func triangle(x, y float64, a, b, c point) float64 {
	if (b.x-a.x)*(c.y-a.y)-(b.y-a.y)*(c.x-a.x) < 0 {
		b, c = c, b
	}
	edge := func(p, q point) float64 {
		dx, dy := q.x-p.x, q.y-p.y
		return (dy*(x-p.x) - dx*(y-p.y)) / math.Hypot(dx, dy)
	}
	return max(edge(a, b), edge(b, c), edge(c, a))
}

// turn rotates (x, y) by a radians.
func turn(x, y, a float64) (u, v float64) {
	s, c := math.Sincos(a)
	return x*c - y*s, x*s + y*c
}

// between draws from [lo, hi).
func between(r *rand.Rand, lo, hi float64) float64 { return lo + (hi-lo)*r.Float64() }

// paint renders a picture of side × side pixels from its colour at every point of [-1, 1]² (y downwards), with
// over × over samples a pixel.
func paint(side, over int, at func(x, y float64) rgb) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, side, side))
	step := 2 / float64(side*over)
	for py := range side {
		for px := range side {
			var sum rgb
			for sy := range over {
				for sx := range over {
					c := at((float64(px*over+sx)+0.5)*step-1, (float64(py*over+sy)+0.5)*step-1)
					sum.r, sum.g, sum.b = sum.r+clamp(c.r), sum.g+clamp(c.g), sum.b+clamp(c.b)
				}
			}
			sum = sum.scale(1 / float64(over*over))
			p := img.Pix[img.PixOffset(px, py):][:4]
			p[0], p[1], p[2], p[3] = encode(sum.r), encode(sum.g), encode(sum.b), 255
		}
	}
	return img
}

// encode applies the sRGB curve (IEC 61966-2-1) and rounds to 8 bits.
func encode(v float64) uint8 {
	if v <= 0.0031308 {
		v *= 12.92
	} else {
		v = 1.055*math.Pow(v, 1/2.4) - 0.055
	}
	return uint8(255*clamp(v) + 0.5)
}
