package sampler

import (
	"math"

	"unnoise/pipeline/diffusion"
)

// ddim keeps the predicted noise, except for a share that it replaces by fresh
// noise of standard deviation η·sqrt(β̃) (DDIM eq. 12 and 16).
func ddim(r *run) error {
	var z []float32
	if r.o.Eta > 0 {
		z = make([]float32, len(r.x))
	}
	for i := range r.steps() {
		now, next, err := r.begin(i)
		if err != nil {
			return err
		}
		fresh := r.o.Eta * r.o.Eta * diffusion.PosteriorBetween(now, next).Var
		kept := math.Sqrt(max(0, next.Sigma*next.Sigma-fresh))
		diffusion.Combine(r.x, next.Alpha, r.x0, kept, r.eps)
		if fresh > 0 {
			r.o.Noise(i, z)
			diffusion.Combine(r.x, 1, r.x, math.Sqrt(fresh), z)
		}
	}
	return nil
}
