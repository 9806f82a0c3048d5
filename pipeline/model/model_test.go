package model

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/pipeline/data"
	"unnoise/pipeline/diffusion"
)

func options(w, h, c int) Options {
	return Options{Preprocess: data.Preprocess{Width: w, Height: h, Channels: c, Fit: data.Crop}}
}

// The numbers of weights are those that diffusers' UNet2DModel reports for the same configurations.
func TestPresetSizes(t *testing.T) {
	for name, want := range map[string]int{"tiny": 1_113_955, "small": 6_472_195, "ddpm-cifar10": 35_746_307} {
		s, err := New(name, options(32, 32, 3))
		require.NoError(t, err, name)
		require.Equal(t, want, s.UNet.NumParams(), name)
		require.Equal(t, 3*32*32, s.Dim())
	}
}

func TestDefaultPresetExists(t *testing.T) {
	p, err := FindPreset("")
	require.NoError(t, err)
	require.Equal(t, DefaultPreset, p.Name)
}

func TestLargePicturesGetMoreLevels(t *testing.T) {
	for _, c := range []struct{ side, levels, attends int }{
		{16, 3, 1}, {28, 3, 1}, {32, 3, 1}, {64, 3, 2}, {128, 4, 3}, {256, 5, 4},
	} {
		s, err := New("small", options(c.side, c.side, 3))
		require.NoError(t, err)
		require.Len(t, s.UNet.BlockOutChannels, c.levels, "side %d", c.side)
		require.LessOrEqual(t, c.side>>(c.levels-1), maxBottom)
		for i := range c.levels {
			down, up := "DownBlock2D", "UpBlock2D"
			if i == c.attends {
				down, up = "AttnDownBlock2D", "AttnUpBlock2D"
			}
			require.Equal(t, down, s.UNet.DownBlockTypes[i])
			require.Equal(t, up, s.UNet.UpBlockTypes[c.levels-1-i])
		}
	}
}

func TestUnusableChoices(t *testing.T) {
	edm := options(32, 32, 3)
	edm.Objective = "score"
	sched := options(32, 32, 3)
	sched.Schedule = "quadratic"
	for _, c := range []struct {
		preset string
		o      Options
		want   string
	}{
		{"huge", options(32, 32, 3), `there is no preset "huge": use one of tiny, small, ddpm-cifar10`},
		{"small", options(30, 30, 3), "the size 30 does not suit preset small: its 3 levels need sides that 4 divides, the nearest is 28 or 32"},
		{"small", options(32, 30, 3), "the size 32x30 does not suit preset small: its 3 levels need sides that 4 divides, the nearest is 32x28 or 32"},
		{"ddpm-cifar10", options(5, 5, 3), "its 4 levels need sides that 8 divides, the nearest is 8"},
		{"small", options(0, 32, 3), "each side must be between 1 and 1024"},
		{"small", options(32, 32, 2), "2 channels cannot be used"},
		{"small", edm, `there is no objective "score"`},
		{"small", sched, `there is no noise schedule "quadratic"`},
	} {
		_, err := New(c.preset, c.o)
		require.ErrorIs(t, err, ErrOption)
		require.ErrorContains(t, err, c.want)
	}
}

func TestSpecSurvivesJSON(t *testing.T) {
	o := options(16, 32, 1)
	o.Classes = []string{"a", "b"}
	o.Preprocess.Augment = true
	o.Objective = diffusion.ObjectiveEDM
	s, err := New("tiny", o)
	require.NoError(t, err)
	require.Equal(t, 8, *s.UNet.NumClassEmbeds) // 2 classes, 4 transforms of a rectangle
	require.Equal(t, diffusion.WeightingSimple, s.Weighting)
	b, err := json.Marshal(s)
	require.NoError(t, err)
	var got Spec
	require.NoError(t, json.Unmarshal(b, &got))
	require.NoError(t, got.Validate())
	require.Equal(t, s, got)

	got.Version = Version + 1
	require.ErrorContains(t, got.Validate(), "use a newer Unnoise")
	got = s
	got.Classes = []string{"a"}
	require.ErrorContains(t, got.Validate(), "contradicts itself")
}

func TestClass(t *testing.T) {
	o := options(16, 16, 1)
	o.Classes = []string{"cat", "dog"}
	s, err := New("tiny", o)
	require.NoError(t, err)
	i, err := s.Class("dog")
	require.NoError(t, err)
	require.Equal(t, 1, i)
	_, err = s.Class("cow")
	require.ErrorIs(t, err, ErrOption)
	require.ErrorContains(t, err, `there is no class "cow": this model knows cat, dog`)
	s.Classes = nil
	_, err = s.Class("cow")
	require.ErrorContains(t, err, "trained without classes")
}

// oracle answers what a perfectly trained network would: the target of known x0 and eps, given only the input.
type oracle struct {
	batch, dim int
	calls      []int
	answer     func(x []float32, cond float32, class []int64, out []float32)
}

func (o *oracle) Batch() int { return o.batch }

func (o *oracle) Forward(_ context.Context, x, cond []float32, class []int64, out []float32) error {
	o.calls = append(o.calls, len(cond))
	for i := range cond {
		var c []int64
		if class != nil {
			c = class[i : i+1]
		}
		o.answer(x[i*o.dim:(i+1)*o.dim], cond[i], c, out[i*o.dim:(i+1)*o.dim])
	}
	return nil
}

// For every objective, a network that answers the true target must give back the true x0, in chunks of its batch.
func TestDenoiserRecoversX0(t *testing.T) {
	for _, obj := range diffusion.Objectives() {
		opt := options(4, 4, 1)
		opt.Objective = obj
		s, err := New("tiny", opt)
		require.NoError(t, err)
		p, err := s.Process()
		require.NoError(t, err)
		lvl := p.Train(0.4)
		const n = 5
		dim := s.Dim()
		x0, eps, xt, got := make([]float32, n*dim), make([]float32, n*dim), make([]float32, n*dim), make([]float32, n*dim)
		for i := range x0 {
			x0[i], eps[i] = float32(math.Sin(float64(i))), float32(math.Cos(float64(3*i)))
		}
		diffusion.AddNoise(xt, x0, eps, lvl)
		at := 0
		net := &oracle{batch: 2, dim: dim, answer: func(_ []float32, cond float32, class []int64, out []float32) {
			require.InDelta(t, lvl.Cond, cond, 1e-6)
			require.Nil(t, class)
			obj.Target(out, x0[at*dim:(at+1)*dim], eps[at*dim:(at+1)*dim], lvl)
			at++
		}}
		d, err := NewDenoiser(net, s, nil)
		require.NoError(t, err)
		require.NoError(t, d.Denoise(t.Context(), xt, n, lvl, got))
		require.Equal(t, []int{2, 2, 1}, net.calls)
		require.InDeltaSlice(t, x0, got, 1e-4, "%s", obj)
	}
}

func TestDenoiserLabels(t *testing.T) {
	o := options(4, 4, 1)
	o.Classes = []string{"a", "b", "c"}
	s, err := New("tiny", o)
	require.NoError(t, err)
	net := &oracle{batch: 2, dim: s.Dim(), answer: func(_ []float32, _ float32, class []int64, out []float32) {
		for i := range out {
			out[i] = float32(class[0])
		}
	}}
	_, err = NewDenoiser(net, s, nil)
	require.Error(t, err)
	_, err = NewDenoiser(net, s, []int64{3})
	require.ErrorContains(t, err, "class label 3")
	s.Objective = diffusion.ObjectiveX0
	d, err := NewDenoiser(net, s, []int64{2, 0, 1})
	require.NoError(t, err)
	x0 := make([]float32, 3*s.Dim())
	require.NoError(t, d.Denoise(t.Context(), make([]float32, 3*s.Dim()), 3, diffusion.Level{Alpha: 1, Sigma: 1}, x0))
	require.Equal(t, []float32{2, 0, 1}, []float32{x0[0], x0[s.Dim()], x0[2*s.Dim()]})
	require.Error(t, d.Denoise(t.Context(), x0[:s.Dim()], 1, diffusion.Level{Alpha: 1}, x0[:s.Dim()]))
}

func TestValidateRefusesOtherErrors(t *testing.T) {
	require.ErrorContains(t, Spec{}.Validate(), "no version")
	require.False(t, errors.Is(Spec{}.Validate(), ErrOption))
}

func TestToldIsForPeople(t *testing.T) {
	plain := errors.New("the disk is full")
	require.Equal(t, "the disk is full", Told(plain).String())
	err := fmt.Errorf("preset: %w", Unusable("width", "a width of %d", 7))
	require.ErrorContains(t, err, ErrOption.Error())
	require.Equal(t, "a width of 7", Told(err).String())
	require.Equal(t, "a width of {{.A}}", Told(err).Template)
	require.Equal(t, "the disk is full", Told(Unusable("width", "%w", plain)).String())
}
