// Package eval measures a model's loss on pictures it was not trained on, at each noise level, with noise that is the
// same at every call: two checkpoints are compared on exactly the same questions.
package eval

import (
	"context"
	"slices"

	"unnoise/pipeline/data"
	"unnoise/pipeline/diffusion"
	"unnoise/pipeline/model"
	"unnoise/pipeline/rng"
	"unnoise/runtime/sentence"
)

// Options says how much is measured.
type Options struct {
	Seed   uint64
	Levels int // number of noise levels, the midpoints of equal parts of u ∈ [0,1); 0 means DefaultLevels
	// Transitions is how many steps of the chain are drawn per picture for the bound; 0 means DefaultTransitions.
	Transitions int
	Images      int // at most so many pictures, the first of idx; 0 means all
	// Class gives the model's class of a picture of the cache, where the cache's own is another; nil otherwise.
	Class func(img int) int
	// Progress, if not nil, is told how many of how many pictures are done.
	Progress func(done, total int)
}

// DefaultLevels is the number of noise levels measured and logged.
const DefaultLevels = 8

// Level is the loss at one noise level.
type Level struct {
	U     float64 `json:"u"`     // position in the training distribution of noise levels, 0 is the least noise
	Sigma float64 `json:"sigma"` // noise-to-signal ratio σ/α there
	Loss  float64 `json:"loss"`  // mean squared error of the network's output per value
}

// Result is a loss and how it is spread over noise levels.
type Result struct {
	Images int     `json:"images"`
	Loss   float64 `json:"loss"` // mean over levels
	Levels []Level `json:"levels"`
}

// Levels returns the noise levels at the midpoints of n equal parts of u ∈ [0,1).
func Levels(p diffusion.Process, n int) []diffusion.Level {
	out := make([]diffusion.Level, n)
	for k := range out {
		out[k] = p.Train((float64(k) + 0.5) / float64(n))
	}
	return out
}

// Loss measures the mean squared error between the network's output and the objective's target (the training loss
// without its weight) on the pictures idx of the cache. The noise of a picture depends only on the
// seed, the picture's place in idx and the level. The pictures are shown as they are, without augmentation.
func Loss(ctx context.Context, net model.Net, spec model.Spec, cache *data.Cache, idx []int, o Options) (Result, error) {
	if o.Levels == 0 {
		o.Levels = DefaultLevels
	}
	idx, err := o.check(spec, cache, idx)
	if err != nil {
		return Result{}, err
	}
	proc, err := spec.Process()
	if err != nil {
		return Result{}, err
	}
	levels := Levels(proc, o.Levels)
	sums := make([]float64, o.Levels)
	x0, eps := make([]float32, spec.Dim()), make([]float32, spec.Dim())
	q := newQuestions(net, spec)
	for i, img := range idx {
		if err := cache.Read(img, x0); err != nil {
			return Result{}, err
		}
		for k, lvl := range levels {
			rng.Normal(eps, rng.New(o.Seed, "eval", uint64(i*o.Levels+k)))
			want := make([]float32, spec.Dim())
			spec.Objective.Target(want, x0, eps, lvl)
			if err := q.ask(ctx, x0, eps, lvl, o.Class(img), func(_, out []float32) { sums[k] += MSE(out, want) }); err != nil {
				return Result{}, err
			}
		}
		if o.Progress != nil {
			o.Progress(i+1, len(idx))
		}
	}
	if err := q.flush(ctx); err != nil {
		return Result{}, err
	}
	r := Result{Images: len(idx), Levels: make([]Level, o.Levels)}
	for k, lvl := range levels {
		l := sums[k] / float64(len(idx))
		r.Levels[k] = Level{U: (float64(k) + 0.5) / float64(o.Levels), Sigma: lvl.Ratio(), Loss: l}
		r.Loss += l / float64(o.Levels)
	}
	return r, nil
}

// check fills in what is not given and returns the pictures to measure on.
func (o *Options) check(spec model.Spec, cache *data.Cache, idx []int) ([]int, error) {
	if o.Images > 0 && len(idx) > o.Images {
		idx = idx[:o.Images]
	}
	if len(idx) == 0 {
		return nil, sentence.Errorf("there are no pictures to measure the loss on")
	}
	if o.Class == nil {
		o.Class = cache.Class
	}
	if cache.Dim() != spec.Dim() {
		return nil, sentence.Errorf("pictures of %d values for a model of %d", cache.Dim(), spec.Dim())
	}
	return idx, nil
}

// questions collects noisy pictures until the network's batch is full.
type questions struct {
	net   model.Net
	spec  model.Spec
	xt    []float32 // of the whole batch, as in and out
	in    []float32
	out   []float32
	cond  []float32
	class []int64
	then  []func(xt, out []float32)
}

func newQuestions(net model.Net, spec model.Spec) *questions {
	n := net.Batch() * spec.Dim()
	return &questions{net: net, spec: spec, xt: make([]float32, n), in: make([]float32, n), out: make([]float32, n)}
}

// ask shows the network x0 with noise and hands x_t and the answer to then, now or
// with a later question; flush asks what is left.
func (q *questions) ask(ctx context.Context, x0, eps []float32, lvl diffusion.Level, class int, then func(xt, out []float32)) error {
	dim, n := q.spec.Dim(), len(q.then)
	xt := q.xt[n*dim : (n+1)*dim]
	diffusion.AddNoise(xt, x0, eps, lvl)
	q.spec.Objective.Input(q.in[n*dim:(n+1)*dim], xt, lvl)
	q.cond = append(q.cond, float32(lvl.Cond))
	if q.spec.Conditional() {
		q.class = append(q.class, q.spec.Label(min(class, len(q.spec.Classes)-1)))
	}
	if q.then = append(q.then, then); len(q.then) == q.net.Batch() {
		return q.flush(ctx)
	}
	return nil
}

func (q *questions) flush(ctx context.Context) error {
	n, dim := len(q.then), q.spec.Dim()
	if n == 0 {
		return nil
	}
	if err := q.net.Forward(ctx, q.in[:n*dim], q.cond, q.class, q.out[:n*dim]); err != nil {
		return err
	}
	for i, then := range q.then {
		then(q.xt[i*dim:(i+1)*dim], q.out[i*dim:(i+1)*dim])
	}
	q.cond, q.class, q.then = q.cond[:0], q.class[:0], q.then[:0]
	return nil
}

// MSE is the mean squared difference of two vectors of equal length.
func MSE(a, b []float32) float64 {
	var s float64
	for i, v := range a {
		d := float64(v - b[i])
		s += d * d
	}
	return s / float64(len(a))
}

// Subset returns at most n of the pictures idx, spread over all of them and the same at every call with that seed.
func Subset(idx []int, n int, seed uint64) []int {
	if len(idx) <= n {
		return idx
	}
	perm := rng.New(seed, "eval subset", 0).Perm(len(idx))[:n]
	slices.Sort(perm)
	out := make([]int, n)
	for i, p := range perm {
		out[i] = idx[p]
	}
	return out
}
