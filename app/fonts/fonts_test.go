package fonts

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/image/font/sfnt"
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
