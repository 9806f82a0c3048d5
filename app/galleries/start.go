package galleries

import (
	"context"
	"math"

	"unnoise/pipeline/diffusion"
	"unnoise/pipeline/model"
	"unnoise/pipeline/rng"
	"unnoise/pipeline/sampler"
)

// A network that predicts the noise tells x0 with an error of σ/α times its own, 80 times at the highest level that solvers
// begin at. A schedule such as cosine trains few of those levels, and a sampler without noise of its own carries their
// error to the end, where limiting x̂0 turns it into gray: such models draw too bright or too dark, with too much contrast.
// They start lower, where the network tells more, and around the mean of the images there, since at that level it is not
// drowned yet. DDPM's noise mends the error on the way, so it needs none of this.

// A schedule trains the highest levels too little if less than this share of its levels lies above a σ/α of noisy.
const (
	rarely = 0.1
	noisy  = 10
)

// lowest is the σ/α that such a model is sampled from. On small runs of 16×16 pictures (mean 80 of 255, standard deviation
// 68), DPM-Solver++ came from a mean of 94 to 81 after 750 steps, and from 82 and 73 to 77 and 68 after 2,500, where DDPM
// draws 77 and 67; from 10 it drew 75 and 63.
const lowest = 20

// startFor is the highest σ/α that such a model is sampled from with these settings, 0 for all others.
func startFor(spec model.Spec, set Settings) float64 {
	if spec.Objective != diffusion.ObjectiveEps || set.Sampler == "ddpm" || set.Eta > 0 {
		return 0
	}
	proc, err := spec.Process()
	if err != nil {
		return 0
	}
	vp, ok := proc.(*diffusion.VP)
	if !ok {
		return 0
	}
	T := vp.Schedule().T()
	if above := T - vp.Below(noisy).Top(); above == 0 || float64(above) > rarely*float64(T) {
		return 0
	}
	// High enough that the noise in a large image's mean, σ/√pixels, still drowns what images differ by there.
	_, h, w := spec.Shape()
	start := max(lowest, math.Sqrt(float64(h*w))*lowest/64)
	if start >= min(diffusion.SigmaMax, vp.Schedule().Level(T-1).Ratio()) {
		return 0
	}
	return start
}

// The mean is told from so many pairs of noise and its opposite, whose sum has no share of it left, in so many rounds: each
// begins around the mean of the one before, as a noisy image does.
const (
	meanPairs  = 8
	meanRounds = 2
)

// mean is the mean of the images of a label that the network tells at a level, the same value throughout a channel.
func (s *Sampler) mean(ctx context.Context, label int64, level diffusion.Level) ([]float32, error) {
	if m, ok := s.means[label]; ok {
		return m, nil
	}
	spec, dim := s.model.Spec, s.model.Spec.Dim()
	var labels []int64
	if spec.Conditional() {
		labels = make([]int64, 2*meanPairs)
		for i := range labels {
			labels[i] = label
		}
	}
	d, err := model.NewDenoiser(s.net, spec, labels)
	if err != nil {
		return nil, err
	}
	x, x0, eps := make([]float32, 2*meanPairs*dim), make([]float32, 2*meanPairs*dim), make([]float32, dim)
	mean := make([]float32, dim)
	for range meanRounds {
		for k := range meanPairs {
			rng.Normal(eps, rng.New(0, "sample/mean", uint64(k)))
			diffusion.Combine(x[2*k*dim:(2*k+1)*dim], level.Alpha, mean, level.Sigma, eps)
			diffusion.Combine(x[(2*k+1)*dim:(2*k+2)*dim], level.Alpha, mean, -level.Sigma, eps)
		}
		if err := d.Denoise(ctx, x, 2*meanPairs, level, x0); err != nil {
			return nil, err
		}
		c, h, w := spec.Shape()
		for ch := range c {
			var sum float64
			for i := ch * h * w; i < len(x0); i += dim {
				for _, v := range x0[i : i+h*w] {
					sum += float64(v)
				}
			}
			v := float32(max(-1, min(1, sum/float64(2*meanPairs*h*w))))
			for i := range h * w {
				mean[ch*h*w+i] = v
			}
		}
	}
	if s.means == nil {
		s.means = map[int64][]float32{}
	}
	s.means[label] = mean
	return mean, nil
}

// lowered puts x, the noise of these labels, where a model that starts lower is sampled from, and returns the process for
// it and the number of steps; otherwise it leaves everything.
func (s *Sampler) lowered(ctx context.Context, set Settings, labels []int64, o *sampler.Options, n int) (diffusion.Process, error) {
	start := startFor(s.model.Spec, set)
	if start == 0 {
		return s.proc, nil
	}
	vp := s.proc.(*diffusion.VP).Below(start)
	o.Steps = min(o.Steps, vp.Top()-1)
	levels, err := sampler.Levels(vp, *o)
	if err != nil {
		return nil, err
	}
	dim := s.model.Spec.Dim()
	o.Means = make([]float32, 0, n*dim)
	for b := range n {
		label := int64(0)
		if labels != nil {
			label = labels[b]
		}
		m, err := s.mean(ctx, label, levels[0])
		if err != nil {
			return nil, err
		}
		o.Means = append(o.Means, m...)
	}
	return vp, nil
}
