// Package program compiles a U-Net into the programs that ONNX Runtime runs:
// the gradient of one micro-batch, the optimiser, and the forward pass.
package program

import (
	"fmt"
	"math"

	"unnoise/runtime/autodiff"
	"unnoise/runtime/graph"
	"unnoise/runtime/unet"
)

// source gives the network its trained tensors.
type source interface {
	// layer returns a convolution or linear layer. needInput says whether the
	// gradient of the layer's input is wanted.
	layer(name string, k autodiff.Kernel, needInput bool) *autodiff.Weight
	// upLayer returns a convolution that follows an enlargement.
	upLayer(name string, k autodiff.Kernel) *autodiff.Weight
	// vector returns any other trained tensor.
	vector(name string, shape ...int) *graph.Value
	// mask returns the dropout mask of one place, nil for none.
	mask(like *graph.Value) *graph.Value
}

// network writes UNet2DModel's forward pass on a tape (Ho et al. 2020,
// appendix B, as generalised by diffusers).
type network struct {
	*autodiff.Tape
	cfg unet.Config
	src source
	n   int // batch
}

// forward returns the output for x [N,C,H,W], cond [N] and class [N] (nil if unconditional).
func (u *network) forward(x, cond, class *graph.Value) *graph.Value {
	c, b := u.cfg, u.B
	if c.CenterInputSample {
		x = b.Sub(b.Add(x, x), b.Scalar(1))
	}
	emb := u.embedding(cond, class)
	h := u.Conv(x, u.src.layer("conv_in", conv3(c.InChannels, c.BlockOutChannels[0], 1, 1, x.Dim(2), x.Dim(3)), false), nil)
	skips := []*graph.Value{h}
	for i, ch := range c.BlockOutChannels {
		base := fmt.Sprintf("down_blocks.%d.", i)
		attn := c.DownBlockTypes[i] == unet.AttnDown
		for j := range c.LayersPerBlock {
			h = u.resnet(fmt.Sprintf("%sresnets.%d", base, j), h, emb, ch, 1, "")
			if attn {
				h = u.attention(fmt.Sprintf("%sattentions.%d", base, j), h, c.NormNumGroups, 1)
			}
			skips = append(skips, h)
		}
		if i < len(c.BlockOutChannels)-1 {
			if attn && c.DownsampleType == "resnet" {
				h = u.resnet(base+"downsamplers.0", h, emb, ch, 1, "down")
			} else {
				h = u.Conv(h, u.src.layer(base+"downsamplers.0.conv", conv3(ch, ch, 2, c.DownsamplePadding, h.Dim(2), h.Dim(3)), true), nil)
			}
			skips = append(skips, h)
		}
	}
	if c.MidBlockType != nil {
		ch := c.BlockOutChannels[len(c.BlockOutChannels)-1]
		h = u.resnet("mid_block.resnets.0", h, emb, ch, c.MidBlockScaleFactor, "")
		if c.AddAttention {
			h = u.attention("mid_block.attentions.0", h, c.MidGroups(), c.MidBlockScaleFactor)
		}
		h = u.resnet("mid_block.resnets.1", h, emb, ch, c.MidBlockScaleFactor, "")
	}
	for i := range c.BlockOutChannels {
		ch := c.BlockOutChannels[len(c.BlockOutChannels)-1-i]
		base := fmt.Sprintf("up_blocks.%d.", i)
		attn := c.UpBlockTypes[i] == unet.AttnUp
		for j := range c.LayersPerBlock + 1 {
			h = u.Concat(h, skips[len(skips)-1])
			skips = skips[:len(skips)-1]
			h = u.resnet(fmt.Sprintf("%sresnets.%d", base, j), h, emb, ch, 1, "")
			if attn {
				h = u.attention(fmt.Sprintf("%sattentions.%d", base, j), h, c.NormNumGroups, 1)
			}
		}
		if i < len(c.BlockOutChannels)-1 {
			if attn && c.UpsampleType == "resnet" {
				h = u.resnet(base+"upsamplers.0", h, emb, ch, 1, "up")
			} else {
				h = u.UpConv(h, u.src.upLayer(base+"upsamplers.0.conv", conv3(ch, ch, 1, 1, 2*h.Dim(2), 2*h.Dim(3))))
			}
		}
	}
	h = u.norm("conv_norm_out", h, autodiff.Norm{Groups: c.NormNumGroups, SiLU: true})
	h = u.Conv(h, u.src.layer("conv_out", conv3(c.BlockOutChannels[0], c.OutChannels, 1, 1, h.Dim(2), h.Dim(3)), true), nil)
	if c.TimeEmbeddingType == "fourier" {
		h = u.Mul(h, b.Div(b.Scalar(1), b.Reshape(cond, u.n, 1, 1, 1)))
	}
	return h
}

func conv3(in, out, stride, pad, height, width int) autodiff.Kernel {
	return autodiff.Kernel{Out: out, In: in, K: 3, Stride: stride, Pad: pad, Height: height, Width: width}
}

func dense(in, out int) autodiff.Kernel { return autodiff.Kernel{Out: out, In: in, K: 1, Stride: 1} }

// embedding returns SiLU of the time (and class) embedding, [N,D]: every
// residual block begins with that activation, so it is applied once.
func (u *network) embedding(cond, class *graph.Value) *graph.Value {
	c, b := u.cfg, u.B
	first, dim := c.BlockOutChannels[0], c.TimeDim()
	var proj *graph.Value
	if c.TimeEmbeddingType == "fourier" { // Song et al. 2021, with the logarithm of the noise level
		freq := b.Reshape(u.src.vector("time_proj.weight", first), 1, first)
		arg := b.Mul(b.Mul(b.Log(b.Reshape(cond, u.n, 1)), freq), b.Scalar(2*math.Pi))
		proj = b.Concat(1, b.Sin(arg), b.Cos(arg))
	} else { // Vaswani et al. 2017, section 3.5
		half := first / 2
		freq := make([]float32, half)
		for i := range freq {
			freq[i] = float32(math.Exp(-math.Log(10000) * float64(i) / (float64(half) - c.FreqShift)))
		}
		arg := b.Mul(b.Reshape(cond, u.n, 1), b.Const(freq, 1, half))
		parts := []*graph.Value{b.Sin(arg), b.Cos(arg)}
		if c.FlipSinToCos {
			parts[0], parts[1] = parts[1], parts[0]
		}
		proj = b.Concat(1, parts...)
		if first%2 == 1 {
			proj = b.PadZero(proj, []int{0, 0}, []int{0, 1})
		}
	}
	emb := u.Linear(proj, u.src.layer("time_embedding.linear_1", dense(proj.Dim(1), dim), false))
	emb = u.Linear(u.SiLU(emb), u.src.layer("time_embedding.linear_2", dense(dim, dim), true))
	if class != nil {
		const table = "class_embedding.weight"
		emb = u.Add(emb, u.Embedding(class, table, u.src.vector(table, c.Classes(), dim)))
	}
	return u.SiLU(emb)
}

func (u *network) norm(name string, x *graph.Value, p autodiff.Norm) *graph.Value {
	c := x.Dim(1)
	p.Name, p.Eps = name, u.cfg.NormEps
	p.Gamma, p.Beta = u.src.vector(name+".weight", c), u.src.vector(name+".bias", c)
	return u.GroupNorm(x, p)
}

// resnet is diffusers' ResnetBlock2D; resample is "", "up" or "down".
func (u *network) resnet(name string, x, emb *graph.Value, out int, scale float64, resample string) *graph.Value {
	c := u.cfg
	in := x.Dim(1)
	h := u.norm(name+".norm1", x, autodiff.Norm{Groups: c.NormNumGroups, SiLU: true})
	switch resample {
	case "up":
		x, h = u.Upsample(x), u.Upsample(h)
	case "down":
		x, h = u.Pool(x), u.Pool(h)
	}
	h = u.Conv(h, u.src.layer(name+".conv1", conv3(in, out, 1, 1, h.Dim(2), h.Dim(3)), true), nil)
	second := autodiff.Norm{Groups: c.NormNumGroups, SiLU: true}
	if c.ResnetTimeScaleShift == "scale_shift" {
		t := u.Linear(emb, u.src.layer(name+".time_emb_proj", dense(c.TimeDim(), 2*out), true))
		second.Scale, second.Shift = u.Columns(t, 0, out), u.Columns(t, out, 2*out)
	} else {
		second.Add = u.Linear(emb, u.src.layer(name+".time_emb_proj", dense(c.TimeDim(), out), true))
	}
	h = u.norm(name+".norm2", h, second)
	if m := u.src.mask(h); m != nil {
		h = u.Mul(h, m)
	}
	if in != out {
		x = u.Conv(x, u.src.layer(name+".conv_shortcut", autodiff.Kernel{Out: out, In: in, K: 1, Stride: 1}, true), nil)
	}
	h = u.Conv(h, u.src.layer(name+".conv2", conv3(out, out, 1, 1, h.Dim(2), h.Dim(3)), true), x)
	if scale != 1 {
		h = u.Scale(h, 1/scale)
	}
	return h
}

// attention is diffusers' Attention with a residual connection (Vaswani et al. 2017) over the pixels.
func (u *network) attention(name string, x *graph.Value, groups int, scale float64) *graph.Value {
	n, c, h, w := x.Dim(0), x.Dim(1), x.Dim(2), x.Dim(3)
	heads := u.cfg.Heads(c)
	y := x
	if groups > 0 {
		y = u.norm(name+".group_norm", x, autodiff.Norm{Groups: groups})
	}
	rows := u.Pixels(y)
	part := func(l string) *graph.Value {
		return u.Heads(u.Linear(rows, u.src.layer(name+l, dense(c, c), true)), n, heads)
	}
	q, k, v := part(".to_q"), part(".to_k"), part(".to_v")
	probs := u.Softmax(u.MatMul(q, k, true, 1/math.Sqrt(float64(c/heads))))
	ctx := u.Rows(u.MatMul(probs, v, false, 1))
	y = u.FromPixels(u.Linear(ctx, u.src.layer(name+".to_out.0", dense(c, c), true)), n, c, h, w)
	y = u.Add(y, x)
	if scale != 1 {
		y = u.Scale(y, 1/scale)
	}
	return y
}
