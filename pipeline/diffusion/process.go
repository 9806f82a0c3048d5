package diffusion

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"unnoise/runtime/sentence"
)

// Denoiser predicts the clean image: a network behind an [Objective], or a closed form in a test.
type Denoiser interface {
	// Denoise fills x0 with the prediction x̂0, not clipped, for the n samples that
	// lie one after another in xt, all at level lvl. len(x0) = len(xt), a multiple of n.
	Denoise(ctx context.Context, xt []float32, n int, lvl Level, x0 []float32) error
}

// Process is the path from image to noise: which levels training sees and which
// a sampler visits.
type Process interface {
	// Name is "vp" or "edm".
	Name() string
	// Train maps u, uniform in [0,1), to a level with the distribution training draws from.
	Train(u float64) Level
	// At is the level whose Sigma/Alpha is ratio, Cond interpolated. A ratio
	// beyond the ends of a schedule keeps the end's Cond; 0 gives the clean level.
	At(ratio float64) Level
	// Spacings lists the spacings Levels understands, the process's own first.
	Spacings() []Spacing
	// Levels returns the n levels a sampler visits, noisiest first, followed by the
	// clean level: n+1 in all.
	Levels(n int, s Spacing) ([]Level, error)
	// PriorStd is the standard deviation of x at the first level, where samplers start.
	PriorStd() float64
}

// Spacing says how the n levels of a sampler lie on the process. The first four
// pick timesteps of a schedule as diffusers' timestep_spacing does (Lin et al.,
// "Common Diffusion Noise Schedules and Sample Steps are Flawed", 2023, table 2).
type Spacing string

// The spacings.
const (
	SpacingLeading    Spacing = "leading"    // t = i*⌊T/n⌋: ends at 0, starts below T-1; default of diffusers' DDPM and DDIM
	SpacingTrailing   Spacing = "trailing"   // t = T(n-i)/n - 1: starts at T-1, ends above 0
	SpacingLinspace   Spacing = "linspace"   // from T-1 to 0, both visited, rounded; default of diffusers' DPMSolverMultistep
	SpacingContinuous Spacing = "continuous" // from T-1 to 0, not rounded; default of diffusers' HeunDiscrete
	SpacingKarras     Spacing = "karras"     // evenly in Sigma/Alpha to the power 1/7 (EDM eq. 5), from 80 or the schedule's end, whichever is less noisy
)

// SpacingNames lists every spacing.
func SpacingNames() []string {
	var names []string
	for _, s := range (*VP)(nil).Spacings() {
		names = append(names, string(s))
	}
	return names
}

// NewProcess is the process that goes with an objective: EDM for edm, otherwise
// VP with the named schedule of T levels (0 for [DefaultT]).
func NewProcess(o Objective, schedule string, T int) (Process, error) {
	if o == ObjectiveEDM {
		return EDM{}, nil
	}
	s, err := NewSchedule(schedule, T)
	if err != nil {
		return nil, err
	}
	return NewVP(s), nil
}

// VP is the variance-preserving process of a schedule: Alpha²+Sigma² = 1 (DDPM).
type VP struct {
	schedule *Schedule
	ratios   []float64 // Sigma/Alpha by t
	logs     []float64 // their logarithms
	top      int       // samplers visit the timesteps below it,
	highest  float64   // and Sigma/Alpha up to this
}

// NewVP returns the process of a schedule from [NewSchedule].
func NewVP(s *Schedule) *VP {
	p := &VP{schedule: s, ratios: s.ratios(), top: s.T(), highest: SigmaMax}
	p.logs = make([]float64, len(p.ratios))
	for t, r := range p.ratios {
		p.logs[t] = math.Log(r)
	}
	return p
}

// Below returns the process for samplers that start no higher than at Sigma/Alpha = ratio. Train, At and Schedule are those
// of p.
func (p *VP) Below(ratio float64) *VP {
	q := *p
	q.highest = min(p.highest, ratio)
	above := slices.IndexFunc(p.ratios, func(r float64) bool { return r > ratio })
	if above >= 0 {
		q.top = max(1, above)
	}
	return &q
}

// Top is the most steps that a sampler can take.
func (p *VP) Top() int { return p.top }

// Schedule is the schedule the process was made from.
func (p *VP) Schedule() *Schedule { return p.schedule }

// Name is "vp".
func (*VP) Name() string { return "vp" }

// PriorStd is 1: samplers start from N(0, I) (DDPM algorithm 2).
func (*VP) PriorStd() float64 { return 1 }

// Train picks the timestep ⌊uT⌋: uniform over 0 … T-1 (DDPM algorithm 1).
func (p *VP) Train(u float64) Level {
	return p.schedule.Level(max(0, int(u*float64(p.schedule.T()))))
}

// At interpolates t linearly in the logarithm of Sigma/Alpha, as diffusers' and k-diffusion's sigma_to_t do.
func (p *VP) At(ratio float64) Level {
	if ratio <= 0 {
		return Clean()
	}
	return vpLevel(ratio, locate(p.logs, math.Log(ratio)))
}

func vpLevel(ratio, t float64) Level {
	alpha := 1 / math.Hypot(1, ratio)
	return Level{Alpha: alpha, Sigma: ratio * alpha, Cond: t}
}

// Spacings lists all spacings.
func (*VP) Spacings() []Spacing {
	return []Spacing{SpacingLeading, SpacingTrailing, SpacingLinspace, SpacingContinuous, SpacingKarras}
}

// Levels implements [Process]; n is at most T.
func (p *VP) Levels(n int, s Spacing) ([]Level, error) {
	T := p.top
	if n < 1 || n > T {
		return nil, sentence.Errorf("this model was trained with %d noise levels, so sampling takes 1 to %d steps, not %d", T, T, n)
	}
	last := float64(T - 1)
	ls := make([]Level, n, n+1)
	for i := range ls {
		// ramp runs from T-1 to 0. numpy counts upwards, so the rounding of halves is done on the way up.
		ramp := last
		if n > 1 && i > 0 {
			ramp = float64(n-1-i) * (last / float64(n-1))
		}
		switch s {
		case SpacingLeading:
			ls[i] = p.schedule.Level((n - 1 - i) * (T / n))
		case SpacingTrailing:
			ls[i] = p.schedule.Level(int(math.RoundToEven(float64(T)-float64(i)*(float64(T)/float64(n)))) - 1)
		case SpacingLinspace:
			ls[i] = p.schedule.Level(int(math.RoundToEven(ramp)))
		case SpacingContinuous:
			ls[i] = vpLevel(interp(p.ratios, ramp), ramp)
		case SpacingKarras:
			// The cosine schedule ends at Sigma/Alpha = 20,000: without the limit most steps would go where no image is.
			ls[i] = p.At(karras(i, n, p.ratios[0], min(p.ratios[p.schedule.T()-1], p.highest)))
		default:
			return nil, unknownSpacing(p, s)
		}
	}
	return append(ls, Clean()), nil
}

// EDM is the variance-exploding process of EDM: Alpha = 1, Sigma = σ, Cond =
// c_noise = ln(σ)/4.
//
// Cond goes into the U-Net's ordinary positional embedding unscaled. It spans
// only -1.6 … 1.1, so the embedding's upper frequencies carry it alone, but EDM's own
// DDPM++ configuration does just that, diffusers' EDM schedulers hand a UNet2DModel
// the same number, and a trained network thus runs there unchanged.
type EDM struct{}

// EDM's constants (EDM table 1): the range of σ in sampling, the warp ρ of its steps,
// and the mean and standard deviation of ln σ in training.
const (
	SigmaMin = 0.002
	SigmaMax = 80
	Rho      = 7
	PMean    = -1.2
	PStd     = 1.2
)

// Name is "edm".
func (EDM) Name() string { return "edm" }

// PriorStd is SigmaMax (EDM algorithm 1).
func (EDM) PriorStd() float64 { return SigmaMax }

// Train draws ln σ from N(PMean, PStd²) by the inverse of its distribution function.
func (p EDM) Train(u float64) Level {
	const tail = 1e-9 // six standard deviations: u = 0 must not mean σ = 0
	u = max(tail, min(u, 1-tail))
	return p.At(math.Exp(PMean + PStd*math.Sqrt2*math.Erfinv(2*u-1)))
}

// At is the level with noise σ = ratio.
func (EDM) At(ratio float64) Level {
	if ratio <= 0 {
		return Clean()
	}
	return Level{Alpha: 1, Sigma: ratio, Cond: math.Log(ratio) / 4}
}

// Spacings is karras alone.
func (EDM) Spacings() []Spacing { return []Spacing{SpacingKarras} }

// maxSteps bounds the steps of a process without a natural limit.
const maxSteps = 10_000

// Levels implements [Process] by EDM eq. 5.
func (p EDM) Levels(n int, s Spacing) ([]Level, error) {
	if n < 1 || n > maxSteps {
		return nil, sentence.Errorf("sampling takes 1 to %d steps, not %d", maxSteps, n)
	}
	if s != SpacingKarras {
		return nil, unknownSpacing(p, s)
	}
	ls := make([]Level, n, n+1)
	for i := range ls {
		ls[i] = p.At(karras(i, n, SigmaMin, SigmaMax))
	}
	return append(ls, Clean()), nil
}

// karras is step i of n from hi down to lo, evenly spaced to the power 1/Rho (EDM eq. 5).
func karras(i, n int, lo, hi float64) float64 {
	if n == 1 || i == 0 {
		return hi
	}
	if i == n-1 {
		return lo
	}
	a, b := math.Pow(hi, 1.0/Rho), math.Pow(lo, 1.0/Rho)
	return math.Pow(a+float64(i)/float64(n-1)*(b-a), Rho)
}

func unknownSpacing(p Process, s Spacing) error {
	names := make([]string, 0, 5)
	for _, k := range p.Spacings() {
		names = append(names, string(k))
	}
	return sentence.Errorf("a model of kind %s has no step spacing %q; choose one of %s", p.Name(), s, strings.Join(names, ", "))
}

// Stratified fills u with one draw each for the samples of a batch, spread
// evenly over [0,1): u_i = frac(U + i/B) with one U for the batch (VDM appendix
// I.1). Each u_i by itself is uniform, so the loss stays unbiased; together they
// cover all noise levels, so it varies less.
func Stratified(u []float64, r *rand.Rand) {
	offset := r.Float64()
	for i := range u {
		v := offset + float64(i)/float64(len(u))
		if v >= 1 {
			v--
		}
		u[i] = v
	}
}
