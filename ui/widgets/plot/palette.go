package plot

import (
	"image/color"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/theme"
)

// The series colours are those of Okabe and Ito, “Color Universal Design” (2008), which people with any of the common
// colour-vision deficiencies can tell apart; ordered for contrast on a light and on a dark background.
var (
	lightPalette = []color.NRGBA{
		{0x00, 0x72, 0xb2, 0xff},
		{0xd5, 0x5e, 0x00, 0xff},
		{0x00, 0x9e, 0x73, 0xff},
		{0xcc, 0x79, 0xa7, 0xff},
		{0xb8, 0x7f, 0x00, 0xff},
		{0x35, 0x94, 0xc9, 0xff},
		{0x55, 0x55, 0x55, 0xff},
	}
	darkPalette = []color.NRGBA{
		{0x56, 0xb4, 0xe9, 0xff},
		{0xf2, 0x8a, 0x30, 0xff},
		{0x1f, 0xc2, 0x94, 0xff},
		{0xe0, 0x93, 0xbe, 0xff},
		{0xf0, 0xe4, 0x42, 0xff},
		{0x5a, 0x8f, 0xf5, 0xff},
		{0xbb, 0xbb, 0xbb, 0xff},
	}
)

// Color returns the i-th series colour for the present theme variant.
func Color(i int) color.NRGBA {
	p := lightPalette
	if dark() {
		p = darkPalette
	}
	return p[((i%len(p))+len(p))%len(p)]
}

// dark tells a dark theme by its background, so that a forced variant counts too.
func dark() bool {
	r, g, b, _ := theme.Color(theme.ColorNameBackground).RGBA()
	return r+g+b < 3*0x8000
}

func themed(name fyne.ThemeColorName) color.NRGBA {
	return color.NRGBAModel.Convert(theme.Color(name)).(color.NRGBA)
}

func withAlpha(c color.NRGBA, a float64) color.NRGBA {
	c.A = uint8(float64(c.A)*a + 0.5)
	return c
}

// viridis are nine evenly spaced anchors of matplotlib's viridis colour map (CC0), perceptually even and colour-blind-safe.
var viridis = []color.NRGBA{
	{0x44, 0x01, 0x54, 0xff},
	{0x47, 0x2d, 0x7b, 0xff},
	{0x3b, 0x52, 0x8b, 0xff},
	{0x2c, 0x72, 0x8e, 0xff},
	{0x21, 0x91, 0x8c, 0xff},
	{0x28, 0xae, 0x80, 0xff},
	{0x5e, 0xc9, 0x62, 0xff},
	{0xad, 0xdc, 0x30, 0xff},
	{0xfd, 0xe7, 0x25, 0xff},
}

// Heat maps v in [0, 1] to the viridis colour map.
func heatColor(v float64) color.RGBA {
	if !(v > 0) {
		v = 0
	} else if v > 1 {
		v = 1
	}
	f := v * float64(len(viridis)-1)
	i := min(int(f), len(viridis)-2)
	f -= float64(i)
	a, b := viridis[i], viridis[i+1]
	mix := func(x, y uint8) uint8 { return uint8(float64(x)*(1-f) + float64(y)*f + 0.5) }
	return color.RGBA{mix(a.R, b.R), mix(a.G, b.G), mix(a.B, b.B), 0xff}
}
