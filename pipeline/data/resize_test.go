package data

import (
	"image"
	"image/color"
	"testing"

	"github.com/stretchr/testify/require"
)

// Pixel art that is brought to another size by its nearest pixels keeps its colours and no others; smoothly it does not.
func TestNearestKeepsHardPixels(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 33, 64))
	inks := []color.NRGBA{{0, 0, 0, 255}, {255, 40, 0, 255}, {20, 120, 255, 255}}
	for y := range 64 {
		for x := range 33 {
			img.SetNRGBA(x, y, inks[(x/3+y/5)%3])
		}
	}
	colours := func(pp Preprocess) map[color.NRGBA]bool {
		out := map[color.NRGBA]bool{}
		got := pp.render(img)
		require.Equal(t, image.Rect(0, 0, pp.Width, pp.Height), got.Rect)
		for y := range pp.Height {
			for x := range pp.Width {
				out[got.NRGBAAt(x, y)] = true
			}
		}
		return out
	}
	for _, fit := range []string{Crop, Fit, Stretch} {
		for _, size := range [][2]int{{16, 16}, {48, 20}, {70, 130}} {
			pp := Preprocess{Width: size[0], Height: size[1], Channels: 3, Fit: fit, Resize: Nearest}
			require.NoError(t, pp.Validate())
			for c := range colours(pp) {
				require.Contains(t, inks, c, "%s %v", fit, size)
			}
			pp.Resize = Smooth
			require.Greater(t, len(colours(pp)), 3)
		}
	}
	require.ErrorContains(t, Preprocess{Width: 8, Height: 8, Channels: 3, Resize: "cubic"}.Validate(), "choose smooth or nearest")
}
