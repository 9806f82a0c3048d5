package graph

import (
	"slices"
)

const contrib = "com.microsoft"

// broadcast returns the shape of an element-wise operation, NumPy's rule.
func (b *Builder) broadcast(op string, x, y []int) []int {
	n := max(len(x), len(y))
	out := make([]int, n)
	for i := range n {
		p, q := 1, 1
		if k := i - n + len(x); k >= 0 {
			p = x[k]
		}
		if k := i - n + len(y); k >= 0 {
			q = y[k]
		}
		if p != q && p != 1 && q != 1 {
			b.fail(op, "shapes %v and %v do not broadcast", x, y)
		}
		out[i] = max(p, q)
	}
	return out
}

func (b *Builder) binary(op string, x, y *Value) *Value {
	if x.Type != y.Type {
		b.fail(op, "element types differ")
	}
	return b.emit(op, "", x.Type, b.broadcast(op, x.Shape, y.Shape), nil, x, y)
}

// Add returns x + y with broadcasting.
func (b *Builder) Add(x, y *Value) *Value { return b.binary("Add", x, y) }

// Sub returns x − y with broadcasting.
func (b *Builder) Sub(x, y *Value) *Value { return b.binary("Sub", x, y) }

// Mul returns x · y element by element with broadcasting.
func (b *Builder) Mul(x, y *Value) *Value { return b.binary("Mul", x, y) }

// Div returns x / y element by element with broadcasting.
func (b *Builder) Div(x, y *Value) *Value { return b.binary("Div", x, y) }

// Max returns the larger of x and y element by element.
func (b *Builder) Max(x, y *Value) *Value { return b.binary("Max", x, y) }

func (b *Builder) unary(op string, x *Value) *Value { return b.emit(op, "", x.Type, x.Shape, nil, x) }

// Sqrt returns √x.
func (b *Builder) Sqrt(x *Value) *Value { return b.unary("Sqrt", x) }

// Log returns the natural logarithm.
func (b *Builder) Log(x *Value) *Value { return b.unary("Log", x) }

// Sin returns sin x.
func (b *Builder) Sin(x *Value) *Value { return b.unary("Sin", x) }

// Cos returns cos x.
func (b *Builder) Cos(x *Value) *Value { return b.unary("Cos", x) }

// Sigmoid returns 1 / (1 + e^-x).
func (b *Builder) Sigmoid(x *Value) *Value { return b.unary("Sigmoid", x) }

// Neg returns −x.
func (b *Builder) Neg(x *Value) *Value { return b.unary("Neg", x) }

// SiLU returns x·σ(x) in one pass, as the contrib operator QuickGelu with α = 1.
func (b *Builder) SiLU(x *Value) *Value {
	if b.dynamic != "" { // models for others use standard operators only
		return b.Mul(x, b.Sigmoid(x))
	}
	return b.emit("QuickGelu", contrib, x.Type, x.Shape, []attr{floatAttr("alpha", 1)}, x)
}

// Cast converts to another element type.
func (b *Builder) Cast(x *Value, t Type) *Value {
	return b.emit("Cast", "", t, x.Shape, []attr{intAttr("to", int(t))}, x)
}

// Equal compares integers element by element and returns 1 or 0 as float.
func (b *Builder) Equal(x, y *Value) *Value {
	v := b.emit("Equal", "", 9, b.broadcast("Equal", x.Shape, y.Shape), nil, x, y)
	return b.Cast(v, Float)
}

// Reshape gives the same elements another shape; no data moves.
func (b *Builder) Reshape(x *Value, shape ...int) *Value {
	if slices.Equal(x.Shape, shape) {
		return x
	}
	out := b.value("", x.Type, shape...)
	if out.Len() != x.Len() {
		b.fail("Reshape", "%v does not hold as many elements as %v", shape, x.Shape)
	}
	target := slices.Clone(shape)
	if b.dynamic != "" && len(shape) > 0 {
		switch { // keep the batch open: copy it, or let it be inferred
		case x.Shape[0] == b.batch && shape[0] == b.batch:
			target[0] = 0
		case x.Shape[0]%b.batch == 0 && shape[0]%b.batch == 0:
			target[0] = -1
		}
	}
	return b.emit("Reshape", "", x.Type, shape, nil, x, b.Ints(target, len(target)))
}

// Transpose permutes the axes.
func (b *Builder) Transpose(x *Value, perm ...int) *Value {
	if len(perm) != len(x.Shape) {
		b.fail("Transpose", "%d axes for shape %v", len(perm), x.Shape)
		return x
	}
	shape, seen := make([]int, len(perm)), make([]bool, len(perm))
	for i, p := range perm {
		if p < 0 || p >= len(perm) || seen[p] {
			b.fail("Transpose", "%v is not a permutation", perm)
			return x
		}
		seen[p] = true
		shape[i] = x.Shape[p]
	}
	return b.emit("Transpose", "", x.Type, shape, []attr{intsAttr("perm", perm...)}, x)
}

// image reports whether x has the four axes [N,C,H,W].
func (b *Builder) image(op string, x *Value) bool {
	if len(x.Shape) != 4 {
		b.fail(op, "needs the four axes of images, not %v", x.Shape)
		return false
	}
	return true
}

// axes reports whether all axes exist and are named once.
func (b *Builder) axes(op string, x *Value, axes []int) bool {
	for i, a := range axes {
		if a < 0 || a >= len(x.Shape) || slices.Contains(axes[:i], a) {
			b.fail(op, "axes %v do not fit shape %v", axes, x.Shape)
			return false
		}
	}
	return true
}

// Concat joins tensors along an axis.
func (b *Builder) Concat(axis int, xs ...*Value) *Value {
	shape := slices.Clone(xs[0].Shape)
	if !b.axes("Concat", xs[0], []int{axis}) {
		return xs[0]
	}
	for _, x := range xs[1:] {
		if x.Type != xs[0].Type {
			b.fail("Concat", "element types differ")
		}
		if len(x.Shape) != len(shape) {
			b.fail("Concat", "shapes %v and %v do not join along axis %d", xs[0].Shape, x.Shape, axis)
			return xs[0]
		}
		for i, d := range x.Shape {
			if i != axis && d != shape[i] {
				b.fail("Concat", "shapes %v and %v do not join along axis %d", xs[0].Shape, x.Shape, axis)
				return xs[0]
			}
		}
		shape[axis] += x.Shape[axis]
	}
	return b.emit("Concat", "", xs[0].Type, shape, []attr{intAttr("axis", axis)}, xs...)
}

// Slice takes [from, to) along an axis.
func (b *Builder) Slice(x *Value, axis, from, to int) *Value {
	if axis < 0 || axis >= len(x.Shape) || from < 0 || from >= to || to > x.Shape[axis] {
		b.fail("Slice", "[%d, %d) of axis %d does not lie in shape %v", from, to, axis, x.Shape)
		return x
	}
	shape := slices.Clone(x.Shape)
	shape[axis] = to - from
	return b.emit("Slice", "", x.Type, shape, nil, x,
		b.Ints([]int{from}, 1), b.Ints([]int{to}, 1), b.Ints([]int{axis}, 1))
}

// PadZero adds zeros before and after each axis.
func (b *Builder) PadZero(x *Value, before, after []int) *Value {
	shape := slices.Clone(x.Shape)
	if len(before) != len(shape) || len(after) != len(shape) {
		b.fail("Pad", "%d and %d pads for shape %v", len(before), len(after), x.Shape)
		return x
	}
	for i := range shape {
		if before[i] < 0 || after[i] < 0 {
			b.fail("Pad", "pads %v and %v have an extent below 0", before, after)
			return x
		}
		shape[i] += before[i] + after[i]
	}
	pads := slices.Concat(before, after)
	return b.emit("Pad", "", x.Type, shape, nil, x, b.Ints(pads, len(pads)))
}

// Gather picks rows of a 2-dimensional table: the result has the shape of idx with
// a last axis of the table's columns.
func (b *Builder) Gather(table, idx *Value) *Value {
	if len(table.Shape) != 2 || idx.Type != Int64 {
		b.fail("Gather", "needs a table with two axes and integer indices, not %v", table.Shape)
		return table
	}
	shape := append(slices.Clone(idx.Shape), table.Shape[len(table.Shape)-1])
	return b.emit("Gather", "", table.Type, shape, []attr{intAttr("axis", 0)}, table, idx)
}

func (b *Builder) reduce(op string, x *Value, keep bool, axes []int) *Value {
	if !b.axes(op, x, axes) {
		return x
	}
	var shape []int
	for i, d := range x.Shape {
		switch {
		case !slices.Contains(axes, i):
			shape = append(shape, d)
		case keep:
			shape = append(shape, 1)
		}
	}
	k := 0
	if keep {
		k = 1
	}
	return b.emit(op, "", x.Type, shape, []attr{intAttr("keepdims", k)}, x, b.Ints(axes, len(axes)))
}

// Sum adds along the axes; keep leaves them with extent 1.
func (b *Builder) Sum(x *Value, keep bool, axes ...int) *Value {
	return b.reduce("ReduceSum", x, keep, axes)
}

// Mean averages along the axes; keep leaves them with extent 1.
func (b *Builder) Mean(x *Value, keep bool, axes ...int) *Value {
	return b.reduce("ReduceMean", x, keep, axes)
}

// Softmax normalises e^x along the last axis.
func (b *Builder) Softmax(x *Value) *Value {
	if len(x.Shape) == 0 {
		b.fail("Softmax", "needs an axis")
	}
	return b.emit("Softmax", "", x.Type, x.Shape, []attr{intAttr("axis", -1)}, x)
}

// MatMul multiplies matrices over equal batch axes: alpha · op(x) op(y), where
// op transposes the last two axes if asked (contrib operator FusedMatMul).
func (b *Builder) MatMul(x, y *Value, transX, transY bool, alpha float64) *Value {
	n := len(x.Shape)
	if n < 2 || len(y.Shape) != n || !slices.Equal(x.Shape[:n-2], y.Shape[:n-2]) {
		b.fail("MatMul", "shapes %v and %v", x.Shape, y.Shape)
		return x
	}
	m, k := x.Shape[n-2], x.Shape[n-1]
	if transX {
		m, k = k, m
	}
	k2, c := y.Shape[n-2], y.Shape[n-1]
	if transY {
		k2, c = c, k2
	}
	if k != k2 {
		b.fail("MatMul", "inner extents of %v and %v differ", x.Shape, y.Shape)
	}
	shape := append(slices.Clone(x.Shape[:n-2]), m, c)
	if !transX && !transY && alpha == 1 {
		return b.emit("MatMul", "", x.Type, shape, nil, x, y)
	}
	if b.dynamic != "" {
		swap := make([]int, n)
		for i := range swap {
			swap[i] = i
		}
		swap[n-2], swap[n-1] = n-1, n-2
		if transX {
			x = b.Transpose(x, swap...)
		}
		if transY {
			y = b.Transpose(y, swap...)
		}
		return b.Mul(b.emit("MatMul", "", x.Type, shape, nil, x, y), b.Scalar(alpha))
	}
	t := func(on bool) int {
		if on {
			return 1
		}
		return 0
	}
	return b.emit("FusedMatMul", contrib, x.Type, shape,
		[]attr{intAttr("transA", t(transX)), intAttr("transB", t(transY)), floatAttr("alpha", alpha)}, x, y)
}

// Gemm returns op(x) op(y) + c for matrices; c may be nil or broadcast.
func (b *Builder) Gemm(x, y, c *Value, transX, transY bool) *Value {
	if len(x.Shape) != 2 || len(y.Shape) != 2 {
		b.fail("Gemm", "shapes %v and %v are not matrices", x.Shape, y.Shape)
		return x
	}
	m, k := x.Shape[0], x.Shape[1]
	var attrs []attr
	if transX {
		m, k = k, m
		attrs = append(attrs, intAttr("transA", 1))
	}
	k2, n := y.Shape[0], y.Shape[1]
	if transY {
		k2, n = n, k2
		attrs = append(attrs, intAttr("transB", 1))
	}
	if k != k2 {
		b.fail("Gemm", "inner extents of %v and %v differ", x.Shape, y.Shape)
	}
	if k == k2 && c != nil {
		if got := b.broadcast("Gemm", []int{m, n}, c.Shape); !slices.Equal(got, []int{m, n}) {
			b.fail("Gemm", "addend %v does not fit %d×%d", c.Shape, m, n)
		}
	}
	return b.emit("Gemm", "", x.Type, []int{m, n}, attrs, x, y, c)
}

// Conv2D describes a two-dimensional convolution.
type Conv2D struct {
	Stride  int
	StrideY int    // down the columns, if it is another one; 0 otherwise
	Pads    [4]int // top, left, bottom, right
}

func (c Conv2D) strides() (y, x int) {
	if c.StrideY > 0 {
		return c.StrideY, c.Stride
	}
	return c.Stride, c.Stride
}

// Out returns the output's height and width for an input and a kernel.
func (c Conv2D) Out(h, w, kh, kw int) (oh, ow int) {
	sy, sx := c.strides()
	return (h+c.Pads[0]+c.Pads[2]-kh)/sy + 1, (w+c.Pads[1]+c.Pads[3]-kw)/sx + 1
}

func (c Conv2D) attrs(kh, kw int) []attr {
	sy, sx := c.strides()
	return []attr{
		intsAttr("kernel_shape", kh, kw), intsAttr("strides", sy, sx),
		intsAttr("pads", c.Pads[0], c.Pads[1], c.Pads[2], c.Pads[3]),
	}
}

// convFits checks what is left of a convolution: its bias and its result's extents.
func (b *Builder) convFits(op string, x, w, bias *Value, h, wd int) bool {
	if h < 1 || wd < 1 {
		b.fail(op, "a kernel of %d×%d does not fit into an image of %d×%d", w.Shape[2], w.Shape[3], x.Shape[2], x.Shape[3])
		return false
	}
	if bias != nil && !slices.Equal(bias.Shape, w.Shape[:1]) {
		b.fail(op, "bias %v does not fit weight %v", bias.Shape, w.Shape)
		return false
	}
	return true
}

// Conv convolves x [N,C,H,W] with w [O,C,kh,kw] and adds bias [O] (may be nil).
func (b *Builder) Conv(x, w, bias *Value, c Conv2D) *Value {
	if len(x.Shape) != 4 || len(w.Shape) != 4 || x.Shape[1] != w.Shape[1] {
		b.fail("Conv", "input %v and weight %v do not fit", x.Shape, w.Shape)
		return x
	}
	h, wd := c.Out(x.Shape[2], x.Shape[3], w.Shape[2], w.Shape[3])
	if !b.convFits("Conv", x, w, bias, h, wd) {
		return x
	}
	return b.emit("Conv", "", x.Type, []int{x.Shape[0], w.Shape[0], h, wd}, c.attrs(w.Shape[2], w.Shape[3]), x, w, bias)
}

// Upsample repeats every pixel of [N,C,H,W] twice in both directions.
func (b *Builder) Upsample(x *Value) *Value {
	if !b.image("Upsample", x) {
		return x
	}
	s := x.Shape
	return b.emit("Resize", "", x.Type, []int{s[0], s[1], 2 * s[2], 2 * s[3]},
		[]attr{stringAttr("mode", "nearest"), stringAttr("coordinate_transformation_mode", "asymmetric"), stringAttr("nearest_mode", "floor")},
		x, nil, b.Const([]float32{1, 1, 2, 2}, 4))
}

// even reports whether an image can be halved.
func (b *Builder) even(op string, x *Value) bool {
	if x.Shape[2]%2 != 0 || x.Shape[3]%2 != 0 {
		b.fail(op, "an image of %d×%d cannot be halved", x.Shape[2], x.Shape[3])
		return false
	}
	return true
}

// AveragePool averages 2×2 pixels of [N,C,H,W].
func (b *Builder) AveragePool(x *Value) *Value {
	if !b.image("AveragePool", x) || !b.even("AveragePool", x) {
		return x
	}
	s := x.Shape
	return b.emit("AveragePool", "", x.Type, []int{s[0], s[1], s[2] / 2, s[3] / 2},
		[]attr{intsAttr("kernel_shape", 2, 2), intsAttr("strides", 2, 2)}, x)
}
