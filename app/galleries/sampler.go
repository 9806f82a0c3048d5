// Package galleries samples pictures from trained models into folders of PNGs that carry their own provenance.
//
// Every picture is named by a seed and an index. Its noise comes from streams keyed by the two, so picture 17 of a seed
// is the same whatever the batch size and however many others are made with it.
package galleries

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"unnoise/app/runs"
	"unnoise/pipeline/diffusion"
	"unnoise/pipeline/model"
	"unnoise/pipeline/picture"
	"unnoise/pipeline/rng"
	"unnoise/pipeline/sampler"
	"unnoise/runtime/sentence"
)

// Model is something that can be sampled.
type Model struct {
	Name        string // of the run or imported model, for the pictures' metadata
	Spec        model.Spec
	Weights     []float32
	Checkpoint  int64  // step
	WeightsName string // train.EMAName or train.RawName
}

// FromRun loads a checkpoint of a run as a model: step -1 is the newest; weights is train.EMAName (also "") or
// train.RawName.
func FromRun(r *runs.Run, step int64, weights string) (Model, error) {
	w, step, weights, err := r.Weights(step, weights)
	if err != nil {
		return Model{}, err
	}
	info := r.Info()
	return Model{Name: info.Name, Spec: info.Model, Weights: w, Checkpoint: step, WeightsName: weights}, nil
}

// Meta is the provenance of picture index of m, drawn with these (complete) settings by that version of the program.
func (m Model) Meta(set Settings, index int, version string) *picture.Meta {
	_, h, w := m.Spec.Shape()
	p := &picture.Meta{
		Version: version, Run: m.Name, Checkpoint: m.Checkpoint, EMA: m.WeightsName,
		Objective: string(m.Spec.Objective), Schedule: m.Spec.ScheduleName(),
		Sampler: set.Sampler, Steps: set.Steps, Spacing: string(set.Spacing), Eta: set.Eta, NoClip: set.NoClip,
		Start: startFor(m.Spec, set), Seed: set.Seed, Index: index, Width: w, Height: h,
	}
	if k := set.class(m.Spec, index); k >= 0 {
		p.Class = m.Spec.Classes[k]
	}
	return p
}

// Settings says how pictures are drawn from a model.
type Settings struct {
	Sampler string            // one of sampler.Names; "" is DefaultSampler
	Steps   int               // 0 is the sampler's usual number
	Spacing diffusion.Spacing // how the steps lie on the noise levels; "" is the sampler's own way
	Eta     float64           // DDIM's η
	Seed    uint64
	Class   string // "" takes the classes in turn
	// NoClip leaves the predicted x0 as it is; otherwise it is limited to the range of pixels at each step.
	NoClip bool
}

// DefaultSampler draws good pictures with the fewest network calls.
const DefaultSampler = "dpmpp2m"

// DefaultSteps is the usual number of steps of a sampler.
func DefaultSteps(name string) int {
	switch name {
	case "ddpm", "ddpm-mean":
		return 250
	case "ddim":
		return 50
	default:
		return 20
	}
}

// Complete fills in what was left open and checks the settings against a model. Errors wrap model.ErrOption.
func (s Settings) Complete(spec model.Spec) (Settings, error) {
	if s.Sampler == "" {
		s.Sampler = DefaultSampler
	}
	if !slices.Contains(sampler.Names(), s.Sampler) {
		return s, fmt.Errorf("%w: %w", model.ErrOption, sentence.Errorf("there is no sampler %q: use one of %s", s.Sampler, strings.Join(sampler.Names(), ", ")))
	}
	if s.Steps == 0 {
		s.Steps = DefaultSteps(s.Sampler)
	}
	p, err := spec.Process()
	if err != nil {
		return s, err
	}
	if _, err := sampler.Levels(p, sampler.Options{Name: s.Sampler, Steps: s.Steps, Spacing: s.Spacing}); err != nil {
		return s, fmt.Errorf("%w: %w", model.ErrOption, err)
	}
	if !(s.Eta >= 0 && s.Eta <= 1) || (s.Eta > 0 && s.Sampler != "ddim") {
		return s, fmt.Errorf("%w: %w", model.ErrOption, sentence.Errorf("an eta of %g: it must be between 0 and 1, and only ddim takes one", s.Eta))
	}
	if s.Class != "" {
		if _, err := spec.Class(s.Class); err != nil {
			return s, err
		}
	}
	return s, nil
}

// class returns the class index of picture i under these settings, -1 for none.
func (s Settings) class(spec model.Spec, i int) int {
	switch {
	case len(spec.Classes) == 0:
		return -1
	case s.Class == "":
		return i % len(spec.Classes)
	}
	return slices.Index(spec.Classes, s.Class)
}

// Sampler holds a model's network in memory. It is not safe for concurrent use.
type Sampler struct {
	model Model
	proc  diffusion.Process
	net   model.LoadedNet
	means map[int64][]float32 // by label, where they are needed; see start.go
}

// cachedValues is how many values the pictures have that a core samples at once: few stay in its cache, and the first
// pictures come soon; more would be three percent faster.
const (
	cachedValues = 6144
	maxEach      = 4
)

// batchFor is the number of pictures sampled at once.
func batchFor(spec model.Spec, n int, c model.Compute) int {
	return min(max(1, n), c.Cores()*max(1, min(maxEach, cachedValues/spec.Dim())))
}

// NewSampler compiles the model's network for n pictures.
func NewSampler(ctx context.Context, m Model, n int, c model.Compute) (*Sampler, error) {
	p, err := m.Spec.Process()
	if err != nil {
		return nil, err
	}
	net, err := model.Load(ctx, m.Spec, m.Weights, batchFor(m.Spec, n, c), c)
	if err != nil {
		return nil, sentence.Errorf("the model %s cannot be used: %w", m.Name, err)
	}
	return &Sampler{model: m, proc: p, net: net}, nil
}

// Close frees the network.
func (s *Sampler) Close() error { return s.net.Close() }

// Batch is how many pictures are sampled at once.
func (s *Sampler) Batch() int { return s.net.Batch() }

// Purposes of the random streams of a picture.
const (
	startStream     = "sample"           // the noise it begins as
	ancestralStream = "sample/ancestral" // the noise that some samplers add at each step
)

// Start fills x with the noise that picture index of a seed begins as.
func Start(x []float32, seed uint64, index int) {
	rng.Normal(x, rng.New(seed, startStream, uint64(index)))
}

// Images samples the pictures with these indices, of the settings' seed. It calls each with every finished one, in
// order, and step after every step of a batch; a callback's error ends the sampling. x is len C·H·W in [-1,1].
func (s *Sampler) Images(ctx context.Context, set Settings, indices []int,
	step func(first, n int, st sampler.Step) error, each func(index int, x []float32) error,
) error {
	set, err := set.Complete(s.model.Spec)
	if err != nil {
		return err
	}
	dim := s.model.Spec.Dim()
	for lo := 0; lo < len(indices); lo += s.net.Batch() {
		part := indices[lo:min(lo+s.net.Batch(), len(indices))]
		x := make([]float32, len(part)*dim)
		for b, i := range part {
			Start(x[b*dim:(b+1)*dim], set.Seed, i)
		}
		err := s.run(ctx, set, part, x, func(st sampler.Step) error {
			if step == nil {
				return nil
			}
			return step(lo, len(part), st)
		})
		if err != nil {
			return err
		}
		for b, i := range part {
			if err := each(i, x[b*dim:(b+1)*dim]); err != nil {
				return err
			}
		}
	}
	return nil
}

// run samples one batch in place.
func (s *Sampler) run(ctx context.Context, set Settings, indices []int, x []float32, step func(sampler.Step) error) error {
	spec, dim, n := s.model.Spec, s.model.Spec.Dim(), len(indices)
	var labels []int64
	if spec.Conditional() {
		labels = make([]int64, n)
		for b, i := range indices {
			labels[b] = spec.Label(set.class(spec, i))
		}
	}
	d, err := model.NewDenoiser(s.net, spec, labels)
	if err != nil {
		return err
	}
	streams := make([]*rand.Rand, n)
	for b, i := range indices {
		streams[b] = rng.New(set.Seed, ancestralStream, uint64(i))
	}
	o := sampler.Options{
		Name: set.Sampler, Steps: set.Steps, Spacing: set.Spacing, Eta: set.Eta, Clip: !set.NoClip, Callback: step,
		Noise: func(_ int, dst []float32) {
			for b, r := range streams {
				rng.Normal(dst[b*dim:(b+1)*dim], r)
			}
		},
	}
	proc, err := s.lowered(ctx, set, labels, &o, n)
	if err != nil {
		return err
	}
	return sampler.Sample(ctx, d, proc, x, n, o)
}

// Trajectory samples one picture and shows every step.
func (s *Sampler) Trajectory(ctx context.Context, set Settings, index int, step func(sampler.Step) error) ([]float32, error) {
	var out []float32
	err := s.Images(ctx, set, []int{index},
		func(_, _ int, st sampler.Step) error { return step(st) },
		func(_ int, x []float32) error { out = x; return nil })
	return out, err
}

// Interpolate samples the walk from the noise of one picture to that of another along the great circle (slerp; for
// Gaussian noise in many dimensions it keeps the norm, as a straight line would not), in the given number of frames,
// both ends included. Samplers that add noise of their own would break the walk and are refused.
func (s *Sampler) Interpolate(ctx context.Context, set Settings, seedA uint64, indexA int, seedB uint64, indexB, frames int,
	each func(frame int, x []float32) error,
) error {
	set, err := set.Complete(s.model.Spec)
	if err != nil {
		return err
	}
	if set.Sampler == "ddpm" || set.Eta > 0 {
		return fmt.Errorf("%w: %w", model.ErrOption, sentence.Errorf("%s adds noise at each step, so there is no way between two pictures: use ddim with eta 0, heun or dpmpp2m", set.Sampler))
	}
	if frames < 2 {
		return sentence.Errorf("a walk between two pictures has at least two frames")
	}
	dim := s.model.Spec.Dim()
	a, b := make([]float32, dim), make([]float32, dim)
	Start(a, seedA, indexA)
	Start(b, seedB, indexB)
	for lo := 0; lo < frames; lo += s.net.Batch() {
		n := min(s.net.Batch(), frames-lo)
		x := make([]float32, n*dim)
		same := make([]int, n) // all frames have the class of the first picture
		for k := range n {
			slerp(x[k*dim:(k+1)*dim], a, b, float64(lo+k)/float64(frames-1))
			same[k] = indexA
		}
		if err := s.run(ctx, set, same, x, nil); err != nil {
			return err
		}
		for k := range n {
			if err := each(lo+k, x[k*dim:(k+1)*dim]); err != nil {
				return err
			}
		}
	}
	return nil
}

// slerp is the point at t ∈ [0,1] on the arc from a to b.
func slerp(dst, a, b []float32, t float64) {
	var aa, bb, ab float64
	for i := range a {
		aa += float64(a[i]) * float64(a[i])
		bb += float64(b[i]) * float64(b[i])
		ab += float64(a[i]) * float64(b[i])
	}
	wa, wb := 1-t, t // nearly parallel: the arc is the line
	if theta := math.Acos(max(-1, min(1, ab/math.Sqrt(aa*bb)))); math.Sin(theta) > 1e-4 {
		wa, wb = math.Sin((1-t)*theta)/math.Sin(theta), math.Sin(t*theta)/math.Sin(theta)
	}
	diffusion.Combine(dst, wa, a, wb, b)
}
