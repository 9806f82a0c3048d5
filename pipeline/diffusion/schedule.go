// Package diffusion holds the mathematics of Gaussian diffusion models: noise
// schedules, the forward process and its posterior, the conversions between
// what a network may predict, the training objectives and weightings, and the
// two processes (variance preserving and EDM) that training and the samplers
// walk along.
//
// Everything is written in one pair of numbers, the noise [Level]:
//
//	x_t = Alpha*x0 + Sigma*eps,  eps ~ N(0, I)
//
// so a sampler never asks which process it runs on. Data is float32, in any
// layout; coefficients are float64 and computed once per call. Functions over
// slices work element by element, let dst be one of their inputs, and, like the
// built-in copy, stop at the shortest slice.
//
// Sources, cited by these short names throughout:
//
//   - DDPM: Ho, Jain, Abbeel, "Denoising Diffusion Probabilistic Models", 2020
//   - DDIM: Song, Meng, Ermon, "Denoising Diffusion Implicit Models", 2021
//   - iDDPM: Nichol, Dhariwal, "Improved Denoising Diffusion Probabilistic Models", 2021
//   - VDM: Kingma, Salimans, Poole, Ho, "Variational Diffusion Models", 2021
//   - PD: Salimans, Ho, "Progressive Distillation for Fast Sampling of Diffusion Models", 2022
//   - EDM: Karras, Aittala, Aila, Laine, "Elucidating the Design Space of Diffusion-Based Generative Models", 2022
//   - MinSNR: Hang et al., "Efficient Diffusion Training via Min-SNR Weighting Strategy", 2023
package diffusion

import (
	"math"
	"slices"
	"strings"

	"unnoise/runtime/sentence"
)

// DefaultT is the number of noise levels T a schedule has unless told otherwise (DDPM section 4).
const DefaultT = 1000

// maxT bounds what a file may ask for.
const maxT = 100_000

// The schedule's first and last beta, as DDPM section 4 and the defaults of diffusers' schedulers have them.
const (
	betaStart = 0.0001
	betaEnd   = 0.02
)

// Schedule is a discrete variance-preserving noise schedule of T levels,
// t = 0 … T-1. Like diffusers, and unlike the papers, it counts from 0: Betas[0]
// is the papers' β_1.
//
// The numbers are those of diffusers' schedulers to the bit (sigmoid: to two units
// in float32's last place): betas and their products are rounded to float32 where
// diffusers rounds them, since near t = 0 that rounding shows (1 - ᾱ_t is about
// 1e-4 there).
type Schedule struct {
	// Name is one of [ScheduleNames], or [OwnBetas].
	Name string
	// Betas is β_t in (0,1): the variance of the noise that step t adds.
	Betas []float64
	// Alphas is α_t = 1 - β_t.
	Alphas []float64
	// AlphasCumprod is ᾱ_t, the product of Alphas[0…t]; it falls from almost 1 to almost 0.
	AlphasCumprod []float64
}

// ScheduleNames lists the names NewSchedule knows: linear (DDPM), scaled_linear
// (linear in the square root of β), cosine (iDDPM eq. 17, diffusers'
// squaredcos_cap_v2) and sigmoid.
func ScheduleNames() []string { return []string{"linear", "scaled_linear", "cosine", "sigmoid"} }

// OwnBetas is the name of a schedule that is none of [ScheduleNames] but a list of betas, of a model that another program
// trained. See [FromBetas].
const OwnBetas = "betas"

// NewSchedule returns the named schedule with T levels (0 means [DefaultT]).
// diffusers' name squaredcos_cap_v2 is understood as cosine. As in diffusers,
// only the cosine schedule stretches with T: the β range of the others stays
// 0.0001 … 0.02, so with T far below 1000 they no longer end in pure noise.
func NewSchedule(name string, T int) (*Schedule, error) {
	if T == 0 {
		T = DefaultT
	}
	if name == "squaredcos_cap_v2" {
		name = "cosine"
	}
	betas, err := Betas(name, T, betaStart, betaEnd)
	if err != nil {
		return nil, err
	}
	return newSchedule(name, betas), nil
}

// FromBetas returns the schedule of the betas given: each in (0,1), and so that some of the image is left at the end.
func FromBetas(betas []float64) (*Schedule, error) {
	if err := checkT(len(betas)); err != nil {
		return nil, err
	}
	rounded := make([]float32, len(betas))
	for t, b := range betas {
		if rounded[t] = float32(b); !(rounded[t] > 0 && rounded[t] < 1) {
			return nil, sentence.Errorf("beta %d of the noise schedule is %g and must lie between 0 and 1", t, b)
		}
	}
	s := newSchedule(OwnBetas, rounded)
	if s.AlphasCumprod[0] == 1 || s.AlphasCumprod[s.T()-1] < 1e-12 {
		return nil, sentence.Errorf("the noise schedule goes from SNR %.3g to %.3g, which cannot be computed with", s.Level(0).SNR(), s.Level(s.T()-1).SNR())
	}
	return s, nil
}

func checkT(T int) error {
	if T < 2 || T > maxT {
		return sentence.Errorf("a noise schedule needs between 2 and %d levels, not %d", maxT, T)
	}
	return nil
}

// Betas is β_t of a named schedule of T levels that runs from start to end (cosine: from its own to its own), rounded as
// diffusers rounds it.
func Betas(name string, T int, start, end float64) ([]float32, error) {
	if err := checkT(T); err != nil {
		return nil, err
	}
	betas := make([]float32, T)
	switch name {
	case "linear":
		linspace32(betas, float32(start), float32(end))
	case "scaled_linear":
		linspace32(betas, float32(math.Sqrt(start)), float32(math.Sqrt(end)))
		for t, b := range betas {
			betas[t] = b * b
		}
	case "cosine":
		const maxBeta = 0.999 // iDDPM section 3.2: no singularity at t = T
		bar := func(u float64) float64 {
			c := math.Cos((u + 0.008) / 1.008 * math.Pi / 2)
			return c * c
		}
		for t := range betas {
			betas[t] = float32(min(1-bar(float64(t+1)/float64(T))/bar(float64(t)/float64(T)), maxBeta))
		}
	case "sigmoid":
		linspace32(betas, -6, 6)
		for t, b := range betas {
			s := 1 / (1 + float32(math.Exp(-float64(b))))
			scaled := s * float32(end-start) // its own statement: a fused multiply-add would round once, not twice
			betas[t] = scaled + float32(start)
		}
	default:
		return nil, sentence.Errorf("there is no noise schedule %q; choose one of %s", name, strings.Join(ScheduleNames(), ", "))
	}
	return betas, nil
}

func newSchedule(name string, betas []float32) *Schedule {
	T := len(betas)
	s := &Schedule{Name: name, Betas: make([]float64, T), Alphas: make([]float64, T), AlphasCumprod: make([]float64, T)}
	prod := 1.0
	for t, b := range betas {
		a := 1 - b
		prod *= float64(a)
		s.Betas[t], s.Alphas[t], s.AlphasCumprod[t] = float64(b), float64(a), float64(float32(prod))
	}
	return s
}

// linspace32 fills dst with evenly spaced float32 numbers the way torch.linspace
// does: from both ends towards the middle.
func linspace32(dst []float32, start, end float32) {
	n := len(dst)
	step := (end - start) / float32(n-1)
	for i := range dst {
		if i < n/2 {
			dst[i] = float32(float64(start) + float64(step)*float64(i))
		} else {
			dst[i] = float32(float64(end) - float64(step)*float64(n-1-i))
		}
	}
}

// T is the number of levels.
func (s *Schedule) T() int { return len(s.Betas) }

// DiffusersName is the schedule's beta_schedule in diffusers' scheduler_config.json.
func (s *Schedule) DiffusersName() string {
	if s.Name == "cosine" {
		return "squaredcos_cap_v2"
	}
	return s.Name
}

// Level is the noise level of x_t: Alpha = sqrt(ᾱ_t), Sigma = sqrt(1-ᾱ_t),
// Cond = t (DDPM eq. 4). Any t below 0 is the clean level, any above T-1 the last.
func (s *Schedule) Level(t int) Level {
	if t < 0 {
		return Clean()
	}
	t = min(t, s.T()-1)
	bar := s.AlphasCumprod[t]
	return Level{Alpha: math.Sqrt(bar), Sigma: math.Sqrt(1 - bar), Cond: float64(t)}
}

// ForwardStep takes one step of the forward process, q(x_t | x_{t-1}) =
// N(sqrt(1-β_t) x_{t-1}, β_t I) (DDPM eq. 2), with the standard normal noise
// given in eps; t in 0 … T-1, and x_{-1} is x0.
func (s *Schedule) ForwardStep(dst, prev, eps []float32, t int) {
	t = max(0, min(t, s.T()-1))
	Combine(dst, math.Sqrt(s.Alphas[t]), prev, math.Sqrt(s.Betas[t]), eps)
}

// Posterior is q(x_{t-1} | x_t, x0) (DDPM eq. 6 and 7), t in 0 … T-1; at t = 0 it
// is the point x0. Its variance is diffusers' fixed_small.
func (s *Schedule) Posterior(t int) Posterior { return PosteriorBetween(s.Level(t), s.Level(t-1)) }

// ratios is sigma/alpha of every level: rising.
func (s *Schedule) ratios() []float64 {
	r := make([]float64, s.T())
	for t, bar := range s.AlphasCumprod {
		r[t] = math.Sqrt((1 - bar) / bar)
	}
	return r
}

// interp reads a table at a fractional index.
func interp(table []float64, at float64) float64 {
	at = max(0, min(at, float64(len(table)-1)))
	i := min(int(at), len(table)-2)
	w := at - float64(i)
	return table[i]*(1-w) + table[i+1]*w
}

// locate finds the fractional index of v in a rising table.
func locate(table []float64, v float64) float64 {
	hi, _ := slices.BinarySearch(table, v)
	hi = max(1, min(hi, len(table)-1))
	lo := hi - 1
	w := (v - table[lo]) / (table[hi] - table[lo])
	return float64(lo) + max(0, min(w, 1))
}
