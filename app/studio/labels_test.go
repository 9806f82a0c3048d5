package studio

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/app/fonts"
	"unnoise/pipeline/picture"
)

// Labels with Chinese letters are drawn with a font of the system, which tells the letters apart; without one all look alike.
func TestChineseLabels(t *testing.T) {
	none, err := labelFont([]string{"cat 1 #0", "naïve Ω ж"})
	require.NoError(t, err)
	require.Nil(t, none, "the built-in font has these")
	labels := []string{"猫", "狗"}
	if ok, err := fonts.Has("猫狗"); err != nil || !ok {
		t.Skip("no font with Chinese characters is installed")
	}
	font, err := labelFont(labels)
	require.NoError(t, err)
	require.NotNil(t, font)

	const side, below = 24, 16
	strips := func(o picture.GridOptions) (a, b []byte) {
		o.Labels, o.Columns = labels, 2
		blank := image.NewRGBA(image.Rect(0, 0, side, side))
		draw.Draw(blank, blank.Rect, image.NewUniform(color.White), image.Point{}, draw.Src)
		sheet, err := picture.Grid(t.Context(), picture.Frames{N: 2, At: func(int) (image.Image, error) { return blank, nil }}, o)
		require.NoError(t, err)
		strip := func(x int) (out []byte) {
			for y := side; y < side+below; y++ {
				out = append(out, sheet.Pix[sheet.PixOffset(x, y):sheet.PixOffset(x+side, y)]...)
			}
			return out
		}
		return strip(0), strip(side)
	}
	white := bytes.Repeat([]byte{255}, 4*side*below)
	a, b := strips(picture.GridOptions{Font: font})
	require.NotEqual(t, white, a)
	require.NotEqual(t, white, b)
	require.NotEqual(t, a, b)
	a, b = strips(picture.GridOptions{})
	require.Equal(t, a, b, "or the test shows nothing")
}
