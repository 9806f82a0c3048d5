package graph

// The operators of this file belong to ONNX Runtime's CPU provider. They work
// on tensors whose channels are grouped into blocks of B (8 or 16, the width of
// the processor's vectors): a value of shape [N,C,H,W] is stored as
// [N, C/B, H, W, B]. ONNX Runtime itself inserts them when a convolution's
// weights are constants; a training program, whose weights change every step,
// has to ask for them by name. Source: onnxruntime/core/graph/contrib_ops/nchwc_schema_defs.cc.
const blocked = "com.microsoft.nchwc"

// BlockedConv convolves a blocked x with a filter that was stored for blocks:
// [O/B][I/B][kh][kw][B of I][B of O], or, for I < B, x unblocked and the filter
// [O/B][I][kh][kw][B of O]. sum (may be nil) is added to the result; activation is "" or "Sigmoid".
func (b *Builder) BlockedConv(x, w, bias, sum *Value, c Conv2D, group int, activation string) *Value {
	if len(x.Shape) != 4 || len(w.Shape) != 4 || x.Shape[1] != w.Shape[1]*group {
		b.fail("BlockedConv", "input %v and weight %v do not fit", x.Shape, w.Shape)
		return x
	}
	h, wd := c.Out(x.Shape[2], x.Shape[3], w.Shape[2], w.Shape[3])
	if !b.convFits("BlockedConv", x, w, bias, h, wd) {
		return x
	}
	if w.Shape[0]%group != 0 {
		b.fail("BlockedConv", "%d groups do not divide %d outputs", group, w.Shape[0])
	}
	shape := []int{x.Shape[0], w.Shape[0], h, wd}
	if sum != nil && !equalShape(sum.Shape, shape) {
		b.fail("BlockedConv", "addend %v does not fit %v", sum.Shape, shape)
	}
	attrs := append(c.attrs(w.Shape[2], w.Shape[3]), intAttr("group", group))
	if activation != "" {
		attrs = append(attrs, stringAttr("activation", activation))
	}
	return b.emit("Conv", blocked, x.Type, shape, attrs, x, w, bias, sum)
}

// ToBlocked stores [N,C,H,W], or with channelsLast [N,H,W,C], in blocks.
func (b *Builder) ToBlocked(x *Value, channelsLast bool) *Value {
	if !b.image("ToBlocked", x) {
		return x
	}
	s, last := x.Shape, 0
	if channelsLast {
		s, last = []int{s[0], s[3], s[1], s[2]}, 1
	}
	return b.emit("ReorderInput", blocked, x.Type, s, []attr{intAttr("channels_last", last)}, x)
}

// FromBlocked stores the first channels of a blocked tensor as [N,C,H,W], or with channelsLast as [N,H,W,C].
// Only the padding of the last block can be left out: ONNX Runtime takes the extent of x for channels, rounded up to whole blocks.
func (b *Builder) FromBlocked(x *Value, channels int, channelsLast bool) *Value {
	if !b.image("FromBlocked", x) {
		return x
	}
	if channels < 1 || channels > x.Shape[1] || channels <= x.Shape[1]-16 {
		b.fail("FromBlocked", "%d of %d channels", channels, x.Shape[1])
		return x
	}
	s := []int{x.Shape[0], channels, x.Shape[2], x.Shape[3]}
	last := 0
	if channelsLast {
		s, last = []int{s[0], s[2], s[3], s[1]}, 1
	}
	return b.emit("ReorderOutput", blocked, x.Type, s,
		[]attr{intAttr("channels", channels), intAttr("channels_last", last)}, x)
}

// BlockedUpsample repeats every pixel of a blocked tensor twice in both directions.
func (b *Builder) BlockedUpsample(x *Value) *Value {
	if !b.image("BlockedUpsample", x) {
		return x
	}
	s := x.Shape
	return b.emit("Upsample", blocked, x.Type, []int{s[0], s[1], 2 * s[2], 2 * s[3]},
		[]attr{intsAttr("scales", 1, 1, 2, 2)}, x)
}

// BlockedAveragePool averages 2×2 pixels of a blocked tensor.
func (b *Builder) BlockedAveragePool(x *Value) *Value {
	if !b.image("BlockedAveragePool", x) || !b.even("BlockedAveragePool", x) {
		return x
	}
	s := x.Shape
	return b.emit("AveragePool", blocked, x.Type, []int{s[0], s[1], s[2] / 2, s[3] / 2},
		[]attr{intsAttr("kernel_shape", 2, 2), intsAttr("strides", 2, 2)}, x)
}

// BlockedMean averages each channel of a blocked tensor over all pixels: [N,C,1,1].
func (b *Builder) BlockedMean(x *Value) *Value {
	if !b.image("BlockedMean", x) {
		return x
	}
	return b.emit("GlobalAveragePool", blocked, x.Type, []int{x.Shape[0], x.Shape[1], 1, 1}, nil, x)
}

func equalShape(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
