package bench

import (
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/pipeline/data"
	"unnoise/pipeline/model"
)

// Fang et al. 2023, “Structural Pruning for Diffusion Models”, table 1, gives 6.1 G multiply-adds for DDPM's CIFAR-10
// network, counted over its layers. The attention's own products come on top: five times 2·256²·256 at 16×16 and once
// 2·16²·256 at 4×4.
func TestMACsOfDDPM(t *testing.T) {
	s, err := model.New("ddpm-cifar10", model.Options{Preprocess: data.Preprocess{Width: 32, Height: 32, Channels: 3}})
	require.NoError(t, err)
	n, err := MACs(s.UNet)
	require.NoError(t, err)
	require.InDelta(t, 6.1e9, float64(n-5*2*256*256*256-2*16*16*256), 0.06e9)
}

func TestMACsGrowWithThePicture(t *testing.T) {
	macs := func(side int) float64 {
		s, err := model.New("tiny", model.Options{Preprocess: data.Preprocess{Width: side, Height: side, Channels: 3}})
		require.NoError(t, err)
		n, err := MACs(s.UNet)
		require.NoError(t, err)
		return float64(n)
	}
	require.InDelta(t, 4, macs(32)/macs(16), 0.3)
}

func TestRun(t *testing.T) {
	r, err := Run(t.Context(), Options{Preset: "tiny", Size: 8, Batch: 2, Calls: 3})
	require.NoError(t, err)
	require.Equal(t, "tiny", r.Preset)
	require.Positive(t, r.SGEMMGFLOPS)
	require.Positive(t, r.StepGFLOPS)
	require.Less(t, r.StepShare, 1.0)
	require.Less(t, r.CallShare, 1.0)
	require.Len(t, r.Calls, 3)
	for _, c := range append(r.Calls, Call{Seconds: r.Step}, Call{Seconds: r.Image}) {
		require.Positive(t, c.Seconds.Min)
		require.LessOrEqual(t, c.Seconds.Min, c.Seconds.Median)
		require.LessOrEqual(t, c.Seconds.Median, c.Seconds.Max)
	}
	_, err = Run(t.Context(), Options{Preset: "none", Size: 8, Batch: 2, Calls: 3})
	require.ErrorIs(t, err, model.ErrOption)
}
