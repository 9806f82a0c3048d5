package eval

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/pipeline/diffusion"
)

// A model that always predicts the same x0 has a bound in closed form: the sum over the steps telescopes to
// (SNR_0 − SNR_{T−1})/2 · |x0 − c|², whatever the noise.
func TestBoundOfAConstantPrediction(t *testing.T) {
	c := cacheOf(t, 5)
	s := spec(t, c, diffusion.ObjectiveX0, nil)
	proc, err := s.Process()
	require.NoError(t, err)
	chain := proc.(*diffusion.VP).Schedule()
	const value = 0.25
	var prior, steps, decoder float64
	for _, img := range all(c) {
		x0, mean := make([]float32, c.Dim()), make([]float32, c.Dim())
		require.NoError(t, c.Read(img, x0))
		var square float64
		for i, v := range x0 {
			mean[i] = value
			square += float64(v-value) * float64(v-value)
		}
		steps += square * (chain.Level(0).SNR() - chain.Level(chain.T()-1).SNR()) / 2
		prior += diffusion.PriorKL(x0, chain.Level(chain.T()-1), 1)
		decoder += diffusion.DecoderNLL(x0, mean, math.Sqrt(chain.Betas[0]))
	}
	bits := func(nats float64) float64 { return diffusion.BitsPerDim(nats, c.Dim()*c.Len()) }

	// every step of the chain: exact
	var seen int
	b, err := VariationalBound(t.Context(), &net{batch: 7, value: value}, s, c, all(c), Options{Levels: chain.T() + 5, Progress: func(done, _ int) { seen = done }})
	require.NoError(t, err)
	require.Equal(t, 5, seen)
	require.InEpsilon(t, bits(steps), b.Steps, 1e-5)
	require.InEpsilon(t, bits(prior), b.Prior, 1e-9)
	require.InEpsilon(t, bits(decoder), b.Decoder, 1e-9)
	require.InEpsilon(t, bits(steps+prior+decoder), b.BitsPerDim, 1e-5)

	// one step of each part: right on average
	var sum, square float64
	const times = 400
	for seed := range uint64(times) {
		b, err := VariationalBound(t.Context(), &net{batch: 64, value: value}, s, c, all(c), Options{Seed: seed})
		require.NoError(t, err)
		sum += b.Steps / times
		square += b.Steps * b.Steps / times
	}
	deviation := math.Sqrt((square - sum*sum) / times)
	require.Greater(t, deviation, 0.0)
	require.InDelta(t, bits(steps), sum, 4*deviation)
}

// The prediction is kept within the range of pictures, as samplers do.
func TestBoundClipsThePrediction(t *testing.T) {
	c := cacheOf(t, 3)
	s := spec(t, c, diffusion.ObjectiveX0, nil)
	at := func(v float32) Bound {
		b, err := VariationalBound(t.Context(), &net{batch: 4, value: v}, s, c, all(c), Options{})
		require.NoError(t, err)
		return *b
	}
	require.Equal(t, at(1), at(7))
	require.Less(t, at(0).BitsPerDim, at(1).BitsPerDim)
}

func TestNoBoundWithoutAChain(t *testing.T) {
	c := cacheOf(t, 3)
	b, err := VariationalBound(t.Context(), &net{batch: 4}, spec(t, c, diffusion.ObjectiveEDM, nil), c, all(c), Options{})
	require.NoError(t, err)
	require.Nil(t, b)
	_, err = VariationalBound(t.Context(), &net{batch: 4}, spec(t, c, diffusion.ObjectiveEps, nil), c, nil, Options{})
	require.Error(t, err)
}
