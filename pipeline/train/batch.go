package train

import (
	"unnoise/pipeline/diffusion"
	"unnoise/pipeline/model"
	"unnoise/pipeline/rng"
	"unnoise/runtime/program"
)

// source makes the training batches. What it makes is a pure function of the seed and the step.
type source struct {
	pictures func(step int64, x []float32, class []int64) error // fills in the pictures of a step; see data.Loader.Fill
	proc     diffusion.Process
	spec     model.Spec
	batch    int
	dim      int
	seed     uint64
	x0       []float32
	eps      []float32
	xt       []float32
	u        []float64
}

// batch is what one optimiser step consumes, and what the log needs to know of it.
type batch struct {
	step  int64
	err   error // why it could not be made
	in    program.Batch
	bin   []int   // which part of u ∈ [0,1) each picture's noise level fell in
	power float64 // mean square of the targets: the loss of a network that always answers zero
}

func newSource(pictures func(int64, []float32, []int64) error, spec model.Spec, size int, seed uint64) (*source, error) {
	proc, err := spec.Process()
	if err != nil {
		return nil, err
	}
	n := size * spec.Dim()
	return &source{
		pictures: pictures, proc: proc, spec: spec, batch: size, dim: spec.Dim(), seed: seed,
		x0: make([]float32, n), eps: make([]float32, n), xt: make([]float32, n), u: make([]float64, size),
	}, nil
}

func (s *source) newBatch() *batch {
	n := s.batch * s.dim
	b := &batch{
		in: program.Batch{
			X: make([]float32, n), Target: make([]float32, n),
			Cond: make([]float32, s.batch), Weight: make([]float32, s.batch),
		},
		bin: make([]int, s.batch),
	}
	if s.spec.Conditional() {
		b.in.Class = make([]int64, s.batch)
	}
	return b
}

// fill makes the batch of a step (0-based).
func (s *source) fill(b *batch, step int64) error {
	b.step = step
	if err := s.pictures(step, s.x0, b.in.Class); err != nil {
		return err
	}
	if len(s.spec.Classes) == 0 { // the pictures may have classes that the network is not told
		for i := range b.in.Class {
			b.in.Class[i] %= int64(s.spec.Preprocess.Transforms())
		}
	}
	at := uint64(step)
	diffusion.Stratified(s.u, rng.New(s.seed, "level", at))
	rng.Normal(s.eps, rng.New(s.seed, "noise", at))
	b.in.Dropout = rng.New(s.seed, "dropout", at).Uint64()
	obj := s.spec.Objective
	var power float64
	for i, u := range s.u {
		lvl := s.proc.Train(u)
		lo, hi := i*s.dim, (i+1)*s.dim
		x0, eps, xt := s.x0[lo:hi], s.eps[lo:hi], s.xt[lo:hi]
		diffusion.AddNoise(xt, x0, eps, lvl)
		obj.Input(b.in.X[lo:hi], xt, lvl)
		target := b.in.Target[lo:hi]
		obj.Target(target, x0, eps, lvl)
		for _, v := range target {
			power += float64(v) * float64(v)
		}
		b.in.Cond[i] = float32(lvl.Cond)
		b.in.Weight[i] = float32(s.spec.Weighting.Weight(obj, lvl))
		b.bin[i] = min(int(u*levelBins), levelBins-1)
	}
	b.power = power / float64(len(s.x0))
	return nil
}

// feeder makes the next batch on a goroutine of its own while a step runs on this one.
type feeder struct {
	src     *source
	bufs    [2]*batch
	cur     int
	pending chan *batch // holds the batch being made, or nil when there is none
}

func newFeeder(s *source) *feeder {
	return &feeder{src: s, bufs: [2]*batch{s.newBatch(), s.newBatch()}}
}

// next returns the batch of that step, valid until the next call, and starts on the one after it.
func (f *feeder) next(step int64) (*batch, error) {
	b := f.wait()
	if b == nil || b.step != step {
		b = f.bufs[f.cur]
		b.err = f.src.fill(b, step)
	}
	if b.err != nil {
		return nil, b.err
	}
	f.cur = 1
	if b == f.bufs[1] {
		f.cur = 0
	}
	other := f.bufs[f.cur]
	done := make(chan *batch, 1)
	f.pending = done
	go func() {
		other.err = f.src.fill(other, step+1)
		done <- other
	}()
	return b, nil
}

// wait returns the batch under way once it is done, or nil. After it, no goroutine uses the source.
func (f *feeder) wait() *batch {
	if f.pending == nil {
		return nil
	}
	b := <-f.pending
	f.pending = nil
	return b
}
