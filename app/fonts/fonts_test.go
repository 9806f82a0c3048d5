package fonts

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
)

func TestCovering(t *testing.T) {
	const text = "猫咪 cat"
	ok, err := Has(text)
	require.NoError(t, err)
	f, err := Covering(text)
	require.NoError(t, err)
	if !ok {
		require.Nil(t, f)
		t.Skip("no font with Chinese characters is installed")
	}
	require.NotNil(t, f)
	var buf sfnt.Buffer
	for _, r := range text {
		i, err := f.GlyphIndex(&buf, r)
		require.NoError(t, err)
		require.NotZero(t, i, "%c", r)
	}
	none, err := Covering("\U0010fffd") // for private use: no font has it
	require.NoError(t, err)
	require.Nil(t, none)
}

// The faces are fonts of their own that have the letters, the heavy one with more ink.
func TestFaces(t *testing.T) {
	const text = "猫咪训练"
	regular, heavy, err := Faces(text)
	require.NoError(t, err)
	if regular == nil {
		t.Skip("no font with Chinese characters is installed")
	}
	ink := func(file []byte) (n int) {
		f, err := opentype.Parse(file)
		require.NoError(t, err)
		face, err := opentype.NewFace(f, &opentype.FaceOptions{Size: 64, DPI: 72})
		require.NoError(t, err)
		var buf sfnt.Buffer
		for _, r := range text {
			i, err := f.GlyphIndex(&buf, r)
			require.NoError(t, err)
			require.NotZero(t, i, "%c", r)
			_, mask, at, _, ok := face.Glyph(fixed.P(0, 64), r)
			require.True(t, ok)
			for y := range mask.Bounds().Dy() {
				for x := range mask.Bounds().Dx() {
					if _, _, _, a := mask.At(at.X+x, at.Y+y).RGBA(); a > 0x8000 {
						n++
					}
				}
			}
		}
		return n
	}
	thin := ink(regular)
	require.Positive(t, thin)
	if heavy != nil {
		require.Greater(t, ink(heavy), thin+thin/10)
	}
	none, _, err := Faces("\U0010fffd")
	require.NoError(t, err)
	require.Nil(t, none)
}

// A collection may lie about where its tables are.
func TestDamagedCollections(t *testing.T) {
	b := append([]byte("ttcf\x00\x01\x00\x00\x00\x00\x00\x01\x00\x00\x00\x10"), "\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00glyf\x00\x00\x00\x00\x00\x00\x00\x2c\x00\x00\x00\x03abc"...)
	out, ok := single(b, 0)
	require.True(t, ok)
	require.Equal(t, "abc\x00", string(out[28:]))
	for i := range b {
		for _, v := range []byte{0, 1, 0x7f, 0xff} {
			bad := append([]byte(nil), b...)
			bad[i] = v
			single(bad, 0) // must not panic
		}
		_, ok := single(b[:i], 0)
		require.False(t, ok, "cut at %d", i)
	}
	_, ok = single(b, 1)
	require.False(t, ok)
}
