package picture

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"unnoise/runtime/durable"
)

// withMeta is what EncodePNG writes, without the hash when bare.
func withMeta(t *testing.T, img image.Image, bare bool) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, EncodePNG(&b, img, &meta))
	if !bare {
		return b.Bytes()
	}
	var plain bytes.Buffer
	require.NoError(t, png.Encode(&plain, img))
	at := len(pngSignature) + 25
	old := appendChunk(nil, "iTXt", international("unnoise", `{"format":1,"run":"r","seed":3,"index":4}`))
	return append(append(bytes.Clone(plain.Bytes()[:at]), old...), plain.Bytes()[at:]...)
}

func TestVerifyTellsWholePicturesFromChangedOnes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.png")
	put := func(b []byte) (Meta, error) {
		require.NoError(t, os.WriteFile(path, b, 0o666))
		return Verify(path)
	}
	premultiplied := image.NewRGBA(image.Rect(0, 0, 9, 7))
	for i := range 63 {
		premultiplied.Set(i%9, i/9, color.NRGBA{uint8(5 * i), uint8(200 - i), 77, uint8(4 * i)})
	}
	kinds := map[string]image.Image{
		"gray": noise(t, 1, 9, 7, 1), "colour": noise(t, 3, 9, 7, 2), "alpha": noise(t, 4, 9, 7, 3),
		"a part":        noise(t, 4, 9, 7, 3).(*image.NRGBA).SubImage(image.Rect(2, 3, 8, 6)),
		"a part, gray":  noise(t, 1, 9, 7, 3).(*image.Gray).SubImage(image.Rect(2, 3, 8, 6)),
		"premultiplied": premultiplied,
		"palette":       image.NewPaletted(image.Rect(0, 0, 5, 5), color.Palette{color.NRGBA{1, 2, 3, 128}, color.White}),
		"deep":          image.NewNRGBA64(image.Rect(0, 0, 3, 3)),
	}
	for name, img := range kinds {
		m, err := put(withMeta(t, img, false))
		require.NoError(t, err, name)
		require.Equal(t, Digest(img), m.Pixels, name)
		m, err = put(withMeta(t, img, true))
		require.NoError(t, err, "%s: one without a hash is sound when it can be decoded", name)
		require.Empty(t, m.Pixels)
	}
	// Every single pixel counts, the last as much as the first, and so does the shape.
	img := noise(t, 3, 9, 7, 2).(*image.RGBA)
	was := Digest(img)
	for _, at := range []int{0, 4*31 + 2, len(img.Pix) - 2} {
		img.Pix[at] ^= 1
		require.NotEqual(t, was, Digest(img))
		img.Pix[at] ^= 1
	}
	require.Equal(t, was, Digest(img))
	require.NotEqual(t, Digest(image.NewGray(image.Rect(0, 0, 2, 8))), Digest(image.NewGray(image.Rect(0, 0, 8, 2))))

	// The same text over other pixels, as an editor that keeps texts would leave it.
	whole, other := withMeta(t, img, false), withMeta(t, noise(t, 3, 9, 7, 5), false)
	idat := func(b []byte) int { return bytes.Index(b, []byte("IDAT")) - 4 }
	_, err := put(append(bytes.Clone(whole[:idat(whole)]), other[idat(other):]...))
	require.ErrorIs(t, err, ErrChanged)
	require.ErrorContains(t, err, path)
	// Compressed in another way, it is the same picture.
	var better bytes.Buffer
	require.NoError(t, (&png.Encoder{CompressionLevel: png.NoCompression}).Encode(&better, img))
	_, err = put(append(bytes.Clone(whole[:idat(whole)]), better.Bytes()[idat(better.Bytes()):]...))
	require.NoError(t, err)
	// Cut short or with any byte of its pixels turned, it is not.
	_, err = put(whole[:len(whole)-20])
	require.Error(t, err)
	for at := idat(whole) + 8; at < len(whole)-16; at += 7 {
		bad := bytes.Clone(whole)
		bad[at] ^= 0x10
		_, err = put(bad)
		require.Error(t, err, at)
	}
	var plain bytes.Buffer
	require.NoError(t, png.Encode(&plain, img))
	_, err = put(plain.Bytes())
	require.ErrorIs(t, err, ErrNoMeta)
	_, err = Verify(t.TempDir())
	require.ErrorIs(t, err, durable.ErrNotRegular)

	require.NoError(t, os.Remove(path))
	// An animation's hash is of its first frame, which is what a PNG decoder sees.
	require.NoError(t, WriteAPNG(context.Background(), path, FramesOf(frames(t, 3, 5, 4, 3)), Animation{Delay: 100 * time.Millisecond}, &meta))
	m, err := Verify(path)
	require.NoError(t, err)
	require.Len(t, m.Pixels, 64)
	require.False(t, strings.ContainsAny(m.Pixels, "ABCDEF"))
}
