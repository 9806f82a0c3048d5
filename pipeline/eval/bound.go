package eval

import (
	"context"
	"math"

	"unnoise/pipeline/data"
	"unnoise/pipeline/diffusion"
	"unnoise/pipeline/model"
	"unnoise/pipeline/rng"
)

// Bound is the variational upper bound on −log₂ p(x0) of 8-bit pictures and its three terms (DDPM eq. 5), in bits per
// dimension, averaged over the pictures.
type Bound struct {
	BitsPerDim float64 `json:"bits_per_dim"` // Prior + Steps + Decoder
	// StandardError is that of BitsPerDim: of the choice of pictures, of steps and of noise together.
	StandardError float64 `json:"standard_error"`
	Prior         float64 `json:"prior"`   // L_T
	Steps         float64 `json:"steps"`   // Σ L_{t−1}
	Decoder       float64 `json:"decoder"` // L_0
}

// DefaultTransitions is how many steps of the chain are drawn per picture for the bound.
const DefaultTransitions = 16

// VariationalBound measures the bound on the pictures idx of the cache; nil for a model without a chain of discrete
// steps (EDM). Of the chain's T−1 transitions each picture draws one from each of o.Levels equal parts (0 means
// DefaultTransitions), so that the mean has no bias. The model's step has the posterior's variance, and its
// prediction of x0 is kept within [−1,1], as samplers do; the decoder's variance is β of the first step (DDPM section 3.3).
func VariationalBound(ctx context.Context, net model.Net, spec model.Spec, cache *data.Cache, idx []int, o Options) (*Bound, error) {
	idx, err := o.check(spec, cache, idx)
	if err != nil {
		return nil, err
	}
	proc, err := spec.Process()
	if err != nil {
		return nil, err
	}
	vp, ok := proc.(*diffusion.VP)
	if !ok {
		return nil, nil
	}
	chain := vp.Schedule()
	parts := o.Levels
	if parts == 0 {
		parts = DefaultTransitions
	}
	parts = min(parts, chain.T()-1)
	std := math.Sqrt(chain.Betas[0])
	dim := spec.Dim()
	prior, steps, decoder := make([]float64, len(idx)), make([]float64, len(idx)), make([]float64, len(idx))
	eps, predicted := make([]float32, dim), make([]float32, dim)
	predict := func(xt, out []float32, l diffusion.Level) {
		spec.Objective.ToX0(predicted, xt, out, l)
		for i, v := range predicted {
			predicted[i] = max(-1, min(1, v))
		}
	}
	q := newQuestions(net, spec)
	for i, img := range idx {
		x0 := make([]float32, dim) // kept until the network has answered
		if err := cache.Read(img, x0); err != nil {
			return nil, err
		}
		prior[i] = diffusion.PriorKL(x0, chain.Level(chain.T()-1), vp.PriorStd())
		r := rng.New(o.Seed, "bound", uint64(i))
		for k := range parts {
			// the part's transitions t → t−1, t in from+1 … to
			from, to := k*(chain.T()-1)/parts, (k+1)*(chain.T()-1)/parts
			at := from + 1 + r.IntN(to-from)
			t, s := chain.Level(at), chain.Level(at-1)
			rng.Normal(eps, r)
			err := q.ask(ctx, x0, eps, t, o.Class(img), func(xt, out []float32) {
				predict(xt, out, t)
				steps[i] += float64(to-from) * diffusion.StepKL(x0, predicted, t, s)
			})
			if err != nil {
				return nil, err
			}
		}
		rng.Normal(eps, r)
		first := chain.Level(0)
		err := q.ask(ctx, x0, eps, first, o.Class(img), func(xt, out []float32) {
			predict(xt, out, first)
			decoder[i] = diffusion.DecoderNLL(x0, predicted, std)
		})
		if err != nil {
			return nil, err
		}
		if o.Progress != nil {
			o.Progress(i+1, len(idx))
		}
	}
	if err := q.flush(ctx); err != nil {
		return nil, err
	}
	var b Bound
	n := float64(len(idx))
	bits := func(nats float64) float64 { return diffusion.BitsPerDim(nats, dim) }
	for i := range idx {
		b.Prior += bits(prior[i]) / n
		b.Steps += bits(steps[i]) / n
		b.Decoder += bits(decoder[i]) / n
	}
	b.BitsPerDim = b.Prior + b.Steps + b.Decoder
	var squares float64
	for i := range idx {
		d := bits(prior[i]+steps[i]+decoder[i]) - b.BitsPerDim
		squares += d * d
	}
	if len(idx) > 1 {
		b.StandardError = math.Sqrt(squares / n / (n - 1))
	}
	return &b, nil
}
