package train

import "math"

// maxEMAWidth is the limit of σ_rel as γ → 0, 1/√12: averaging the whole run with equal weights.
const maxEMAWidth = 0.288

// PowerEMA is the power-function moving average of Karras et al. 2024, “Analyzing and Improving the Training Dynamics of
// Diffusion Models” (section 3.1): after step t the average is θ̂(t) = β(t) θ̂(t−1) + (1−β(t)) θ(t) with
// β(t) = (1 − 1/t)^(γ+1), so that its weights grow as t^γ and its width stays a fixed part σ_rel of the run so far.
// It forgets the initial weights at once and needs no other warm-up, however short or long the run is.
type PowerEMA struct{ gamma float64 }

// NewPowerEMA returns the average of relative width sigmaRel ∈ (0, 0.288], by solving eq. 126 of the paper,
// σ_rel² = (γ+1) / ((γ+2)² (γ+3)), for γ ≥ 0.
func NewPowerEMA(sigmaRel float64) PowerEMA {
	lo, hi := 0.0, 1e6
	for range 200 { // the right side falls as γ grows
		mid := (lo + hi) / 2
		if width(mid) > sigmaRel {
			lo = mid
		} else {
			hi = mid
		}
	}
	return PowerEMA{gamma: (lo + hi) / 2}
}

func width(gamma float64) float64 {
	return math.Sqrt((gamma + 1) / ((gamma + 2) * (gamma + 2) * (gamma + 3)))
}

// Rate returns 1 − β(t) for the update after step t ≥ 1: ema += rate·(weights − ema).
func (e PowerEMA) Rate(t int64) float64 {
	return 1 - math.Pow(1-1/float64(max(t, 1)), e.gamma+1)
}
