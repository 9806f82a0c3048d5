package program

import (
	"context"
	"errors"
	"fmt"

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

func (o Options) session() ort.Options {
	return ort.Options{Threads: o.Threads, Device: o.Device, Profile: o.Profile}
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
	x, cond []float32
	class   []int64
	out     []float32
	in      []*ort.Tensor
	outs    []*ort.Tensor
	ready   bool
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
	b := graph.New()
	s, err := newStore(b, cfg, blockFor(cfg))
	if err != nil {
		return nil, err
	}
	n := &Net{cfg: cfg, batch: batch, store: s}
	w, h := cfg.Size()
	x := b.Input("sample", graph.Float, batch, cfg.InChannels, h, w)
	cond := b.Input("timestep", graph.Float, batch)
	names := []string{"sample", "timestep"}
	var class *graph.Value
	if cfg.Classes() > 0 {
		class = b.Input("class_labels", graph.Int64, batch)
		names = append(names, "class_labels")
	}
	u := &network{Tape: autodiff.NewTape(b, s.block), cfg: cfg, src: s, n: batch}
	out := u.forward(x, cond, class)
	b.Output("out_sample", out)
	model, err := b.Model()
	if err != nil {
		return nil, err
	}
	n.session, err = ort.NewSession(model, append(names, s.inputNames()...), []string{"out_sample"}, opt.session())
	if err != nil {
		return nil, err
	}
	n.params, n.filters = make([]float32, s.length), make([]float32, s.filterN)
	n.x, n.cond, n.out = make([]float32, x.Len()), make([]float32, batch), make([]float32, out.Len())
	ok := false
	defer func() {
		if !ok {
			_ = n.Close()
		}
	}()
	if n.weights, err = s.tensors(n.params, n.filters); err != nil {
		return nil, err
	}
	var ts [4]*ort.Tensor
	if ts[0], err = ort.NewTensor(n.x, x.Shape...); err != nil {
		return nil, err
	}
	n.in = append(n.in, ts[0])
	if ts[1], err = ort.NewTensor(n.cond, batch); err != nil {
		return nil, err
	}
	n.in = append(n.in, ts[1])
	if class != nil {
		n.class = make([]int64, batch)
		if ts[2], err = ort.NewTensor(n.class, batch); err != nil {
			return nil, err
		}
		n.in = append(n.in, ts[2])
	}
	if ts[3], err = ort.NewTensor(n.out, out.Shape...); err != nil {
		return nil, err
	}
	n.outs = []*ort.Tensor{ts[3]}
	if weights != nil {
		if err := n.SetWeights(weights); err != nil {
			return nil, err
		}
	}
	ok = true
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
// unconditional model. Fewer samples than Batch cost as much as a full batch.
func (n *Net) Forward(ctx context.Context, x, cond []float32, class []int64, out []float32) error {
	if !n.ready {
		return errors.New("the network has no weights yet")
	}
	k := len(cond)
	dimIn, dimOut := len(n.x)/n.batch, len(n.out)/n.batch
	switch {
	case k < 1 || k > n.batch:
		return fmt.Errorf("the network takes 1 to %d samples, not %d", n.batch, k)
	case len(x) != k*dimIn || len(out) != k*dimOut:
		return fmt.Errorf("%d samples need %d input and %d output values, not %d and %d", k, k*dimIn, k*dimOut, len(x), len(out))
	case (n.class == nil) != (class == nil) || (class != nil && len(class) != k):
		return fmt.Errorf("the network has %d classes; %d class labels were given for %d samples", n.cfg.Classes(), len(class), k)
	}
	for _, c := range class {
		if c < 0 || c >= int64(n.cfg.Classes()) {
			return fmt.Errorf("class label %d does not lie in 0…%d", c, n.cfg.Classes()-1)
		}
	}
	copy(n.x, x)
	copy(n.cond, cond)
	copy(n.class, class)
	clear(n.x[k*dimIn:])
	for i := k; i < n.batch; i++ {
		n.cond[i] = 1
	}
	if n.class != nil {
		clear(n.class[k:])
	}
	in := append(append([]*ort.Tensor{}, n.in...), n.weights...)
	if err := n.session.Run(ctx, in, n.outs); err != nil {
		return err
	}
	copy(out, n.out)
	return nil
}

// Close frees the program.
func (n *Net) Close() error {
	closeAll(n.in)
	closeAll(n.outs)
	closeAll(n.weights)
	n.in, n.outs, n.weights, n.ready = nil, nil, nil, false
	return n.session.Close()
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
