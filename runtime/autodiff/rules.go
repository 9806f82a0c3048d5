package autodiff

import "unnoise/runtime/graph"

// rules is the gradient table: for y = f(x…), given dy = ∂L/∂y, write ∂L/∂x
// and the gradients of the trained tensors. Sources are named per row; plain
// calculus otherwise.
var rules map[string]func(t *Tape, o *op, dy *graph.Value)

func init() {
	rules = map[string]func(t *Tape, o *op, dy *graph.Value){
		"Conv":      convRule,
		"UpConv":    upConvRule,
		"Linear":    linearRule,
		"GroupNorm": groupNormRule,
		// E[k] = Σ_n [class_n = k] dy_n
		"Embedding": func(t *Tape, o *op, dy *graph.Value) {
			t.trained(o.args.(string), func(before *graph.Value) *graph.Value {
				return t.B.Gemm(o.in[0], dy, before, true, false)
			})
		},
		// y = xσ(x): y' = σ + y(1 − σ)
		"SiLU": func(t *Tape, o *op, dy *graph.Value) {
			s := t.B.Sigmoid(o.in[0])
			d := t.B.Add(s, t.B.Sub(o.out, t.B.Mul(o.out, s)))
			t.plus(o.in[0], t.B.Mul(dy, d))
		},
		"Add": func(t *Tape, o *op, dy *graph.Value) {
			t.plus(o.in[0], dy)
			t.plus(o.in[1], dy)
		},
		"Scale": func(t *Tape, o *op, dy *graph.Value) {
			t.plus(o.in[0], t.B.Mul(dy, t.B.Scalar(o.args.(float64))))
		},
		"Mul": func(t *Tape, o *op, dy *graph.Value) {
			t.plus(o.in[0], t.B.Mul(dy, o.args.(*graph.Value)))
		},
		"Concat": func(t *Tape, o *op, dy *graph.Value) {
			c := o.in[0].Dim(1)
			t.plus(o.in[0], t.B.Slice(dy, 1, 0, c))
			t.plus(o.in[1], t.B.Slice(dy, 1, c, dy.Dim(1)))
		},
		"Columns": func(t *Tape, o *op, dy *graph.Value) {
			r := o.args.([2]int)
			t.plus(o.in[0], t.B.PadZero(dy, []int{0, r[0]}, []int{0, o.in[0].Dim(1) - r[1]}))
		},
		// Each pixel was copied to four: the gradient is their sum.
		"Upsample": func(t *Tape, o *op, dy *graph.Value) {
			t.plus(o.in[0], t.B.Mul(t.l.pool(t.B, dy), t.B.Scalar(4)))
		},
		"Pool": func(t *Tape, o *op, dy *graph.Value) {
			t.plus(o.in[0], t.l.upsample(t.B, t.B.Mul(dy, t.B.Scalar(0.25))))
		},
		"Pixels": func(t *Tape, o *op, dy *graph.Value) {
			x := o.in[0]
			t.plus(x, t.l.fromPixels(t.B, dy, x.Dim(0), x.Dim(1), x.Dim(2), x.Dim(3)))
		},
		"FromPixels": func(t *Tape, o *op, dy *graph.Value) { t.plus(o.in[0], t.rowsOf(dy)) },
		"Heads":      func(t *Tape, o *op, dy *graph.Value) { t.plus(o.in[0], rows(t.B, dy)) },
		"Rows": func(t *Tape, o *op, dy *graph.Value) {
			x := o.in[0]
			n, h, s, d := x.Dim(0), x.Dim(1), x.Dim(2), x.Dim(3)
			if h == 1 {
				t.plus(x, t.B.Reshape(dy, n, h, s, d))
				return
			}
			t.plus(x, t.B.Transpose(t.B.Reshape(dy, n, s, h, d), 0, 2, 1, 3))
		},
		// z = αxy: dx = α dz yᵀ, dy = α xᵀ dz; for z = αxyᵀ: dx = α dz y, dy = α dzᵀ x
		"MatMul": func(t *Tape, o *op, dz *graph.Value) {
			x, y, m := o.in[0], o.in[1], o.args.(matmul)
			t.plus(x, t.B.MatMul(dz, y, false, !m.transY, m.alpha))
			if m.transY {
				t.plus(y, t.B.MatMul(dz, x, true, false, m.alpha))
			} else {
				t.plus(y, t.B.MatMul(x, dz, true, false, m.alpha))
			}
		},
		// dx = y ⊙ (dy − Σ y·dy)
		"Softmax": func(t *Tape, o *op, dy *graph.Value) {
			y := o.out
			p := t.B.Mul(y, dy)
			t.plus(o.in[0], t.B.Sub(p, t.B.Mul(y, t.B.Sum(p, true, len(y.Shape)-1))))
		},
	}
}

// convRule: the input's gradient is a convolution with the reversed filter
// (Dumoulin and Visin 2016, section 4); of stride 2 after spreading dy with
// zeros. The weight's gradient is one product over all pixels.
func convRule(t *Tape, o *op, dy *graph.Value) {
	x, w := o.in[0], o.args.(*Weight)
	t.plus(o.in[1], dy)
	t.layerGrad(x, dy, w)
	t.give(x, func(before *graph.Value) *graph.Value {
		if w.Stride == 2 {
			dy = t.spread(dy, x.Dim(2), x.Dim(3), 1-w.Pad)
		}
		return t.l.convInput(t.B, dy, w, before)
	})
}

// upConvRule repeats the enlarged image instead of keeping it.
func upConvRule(t *Tape, o *op, dy *graph.Value) {
	x, w := o.in[0], o.args.(*Weight)
	t.layerGrad(t.l.upsample(t.B, x), dy, w)
	small := t.l.pool(t.B, t.l.convInput(t.B, dy, w, nil))
	t.plus(x, t.B.Mul(small, t.B.Scalar(4)))
}

// layerGrad writes the gradients of a convolution's weight and bias.
func (t *Tape) layerGrad(x, dy *graph.Value, w *Weight) {
	b := t.B
	pixels := float64(dy.Dim(2) * dy.Dim(3))
	t.trainedPlus(w.Name+".bias", b.Mul(b.Sum(t.meanOf(dy), false, 0), b.Scalar(pixels)))
	t.trained(w.Name+".weight", func(before *graph.Value) *graph.Value {
		return t.weightGrad(x, dy, w, before)
	})
}

// spread puts dy's pixels at every second place, from first on, of an h×w image of zeros.
func (t *Tape) spread(dy *graph.Value, h, w, first int) *graph.Value {
	mask := make([]float32, h*w)
	for y := first; y < h; y += 2 {
		for x := first; x < w; x += 2 {
			mask[y*w+x] = 1
		}
	}
	up := t.l.upsample(t.B, dy)
	n, c := up.Dim(0), up.Dim(1)
	if l, ok := t.l.(blocked); ok {
		wide := make([]float32, 0, h*w*l.block)
		for _, m := range mask {
			for range l.block {
				wide = append(wide, m)
			}
		}
		y := t.B.Mul(t.B.Reshape(up, n*c/l.block, h*w*l.block), t.B.Const(wide, 1, h*w*l.block))
		return t.B.Reshape(y, n, c, h, w)
	}
	return t.B.Mul(up, t.B.Const(mask, 1, 1, h, w))
}

// weightGrad writes ∂L/∂w[o,i,ky,kx] = Σ dy[o, p] · x[i, p shifted by the tap]
// as one product of two matrices with a row per pixel, in the order of
// GradFormat. Shifted rows are gathered, with a row of zeros for what lies
// outside the image. For 3×3 and stride 1 the vertical shift goes to dy and the
// horizontal one to x: six copies instead of nine.
func (t *Tape) weightGrad(x, dy *graph.Value, w *Weight, before *graph.Value) *graph.Value {
	b := t.B
	if w.K == 1 {
		return b.Gemm(t.rowsOf(x), t.rowsOf(dy), before, true, false)
	}
	n, h, wd := x.Dim(0), x.Dim(2), x.Dim(3)
	oh, ow := dy.Dim(2), dy.Dim(3)
	if l, ok := t.l.(blocked); ok && w.GradFormat(l.block) == Columns {
		return t.columnsGrad(l.block, x, dy, w, before)
	}
	if w.Stride == 1 {
		none := n * h * wd
		left, down := make([]int, 0, 3*none), make([]int, 0, 3*none)
		for i := range n {
			for r := range h {
				for c := range wd {
					for k := -1; k <= 1; k++ {
						// x at (r, c+k) meets dy at (r−k', c) for the taps (k', k)
						left = append(left, inside(i, r, c+k, h, wd, none))
						down = append(down, inside(i, r-k, c, h, wd, none))
					}
				}
			}
		}
		xs := b.Reshape(b.Gather(t.tableOf(x), b.Ints(left, none, 3)), none, 3*w.In)
		ds := b.Reshape(b.Gather(t.tableOf(dy), b.Ints(down, none, 3)), none, 3*w.Out)
		return b.Gemm(xs, ds, before, true, false)
	}
	rows, none := n*oh*ow, n*h*wd
	idx := make([]int, 0, 9*rows)
	for i := range n {
		for r := range oh {
			for c := range ow {
				for ky := range 3 {
					for kx := range 3 {
						idx = append(idx, inside(i, 2*r+ky-w.Pad, 2*c+kx-w.Pad, h, wd, none))
					}
				}
			}
		}
	}
	xs := b.Reshape(b.Gather(t.tableOf(x), b.Ints(idx, rows, 9)), rows, 9*w.In)
	return b.Gemm(xs, t.rowsOf(dy), before, true, false)
}

// columnsGrad writes the same sum as a convolution, which runs half as fast
// again as the matrix product. Blocks of pixels take the part of the channels: dy, shifted
// sideways for the three kx, is the filter, as tall as the image; it slides over
// x by one row up and down, which gives the three ky.
func (t *Tape) columnsGrad(block int, x, dy *graph.Value, w *Weight, before *graph.Value) *graph.Value {
	b := t.B
	n, h, wd := x.Dim(0), x.Dim(2), x.Dim(3)
	ob, wb := w.Out/block, wd/block
	// x as [pixel block, row, channel][pixel]
	places := make([]int, 0, n*wb*h*w.In)
	for i := range n {
		for c := range wb {
			for r := range h {
				for in := range w.In {
					places = append(places, ((i*w.In+in)*h+r)*wb+c)
				}
			}
		}
	}
	rows := b.Reshape(b.FromBlocked(x, w.In, false), len(places), block)
	image := b.Reshape(b.Gather(rows, b.Ints(places, len(places))), 1, n*wd, h, w.In)
	// dy as [kx, output block][pixel block, row, pixel][output]
	none := n * ob * h * wd
	places = make([]int, 0, 3*none)
	for kx := -1; kx <= 1; kx++ {
		for o := range ob {
			for i := range n {
				for c := range wb {
					for r := range h {
						for p := range block {
							at := none
							if q := c*block + p - kx; q >= 0 && q < wd {
								at = ((i*ob+o)*h+r)*wd + q
							}
							places = append(places, at)
						}
					}
				}
			}
		}
	}
	pixels := b.PadZero(b.Reshape(dy, none, block), []int{0, 0}, []int{1, 0})
	filter := b.Reshape(b.Gather(pixels, b.Ints(places, len(places))), 3*w.Out, n*wd, h, 1)
	return b.BlockedConv(image, filter, nil, before, graph.Conv2D{Stride: 1, Pads: [4]int{1, 0, 1, 0}}, 1, "")
}

// inside returns the row of pixel (r, c) of image i, or none where that lies outside.
func inside(i, r, c, h, w, none int) int {
	if r < 0 || r >= h || c < 0 || c >= w {
		return none
	}
	return (i*h+r)*w + c
}

// linearRule: y = x wᵀ + b.
func linearRule(t *Tape, o *op, dy *graph.Value) {
	b, x, w := t.B, o.in[0], o.args.(*Weight)
	if w.Bias != nil {
		t.trainedPlus(w.Name+".bias", b.Sum(dy, false, 0))
	}
	t.trained(w.Name+".weight", func(before *graph.Value) *graph.Value {
		return b.Gemm(dy, x, before, true, false)
	})
	t.give(x, func(before *graph.Value) *graph.Value {
		return b.Gemm(dy, w.Forward, before, false, false)
	})
}

// groupNormRule differentiates y = SiLU(a·x + c) with a, c depending on x
// through the group's moments (Wu and He 2018; the derivation is in
// docs/training-on-onnxruntime.md). With x̂ = (x + add − μ)·rstd, P = Σ dy and
// Q = Σ dy·x̂ over the pixels of a channel, γ' = γ(1 + scale), and averages ⟨·⟩
// over the group's channels and pixels:
//
//	dx = rstd · (γ'·dy − ⟨γ'P⟩ − x̂·⟨γ'Q⟩)
func groupNormRule(t *Tape, o *op, dy *graph.Value) {
	b, s := t.B, o.args.(*normSaved)
	x, h, w := s.x, s.x.Dim(2), s.x.Dim(3)
	pixels := b.Scalar(float64(h * w))
	if s.SiLU {
		// silu'(y) = 1 − σ(−y) + s·σ(−y), and −y is affine in x: y itself need not be kept.
		neg := t.l.affine(b, x, b.Neg(s.a), b.Neg(s.b), nil, true)
		n, c := x.Dim(0), x.Dim(1)
		ones := filled(n*c, 1)
		d := t.l.affine(b, neg, b.Const(filled(n*c, -1), n, c), b.Const(ones, n, c), b.Mul(s.y, neg), false)
		dy = b.Mul(dy, d)
	}
	meanDy := t.l.mean(b, dy)
	meanDyX := t.l.dot(b, dy, x)
	p := b.Mul(meanDy, pixels)
	// mean of dy·x̂ per channel
	offset := s.groupMean
	if s.Norm.Add != nil {
		offset = b.Sub(offset, s.Norm.Add)
	}
	meanQ := b.Mul(b.Sub(meanDyX, b.Mul(offset, meanDy)), s.rstd)
	q := b.Mul(meanQ, pixels)
	gammaRows, betaRows := q, p
	if s.Norm.Scale != nil {
		scale := b.Add(s.Norm.Scale, b.Scalar(1))
		t.plus(s.Norm.Scale, b.Add(b.Mul(q, s.Gamma), b.Mul(p, s.Beta)))
		t.plus(s.Norm.Shift, p)
		gammaRows, betaRows = b.Mul(q, scale), b.Mul(p, scale)
	}
	t.trainedPlus(s.Name+".weight", b.Sum(gammaRows, false, 0))
	t.trainedPlus(s.Name+".bias", b.Sum(betaRows, false, 0))
	// dx = a·dy + u·x + v
	gain := s.Gamma
	if s.Norm.Scale != nil {
		gain = b.Mul(s.Gamma, b.Add(s.Norm.Scale, b.Scalar(1)))
	}
	meanP := t.perGroup(b.Mul(meanDy, gain), s.Groups)
	groupQ := t.perGroup(b.Mul(meanQ, gain), s.Groups)
	u := b.Neg(b.Mul(b.Mul(s.rstd, s.rstd), groupQ))
	v := b.Neg(b.Add(b.Mul(s.rstd, meanP), b.Mul(u, offset)))
	t.give(x, func(before *graph.Value) *graph.Value {
		rest := t.l.affine(b, x, u, v, before, false)
		zero := b.Const(filled(x.Dim(0)*x.Dim(1), 0), x.Dim(0), x.Dim(1))
		return t.l.affine(b, dy, s.a, zero, rest, false)
	})
	if s.Norm.Add != nil {
		// Σ dx over the channel's pixels
		t.plus(s.Norm.Add, b.Mul(b.Add(b.Add(b.Mul(s.a, meanDy), b.Mul(u, s.mean)), v), pixels))
	}
}

func filled(n int, f float32) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = f
	}
	return v
}
