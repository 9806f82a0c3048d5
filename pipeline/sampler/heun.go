package sampler

// heun solves the probability flow ODE with Heun's second-order method (EDM
// algorithm 1). In x/Alpha and σ = Sigma/Alpha the ODE is d(x/Alpha)/dσ = ε̂
// for every process (EDM eq. 4 with s(t) = Alpha).
func heun(r *run) error {
	ahead := make([]float32, len(r.x)) // x after the Euler step
	x0 := make([]float32, len(r.x))
	eps := make([]float32, len(r.x))
	for i := range r.steps() {
		now, next, err := r.begin(i)
		if err != nil {
			return err
		}
		for k := range ahead { // Euler: x/Alpha = x̂0 + σ ε̂, with σ moved to the next level
			ahead[k] = float32(next.Alpha*float64(r.x0[k]) + next.Sigma*float64(r.eps[k]))
		}
		if next.Sigma > 0 {
			if err := r.predict(ahead, next, x0, eps); err != nil {
				return err
			}
			half := next.Alpha * (next.Ratio() - now.Ratio()) / 2
			for k := range ahead { // the trapezoid rule: half of the step again with the new ε̂ in place of the old
				ahead[k] += float32(half * (float64(eps[k]) - float64(r.eps[k])))
			}
		}
		copy(r.x, ahead)
	}
	return nil
}
