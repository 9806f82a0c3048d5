package main

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/image/bmp"

	"unnoise/pipeline/data"
)

// Fyne registers decoders with Go's image package. This test has all that the program has, and holds that pictures are read by the
// decoders that pipeline/data names, alone.
func TestWhatIsLinkedDecodesNothingMore(t *testing.T) {
	var small, large bytes.Buffer
	require.NoError(t, png.Encode(&small, image.NewGray(image.Rect(0, 0, 16, 16))))
	require.NoError(t, png.Encode(&large, image.NewGray(image.Rect(0, 0, 300, 300))))
	le := binary.LittleEndian
	ico := []byte{0, 0, 1, 0, 2, 0}
	at := 6 + 2*16
	for _, part := range [][]byte{small.Bytes(), large.Bytes()} {
		ico = append(ico, 16, 16, 0, 0, 1, 0, 32, 0)
		ico = le.AppendUint32(le.AppendUint32(ico, uint32(len(part))), uint32(at))
		at += len(part)
	}
	ico = append(append(ico, small.Bytes()...), large.Bytes()...)
	_, format, err := image.DecodeConfig(bytes.NewReader(ico))
	require.NoError(t, err, "the window's library has an ICO decoder registered: else this test is vain")
	require.Equal(t, "ico", format)

	opaque := image.NewRGBA(image.Rect(0, 0, 16, 16))
	for i := range opaque.Pix {
		opaque.Pix[i] = 255
	}
	opaque.SetRGBA(3, 3, color.RGBA{R: 200, A: 255})
	var deep bytes.Buffer
	require.NoError(t, bmp.Encode(&deep, opaque)) // 24 bits
	require.EqualValues(t, 24, le.Uint16(deep.Bytes()[28:]))

	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.png"), ico, 0o666))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "b.bmp"), deep.Bytes(), 0o666))
	rep, err := data.Scan(t.Context(), dir, nil)
	require.NoError(t, err)
	require.Len(t, rep.Bad, 1)
	require.Contains(t, rep.Bad[0].Reason, "kind that cannot be read (ICO)")
	require.Len(t, rep.Items, 1)
	require.Equal(t, "bmp", rep.Items[0].Format)
	require.Equal(t, 3, rep.Items[0].Channels)
}
