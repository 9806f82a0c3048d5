package demo

import (
	"context"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDrawIsDeterministicAndVaried(t *testing.T) {
	seen := map[string]bool{}
	for class := range Classes() {
		for index := range 20 {
			img := Draw(class, index, 1)
			require.Equal(t, image.Rect(0, 0, Size, Size), img.Rect)
			require.True(t, img.Opaque())
			require.Equal(t, img.Pix, Draw(class, index, 1).Pix)
			require.False(t, seen[string(img.Pix)], "no two are the same")
			seen[string(img.Pix)] = true
		}
		require.NotEqual(t, Draw(class, 0, 1).Pix, Draw(class, 0, 2).Pix)
	}
}

// The subject has to stand out: the middle differs from the border, in every class.
func TestSubjectsStandOut(t *testing.T) {
	for class, name := range Classes() {
		for index := range 10 {
			img := Draw(class, index, 3)
			mean := func(in func(x, y int) bool) (m [3]float64) {
				n := 0.0
				for y := range Size {
					for x := range Size {
						if in(x, y) {
							c := img.RGBAAt(x, y)
							m[0], m[1], m[2], n = m[0]+float64(c.R), m[1]+float64(c.G), m[2]+float64(c.B), n+1
						}
					}
				}
				return [3]float64{m[0] / n, m[1] / n, m[2] / n}
			}
			border := mean(func(x, y int) bool { return x < 2 || y < 2 || x >= Size-2 || y >= Size-2 })
			middle := mean(func(x, y int) bool { return max(abs(x-16), abs(y-14)) < 7 })
			far := 0.0
			for c := range 3 {
				far = max(far, middle[c]-border[c], border[c]-middle[c])
			}
			require.Greater(t, far, 25.0, "%s %d", name, index)
		}
	}
}

func abs(v int) int { return max(v, -v) }

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, Write(t.Context(), dir, 10, 1))
	var files []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			files = append(files, filepath.ToSlash(rel))
		}
		return err
	}))
	slices.Sort(files)
	require.Equal(t, []string{
		"fish/fish-0000.png", "fish/fish-0001.png", "fish/fish-0002.png",
		"gem/gem-0000.png", "gem/gem-0001.png", "gem/gem-0002.png",
		"mushroom/mushroom-0000.png", "mushroom/mushroom-0001.png",
		"planet/planet-0000.png", "planet/planet-0001.png",
	}, files)
	f, err := os.Open(filepath.Join(dir, "gem/gem-0002.png"))
	require.NoError(t, err)
	defer f.Close()
	img, err := png.Decode(f)
	require.NoError(t, err)
	require.Equal(t, Draw(1, 2, 1).Pix, img.(*image.RGBA).Pix)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, Write(ctx, t.TempDir(), 100, 1), context.Canceled)
	blocked := filepath.Join(dir, "gem/gem-0000.png")
	require.Error(t, Write(t.Context(), blocked, 1, 1))
}

// Colours of the sRGB primaries in Oklab, from the source cited at lch.
func TestOklab(t *testing.T) {
	tests := []struct {
		l, c, h float64
		want    color.RGBA
	}{
		{1, 0, 0, color.RGBA{255, 255, 255, 255}},
		{0, 0, 0, color.RGBA{0, 0, 0, 255}},
		{0.62796, 0.25768, 29.234 / 360, color.RGBA{255, 0, 0, 255}},
		{0.86644, 0.29483, 142.495 / 360, color.RGBA{0, 255, 0, 255}},
		{0.45201, 0.31321, 264.052 / 360, color.RGBA{0, 0, 255, 255}},
	}
	for _, tt := range tests {
		c := lch(tt.l, tt.c, tt.h)
		require.InDelta(t, tt.want.R, encode(c.r), 1)
		require.InDelta(t, tt.want.G, encode(c.g), 1)
		require.InDelta(t, tt.want.B, encode(c.b), 1)
	}
}
