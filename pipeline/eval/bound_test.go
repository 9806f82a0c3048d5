package eval

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/pipeline/data"
	"unnoise/pipeline/diffusion"
	"unnoise/pipeline/model"
)

func chainOf(t *testing.T, s model.Spec) *diffusion.Schedule {
	t.Helper()
	proc, err := s.Process()
	require.NoError(t, err)
	return proc.(*diffusion.VP).Schedule()
}

// A model that always predicts the same x0 has a bound in closed form: the sum over the steps telescopes to
// (SNR_from − SNR_{T−1})/2 · |x0 − c|², whatever the noise, and the decoder is a Gaussian around c.
func TestBoundOfAConstantPrediction(t *testing.T) {
	c := cacheOf(t, 5)
	s := spec(t, c, diffusion.ObjectiveX0, nil)
	chain := chainOf(t, s)
	const value = 0.25
	var seen int
	b, err := VariationalBound(t.Context(), &net{batch: 7, value: value}, s, c, all(c),
		Options{Transitions: chain.T() + 5, Progress: func(done, _ int) { seen = done }})
	require.NoError(t, err)
	require.Equal(t, 5, seen)

	var prior, steps, decoder float64
	for _, img := range all(c) {
		x0, mean := make([]float32, c.Dim()), make([]float32, c.Dim())
		c.Read(img, x0)
		var square float64
		for i, v := range x0 {
			mean[i] = value
			square += float64(v-value) * float64(v-value)
		}
		steps += square * (chain.Level(b.DecoderStep).SNR() - chain.Level(chain.T()-1).SNR()) / 2
		prior += diffusion.PriorKL(x0, chain.Level(chain.T()-1), 1)
		decoder += diffusion.DecoderNLL(x0, mean, b.DecoderStd)
	}
	bits := func(nats float64) float64 { return diffusion.BitsPerDim(nats, c.Dim()*c.Len()) }
	// every step of the chain: exact
	require.Equal(t, chain.T()-1-b.DecoderStep, b.Transitions)
	require.InEpsilon(t, bits(steps), b.Steps, 1e-5)
	require.InEpsilon(t, bits(prior), b.Prior, 1e-9)
	require.InEpsilon(t, bits(decoder), b.Decoder, 1e-9)
	require.InEpsilon(t, bits(steps+prior+decoder), b.BitsPerDim, 1e-5)
}

// A model that knows nothing of nearly clean pictures is worth less than uniform coding only by what its decoder's
// Gaussian loses: the bound is never absurd, as with a decoder of a fixed, narrow width.
func TestBoundOfAModelThatKnowsNothing(t *testing.T) {
	c := cacheOf(t, 40)
	for _, obj := range []diffusion.Objective{diffusion.ObjectiveX0, diffusion.ObjectiveEps, diffusion.ObjectiveV} {
		b, err := VariationalBound(t.Context(), &net{batch: 16}, spec(t, c, obj, nil), c, all(c), Options{})
		require.NoError(t, err)
		require.Less(t, b.BitsPerDim, 9.5, obj)
		require.Greater(t, b.BitsPerDim, 5.0, obj)
	}
	b, err := VariationalBound(t.Context(), &net{batch: 16}, spec(t, c, diffusion.ObjectiveX0, nil), c, all(c), Options{})
	require.NoError(t, err)
	require.Greater(t, b.DecoderStep, 100)
	require.InDelta(t, 0.58, b.DecoderStd, 0.05, "of values that are uniform in [-1,1]")
}

// erring knows the pictures and errs in proportion to the noise that was added, by a share of its own for each picture. Most
// of the error that counts lies where there is little noise, as in a trained model.
type erring struct {
	chain *diffusion.Schedule
	known [][]float32
	asked [][]float32
}

func newErring(t *testing.T, c *data.Cache, s model.Spec) *erring {
	t.Helper()
	e := &erring{chain: chainOf(t, s)}
	for _, i := range all(c) {
		x0 := make([]float32, c.Dim())
		c.Read(i, x0)
		e.known = append(e.known, x0)
	}
	return e
}

func (*erring) Batch() int { return 16 }

func (e *erring) Forward(_ context.Context, x, cond []float32, _ []int64, out []float32) error {
	dim := len(x) / len(cond)
	for i, t := range cond {
		l := e.chain.Level(int(t))
		xt := x[i*dim : (i+1)*dim]
		nearest, least := 0, math.Inf(1)
		for k, x0 := range e.known {
			var d float64
			for j := 0; j < dim && d < least; j++ {
				v := float64(xt[j]) - l.Alpha*float64(x0[j])
				d += v * v
			}
			if d < least {
				nearest, least = k, d
			}
		}
		share := float32(1 + 0.3 + 0.05*float64(nearest%7))
		for j := range xt {
			out[i*dim+j] = share * (xt[j] - float32(l.Alpha)*e.known[nearest][j]) / float32(l.Sigma)
		}
	}
	e.asked = append(e.asked, append([]float32(nil), x...))
	return nil
}

// What a picture is asked hangs on the seed and the picture, not on the others, its place or the model's run.
func TestBoundAsksTheSame(t *testing.T) {
	c := cacheOf(t, 12)
	s := spec(t, c, diffusion.ObjectiveEps, nil)
	of := func(idx []int, seed uint64) map[float32]bool {
		e := newErring(t, c, s)
		_, err := VariationalBound(t.Context(), e, s, c, idx, Options{Seed: seed, Transitions: 1000})
		require.NoError(t, err)
		firsts := map[float32]bool{}
		for _, x := range e.asked {
			for i := 0; i < len(x); i += c.Dim() {
				firsts[x[i]] = true
			}
		}
		return firsts
	}
	few := of([]int{7, 3}, 5)
	more := of([]int{1, 3, 4, 7, 9}, 5)
	other := of([]int{7, 3}, 6)
	same, differ := 0, 0
	for x := range few {
		if more[x] {
			same++
		}
		if !other[x] {
			differ++
		}
	}
	require.Greater(t, same, len(few)*9/10)
	require.Greater(t, differ, len(few)*9/10)
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
	one, err := VariationalBound(t.Context(), &net{batch: 4}, spec(t, c, diffusion.ObjectiveEps, nil), c, []int{1}, Options{})
	require.NoError(t, err)
	require.Equal(t, one.Low, one.High, "one picture tells no interval")
}
