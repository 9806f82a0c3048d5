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

// Speed is not measured, either, where the memory cannot hold the training: not even to try.
func TestNothingIsMeasuredBeyondTheMemory(t *testing.T) {
	if memory.Free() <= 0 {
		t.Skip("this system does not tell how much memory is free")
	}
	spec, err := model.New("tiny", model.Options{Preprocess: data.Preprocess{Width: 1024, Height: 1024, Channels: 4}})
	require.NoError(t, err)
	preset, err := model.FindPreset("tiny")
	require.NoError(t, err)
	c := Defaults(preset)
	c.Batch = 4096 // half a terabyte
	before := memory.Resident()
	_, err = Measure(t.Context(), spec, c, model.Compute{})
	require.ErrorIs(t, err, model.ErrOption)
	require.ErrorContains(t, err, "of memory, and ")
	require.Less(t, memory.Resident()-before, int64(1<<30))
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
