package sampler

import (
	"math"

	"unnoise/pipeline/diffusion"
)

// ddpm draws x_s from q(x_s | x_t, x̂0) at each step (DDPM algorithm 2, with
// the posterior variance β̃ of section 3.2).
func ddpm(r *run) error { return ancestral(r, true) }

// ddpmMean follows the mean of that posterior and adds no noise. It is here to be compared with
// ddpm: its samples have too little variance.
func ddpmMean(r *run) error { return ancestral(r, false) }

func ancestral(r *run, noisy bool) error {
	var z []float32
	if noisy {
		z = make([]float32, len(r.x))
	}
	for i := range r.steps() {
		now, next, err := r.begin(i)
		if err != nil {
			return err
		}
		q := diffusion.PosteriorBetween(now, next)
		diffusion.Combine(r.x, q.X0, r.x0, q.Xt, r.x)
		if noisy && q.Var > 0 {
			r.o.Noise(i, z)
			diffusion.Combine(r.x, 1, r.x, math.Sqrt(q.Var), z)
		}
	}
	return nil
}
