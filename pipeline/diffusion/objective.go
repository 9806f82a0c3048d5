package diffusion

import (
	"math"
	"strings"

	"unnoise/runtime/sentence"
)

// Objective says what the network predicts. All of them are linear in x_t, x0
// and eps, so one triple of formulas serves each: the network's input, the
// target its output is regressed on, and x̂0 from its output.
//
// It reads and writes JSON as its name and refuses unknown ones there. The
// methods of an unknown Objective fill in NaN.
type Objective string

// The objectives.
const (
	ObjectiveEps Objective = "eps" // the noise (DDPM eq. 14)
	ObjectiveX0  Objective = "x0"  // the clean image
	ObjectiveV   Objective = "v"   // the velocity Alpha*eps - Sigma*x0 (PD appendix D)
	ObjectiveEDM Objective = "edm" // EDM's preconditioned F (EDM eq. 7 and table 1)
)

// SigmaData is EDM's σ_data, the assumed standard deviation of the images (EDM table 1).
const SigmaData = 0.5

// Objectives lists every objective.
func Objectives() []Objective {
	return []Objective{ObjectiveEps, ObjectiveX0, ObjectiveV, ObjectiveEDM}
}

// ParseObjective checks a name.
func ParseObjective(name string) (Objective, error) { return parse(name, "objective", Objectives()) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (o *Objective) UnmarshalText(b []byte) (err error) {
	*o, err = ParseObjective(string(b))
	return err
}

func parse[T ~string](name, what string, all []T) (T, error) {
	names := make([]string, len(all))
	for i, a := range all {
		if string(a) == name {
			return a, nil
		}
		names[i] = string(a)
	}
	return "", sentence.Errorf("there is no %s %q; choose one of %s", what, name, strings.Join(names, ", "))
}

// coefficients of one objective at one level.
type coefficients struct {
	in             float64 // network input = in * x_t
	tgtX0, tgtEps  float64 // target = tgtX0*x0 + tgtEps*eps
	x0Xt, x0Output float64 // x̂0 = x0Xt*x_t + x0Output*output
}

func (o Objective) at(l Level) coefficients {
	p := l.power()
	// The input has unit variance for data of unit variance; the factor is 1 when variance is preserved.
	c := coefficients{in: 1 / math.Sqrt(p)}
	switch o {
	case ObjectiveEps:
		c.tgtEps = 1
		c.x0Xt, c.x0Output = 1/l.Alpha, -l.Sigma/l.Alpha
	case ObjectiveX0:
		c.tgtX0 = 1
		c.x0Output = 1
	case ObjectiveV:
		c.tgtX0, c.tgtEps = -l.Sigma, l.Alpha
		c.x0Xt, c.x0Output = l.Alpha/p, -l.Sigma/p
	case ObjectiveEDM:
		// EDM table 1 for σ = Sigma/Alpha and x = x_t/Alpha. The target (x0 - c_skip*x)/c_out, with
		// x = x0 + σ*eps put in and the fractions reduced, loses no digits at either end of σ.
		r := l.Ratio()
		q := math.Hypot(r, SigmaData)
		c.in = 1 / (q * l.Alpha)
		c.tgtX0, c.tgtEps = r/(q*SigmaData), -SigmaData/q
		c.x0Xt, c.x0Output = SigmaData*SigmaData/(q*q)/l.Alpha, r*SigmaData/q
	default:
		nan := math.NaN()
		return coefficients{nan, nan, nan, nan, nan}
	}
	return c
}

// Input is what the network is fed for x_t: c_in*x for edm (EDM eq. 7), otherwise
// x_t scaled to unit variance, which is x_t itself on a variance-preserving process.
func (o Objective) Input(dst, xt []float32, l Level) { Combine(dst, o.at(l).in, xt, 0, xt) }

// Target is what the network's output is regressed on by plain mean squared
// error: eps, x0, v, or for edm (x0 - c_skip*x)/c_out, with which the plain loss
// is λ(σ)||D - x0||², EDM's loss (EDM eq. 8 with λ = 1/c_out²).
func (o Objective) Target(dst, x0, eps []float32, l Level) {
	c := o.at(l)
	Combine(dst, c.tgtX0, x0, c.tgtEps, eps)
}

// ToX0 turns the network's output at x_t into x̂0.
func (o Objective) ToX0(dst, xt, out []float32, l Level) {
	c := o.at(l)
	Combine(dst, c.x0Xt, xt, c.x0Output, out)
}

// ToEps turns the network's output at x_t into ε̂.
func (o Objective) ToEps(dst, xt, out []float32, l Level) {
	if o == ObjectiveEps {
		copy(dst, out)
		return
	}
	// eps = (x_t - Alpha*x̂0)/Sigma with x̂0 put in, in one pass and without cancellation for edm and v.
	c := o.at(l)
	xtCoef := (1 - l.Alpha*c.x0Xt) / l.Sigma
	switch o {
	case ObjectiveV:
		xtCoef = l.Sigma / l.power()
	case ObjectiveEDM:
		r := l.Ratio()
		xtCoef = r / (r*r + SigmaData*SigmaData) / l.Alpha
	}
	Combine(dst, xtCoef, xt, -l.Alpha*c.x0Output/l.Sigma, out)
}

// Weighting names a weight of the loss over noise levels.
type Weighting string

// The weightings.
const (
	WeightingSimple Weighting = "simple"  // 1 everywhere: DDPM's L_simple for eps, EDM's λ(σ) for edm
	WeightingMinSNR Weighting = "min-snr" // MinSNR with γ = 5
)

// MinSNRGamma is γ of the min-SNR weighting (MinSNR section 3.4).
const MinSNRGamma = 5

// Weightings lists every weighting.
func Weightings() []Weighting { return []Weighting{WeightingSimple, WeightingMinSNR} }

// ParseWeighting checks a name.
func ParseWeighting(name string) (Weighting, error) {
	return parse(name, "loss weighting", Weightings())
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (w *Weighting) UnmarshalText(b []byte) (err error) {
	*w, err = ParseWeighting(string(b))
	return err
}

// Weight multiplies the mean squared error of the objective's output at a level.
// Min-SNR weighs the error of x̂0 by min(SNR, γ); the error of another output is
// worth the square of its factor in x̂0 more, which gives MinSNR's min(SNR,γ)/SNR for eps,
// min(SNR,γ)/(SNR+1) for v, and min(SNR,γ)·c_out² for edm. An unknown weighting gives NaN.
func (w Weighting) Weight(o Objective, l Level) float64 {
	switch w {
	case WeightingSimple:
		return 1
	case WeightingMinSNR:
		k := o.at(l).x0Output
		return min(l.SNR(), MinSNRGamma) * k * k
	}
	return math.NaN()
}
