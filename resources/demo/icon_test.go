package demo

import (
	"bytes"
	"flag"
	"image"
	"image/png"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

const iconFile = "../appicon/unnoise.png"

var update = flag.Bool("update", false, "write the icon's file anew")

// The icon's file is what Icon draws: go test ./resources/demo -run Icon -update.
func TestIconFileIsWhatIsDrawn(t *testing.T) {
	want := Icon(512)
	if *update {
		var b bytes.Buffer
		require.NoError(t, (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, want))
		require.NoError(t, os.WriteFile(iconFile, b.Bytes(), 0o644))
	}
	f, err := os.Open(iconFile)
	require.NoError(t, err)
	defer f.Close()
	img, err := png.Decode(f)
	require.NoError(t, err)
	got, ok := img.(*image.NRGBA)
	require.True(t, ok)
	require.Equal(t, want.Rect, got.Rect)
	far := 0
	for i := range want.Pix {
		far = max(far, abs(int(want.Pix[i])-int(got.Pix[i])))
	}
	require.LessOrEqual(t, far, 3, "processors may round differently, not draw differently")
}
