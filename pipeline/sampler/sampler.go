// Package sampler turns noise into samples: DDPM's ancestral sampling, DDIM,
// EDM's Heun method and DPM-Solver++(2M), over anything that predicts x̂0.
//
// Every sampler is one short function written in the (Alpha, Sigma) of
// [diffusion.Level], so each runs on each [diffusion.Process]; on the same levels
// each takes, step for step, the path of diffusers' scheduler of that name.
package sampler

import (
	"context"
	"slices"
	"strings"

	"unnoise/pipeline/diffusion"
	"unnoise/runtime/sentence"
)

// Step is what a callback sees of one step: views that the sampler reuses, valid only
// during the call and not to be written to.
type Step struct {
	// Index counts from 0 to Total-1.
	Index, Total int
	// Level is the noise level of Xt.
	Level diffusion.Level
	// Xt is the state before the step, X0 the (clipped) prediction x̂0 from it and Eps the ε̂ that goes with that x̂0.
	Xt, X0, Eps []float32
}

// Options of one call to [Sample].
type Options struct {
	// Name is one of [Names].
	Name string
	// Steps is the number of steps. Each asks the network once, heun twice except for the last.
	Steps int
	// Spacing places the steps; empty means the sampler's default: leading for ddpm,
	// ddpm-mean and ddim, as in diffusers, karras for heun and dpmpp2m (diffusers'
	// use_karras_sigmas), and karras for all of them on an EDM process.
	Spacing diffusion.Spacing
	// Eta is DDIM's η in 0 … 1: 0 adds no noise, 1 as much as DDPM. Only ddim has it.
	Eta float64
	// Clip limits each x̂0 to [-1, 1]; ε̂ follows.
	Clip bool
	// Means, if not nil, are the means of the images that each sample of the batch is one of: it starts around Alpha times
	// its own, as a noisy image does, and not around 0. It tells where the first level leaves something of the image.
	Means []float32
	// Noise fills dst with standard normal numbers for the whole batch; step is the
	// Index of the step. Needed by ddpm, and by ddim with Eta > 0.
	Noise func(step int, dst []float32)
	// Callback, if any, is called once per step; its error ends the sampling.
	Callback func(Step) error
}

// method is one sampler.
type method struct {
	name string
	// spacing is the default. Karras for the solvers of second order: on a mixture of two Gaussians it came
	// two to ten times nearer to the truth in 32 network calls than timestep spacings did.
	spacing diffusion.Spacing
	spare   bool // leading and linspace mean n+1 timesteps without the lowest, as in diffusers' scheduler
	run     func(*run) error
}

var methods = []method{
	{name: "ddpm", spacing: diffusion.SpacingLeading, run: ddpm},
	{name: "ddpm-mean", spacing: diffusion.SpacingLeading, run: ddpmMean},
	{name: "ddim", spacing: diffusion.SpacingLeading, run: ddim},
	{name: "heun", spacing: diffusion.SpacingKarras, run: heun},
	{name: "dpmpp2m", spacing: diffusion.SpacingKarras, spare: true, run: dpmpp2m},
}

// Names lists the samplers: ddpm, ddpm-mean, ddim, heun, dpmpp2m.
func Names() []string {
	names := make([]string, len(methods))
	for i, m := range methods {
		names[i] = m.name
	}
	return names
}

// Levels returns the noise levels that [Sample] will visit, noisiest first, with the clean level last.
func Levels(p diffusion.Process, o Options) ([]diffusion.Level, error) {
	m, err := find(o.Name)
	if err != nil {
		return nil, err
	}
	return m.levels(p, o)
}

func find(name string) (method, error) {
	i := slices.IndexFunc(methods, func(m method) bool { return m.name == name })
	if i < 0 {
		return method{}, sentence.Errorf("there is no sampler %q; choose one of %s", name, strings.Join(Names(), ", "))
	}
	return methods[i], nil
}

func (m method) levels(p diffusion.Process, o Options) ([]diffusion.Level, error) {
	s := o.Spacing
	if s == "" {
		s = m.spacing
		if known := p.Spacings(); !slices.Contains(known, s) {
			s = known[0]
		}
	}
	if m.spare && (s == diffusion.SpacingLeading || s == diffusion.SpacingLinspace) {
		ls, err := p.Levels(o.Steps+1, s)
		if err != nil {
			// Say it of the steps that were asked for; only the process's whole length is a step too many.
			if _, plain := p.Levels(o.Steps, s); plain != nil {
				return nil, plain
			}
			return nil, sentence.Errorf("sampler %s with %s spacing takes fewer than %d steps on this model", m.name, s, o.Steps)
		}
		return slices.Delete(ls, o.Steps, o.Steps+1), nil
	}
	return p.Levels(o.Steps, s)
}

// Sample turns x, standard normal noise for n samples one after another, into
// samples of the model behind d, in place. It checks ctx before every call of the
// denoiser. On an error x is left in the middle of its way and is of no use.
func Sample(ctx context.Context, d diffusion.Denoiser, p diffusion.Process, x []float32, n int, o Options) error {
	m, err := find(o.Name)
	if err != nil {
		return err
	}
	levels, err := m.levels(p, o)
	if err != nil {
		return err
	}
	switch noisy := o.Name == "ddpm" || o.Eta > 0; {
	case n < 1 || len(x) == 0 || len(x)%n != 0:
		return sentence.Errorf("%d numbers are not the noise of %d samples", len(x), n)
	case !(o.Eta >= 0 && o.Eta <= 1):
		return sentence.Errorf("eta must be between 0 and 1, not %g", o.Eta)
	case o.Eta > 0 && o.Name != "ddim":
		return sentence.Errorf("eta belongs to the sampler ddim; %s has none, so leave it at 0", o.Name)
	case noisy && o.Noise == nil:
		return sentence.Errorf("sampler %s with eta %g adds noise at each step, and no source of noise was given", o.Name, o.Eta)
	}
	if o.Means != nil && len(o.Means) != len(x) {
		return sentence.Errorf("%d numbers are not the means of %d samples", len(o.Means), n)
	}
	prior := p.PriorStd()
	for i, v := range x {
		if o.Means != nil {
			x[i] = float32(levels[0].Alpha*float64(o.Means[i]) + levels[0].Sigma*float64(v))
		} else {
			x[i] = float32(prior * float64(v))
		}
	}
	return m.run(&run{ctx: ctx, d: d, levels: levels, x: x, n: n, o: o, x0: make([]float32, len(x)), eps: make([]float32, len(x))})
}

// run is the state the samplers share.
type run struct {
	ctx    context.Context
	d      diffusion.Denoiser
	levels []diffusion.Level // Steps levels and the clean one
	x      []float32         // x_t, and in the end the samples
	n      int
	o      Options
	x0     []float32 // x̂0 and ε̂ of the last prediction
	eps    []float32
}

func (r *run) steps() int { return len(r.levels) - 1 }

// begin predicts x̂0 and ε̂ at step i and shows them to the callback.
func (r *run) begin(i int) (now, next diffusion.Level, err error) {
	now, next = r.levels[i], r.levels[i+1]
	if err = r.predict(r.x, now, r.x0, r.eps); err != nil {
		return now, next, sentence.Errorf("sampling step %d of %d: %w", i+1, r.steps(), err)
	}
	if r.o.Callback != nil {
		err = r.o.Callback(Step{Index: i, Total: r.steps(), Level: now, Xt: r.x, X0: r.x0, Eps: r.eps})
	}
	return now, next, err
}

var errNotFinite = sentence.Errorf("the network's prediction is not finite; its weights are damaged or its training has diverged")

// predict fills x0 (clipped if asked for) and the eps that agrees with it.
func (r *run) predict(x []float32, l diffusion.Level, x0, eps []float32) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if err := r.d.Denoise(r.ctx, x, r.n, l, x0); err != nil {
		return err
	}
	var check float32 // stays 0 unless some v is infinite or not a number
	for i, v := range x0 {
		check += v * 0
		if r.o.Clip {
			x0[i] = max(-1, min(v, 1))
		}
	}
	if check != 0 {
		return errNotFinite
	}
	diffusion.EpsFromX0(eps, x, x0, l)
	return nil
}
