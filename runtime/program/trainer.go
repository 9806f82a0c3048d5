package program

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"unnoise/runtime/autodiff"
	"unnoise/runtime/graph"
	"unnoise/runtime/ort"
	"unnoise/runtime/unet"
)

// ErrNonFinite says that a step produced a NaN or an infinity; the state is that before the step.
var ErrNonFinite = errors.New("the loss or the gradient is not a finite number")

// TrainSpec says what is trained and how.
type TrainSpec struct {
	UNet         unet.Config
	Batch        int     // samples per optimiser step
	MicroBatch   int     // samples per run of the gradient program; 0: chosen by the size of the activations
	EMAs         int     // moving averages kept
	ClipNorm     float64 // largest global norm of the gradient; 0: no clipping
	Beta1, Beta2 float64 // AdamW's decay rates; 0: 0.9 and 0.999
	Eps          float64 // AdamW's ε; 0: 1e-8
	WeightDecay  float64 // decoupled, per unit of learning rate
}

// Batch is the input of one step. X and Target are [Batch,C,H,W]; Cond,
// Weight and Class have one entry per sample. Class is nil for an unconditional
// model. Dropout seeds the step's dropout masks.
type Batch struct {
	X, Cond, Target, Weight []float32
	Class                   []int64
	Dropout                 uint64
}

// Hyper are the numbers that may change with every step.
type Hyper struct {
	LR float64
	// EMARates has one rate in [0,1] per average: after the update,
	// ema += rate·(params − ema).
	EMARates []float64
}

// Result reports a step: Loss is each sample's mean squared error before
// weighting, Total the mean of weight·loss, GradNorm the gradient's global norm before clipping.
type Result struct {
	Loss     []float32
	Total    float64
	GradNorm float64
}

// State is everything that a training run must keep, as flat vectors in the
// order of unet.Config.Params. Step counts the optimiser's steps.
type State struct {
	Params, M, V []float32
	EMA          [][]float32
	Step         int64
}

// Trainer runs optimiser steps: per micro-batch one run of the gradient
// program, whose outputs add up in flat vectors, then one pass of AdamW.
type Trainer struct {
	spec    TrainSpec
	opt     Options
	micro   int
	store   *store
	session *ort.Session

	params, m, v []float32
	ema          [][]float32
	step         int64
	filters      []float32
	weights      []*ort.Tensor
	lanes        []trainLane
	parts        []part
	chunks       [][2]int // the trained part of a flat vector
}

// trainLane holds the micro-batch that one run computes.
type trainLane struct {
	x, cond, target, weight []float32
	class                   []int64
	masks                   [][]uint8
	loss                    []float32
	in                      []*ort.Tensor
	lossOut                 *ort.Tensor
}

// part is the sum of the gradients of every len(parts)-th micro-batch. Which micro-batches are added in which order
// depends on their number alone, so the bits of a step do not depend on the lanes.
type part struct {
	grad []float32
	// views of grad: the program reads from them what there is, and writes the sum to the same place.
	views []*ort.Tensor
}

// There are as many parts as micro-batches should go side by side, but of large networks only as many as memory allows.
const (
	maxParts  = 4
	minParts  = 2
	partBytes = 256 << 20 // of all parts
)

// microBytes is the size of the first level's activations that a micro-batch
// aims at: about the second-level cache of a core, where element-wise
// operations run several times faster than from memory (docs/benchmarks.md).
const microBytes = 1 << 20

// NewTrainer compiles the gradient program. The parameters are zero until SetState.
func NewTrainer(ctx context.Context, spec TrainSpec, opt Options) (*Trainer, error) {
	if spec.Batch < 1 || spec.EMAs < 0 || spec.MicroBatch < 0 {
		return nil, fmt.Errorf("training needs a batch of at least 1, not %d", spec.Batch)
	}
	if spec.Beta1 == 0 {
		spec.Beta1 = 0.9
	}
	if spec.Beta2 == 0 {
		spec.Beta2 = 0.999
	}
	if spec.Eps == 0 {
		spec.Eps = 1e-8
	}
	if err := ort.InitDefault(ctx); err != nil {
		return nil, err
	}
	t := &Trainer{spec: spec, opt: opt}
	cfg := spec.UNet
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	w, h := cfg.Size()
	t.micro = spec.MicroBatch
	if t.micro == 0 {
		t.micro = max(1, microBytes/(4*w*h*cfg.BlockOutChannels[0]))
	}
	// Equal micro-batches; the last may be filled up with samples of weight 0.
	runs := (spec.Batch + t.micro - 1) / t.micro
	parts := max(minParts, min(maxParts, partBytes/(4*cfg.NumParams())))
	if spec.MicroBatch == 0 { // enough of them for all parts
		runs = max(runs, min(parts, spec.Batch))
	}
	t.micro = (spec.Batch + runs - 1) / runs
	t.parts = make([]part, min(parts, runs))
	t.lanes = make([]trainLane, min(opt.Cores(), len(t.parts)))
	ok := false
	defer func() {
		if !ok {
			_ = t.Close()
		}
	}()
	if err := t.compile(); err != nil {
		return nil, err
	}
	ok = true
	return t, nil
}

// compile writes the gradient program and binds its tensors.
func (t *Trainer) compile() error {
	cfg, n := t.spec.UNet, t.micro
	w, h := cfg.Size()
	b := graph.New()
	s, err := newStore(b, cfg, blockFor(cfg))
	if err != nil {
		return err
	}
	s.training = true
	t.store = s
	x := b.Input("x", graph.Float, n, cfg.InChannels, h, w)
	cond := b.Input("cond", graph.Float, n)
	target := b.Input("target", graph.Float, n, cfg.OutChannels, h, w)
	weight := b.Input("weight", graph.Float, n)
	names := []string{"x", "cond", "target", "weight"}
	var class *graph.Value
	if cfg.Classes() > 0 {
		class = b.Input("class", graph.Int64, n)
		names = append(names, "class")
	}
	u := &network{Tape: autodiff.NewTape(b, s.block), cfg: cfg, src: s, n: n}
	out := u.forward(x, cond, class)
	dim := cfg.OutChannels * h * w
	diff := b.Sub(out, target)
	loss := b.Mean(b.Reshape(b.Mul(diff, diff), n, dim), false, 1)
	// ∂/∂out of Σ weight·mean(diff²)
	seed := b.Mul(diff, b.Reshape(b.Mul(weight, b.Scalar(2/float64(dim))), n, 1, 1, 1))
	type sum struct {
		name  string
		shape []int
	}
	var sums []sum
	grads, err := u.Backward(out, seed, func(name string) *graph.Value {
		sl := s.byName[name]
		shape := sl.Shape
		if sl.conv { // the matrix in which the gradient arises
			shape = sl.kernel.GradShape(s.block)
		}
		sums = append(sums, sum{name, shape})
		return b.Input("a:"+name, graph.Float, shape...)
	})
	if err != nil {
		return err
	}
	b.Output("loss", loss)
	outs := []string{"loss"}
	for _, g := range grads {
		b.Output("g:"+g.Name, g.Value)
		outs = append(outs, "g:"+g.Name)
	}
	model, err := b.Model()
	if err != nil {
		return err
	}
	for _, m := range s.masks {
		names = append(names, m.Name)
	}
	names = append(names, s.inputNames()...)
	for _, a := range sums {
		names = append(names, "a:"+a.name)
	}
	if t.session, err = ort.NewSession(model, names, outs, t.opt.session(len(t.lanes))); err != nil {
		return err
	}

	flat := func() []float32 { return make([]float32, s.length) }
	t.params, t.m, t.v = flat(), flat(), flat()
	for range t.spec.EMAs {
		t.ema = append(t.ema, flat())
	}
	t.filters = make([]float32, s.filterN)
	bind := newBinder()
	for i := range t.lanes {
		l := &t.lanes[i]
		l.x, l.target = make([]float32, x.Len()), make([]float32, target.Len())
		l.cond, l.weight, l.loss = make([]float32, n), make([]float32, n), make([]float32, n)
		l.in = []*ort.Tensor{wrap(bind, l.x, x.Shape...), wrap(bind, l.cond, n), wrap(bind, l.target, target.Shape...), wrap(bind, l.weight, n)}
		if class != nil {
			l.class = make([]int64, n)
			l.in = append(l.in, wrap(bind, l.class, n))
		}
		for _, m := range s.masks {
			mask := make([]uint8, m.Len())
			l.masks = append(l.masks, mask)
			l.in = append(l.in, wrap(bind, mask, m.Shape...))
		}
		l.lossOut = wrap(bind, l.loss, n)
	}
	for i := range t.parts {
		p := &t.parts[i]
		p.grad = flat()
		for _, a := range sums {
			sl := s.byName[a.name]
			p.views = append(p.views, wrap(bind, p.grad[sl.at:sl.at+sl.Len()], a.shape...))
		}
	}
	if bind.err != nil {
		return bind.err
	}
	if t.weights, err = s.tensors(t.params, t.filters); err != nil {
		return err
	}
	const chunk = 1 << 16
	frozen := s.frozen() // what is not trained neither decays nor is averaged
	for _, part := range [][2]int{{0, frozen[0]}, {frozen[1], s.length}} {
		for at := part[0]; at < part[1]; at += chunk {
			t.chunks = append(t.chunks, [2]int{at, min(at+chunk, part[1])})
		}
	}
	return nil
}

// binder keeps the first error of a series of wraps.
type binder struct{ err error }

func newBinder() *binder { return &binder{} }

func wrap[T ort.Element](b *binder, data []T, shape ...int) *ort.Tensor {
	t, err := ort.NewTensor(data, shape...)
	if err != nil && b.err == nil {
		b.err = err
	}
	return t
}

// MicroBatch returns how many samples one run of the gradient program takes.
func (t *Trainer) MicroBatch() int { return t.micro }

// check says what is wrong with a batch.
func (t *Trainer) check(b Batch, h Hyper) error {
	n := t.spec.Batch
	w, hh := t.spec.UNet.Size()
	in, out := n*t.spec.UNet.InChannels*w*hh, n*t.spec.UNet.OutChannels*w*hh
	switch {
	case len(b.X) != in || len(b.Target) != out || len(b.Cond) != n || len(b.Weight) != n:
		return fmt.Errorf("a batch of %d needs %d inputs, %d targets, %d conditions and weights; got %d, %d, %d and %d",
			n, in, out, n, len(b.X), len(b.Target), len(b.Cond), len(b.Weight))
	case (t.lanes[0].class == nil) != (b.Class == nil) || (b.Class != nil && len(b.Class) != n):
		return fmt.Errorf("the network has %d classes; %d class labels were given for %d samples", t.spec.UNet.Classes(), len(b.Class), n)
	case len(h.EMARates) != len(t.ema):
		return fmt.Errorf("%d moving averages need as many rates, not %d", len(t.ema), len(h.EMARates))
	case !(h.LR >= 0) || math.IsInf(h.LR, 1):
		return fmt.Errorf("the learning rate must be a number of at least 0, not %v", h.LR)
	}
	for _, r := range h.EMARates {
		if !(r >= 0 && r <= 1) {
			return fmt.Errorf("a moving average's rate must lie in [0, 1], not at %v", r)
		}
	}
	for _, c := range b.Class {
		if c < 0 || c >= int64(t.spec.UNet.Classes()) {
			return fmt.Errorf("class label %d does not lie in 0…%d", c, t.spec.UNet.Classes()-1)
		}
	}
	return nil
}

// Step does one optimiser step. After an error, a cancelled context included,
// the state is that before the step; ErrNonFinite comes with the Result.
func (t *Trainer) Step(ctx context.Context, b Batch, h Hyper) (Result, error) {
	if t.session == nil {
		return Result{}, errors.New("the trainer is closed")
	}
	if err := t.check(b, h); err != nil {
		return Result{}, err
	}
	res := Result{Loss: make([]float32, t.spec.Batch)}
	grad, norm, err := t.gradient(ctx, b, res.Loss)
	if err != nil {
		return Result{}, err
	}
	for i, l := range res.Loss {
		res.Total += float64(l) * float64(b.Weight[i]) / float64(t.spec.Batch)
	}
	res.GradNorm = norm
	if bad(res.Total) || bad(res.GradNorm) {
		return res, ErrNonFinite
	}
	t.step++
	t.update(grad, res.GradNorm, h)
	t.store.fill(t.filters, t.params)
	return res, nil
}

func bad(f float64) bool { return math.IsNaN(f) || math.IsInf(f, 0) }

// gradient runs the micro-batches and returns the flat gradient of the mean weighted loss and its Euclidean norm.
func (t *Trainer) gradient(ctx context.Context, b Batch, loss []float32) (grad []float32, norm float64, err error) {
	err = sideBySide(ctx, len(t.lanes), func(ctx context.Context, lane int) error {
		for p := lane; p < len(t.parts); p += len(t.lanes) {
			clear(t.parts[p].grad)
			for run := p; run*t.micro < t.spec.Batch; run += len(t.parts) {
				if err := t.run(ctx, &t.lanes[lane], &t.parts[p], b, run, loss); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	grad, norm = t.sum()
	return grad, norm, nil
}

// run adds the gradient of one micro-batch to a part.
func (t *Trainer) run(ctx context.Context, l *trainLane, p *part, b Batch, run int, loss []float32) error {
	n, total := t.micro, t.spec.Batch
	dimX, dimT := len(l.x)/n, len(l.target)/n
	at := run * n
	k := min(n, total-at)
	copy(l.x, b.X[at*dimX:(at+k)*dimX])
	copy(l.target, b.Target[at*dimT:(at+k)*dimT])
	copy(l.cond, b.Cond[at:at+k])
	for i := range n {
		l.weight[i] = 0
		if i < k {
			l.weight[i] = b.Weight[at+i] / float32(total)
		} else {
			l.cond[i] = 1
		}
	}
	if l.class != nil {
		clear(l.class[copy(l.class, b.Class[at:at+k]):])
	}
	l.draw(t.spec.UNet.Dropout, b.Dropout, run)
	in := slices.Concat(l.in, t.weights, p.views)
	if err := t.session.Run(ctx, in, slices.Concat([]*ort.Tensor{l.lossOut}, p.views)); err != nil {
		return err
	}
	copy(loss[at:at+k], l.loss)
	return nil
}

// draw fills the dropout masks of one micro-batch.
func (l *trainLane) draw(dropout float64, seed uint64, run int) {
	keep := 1 - dropout
	parallel(len(l.masks), func(i int) {
		r := rand.New(rand.NewPCG(seed, uint64(run)<<32|uint64(i)))
		for j := range l.masks[i] {
			l.masks[i][j] = 0
			if r.Float64() < keep {
				l.masks[i][j] = 1
			}
		}
	})
}

// sum adds the parts up in the first one and returns it with its Euclidean norm. Chunks are summed in order, so that
// the result does not depend on the number of processors.
func (t *Trainer) sum() ([]float32, float64) {
	whole := t.parts[0].grad
	squares := make([]float64, len(t.chunks))
	parallel(len(t.chunks), func(i int) {
		from, to := t.chunks[i][0], t.chunks[i][1]
		v := whole[from:to]
		for _, p := range t.parts[1:] {
			g := p.grad[from:to]
			g = g[:len(v)]
			for j, gj := range g {
				v[j] += gj
			}
		}
		var a, b, c, d float64
		for ; len(v) >= 4; v = v[4:] {
			a += float64(v[0]) * float64(v[0])
			b += float64(v[1]) * float64(v[1])
			c += float64(v[2]) * float64(v[2])
			d += float64(v[3]) * float64(v[3])
		}
		squares[i] = a + b + c + d
	})
	sum := 0.0
	for _, s := range squares {
		sum += s
	}
	return whole, math.Sqrt(sum)
}

// update is clipping, AdamW (Loshchilov and Hutter 2019, algorithm 2, with
// PyTorch's order of operations) and the moving averages in one pass over
// memory: as ONNX operations the same work takes fifteen.
func (t *Trainer) update(grad []float32, norm float64, h Hyper) {
	clip := 1.0
	if c := t.spec.ClipNorm; c > 0 && norm > c {
		clip = c / norm
	}
	k := float64(t.step)
	b1, b2 := float32(1-t.spec.Beta1), float32(1-t.spec.Beta2)
	size := float32(h.LR / (1 - math.Pow(t.spec.Beta1, k)))
	root := float32(1 / math.Sqrt(1-math.Pow(t.spec.Beta2, k)))
	decay := float32(1 - h.LR*t.spec.WeightDecay)
	scale, eps := float32(clip), float32(t.spec.Eps)
	parallel(len(t.chunks), func(i int) {
		from, to := t.chunks[i][0], t.chunks[i][1]
		g, m, v, p := grad[from:to], t.m[from:to], t.v[from:to], t.params[from:to]
		m, v, p = m[:len(g)], v[:len(g)], p[:len(g)]
		for j, gj := range g {
			gj *= scale
			mj := m[j] + b1*(gj-m[j])
			vj := v[j] + b2*(gj*gj-v[j])
			m[j], v[j] = mj, vj
			p[j] = p[j]*decay - size*mj/(float32(math.Sqrt(float64(vj)))*root+eps)
		}
		for e, rate := range h.EMARates {
			r, avg := float32(rate), t.ema[e][from:to]
			avg = avg[:len(p)]
			for j, pj := range p {
				avg[j] += r * (pj - avg[j])
			}
		}
	})
}

// State copies the state out, in the caller's order.
func (t *Trainer) State() State {
	out := func(v []float32) []float32 {
		dst := make([]float32, t.spec.UNet.NumParams())
		t.store.save(dst, v)
		return dst
	}
	s := State{Params: out(t.params), M: out(t.m), V: out(t.v), Step: t.step}
	for _, e := range t.ema {
		s.EMA = append(s.EMA, out(e))
	}
	return s
}

// Params copies the parameters out; EMA average i.
func (t *Trainer) Params() []float32 {
	dst := make([]float32, t.spec.UNet.NumParams())
	t.store.save(dst, t.params)
	return dst
}

// EMA copies average i out.
func (t *Trainer) EMA(i int) []float32 {
	dst := make([]float32, t.spec.UNet.NumParams())
	t.store.save(dst, t.ema[i])
	return dst
}

// SetState copies a state in. M and V may be nil (zero); EMA may be nil, and
// then starts from the parameters.
func (t *Trainer) SetState(s State) error {
	n := t.spec.UNet.NumParams()
	switch {
	case len(s.Params) != n:
		return fmt.Errorf("the network has %d parameters; the state has %d", n, len(s.Params))
	case s.M != nil && len(s.M) != n:
		return fmt.Errorf("the network has %d parameters; the state's first moment has %d", n, len(s.M))
	case s.V != nil && len(s.V) != n:
		return fmt.Errorf("the network has %d parameters; the state's second moment has %d", n, len(s.V))
	case s.Step < 0:
		return fmt.Errorf("the state counts %d steps of the optimiser; the number cannot be negative", s.Step)
	}
	if s.EMA != nil && len(s.EMA) != len(t.ema) {
		return fmt.Errorf("the state has %d moving averages, training keeps %d", len(s.EMA), len(t.ema))
	}
	for _, e := range s.EMA {
		if len(e) != n {
			return fmt.Errorf("the network has %d parameters; a moving average has %d", n, len(e))
		}
	}
	load := func(dst, src []float32) {
		if src == nil {
			clear(dst)
			return
		}
		t.store.load(dst, src)
	}
	load(t.params, s.Params)
	load(t.m, s.M)
	load(t.v, s.V)
	for i, e := range t.ema {
		if s.EMA == nil {
			load(e, s.Params)
		} else {
			load(e, s.EMA[i])
		}
	}
	t.step = s.Step
	t.store.fill(t.filters, t.params)
	return nil
}

// LeastMemory is what training a network takes at least, in bytes: the parameters, Adam's two moments, the averages and two
// sums of gradients, and what one sample leaves for the backward pass in the first level alone, where each of the two
// convolutions of a block keeps its input.
func LeastMemory(cfg unet.Config, emas int) int64 {
	w, h := cfg.Size()
	blocks := int64(2*cfg.LayersPerBlock + 1)
	return 4 * (int64(cfg.NumParams())*int64(3+emas+minParts) + 2*blocks*int64(w)*int64(h)*int64(cfg.BlockOutChannels[0]))
}

// Memory returns the bytes of state and buffers held in Go.
func (t *Trainer) Memory() int64 {
	l := t.lanes[0]
	n := int64(len(t.params))*int64(3+len(t.ema)+len(t.parts)) + int64(len(t.filters)) + int64(len(t.lanes))*int64(len(l.x)+len(l.target))
	return 4 * n
}

// Close frees the program.
func (t *Trainer) Close() error {
	var err error
	if t.session != nil {
		err = t.session.Close() // waits for a step that runs
		t.session = nil
	}
	closeAll(t.weights)
	for _, l := range t.lanes {
		closeAll(l.in)
		l.lossOut.Close()
	}
	for _, p := range t.parts {
		closeAll(p.views)
	}
	return err
}
