package unet

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
)

// Param is one tensor of the model under diffusers' name. Shapes are those of
// PyTorch: convolutions [out, in, kh, kw], linear layers [out, in].
type Param struct {
	Name   string
	Shape  []int
	Offset int  // of its first element in the flat vector
	Frozen bool // not trained (the fixed frequencies of a fourier embedding)
	fanIn  int  // for initialisation; 0: constant
	init   float32
}

// Len returns the number of elements.
func (p Param) Len() int {
	n := 1
	for _, d := range p.Shape {
		n *= d
	}
	return n
}

// resnet names one residual block and its channel counts, in diffusers' order.
type resnet struct {
	name    string
	in, out int
}

// Attention names one attention layer; Groups is 0 where it has no norm.
type attention struct {
	name     string
	channels int
	groups   int
}

// resnets lists every residual block of the model.
func (c Config) resnets() []resnet {
	var out []resnet
	c.walk(func(r resnet) { out = append(out, r) }, func(attention) {}, func(string, int) {})
	return out
}

// walk visits the blocks in the order in which UNet2DModel creates them.
func (c Config) walk(res func(resnet), attn func(attention), conv func(name string, ch int)) {
	n := len(c.BlockOutChannels)
	prev := c.BlockOutChannels[0]
	for i, ch := range c.BlockOutChannels {
		base := fmt.Sprintf("down_blocks.%d.", i)
		hasAttn := c.DownBlockTypes[i] == AttnDown
		for j := range c.LayersPerBlock {
			if hasAttn {
				attn(attention{fmt.Sprintf("%sattentions.%d", base, j), ch, c.NormNumGroups})
			}
			in := ch
			if j == 0 {
				in = prev
			}
			res(resnet{fmt.Sprintf("%sresnets.%d", base, j), in, ch})
		}
		// AttnDownBlock2D takes its downsample type from the configuration;
		// DownBlock2D always uses a convolution.
		if i < n-1 {
			if hasAttn && c.DownsampleType == "resnet" {
				res(resnet{base + "downsamplers.0", ch, ch})
			} else {
				conv(base+"downsamplers.0.conv", ch)
			}
		}
		prev = ch
	}
	if c.MidBlockType != nil {
		ch := c.BlockOutChannels[n-1]
		if c.AddAttention {
			attn(attention{"mid_block.attentions.0", ch, c.MidGroups()})
		}
		res(resnet{"mid_block.resnets.0", ch, ch})
		res(resnet{"mid_block.resnets.1", ch, ch})
	}
	prev = c.BlockOutChannels[n-1]
	for i := range n {
		ch := c.BlockOutChannels[n-1-i]
		skip := c.BlockOutChannels[max(n-2-i, 0)]
		base := fmt.Sprintf("up_blocks.%d.", i)
		hasAttn := c.UpBlockTypes[i] == AttnUp
		for j := range c.LayersPerBlock + 1 {
			if hasAttn {
				attn(attention{fmt.Sprintf("%sattentions.%d", base, j), ch, c.NormNumGroups})
			}
			in, s := ch, ch
			if j == 0 {
				in = prev
			}
			if j == c.LayersPerBlock {
				s = skip
			}
			res(resnet{fmt.Sprintf("%sresnets.%d", base, j), in + s, ch})
		}
		if i < n-1 {
			if hasAttn && c.UpsampleType == "resnet" {
				res(resnet{base + "upsamplers.0", ch, ch})
			} else {
				conv(base+"upsamplers.0.conv", ch)
			}
		}
		prev = ch
	}
}

// Params lists the model's tensors; the flat parameter vector is their
// concatenation in this order.
func (c Config) Params() ([]Param, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return c.list(), nil
}

// list is Params for a configuration whose parts have been checked.
func (c Config) list() []Param {
	var ps []Param
	offset := 0
	add := func(p Param) {
		p.Offset = offset
		offset += p.Len()
		ps = append(ps, p)
	}
	weights := func(name string, out, fanIn int, shape ...int) {
		add(Param{Name: name + ".weight", Shape: append([]int{out}, shape...), fanIn: fanIn})
		add(Param{Name: name + ".bias", Shape: []int{out}, fanIn: fanIn})
	}
	conv := func(name string, in, out, k int) { weights(name, out, in*k*k, in, k, k) }
	linear := func(name string, in, out int) { weights(name, out, in, in) }
	norm := func(name string, ch int) {
		add(Param{Name: name + ".weight", Shape: []int{ch}, init: 1})
		add(Param{Name: name + ".bias", Shape: []int{ch}})
	}
	first, time := c.BlockOutChannels[0], c.TimeDim()
	conv("conv_in", c.InChannels, first, 3)
	proj := first
	if c.TimeEmbeddingType == "fourier" {
		add(Param{Name: "time_proj.weight", Shape: []int{first}, Frozen: true})
		proj = 2 * first
	}
	linear("time_embedding.linear_1", proj, time)
	linear("time_embedding.linear_2", time, time)
	if k := c.Classes(); k > 0 {
		add(Param{Name: "class_embedding.weight", Shape: []int{k, time}, fanIn: -1})
	}
	c.walk(func(r resnet) {
		norm(r.name+".norm1", r.in)
		conv(r.name+".conv1", r.in, r.out, 3)
		t := r.out
		if c.ResnetTimeScaleShift == "scale_shift" {
			t *= 2
		}
		linear(r.name+".time_emb_proj", time, t)
		norm(r.name+".norm2", r.out)
		conv(r.name+".conv2", r.out, r.out, 3)
		if r.in != r.out {
			conv(r.name+".conv_shortcut", r.in, r.out, 1)
		}
	}, func(a attention) {
		if a.groups > 0 {
			norm(a.name+".group_norm", a.channels)
		}
		for _, l := range []string{".to_q", ".to_k", ".to_v", ".to_out.0"} {
			linear(a.name+l, a.channels, a.channels)
		}
	}, func(name string, ch int) { conv(name, ch, ch, 3) })
	norm("conv_norm_out", first)
	conv("conv_out", first, c.OutChannels, 3)
	return ps
}

// NumParams returns the length of the flat vector, 0 for an invalid configuration.
func (c Config) NumParams() int {
	ps, err := c.Params()
	if err != nil || len(ps) == 0 {
		return 0
	}
	last := ps[len(ps)-1]
	return last.Offset + last.Len()
}

// Init draws a flat parameter vector as PyTorch's layers do by default:
// weights and biases uniform in ±1/√fan_in (He et al. 2015 with a = √5), norms
// 1 and 0, embeddings standard normal, fourier frequencies normal with σ = 16.
// The same seed gives the same vector.
func (c Config) Init(seed uint64) ([]float32, error) {
	ps, err := c.Params()
	if err != nil {
		return nil, err
	}
	v := make([]float32, c.NumParams())
	for i, p := range ps {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		t := v[p.Offset : p.Offset+p.Len()]
		switch {
		case p.Frozen:
			for j := range t {
				t[j] = float32(16 * r.NormFloat64())
			}
		case p.fanIn < 0:
			for j := range t {
				t[j] = float32(r.NormFloat64())
			}
		case p.fanIn > 0:
			bound := 1 / math.Sqrt(float64(p.fanIn))
			for j := range t {
				t[j] = float32((2*r.Float64() - 1) * bound)
			}
		default:
			for j := range t {
				t[j] = p.init
			}
		}
	}
	return v, nil
}

// legacy are the attention names of models saved before diffusers 0.15.
var legacy = strings.NewReplacer(".query.", ".to_q.", ".key.", ".to_k.", ".value.", ".to_v.", ".proj_attn.", ".to_out.0.")

// CanonicalName maps a parameter name of an older diffusers file to today's.
func CanonicalName(name string) string {
	if strings.Contains(name, "attentions.") {
		return legacy.Replace(name)
	}
	return name
}
