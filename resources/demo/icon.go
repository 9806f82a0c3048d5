package demo

import (
	"image"
	"math"
)

// iconPlanet is the number of the planet on the icon: a ringed one in warm colours.
const iconPlanet = 23

// Icon draws the program's icon, side × side pixels: on the left noise, out of which a planet of the demo dataset appears.
func Icon(side int) *image.NRGBA {
	const cells = 16
	r := stream(0, 0, 7)
	var noise [cells][cells]rgb
	for y := range cells {
		for x := range cells {
			noise[y][x] = lch(between(r, 0.30, 0.85), between(r, 0.08, 0.20), between(r, 0.50, 1.22))
		}
	}
	world := planet(stream(0, 0, iconPlanet))
	img := paint(side, 4, func(x, y float64) rgb {
		i, j := int((x+1)/2*cells), int((y+1)/2*cells)
		cx, cy := (float64(i)+0.5)/cells*2-1, (float64(j)+0.5)/cells*2-1
		level := smooth(0.22, -0.95, cx+0.22*cy) // of noise, one for each cell
		clear := world(x, y)
		cell := world(cx, cy).mix(noise[j][i], level)
		// Cells with little noise let the clear picture through.
		return cell.mix(clear, 1-smooth(0, 0.30, level))
	})
	out := image.NewNRGBA(img.Rect)
	copy(out.Pix, img.Pix)
	for py := range side {
		for px := range side {
			x, y := math.Abs(2*(float64(px)+0.5)/float64(side)-1), math.Abs(2*(float64(py)+0.5)/float64(side)-1)
			const margin, round = 0.03, 0.40
			qx, qy := x-(1-margin-round), y-(1-margin-round)
			d := math.Hypot(max(qx, 0), max(qy, 0)) + min(max(qx, qy), 0) - round
			out.Pix[out.PixOffset(px, py)+3] = uint8(255*clamp(0.5-d*float64(side)/2) + 0.5)
		}
	}
	return out
}
