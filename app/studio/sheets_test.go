package studio

import (
	"image"
	"image/color"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/app/thumbs"
	"unnoise/pipeline/picture"
	"unnoise/pipeline/train"
)

// A sheet on show has nothing between its pictures, and where it has classes, each column is of one.
func TestSheetsOnShow(t *testing.T) {
	names := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q"}
	for _, c := range []struct{ n, classes, cols int }{
		{16, 0, 4}, {16, 1, 4}, {16, 2, 4}, {16, 3, 6}, {16, 4, 4}, {16, 5, 5}, {16, 10, 10}, {64, 3, 9}, {64, 17, 8}, {5, 6, 3}, {1, 0, 1},
	} {
		const w, h, gap = 3, 2, train.GridSpacing
		shade := func(i int) color.RGBA { return color.RGBA{R: uint8(i), G: 7, B: 9, A: 255} }
		file, err := picture.Grid(t.Context(), picture.Frames{N: c.n, At: func(i int) (image.Image, error) {
			m := image.NewRGBA(image.Rect(0, 0, w, h))
			for k := range w * h {
				m.SetRGBA(k%w, k/w, shade(i))
			}
			return m, nil
		}}, picture.GridOptions{Spacing: gap})
		require.NoError(t, err)
		meta := picture.Meta{Count: c.n, Width: w, Height: h}
		img, err := laidOut(t.Context(), file, meta, c.classes)
		require.NoError(t, err)
		got, cols := thumbs.ToRGBA(img), sheetColumns(c.n, c.classes)
		require.Equal(t, c.cols, cols, c)
		require.Equal(t, cols*(w+gap)+gap, got.Rect.Dx())
		pictures := 0
		for y := range got.Rect.Dy() {
			for x := range got.Rect.Dx() {
				cx, cy, i := x-gap, y-gap, 0
				inside := cx >= 0 && cy >= 0 && cx%(w+gap) < w && cy%(h+gap) < h
				if inside {
					i = cy/(h+gap)*cols + cx/(w+gap)
				}
				if !inside || i >= c.n {
					require.Zero(t, got.RGBAAt(x, y), "%v: nothing at %d, %d", c, x, y)
					continue
				}
				pictures++
				require.Equal(t, shade(i), got.RGBAAt(x, y))
			}
		}
		require.Equal(t, c.n*w*h, pictures, "each picture is there")

		heads := columnClasses(c.n, names[:c.classes])
		if c.classes < 2 || c.cols%c.classes != 0 {
			require.Empty(t, heads)
			continue
		}
		require.Len(t, heads, cols)
		for i := range c.n {
			require.Equal(t, names[i%c.classes], heads[i%cols], "picture %d of %v", i, c)
		}
	}

	// What is not laid out so is shown as it is, whatever it says of itself.
	odd := image.NewRGBA(image.Rect(0, 0, 14, 14))
	for _, m := range []picture.Meta{
		{}, {Count: 4, Width: 5, Height: 4}, {Count: -1, Width: 1, Height: 1}, {Count: 1 << 62, Width: 1 << 62, Height: 1 << 62}, {Count: 4, Width: -3, Height: 4},
	} {
		img, err := laidOut(t.Context(), odd, m, 3)
		require.NoError(t, err)
		require.Same(t, odd, img)
	}
}

// Squares lie under what is transparent; an opaque picture is left as it is, and no square hides what is solid.
func TestSquaresUnderTransparency(t *testing.T) {
	solid := image.NewNRGBA(image.Rect(0, 0, 24, 12))
	for i := range solid.Pix {
		solid.Pix[i] = 255
	}
	require.Same(t, solid, checkered(solid), "it costs nothing")

	red := color.NRGBA{R: 255, A: 255}
	m := image.NewNRGBA(image.Rect(5, 5, 29, 17)) // 24 × 12, so squares of 2 × 2
	for y := 5; y < 17; y++ {
		m.SetNRGBA(6, y, red)
	}
	got := thumbs.ToRGBA(checkered(m))
	require.Equal(t, image.Rect(0, 0, 24, 12), got.Rect)
	gray := color.RGBAModel.Convert(color.NRGBA{R: 0x80, G: 0x80, B: 0x80, A: 0x60})
	for y := range 12 {
		for x := range 24 {
			want := color.Color(color.RGBA{})
			switch {
			case x == 1:
				want = color.RGBAModel.Convert(red)
			case (x/2+y/2)%2 == 0:
				want = gray
			}
			require.Equal(t, want, color.Color(got.RGBAAt(x, y)), "at %d, %d", x, y)
		}
	}
	large := checkered(image.NewNRGBA(image.Rect(0, 0, 3000, 10)))
	require.Equal(t, largestThumb, large.Bounds().Dx(), "of a large picture no copy of its size is made")
}
