package model

import (
	"context"
	"fmt"

	"unnoise/pipeline/diffusion"
)

// Net is the network's forward pass; *program.Net is one.
type Net interface {
	// Forward runs up to Batch samples: x and out are n·C·H·W in NCHW, cond has length n, class is nil or has length n.
	Forward(ctx context.Context, x, cond []float32, class []int64, out []float32) error
	Batch() int
}

// Denoiser turns the network's output into predictions of x0, whatever it was trained to predict.
// It implements diffusion.Denoiser for any number of samples, in batches of what the network takes at once.
// Not safe for concurrent use.
type Denoiser struct {
	net       Net
	objective diffusion.Objective
	dim       int
	class     []int64 // label of each sample, or nil
	in, out   []float32
	cond      []float32
}

var _ diffusion.Denoiser = (*Denoiser)(nil)

// NewDenoiser returns the denoiser of spec with that network. For a conditional model, class holds the label of each
// sample of the batches to come (see Spec.Label); it is nil for the others.
func NewDenoiser(net Net, spec Spec, class []int64) (*Denoiser, error) {
	if spec.Conditional() != (class != nil) {
		return nil, fmt.Errorf("model: class labels given: %t, network takes them: %t", class != nil, spec.Conditional())
	}
	for _, c := range class {
		if c < 0 || int(c) >= spec.labels() {
			return nil, fmt.Errorf("model: class label %d, the network knows 0 to %d", c, spec.labels()-1)
		}
	}
	dim, b := spec.Dim(), net.Batch()
	return &Denoiser{
		net: net, objective: spec.Objective, dim: dim, class: class,
		in: make([]float32, b*dim), out: make([]float32, b*dim), cond: make([]float32, b),
	}, nil
}

// Denoise implements diffusion.Denoiser: xt and x0 hold n samples of C·H·W values, all at noise level lvl.
func (d *Denoiser) Denoise(ctx context.Context, xt []float32, n int, lvl diffusion.Level, x0 []float32) error {
	if n < 1 || len(xt) != n*d.dim || len(x0) != n*d.dim {
		return fmt.Errorf("model: denoise %d samples of %d values: x_t has %d and x0 %d", n, d.dim, len(xt), len(x0))
	}
	if d.class != nil && len(d.class) != n {
		return fmt.Errorf("model: %d samples, but %d class labels", n, len(d.class))
	}
	for i := range d.cond {
		d.cond[i] = float32(lvl.Cond)
	}
	for lo := 0; lo < n; lo += d.net.Batch() {
		k := min(d.net.Batch(), n-lo)
		x := xt[lo*d.dim : (lo+k)*d.dim]
		in, out := d.in[:k*d.dim], d.out[:k*d.dim]
		d.objective.Input(in, x, lvl)
		var class []int64
		if d.class != nil {
			class = d.class[lo : lo+k]
		}
		if err := d.net.Forward(ctx, in, d.cond[:k], class, out); err != nil {
			return err
		}
		d.objective.ToX0(x0[lo*d.dim:(lo+k)*d.dim], x, out, lvl)
	}
	return nil
}
