// Package autodiff differentiates graphs in reverse mode. A Tape records the
// operations of a network while package graph writes their forward nodes;
// Backward then walks the record from the end and writes the gradient nodes.
// Each operation is one row of the rule table in rules.go.
//
// The operations are the ones that a U-Net is made of, not ONNX's: group norm
// with its activation is one row, because its gradient written as a whole takes
// five passes over memory and its parts' gradients take twenty.
package autodiff

import (
	"fmt"

	"unnoise/runtime/graph"
)

// Weight is one trained layer's weight and bias as the program sees them.
type Weight struct {
	Kernel
	Name     string
	Forward  *graph.Value         // the forward filter, or a linear layer's [O,I]
	Backward *graph.Value         // the backward filter; nil where no gradient of the input is needed
	Bias     *graph.Value         // nil for none
	Phases   [Phases]*graph.Value // the forward filters of an UpConv on blocked tensors
}

// Grad receives the gradient of one trained tensor.
type Grad struct {
	Name  string
	Value *graph.Value
}

type op struct {
	kind string
	in   []*graph.Value
	out  *graph.Value
	args any
}

// Tape records differentiable operations. Errors are kept by the builder.
type Tape struct {
	B      *graph.Builder
	l      layout
	ops    []op
	needs  map[*graph.Value]bool         // what the loss depends on through trained values
	grads  map[*graph.Value]*graph.Value // gradient of the loss so far
	pixels map[*graph.Value]*graph.Value // [N·H·W, C] views made so far
	means  map[*graph.Value]*graph.Value
	tables map[*graph.Value]*graph.Value
	out    []Grad
	addend func(name string) *graph.Value
}

// NewTape starts a record on b. block is the channel block of the processor's
// convolutions, 0 for plain tensors.
func NewTape(b *graph.Builder, block int) *Tape {
	t := &Tape{
		B: b, l: plain{},
		needs: map[*graph.Value]bool{}, grads: map[*graph.Value]*graph.Value{},
		pixels: map[*graph.Value]*graph.Value{}, means: map[*graph.Value]*graph.Value{}, tables: map[*graph.Value]*graph.Value{},
	}
	if block > 0 {
		t.l = blocked{block}
	}
	return t
}

// Track marks a value as one whose gradient is wanted.
func (t *Tape) Track(v *graph.Value) { t.needs[v] = true }

func (t *Tape) record(kind string, out *graph.Value, args any, in ...*graph.Value) *graph.Value {
	t.ops = append(t.ops, op{kind, in, out, args})
	for _, v := range in {
		if v != nil && t.needs[v] {
			t.needs[out] = true
		}
	}
	return out
}

// Backward writes the gradients of Σ seed·out. addend, if not nil, gives for a
// trained tensor's name the gradient collected so far, which is added on the
// way (gradient accumulation). The gradients of trained tensors are returned in
// the order in which they become known.
func (t *Tape) Backward(out, seed *graph.Value, addend func(name string) *graph.Value) ([]Grad, error) {
	t.addend = addend
	t.grads[out] = seed
	for i := len(t.ops) - 1; i >= 0; i-- {
		o := &t.ops[i]
		dy := t.grads[o.out]
		if dy == nil {
			continue
		}
		rule, ok := rules[o.kind]
		if !ok {
			return nil, fmt.Errorf("autodiff: operation %q has no gradient", o.kind)
		}
		rule(t, o, dy)
		// What follows never reads these again: let ONNX Runtime reuse the memory.
		delete(t.pixels, dy)
		delete(t.means, dy)
		delete(t.tables, dy)
		if err := t.B.Err(); err != nil {
			return nil, fmt.Errorf("autodiff: gradient of %s: %w", o.kind, err)
		}
	}
	return t.out, t.B.Err()
}

// Gradient returns the gradient of a tracked value after Backward, nil if the
// loss does not depend on it.
func (t *Tape) Gradient(v *graph.Value) *graph.Value { return t.grads[v] }

// give adds to the gradient of v. emit gets what was there before (nil for
// nothing), so that a rule can fold the addition into its last operation.
func (t *Tape) give(v *graph.Value, emit func(before *graph.Value) *graph.Value) {
	if v == nil || !t.needs[v] {
		return
	}
	t.grads[v] = emit(t.grads[v])
}

// plus is for rules that cannot fold the addition.
func (t *Tape) plus(v, g *graph.Value) {
	t.give(v, func(before *graph.Value) *graph.Value {
		if before == nil {
			return g
		}
		return t.B.Add(before, g)
	})
}

// trained hands over the gradient of a trained tensor.
func (t *Tape) trained(name string, emit func(before *graph.Value) *graph.Value) {
	var before *graph.Value
	if t.addend != nil {
		before = t.addend(name)
	}
	t.out = append(t.out, Grad{name, emit(before)})
}

func (t *Tape) trainedPlus(name string, g *graph.Value) {
	t.trained(name, func(before *graph.Value) *graph.Value {
		if before == nil {
			return g
		}
		return t.B.Add(before, g)
	})
}

// rowsOf returns x as [N·H·W, C], made once.
func (t *Tape) rowsOf(x *graph.Value) *graph.Value {
	p := t.pixels[x]
	if p == nil {
		p = t.l.pixels(t.B, x)
		t.pixels[x] = p
	}
	return p
}

// tableOf returns x as [N·H·W + 1, C] whose last row is zero.
func (t *Tape) tableOf(x *graph.Value) *graph.Value {
	p := t.tables[x]
	if p == nil {
		p = t.B.PadZero(t.rowsOf(x), []int{0, 0}, []int{1, 0})
		t.tables[x] = p
	}
	return p
}

// meanOf returns the channel means of x, [N,C], made once.
func (t *Tape) meanOf(x *graph.Value) *graph.Value {
	m := t.means[x]
	if m == nil {
		m = t.l.mean(t.B, x)
		t.means[x] = m
	}
	return m
}

// Conv convolves the image x and adds sum (may be nil): a residual connection in the same pass.
func (t *Tape) Conv(x *graph.Value, w *Weight, sum *graph.Value) *graph.Value {
	y := t.record("Conv", t.l.conv(t.B, x, w, sum), w, x, sum)
	t.needs[y] = true
	return y
}

// UpConv convolves the image x after repeating every pixel twice in both directions.
func (t *Tape) UpConv(x *graph.Value, w *Weight) *graph.Value {
	y := t.record("UpConv", t.l.upconv(t.B, x, w), w, x)
	t.needs[y] = true
	return y
}

// Linear returns x wᵀ + bias for x [R,I].
func (t *Tape) Linear(x *graph.Value, w *Weight) *graph.Value {
	y := t.record("Linear", t.B.Gemm(x, w.Forward, w.Bias, false, true), w, x)
	t.needs[y] = true
	return y
}

// Embedding returns row class[n] of the table w [K,D]: [N,D]. class is int64 [N].
func (t *Tape) Embedding(class *graph.Value, name string, w *graph.Value) *graph.Value {
	n, k := class.Dim(0), w.Dim(0)
	ids := make([]int, k)
	for i := range ids {
		ids[i] = i
	}
	hot := t.B.Equal(t.B.Reshape(class, n, 1), t.B.Ints(ids, 1, k))
	y := t.record("Embedding", t.B.MatMul(hot, w, false, false, 1), name, hot)
	t.needs[y] = true
	return y
}

// Norm is one group normalisation (Wu and He 2018) with everything that
// follows it in a residual block.
type Norm struct {
	Name        string // of the trained tensors: Name.weight, Name.bias
	Groups      int
	Eps         float64
	Gamma, Beta *graph.Value // [C]
	Add         *graph.Value // [N,C], added to x before the norm; nil for none
	Scale       *graph.Value // [N,C]: the result is multiplied by 1 + Scale; nil for none
	Shift       *graph.Value // [N,C], added after Scale; nil for none
	SiLU        bool         // apply x·σ(x) at the end
}

// normSaved is what the gradient of Norm needs from the forward pass.
type normSaved struct {
	Norm
	x, y, mean, groupMean, rstd, a, b *graph.Value
}

// perGroup averages [N,C] over the channels of each group and spreads the result: [N,C] again, by one
// small matrix product, since at this size an operator's call costs more than its arithmetic.
func (t *Tape) perGroup(v *graph.Value, groups int) *graph.Value {
	c := v.Dim(1)
	size := c / groups
	if size == 1 {
		return v
	}
	share := make([]float32, c*c)
	for i := range c {
		for j := i / size * size; j < (i/size+1)*size; j++ {
			share[i*c+j] = 1 / float32(size)
		}
	}
	return t.B.MatMul(v, t.B.Const(share, c, c), false, false, 1)
}

// GroupNorm normalises the image x as p says.
func (t *Tape) GroupNorm(x *graph.Value, p Norm) *graph.Value {
	b := t.B
	s := &normSaved{Norm: p, x: x}
	s.mean = t.meanOf(x)
	square := t.l.dot(b, x, x)
	mean := s.mean
	if p.Add != nil { // moments of x + Add from those of x
		square = b.Add(square, b.Mul(p.Add, b.Add(b.Add(mean, mean), p.Add)))
		mean = b.Add(mean, p.Add)
	}
	s.groupMean = t.perGroup(mean, p.Groups)
	variance := b.Sub(t.perGroup(square, p.Groups), b.Mul(s.groupMean, s.groupMean))
	variance = b.Max(variance, b.Scalar(0)) // rounding must not make it negative
	s.rstd = b.Div(b.Scalar(1), b.Sqrt(b.Add(variance, b.Scalar(p.Eps))))
	// y = a·x + c per sample and channel
	s.a = b.Mul(s.rstd, p.Gamma)
	s.b = b.Sub(p.Beta, b.Mul(s.groupMean, s.a))
	if p.Add != nil {
		s.b = b.Add(s.b, b.Mul(p.Add, s.a))
	}
	if p.Scale != nil {
		scale := b.Add(p.Scale, b.Scalar(1))
		s.a, s.b = b.Mul(s.a, scale), b.Add(b.Mul(s.b, scale), p.Shift)
	}
	s.y = t.l.affine(b, x, s.a, s.b, nil, false)
	if p.SiLU {
		s.y = b.SiLU(s.y)
	}
	y := t.record("GroupNorm", s.y, s, x, p.Add, p.Scale, p.Shift)
	t.needs[y] = true
	return y
}

// SiLU returns x·σ(x).
func (t *Tape) SiLU(x *graph.Value) *graph.Value { return t.record("SiLU", t.B.SiLU(x), nil, x) }

// Add returns x + y for equal shapes.
func (t *Tape) Add(x, y *graph.Value) *graph.Value {
	return t.record("Add", t.B.Add(x, y), nil, x, y)
}

// Scale multiplies by a constant.
func (t *Tape) Scale(x *graph.Value, f float64) *graph.Value {
	return t.record("Scale", t.B.Mul(x, t.B.Scalar(f)), f, x)
}

// Mul multiplies x by y, which is not differentiated (a dropout mask).
func (t *Tape) Mul(x, y *graph.Value) *graph.Value { return t.record("Mul", t.B.Mul(x, y), y, x) }

// Concat joins the channels of two images.
func (t *Tape) Concat(x, y *graph.Value) *graph.Value {
	return t.record("Concat", t.B.Concat(1, x, y), nil, x, y)
}

// Columns takes columns [from, to) of a matrix.
func (t *Tape) Columns(x *graph.Value, from, to int) *graph.Value {
	return t.record("Columns", t.B.Slice(x, 1, from, to), [2]int{from, to}, x)
}

// Upsample repeats every pixel twice in both directions.
func (t *Tape) Upsample(x *graph.Value) *graph.Value {
	return t.record("Upsample", t.l.upsample(t.B, x), nil, x)
}

// Pool averages 2×2 pixels.
func (t *Tape) Pool(x *graph.Value) *graph.Value { return t.record("Pool", t.l.pool(t.B, x), nil, x) }

// Pixels returns the image as one row per pixel, [N·H·W, C].
func (t *Tape) Pixels(x *graph.Value) *graph.Value {
	return t.record("Pixels", t.rowsOf(x), nil, x)
}

// FromPixels is the inverse of Pixels.
func (t *Tape) FromPixels(x *graph.Value, n, c, h, w int) *graph.Value {
	return t.record("FromPixels", t.l.fromPixels(t.B, x, n, c, h, w), nil, x)
}

// Heads splits rows [N·S, h·d] into [N,h,S,d].
func (t *Tape) Heads(x *graph.Value, n, heads int) *graph.Value {
	s, d := x.Dim(0)/n, x.Dim(1)/heads
	y := t.B.Reshape(x, n, s, heads, d)
	if heads == 1 {
		y = t.B.Reshape(y, n, 1, s, d)
	} else {
		y = t.B.Transpose(y, 0, 2, 1, 3)
	}
	return t.record("Heads", y, nil, x)
}

// Rows is the inverse of Heads.
func (t *Tape) Rows(x *graph.Value) *graph.Value { return t.record("Rows", rows(t.B, x), nil, x) }

func rows(b *graph.Builder, x *graph.Value) *graph.Value {
	n, h, s, d := x.Dim(0), x.Dim(1), x.Dim(2), x.Dim(3)
	if h > 1 {
		x = b.Transpose(x, 0, 2, 1, 3)
	}
	return b.Reshape(x, n*s, h*d)
}

type matmul struct {
	transY bool
	alpha  float64
}

// MatMul returns alpha · x y, or alpha · x yᵀ, over the leading axes.
func (t *Tape) MatMul(x, y *graph.Value, transY bool, alpha float64) *graph.Value {
	return t.record("MatMul", t.B.MatMul(x, y, false, transY, alpha), matmul{transY, alpha}, x, y)
}

// Softmax normalises e^x along the last axis.
func (t *Tape) Softmax(x *graph.Value) *graph.Value {
	return t.record("Softmax", t.B.Softmax(x), nil, x)
}
