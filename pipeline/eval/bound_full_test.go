//go:build !race

package eval

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/pipeline/diffusion"
)

// Against the whole sum over many seeds: importance leaves the mean in its place and takes the spread away, and the
// interval holds the truth about the pictures as often as it says.
func TestBoundsSpreadAndInterval(t *testing.T) {
	c := cacheOf(t, 80)
	s := spec(t, c, diffusion.ObjectiveEps, nil)
	e := newErring(t, c, s)
	bound := func(idx []int, o Options) Bound {
		t.Helper()
		e.asked = nil
		b, err := VariationalBound(t.Context(), e, s, c, idx, o)
		require.NoError(t, err)
		require.Zero(t, b.DecoderStep)
		return *b
	}
	var truth float64
	for seed := range uint64(3) {
		truth += bound(all(c), Options{Transitions: 1000, Seed: seed}).BitsPerDim / 3
	}

	// of ten pictures, over seeds: by importance, and the whole sum
	over := func(transitions int) (mean, spread float64) {
		const seeds = 24
		var sum, square float64
		for seed := range uint64(seeds) {
			v := bound(all(c)[:10], Options{Seed: seed, Transitions: transitions}).BitsPerDim
			sum += v / seeds
			square += v * v / seeds
		}
		return sum, math.Sqrt(square - sum*sum)
	}
	few, spread := over(DefaultTransitions)
	whole, least := over(1000)
	t.Logf("24 seeds: %.4f ± %.4f with %d transitions, %.4f ± %.4f with all", few, spread, DefaultTransitions, whole, least)
	require.Less(t, spread, 0.05)
	require.InDelta(t, whole, few, 4*math.Hypot(spread, least)/math.Sqrt(24))

	held, trials := 0, 300
	r := rand.New(rand.NewPCG(1, 2))
	for trial := range trials {
		b := bound(r.Perm(c.Len())[:10], Options{Seed: uint64(trial)})
		require.Less(t, b.Low, b.BitsPerDim)
		require.InDelta(t, b.BitsPerDim-b.Low, b.High-b.BitsPerDim, 1e-9)
		if b.Low <= truth && truth <= b.High {
			held++
		}
	}
	require.GreaterOrEqual(t, held, trials*91/100)
	require.LessOrEqual(t, held, trials*995/1000, "an interval that is always right is too wide")
}
