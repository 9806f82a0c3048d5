package train

import (
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/pipeline/data"
	"unnoise/pipeline/memory"
	"unnoise/pipeline/model"
)

// A training that certainly needs more than there is is refused before it is tried, with the batch that would do.
func TestFits(t *testing.T) {
	spec := func(preset string, side int) model.Spec {
		s, err := model.New(preset, model.Options{Preprocess: data.Preprocess{Width: side, Height: side, Channels: 4}})
		require.NoError(t, err)
		return s
	}
	for _, c := range []struct {
		preset      string
		side, batch int
		free        int64
		want        string
	}{
		{"tiny", 32, 64, 1 << 30, ""},
		{"tiny", 256, 3900, 8 << 30, "a batch of 3900 needs at least 29 GB of memory, and 8.6 GB are free: choose a batch of at most 1"},
		{"tiny", 256, 900, 8 << 30, ""},
		{"tiny", 256, 3900, 0, ""}, // not known
		{"tiny", 512, 1, 64 << 20, "choose a smaller size or preset"},
	} {
		err := fits(spec(c.preset, c.side), Config{Batch: c.batch}, c.free)
		if c.want == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorIs(t, err, model.ErrOption)
		require.ErrorContains(t, err, c.want)
	}
}

// What is said to be needed at least is no more than what is really taken.
func TestNeedsIsALowerBound(t *testing.T) {
	before := memory.Resident()
	if before == 0 {
		t.Skip("this system does not tell")
	}
	j := testJob("", makeCache(t, t.TempDir()))
	j.Config.Batch = 64
	fixed, each := needs(j.Spec)
	est, err := Measure(t.Context(), j.Spec, j.Config, j.Compute)
	require.NoError(t, err)
	require.GreaterOrEqual(t, est.Memory, fixed+int64(j.Config.Batch)*each)
}
