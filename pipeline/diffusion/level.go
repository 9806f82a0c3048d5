package diffusion

import (
	"fmt"
	"math"
)

// Level is one amount of noise: x_t = Alpha*x0 + Sigma*eps.
type Level struct {
	// Alpha scales the clean image: sqrt(ᾱ_t) for a variance-preserving process, 1 for EDM.
	Alpha float64
	// Sigma is the standard deviation of the noise, at least 0.
	Sigma float64
	// Cond is what the network receives as its timestep: t in 0 … T-1, fractions
	// allowed, for a variance-preserving process; ln(Sigma)/4 for EDM.
	Cond float64
}

// Clean is the level without noise, where every sampler ends. No network is asked there.
func Clean() Level { return Level{Alpha: 1} }

// Ratio is Sigma/Alpha, the noise level seen by a process scaled to Alpha = 1 (EDM's σ).
func (l Level) Ratio() float64 { return l.Sigma / l.Alpha }

// SNR is the signal-to-noise ratio Alpha²/Sigma² (VDM section 3); +Inf for the clean level.
func (l Level) SNR() float64 { r := l.Alpha / l.Sigma; return r * r }

// LogSNR is the natural logarithm of SNR.
func (l Level) LogSNR() float64 { return 2 * (math.Log(l.Alpha) - math.Log(l.Sigma)) }

// AddNoise draws x_t from q(x_t | x0) in one go, with the standard normal noise
// given in eps: dst = Alpha*x0 + Sigma*eps (DDPM eq. 4).
func AddNoise(dst, x0, eps []float32, l Level) { Combine(dst, l.Alpha, x0, l.Sigma, eps) }

// Combine sets dst = a*x + b*y, the one loop that nearly all of diffusion is made of.
func Combine(dst []float32, a float64, x []float32, b float64, y []float32) {
	n := min(len(dst), len(x), len(y))
	dst, x, y = dst[:n], x[:n], y[:n]
	for i := range dst {
		dst[i] = float32(a*float64(x[i]) + b*float64(y[i]))
	}
}

// Posterior is the Gaussian q(x_s | x_t, x0) with mean X0*x0 + Xt*x_t and
// variance Var (the same in every direction).
type Posterior struct{ X0, Xt, Var float64 }

// PosteriorBetween is q(x_s | x_t, x0) for any two levels of one process, s the
// less noisy (VDM appendix A.2; DDPM eq. 7 when s = t-1). When s is the clean level it
// is the point x0.
func PosteriorBetween(t, s Level) Posterior {
	// keep is SNR_t/SNR_s, the share of t's noise that s already had.
	q := s.Ratio() / t.Ratio()
	keep := q * q
	fresh := (1 - q) * (1 + q)
	return Posterior{
		X0:  s.Alpha * fresh,
		Xt:  s.Alpha / t.Alpha * keep,
		Var: s.Sigma * s.Sigma * fresh,
	}
}

// EpsFromX0 is the noise that x_t and x0 imply: eps = (x_t - Alpha*x0)/Sigma.
func EpsFromX0(dst, xt, x0 []float32, l Level) { Combine(dst, 1/l.Sigma, xt, -l.Alpha/l.Sigma, x0) }

// X0FromEps is the image that x_t and eps imply: x0 = (x_t - Sigma*eps)/Alpha (DDPM eq. 15).
func X0FromEps(dst, xt, eps []float32, l Level) { Combine(dst, 1/l.Alpha, xt, -l.Sigma/l.Alpha, eps) }

// V is the velocity v = Alpha*eps - Sigma*x0 (PD appendix D).
func V(dst, x0, eps []float32, l Level) { Combine(dst, l.Alpha, eps, -l.Sigma, x0) }

// X0FromV is x0 = (Alpha*x_t - Sigma*v)/(Alpha²+Sigma²); the divisor is 1 when variance is preserved.
func X0FromV(dst, xt, v []float32, l Level) {
	p := l.power()
	Combine(dst, l.Alpha/p, xt, -l.Sigma/p, v)
}

// EpsFromV is eps = (Sigma*x_t + Alpha*v)/(Alpha²+Sigma²).
func EpsFromV(dst, xt, v []float32, l Level) {
	p := l.power()
	Combine(dst, l.Sigma/p, xt, l.Alpha/p, v)
}

// ScoreFromEps is the score ∇ log q(x_t) = -eps/Sigma of the predicted noise.
func ScoreFromEps(dst, eps []float32, l Level) { Combine(dst, -1/l.Sigma, eps, 0, eps) }

// EpsFromScore is eps = -Sigma*score.
func EpsFromScore(dst, score []float32, l Level) { Combine(dst, -l.Sigma, score, 0, score) }

// power is Alpha²+Sigma², the variance of x_t for data of unit variance.
func (l Level) power() float64 { return l.Alpha*l.Alpha + l.Sigma*l.Sigma }

// binEdges cut the log-SNR axis for logs and plots. A variance-preserving process covers
// about -10 … 10, EDM's training distribution -5 … 10.
var binEdges = [...]float64{-6, -3, 0, 3, 6}

// NumBins is how many noise bins [Level.Bin] tells apart.
const NumBins = len(binEdges) + 1

// Bin is the level's noise bin, 0 (most noise) … NumBins-1 (least), by its log-SNR.
// Bins mean the same for every schedule and process, so runs can be compared.
func (l Level) Bin() int {
	s := l.LogSNR()
	b := 0
	for b < len(binEdges) && s >= binEdges[b] {
		b++
	}
	return b
}

// BinName names a noise bin by its range of log-SNR, such as "logsnr -3..0".
func BinName(bin int) string {
	switch {
	case bin <= 0:
		return fmt.Sprintf("logsnr <%g", binEdges[0])
	case bin >= len(binEdges):
		return fmt.Sprintf("logsnr >=%g", binEdges[len(binEdges)-1])
	}
	return fmt.Sprintf("logsnr %g..%g", binEdges[bin-1], binEdges[bin])
}
