package autodiff

import "unnoise/runtime/graph"

// layout is how image tensors lie in memory. Everything that depends on it goes
// through these few operations; the rest of a U-Net is element-wise or works on
// small vectors. x is [N,C,H,W] throughout; a, b are [N,C].
type layout interface {
	// conv convolves with the forward filter of w, adding bias and sum (both may be nil).
	conv(b *graph.Builder, x *graph.Value, w *Weight, sum *graph.Value) *graph.Value
	// convInput is the gradient of conv with respect to x: dy convolved with
	// the flipped, transposed filter, plus sum (may be nil).
	convInput(b *graph.Builder, dy *graph.Value, w *Weight, sum *graph.Value) *graph.Value
	// mean averages every channel over its pixels: [N,C].
	mean(b *graph.Builder, x *graph.Value) *graph.Value
	// dot averages x·y of every channel over its pixels: [N,C].
	dot(b *graph.Builder, x, y *graph.Value) *graph.Value
	// affine returns a·x + b per sample and channel (plus sum), through the logistic function if sigmoid.
	affine(b *graph.Builder, x, scale, shift, sum *graph.Value, sigmoid bool) *graph.Value
	upsample(b *graph.Builder, x *graph.Value) *graph.Value
	// upconv is conv(upsample(x)).
	upconv(b *graph.Builder, x *graph.Value, w *Weight) *graph.Value
	pool(b *graph.Builder, x *graph.Value) *graph.Value
	// pixels returns [N·H·W, C]; fromPixels its inverse for an image of the given shape.
	pixels(b *graph.Builder, x *graph.Value) *graph.Value
	fromPixels(b *graph.Builder, x *graph.Value, n, c, h, w int) *graph.Value
}

// plain is [N,C,H,W] with standard operators: any channel count, any device.
type plain struct{}

func (plain) conv(b *graph.Builder, x *graph.Value, w *Weight, sum *graph.Value) *graph.Value {
	y := b.Conv(x, w.Forward, w.Bias, w.geometry())
	if sum != nil {
		y = b.Add(y, sum)
	}
	return y
}

func (plain) convInput(b *graph.Builder, dy *graph.Value, w *Weight, sum *graph.Value) *graph.Value {
	y := b.Conv(dy, w.Backward, nil, w.same())
	if sum != nil {
		y = b.Add(y, sum)
	}
	return y
}

func (plain) mean(b *graph.Builder, x *graph.Value) *graph.Value { return b.Mean(x, false, 2, 3) }

func (l plain) dot(b *graph.Builder, x, y *graph.Value) *graph.Value { return l.mean(b, b.Mul(x, y)) }

func (plain) affine(b *graph.Builder, x, scale, shift, sum *graph.Value, sigmoid bool) *graph.Value {
	n, c := x.Dim(0), x.Dim(1)
	y := b.Mul(x, b.Reshape(scale, n, c, 1, 1))
	y = b.Add(y, b.Reshape(shift, n, c, 1, 1))
	if sum != nil {
		y = b.Add(y, sum)
	}
	if sigmoid {
		y = b.Sigmoid(y)
	}
	return y
}

func (l plain) upconv(b *graph.Builder, x *graph.Value, w *Weight) *graph.Value {
	return l.conv(b, l.upsample(b, x), w, nil)
}

func (plain) upsample(b *graph.Builder, x *graph.Value) *graph.Value { return b.Upsample(x) }
func (plain) pool(b *graph.Builder, x *graph.Value) *graph.Value     { return b.AveragePool(x) }

func (plain) pixels(b *graph.Builder, x *graph.Value) *graph.Value {
	n, c, h, w := x.Dim(0), x.Dim(1), x.Dim(2), x.Dim(3)
	return b.Reshape(b.Transpose(b.Reshape(x, n, c, h*w), 0, 2, 1), n*h*w, c)
}

func (plain) fromPixels(b *graph.Builder, x *graph.Value, n, c, h, w int) *graph.Value {
	return b.Reshape(b.Transpose(b.Reshape(x, n, h*w, c), 0, 2, 1), n, c, h, w)
}

// blocked keeps the trunk's channels in blocks of the processor's vector width,
// where ONNX Runtime's convolutions are fastest. Only the image itself, with
// fewer channels than a block, stays unblocked.
type blocked struct{ block int }

func (l blocked) is(c int) bool { return c%l.block == 0 }

func (l blocked) conv(b *graph.Builder, x *graph.Value, w *Weight, sum *graph.Value) *graph.Value {
	if w.ForwardFormat(l.block) == ForwardTiles {
		return l.tiledConv(b, x, w.Forward, w.Bias, sum)
	}
	y := b.BlockedConv(x, w.Forward, w.Bias, sum, w.geometry(), 1, "")
	if y.Dim(1) != w.Out { // an image: the filter was padded to one block
		y = b.FromBlocked(y, w.Out, false)
	}
	return y
}

func (l blocked) convInput(b *graph.Builder, dy *graph.Value, w *Weight, sum *graph.Value) *graph.Value {
	if w.BackwardFormat(l.block) == BackwardTiles {
		return l.tiledConv(b, dy, w.Backward, nil, sum)
	}
	return b.BlockedConv(dy, w.Backward, nil, sum, w.same(), 1, "")
}

func (l blocked) mean(b *graph.Builder, x *graph.Value) *graph.Value {
	if !l.is(x.Dim(1)) {
		return plain{}.mean(b, x)
	}
	return b.Reshape(b.BlockedMean(x), x.Dim(0), x.Dim(1))
}

// dot is a depthwise convolution of one tensor with the other as the filter:
// both are read once, and the product is never stored.
func (l blocked) dot(b *graph.Builder, x, y *graph.Value) *graph.Value {
	n, c, h, w := x.Dim(0), x.Dim(1), x.Dim(2), x.Dim(3)
	sum := b.BlockedConv(b.Reshape(x, 1, n*c, h, w), b.Reshape(y, n*c, 1, h, w), nil, nil, graph.Conv2D{Stride: 1}, n*c, "")
	return b.Mul(b.Reshape(sum, n, c), b.Scalar(1/float64(h*w)))
}

// affine is a depthwise 1×1 convolution over N·C channels of one sample: one
// pass over memory where Mul and Add with broadcasting would take two slow ones.
func (l blocked) affine(b *graph.Builder, x, scale, shift, sum *graph.Value, sigmoid bool) *graph.Value {
	n, c, h, w := x.Dim(0), x.Dim(1), x.Dim(2), x.Dim(3)
	act := ""
	if sigmoid {
		act = "Sigmoid"
	}
	if sum != nil {
		sum = b.Reshape(sum, 1, n*c, h, w)
	}
	y := b.BlockedConv(b.Reshape(x, 1, n*c, h, w), b.Reshape(scale, n*c, 1, 1, 1), b.Reshape(shift, n*c), sum,
		graph.Conv2D{Stride: 1}, n*c, act)
	return b.Reshape(y, n, c, h, w)
}

// upconv convolves the small image once per parity of the output's pixels and
// interleaves the four results.
func (l blocked) upconv(b *graph.Builder, x *graph.Value, w *Weight) *graph.Value {
	n, h, wd := x.Dim(0), x.Dim(2), x.Dim(3)
	rows := n * w.Out / l.block * h
	var lines [2]*graph.Value
	for y := range lines {
		var part [2]*graph.Value
		for z := range part {
			_, geometry := w.Phase(2*y + z)
			p := b.BlockedConv(x, w.Phases[2*y+z], w.Bias, nil, geometry, 1, "")
			part[z] = b.Reshape(p, rows*wd, l.block)
		}
		lines[y] = b.Reshape(b.Concat(1, part[0], part[1]), rows, 2*wd*l.block)
	}
	return b.Reshape(b.Concat(1, lines[0], lines[1]), n, w.Out, 2*h, 2*wd)
}

func (l blocked) upsample(b *graph.Builder, x *graph.Value) *graph.Value {
	return b.BlockedUpsample(x)
}

func (l blocked) pool(b *graph.Builder, x *graph.Value) *graph.Value {
	return b.BlockedAveragePool(x)
}

func (l blocked) pixels(b *graph.Builder, x *graph.Value) *graph.Value {
	n, c, h, w := x.Dim(0), x.Dim(1), x.Dim(2), x.Dim(3)
	if !l.is(c) {
		return plain{}.pixels(b, x)
	}
	return b.Reshape(b.FromBlocked(x, c, true), n*h*w, c)
}

func (l blocked) fromPixels(b *graph.Builder, x *graph.Value, n, c, h, w int) *graph.Value {
	if !l.is(c) {
		return plain{}.fromPixels(b, x, n, c, h, w)
	}
	return b.ToBlocked(b.Reshape(x, n, h, w, c), true)
}
