package program

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"unnoise/runtime/autodiff"
	"unnoise/runtime/graph"
	"unnoise/runtime/ort"
	"unnoise/runtime/unet"
)

// Options choose where and how programs run.
type Options struct {
	Threads int    // 0: one per core
	Device  string // "" or "cpu"
	// Profile, if not empty, is the prefix of the file into which ONNX Runtime
	// writes the time of every operation.
	Profile string
}

func (o Options) session(runs int) ort.Options {
	return ort.Options{Threads: o.Threads, Runs: runs, Device: o.Device, Profile: o.Profile}
}

// Net is the forward pass of a U-Net for a fixed batch. Its weights can be
// exchanged at any time, so that one Net serves a whole run.
type Net struct {
	cfg     unet.Config
	batch   int
	store   *store
	session *ort.Session
	params  []float32
	filters []float32
	weights []*ort.Tensor
	lanes   []netLane
	ready   bool
}

// netLane holds the part of a batch that one run computes.
type netLane struct {
	x, cond []float32
	class   []int64 // nil for an unconditional network
	out     []float32
	in      []*ort.Tensor
	outs    []*ort.Tensor
}

// NewNet compiles the forward pass for batches of up to batch samples. weights
// is the flat vector (unet.Config.Params); with nil, SetWeights must follow.
func NewNet(ctx context.Context, cfg unet.Config, weights []float32, batch int, opt Options) (*Net, error) {
	if batch < 1 {
		return nil, fmt.Errorf("the network needs a batch of at least 1, not %d", batch)
	}
	if err := ort.InitDefault(ctx); err != nil {
		return nil, err
	}
	lanes := min(opt.Cores(), batch)
	each := (batch + lanes - 1) / lanes
	b := graph.New()
	s, err := newStore(b, cfg, blockFor(cfg))
	if err != nil {
		return nil, err
	}
	n := &Net{cfg: cfg, batch: batch, store: s}
	w, h := cfg.Size()
	x := b.Input("sample", graph.Float, each, cfg.InChannels, h, w)
	cond := b.Input("timestep", graph.Float, each)
	names := []string{"sample", "timestep"}
	var class *graph.Value
	if cfg.Classes() > 0 {
		class = b.Input("class_labels", graph.Int64, each)
		names = append(names, "class_labels")
	}
	u := &network{Tape: autodiff.NewTape(b, s.block), cfg: cfg, src: s, n: each}
	out := u.forward(x, cond, class)
	b.Output("out_sample", out)
	model, err := b.Model()
	if err != nil {
		return nil, err
	}
	// Compiling takes one core; the other fills the weights in meanwhile.
	n.params, n.filters = make([]float32, s.length), make([]float32, s.filterN)
	err = sideBySide(ctx, 2, func(_ context.Context, i int) (err error) {
		switch {
		case i == 0:
			n.session, err = ort.NewSession(model, append(names, s.inputNames()...), []string{"out_sample"}, opt.session(lanes))
		case weights != nil:
			err = n.SetWeights(weights)
		}
		return err
	})
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	bind := newBinder()
	for range lanes {
		l := netLane{x: make([]float32, x.Len()), cond: make([]float32, each), out: make([]float32, out.Len())}
		l.in = []*ort.Tensor{wrap(bind, l.x, x.Shape...), wrap(bind, l.cond, each)}
		if class != nil {
			l.class = make([]int64, each)
			l.in = append(l.in, wrap(bind, l.class, each))
		}
		l.outs = []*ort.Tensor{wrap(bind, l.out, out.Shape...)}
		n.lanes = append(n.lanes, l)
	}
	err = bind.err
	if err == nil {
		n.weights, err = s.tensors(n.params, n.filters)
	}
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// SetWeights copies a flat vector of parameters in.
func (n *Net) SetWeights(w []float32) error {
	if want := n.cfg.NumParams(); len(w) != want {
		return fmt.Errorf("the network has %d parameters; %d were given", want, len(w))
	}
	n.store.load(n.params, w)
	n.store.fill(n.filters, n.params)
	n.ready = true
	return nil
}

// Batch returns how many samples one call of Forward takes at most.
func (n *Net) Batch() int { return n.batch }

// Forward computes the network's output for len(cond) samples: x and out are
// [n,C,H,W], cond is what the network receives as timestep, class is nil for an
// unconditional model. Fewer samples than Batch may cost as much as a full batch.
func (n *Net) Forward(ctx context.Context, x, cond []float32, class []int64, out []float32) error {
	if !n.ready {
		return errors.New("the network has no weights yet")
	}
	k, l := len(cond), n.lanes[0]
	each := len(l.cond)
	dimIn, dimOut := len(l.x)/each, len(l.out)/each
	switch {
	case k < 1 || k > n.batch:
		return fmt.Errorf("the network takes 1 to %d samples, not %d", n.batch, k)
	case len(x) != k*dimIn || len(out) != k*dimOut:
		return fmt.Errorf("%d samples need %d input and %d output values, not %d and %d", k, k*dimIn, k*dimOut, len(x), len(out))
	case (l.class == nil) != (class == nil) || (class != nil && len(class) != k):
		return fmt.Errorf("the network has %d classes; %d class labels were given for %d samples", n.cfg.Classes(), len(class), k)
	}
	for _, c := range class {
		if c < 0 || c >= int64(n.cfg.Classes()) {
			return fmt.Errorf("class label %d does not lie in 0…%d", c, n.cfg.Classes()-1)
		}
	}
	return sideBySide(ctx, (k+each-1)/each, func(ctx context.Context, i int) error {
		from, to := i*each, min((i+1)*each, k)
		var labels []int64
		if class != nil {
			labels = class[from:to]
		}
		return n.run(ctx, &n.lanes[i], x[from*dimIn:to*dimIn], cond[from:to], labels, out[from*dimOut:to*dimOut])
	})
}

// run computes the samples of one lane; places that are left over compute on zeros.
func (n *Net) run(ctx context.Context, l *netLane, x, cond []float32, class []int64, out []float32) error {
	clear(l.x[copy(l.x, x):])
	for i := copy(l.cond, cond); i < len(l.cond); i++ {
		l.cond[i] = 1
	}
	if l.class != nil {
		clear(l.class[copy(l.class, class):])
	}
	if err := n.session.Run(ctx, slices.Concat(l.in, n.weights), l.outs); err != nil {
		return err
	}
	copy(out, l.out)
	return nil
}

// Close frees the program, once the calls that run have returned.
func (n *Net) Close() error {
	var err error
	if n.session != nil {
		err = n.session.Close()
	}
	for _, l := range n.lanes {
		closeAll(l.in)
		closeAll(l.outs)
	}
	closeAll(n.weights)
	n.weights, n.ready = nil, false
	return err
}

// ExportONNX writes the forward pass with its weights as an ONNX model of
// standard operators with an open batch dimension: inputs sample
// [batch,C,H,W], timestep [batch] and, for conditional models, class_labels
// [batch]; output out_sample.
func ExportONNX(cfg unet.Config, weights []float32) ([]byte, error) {
	if want := cfg.NumParams(); want == 0 || len(weights) != want {
		if err := cfg.Validate(); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("the network has %d parameters; %d were given", want, len(weights))
	}
	// A batch extent that no other extent equals or divides marks the open dimension.
	const batch = 999983
	b := graph.New()
	b.Portable("batch", batch)
	s, err := newStore(b, cfg, 0)
	if err != nil {
		return nil, err
	}
	s.baked = weights
	w, h := cfg.Size()
	x := b.Input("sample", graph.Float, batch, cfg.InChannels, h, w)
	cond := b.Input("timestep", graph.Float, batch)
	var class *graph.Value
	if cfg.Classes() > 0 {
		class = b.Input("class_labels", graph.Int64, batch)
	}
	u := &network{Tape: autodiff.NewTape(b, 0), cfg: cfg, src: s, n: batch}
	b.Output("out_sample", u.forward(x, cond, class))
	return b.Model()
}
