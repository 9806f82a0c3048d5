package sampler

import (
	"math"
)

// dpmpp2m is DPM-Solver++(2M), the second-order multistep solver of the data
// prediction ODE in λ = ln(Alpha/Sigma) (Lu et al., "DPM-Solver++: Fast Solver for
// Guided Sampling of Diffusion Probabilistic Models", 2022, algorithm 2). The first
// step has no past and the last goes to λ = ∞: both are of first order.
func dpmpp2m(r *run) error {
	past := make([]float32, len(r.x)) // x̂0 of the step before
	var hPast float64
	for i := range r.steps() {
		now, next, err := r.begin(i)
		if err != nil {
			return err
		}
		h := (next.LogSNR() - now.LogSNR()) / 2
		gain := -next.Alpha * math.Expm1(-h)
		carry := next.Sigma / now.Sigma
		var slope float64 // weight of x̂0 - past
		if i > 0 && next.Sigma > 0 {
			slope = gain * h / (2 * hPast)
		}
		for k, x0 := range r.x0 {
			r.x[k] = float32(carry*float64(r.x[k]) + gain*float64(x0) + slope*(float64(x0)-float64(past[k])))
		}
		r.x0, past, hPast = past, r.x0, h
	}
	return nil
}
