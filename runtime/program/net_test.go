package program

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/runtime/ort"
	"unnoise/runtime/unet"
)

func newNet(t testing.TB, cfg unet.Config, batch int) (*Net, []float32) {
	w, err := cfg.Init(5)
	require.NoError(t, err)
	n, err := NewNet(t.Context(), cfg, w, batch, one)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	return n, w
}

// A sample's output depends neither on its neighbours nor on how many there are.
func TestForwardOfFewerSamples(t *testing.T) {
	for name, cfg := range map[string]unet.Config{"plain": tiny(), "blocked": medium()} {
		t.Run(name, func(t *testing.T) {
			net, _ := newNet(t, cfg, 4)
			require.Equal(t, 4, net.Batch())
			b := batchOf(cfg, 4, "")
			dim := len(b.X) / 4
			all := make([]float32, len(b.X))
			require.NoError(t, net.Forward(t.Context(), b.X, b.Cond, b.Class, all))
			for k := 1; k < 4; k++ {
				var class []int64
				if b.Class != nil {
					class = b.Class[4-k:]
				}
				out := make([]float32, k*dim)
				require.NoError(t, net.Forward(t.Context(), b.X[(4-k)*dim:], b.Cond[4-k:], class, out))
				require.Less(t, relative(out, all[(4-k)*dim:]), 1e-6, "%d samples", k)
			}
			for i := range 3 { // samples differ, or the above proves nothing
				require.Greater(t, relative(all[i*dim:(i+1)*dim], all[(i+1)*dim:(i+2)*dim]), 1e-2)
			}
		})
	}
}

func TestSetWeights(t *testing.T) {
	cfg := medium()
	a, err := cfg.Init(1)
	require.NoError(t, err)
	b, err := cfg.Init(2)
	require.NoError(t, err)
	in := batchOf(cfg, 2, "")
	forward := func(n *Net) []float32 {
		out := make([]float32, len(in.X))
		require.NoError(t, n.Forward(t.Context(), in.X, in.Cond, nil, out))
		return out
	}
	fed, err := NewNet(t.Context(), cfg, nil, 2, one)
	require.NoError(t, err)
	defer fed.Close()
	require.EqualError(t, fed.Forward(t.Context(), in.X, in.Cond, nil, make([]float32, len(in.X))), "the network has no weights yet")
	require.ErrorContains(t, fed.SetWeights(a[1:]), "parameters")
	require.NoError(t, fed.SetWeights(a))
	first := forward(fed)
	require.NoError(t, fed.SetWeights(b))
	second := forward(fed)
	require.Greater(t, relative(second, first), 1e-2)
	require.NoError(t, fed.SetWeights(a))
	require.Equal(t, first, forward(fed))
	given, err := NewNet(t.Context(), cfg, b, 2, one)
	require.NoError(t, err)
	defer given.Close()
	require.Equal(t, second, forward(given))
}

// Dropout belongs to training alone.
func TestForwardHasNoDropout(t *testing.T) {
	cfg := medium()
	net, w := newNet(t, cfg, 2)
	cfg.Dropout = 0.5
	with, err := NewNet(t.Context(), cfg, w, 2, one)
	require.NoError(t, err)
	defer with.Close()
	in := batchOf(cfg, 2, "")
	a, b := make([]float32, len(in.X)), make([]float32, len(in.X))
	require.NoError(t, net.Forward(t.Context(), in.X, in.Cond, nil, a))
	require.NoError(t, with.Forward(t.Context(), in.X, in.Cond, nil, b))
	require.Equal(t, a, b)
}

func TestForwardRefusesWhatDoesNotFit(t *testing.T) {
	cfg := tiny()
	net, _ := newNet(t, cfg, 2)
	b := batchOf(cfg, 2, "")
	out := make([]float32, 64)
	for want, f := range map[string]func() error{
		"the network takes 1 to 2 samples, not 0": func() error { return net.Forward(t.Context(), nil, nil, nil, nil) },
		"the network takes 1 to 2 samples, not 3": func() error {
			return net.Forward(t.Context(), make([]float32, 96), make([]float32, 3), make([]int64, 3), make([]float32, 96))
		},
		"2 samples need 64 input and 64 output values, not 63 and 64":        func() error { return net.Forward(t.Context(), b.X[1:], b.Cond, b.Class, out) },
		"2 samples need 64 input and 64 output values, not 64 and 60":        func() error { return net.Forward(t.Context(), b.X, b.Cond, b.Class, out[:60]) },
		"the network has 2 classes; 0 class labels were given for 2 samples": func() error { return net.Forward(t.Context(), b.X, b.Cond, nil, out) },
		"the network has 2 classes; 1 class labels were given for 2 samples": func() error { return net.Forward(t.Context(), b.X, b.Cond, b.Class[:1], out) },
		"class label 2 does not lie in 0…1":                                  func() error { return net.Forward(t.Context(), b.X, b.Cond, []int64{0, 2}, out) },
		"class label -1 does not lie in 0…1":                                 func() error { return net.Forward(t.Context(), b.X, b.Cond, []int64{-1, 0}, out) },
	} {
		require.EqualError(t, f(), want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, net.Forward(ctx, b.X, b.Cond, b.Class, out), context.Canceled)
	_, err := NewNet(t.Context(), cfg, nil, 0, one)
	require.EqualError(t, err, "the network needs a batch of at least 1, not 0")
	_, err = NewNet(t.Context(), unet.Config{}, nil, 1, one)
	require.ErrorContains(t, err, "model configuration")
	_, err = NewNet(t.Context(), cfg, make([]float32, 3), 1, one)
	require.ErrorContains(t, err, "parameters; 3 were given")
}

func TestClosedNet(t *testing.T) {
	cfg := tiny()
	w, err := cfg.Init(1)
	require.NoError(t, err)
	net, err := NewNet(t.Context(), cfg, w, 1, one)
	require.NoError(t, err)
	require.NoError(t, net.Close())
	require.NoError(t, net.Close())
	b := batchOf(cfg, 1, "")
	require.Error(t, net.Forward(t.Context(), b.X, b.Cond, b.Class, make([]float32, 32)))
}

// The exported model gives what Net gives, for any batch, in ONNX Runtime's standard operators.
func TestExportONNX(t *testing.T) {
	configs := map[string]unet.Config{"plain": tiny(), "blocked": medium()}
	for _, f := range fixtures(t) {
		if f.name != "ddpm-cifar10" && f.name != "blocked" {
			configs[f.name] = f.cfg
		}
	}
	for name, cfg := range configs {
		t.Run(name, func(t *testing.T) {
			net, w := newNet(t, cfg, 3)
			model, err := ExportONNX(cfg, w)
			require.NoError(t, err)
			require.NotContains(t, string(model), "com.microsoft")
			names := []string{"sample", "timestep"}
			if cfg.Classes() > 0 {
				names = append(names, "class_labels")
			}
			s, err := ort.NewSession(model, names, []string{"out_sample"}, ort.Options{Threads: 1})
			require.NoError(t, err)
			defer s.Close()
			width, height := cfg.Size()
			for _, n := range []int{1, 3} {
				b := batchOf(cfg, n, "")
				want, got := make([]float32, len(b.Target)), make([]float32, len(b.Target))
				require.NoError(t, net.Forward(t.Context(), b.X, b.Cond, b.Class, want))
				bind := newBinder()
				in := []*ort.Tensor{wrap(bind, b.X, n, cfg.InChannels, height, width), wrap(bind, b.Cond, n)}
				if b.Class != nil {
					in = append(in, wrap(bind, b.Class, n))
				}
				out := wrap(bind, got, n, cfg.OutChannels, height, width)
				require.NoError(t, bind.err)
				require.NoError(t, s.Run(t.Context(), in, []*ort.Tensor{out}))
				closeAll(append(in, out))
				require.Less(t, relative(got, want), 2e-5, "batch %d", n)
			}
		})
	}
	_, err := ExportONNX(tiny(), make([]float32, 5))
	require.ErrorContains(t, err, "parameters; 5 were given")
	_, err = ExportONNX(unet.Config{}, nil)
	require.ErrorContains(t, err, "model configuration")
}

// Several sessions on different numbers of threads agree.
func TestThreads(t *testing.T) {
	cfg := medium()
	w, err := cfg.Init(1)
	require.NoError(t, err)
	b := batchOf(cfg, 2, "")
	var want []float32
	for _, threads := range []int{1, 2, 3} {
		net, err := NewNet(t.Context(), cfg, w, 2, Options{Threads: threads})
		require.NoError(t, err)
		out := make([]float32, len(b.X))
		require.NoError(t, net.Forward(t.Context(), b.X, b.Cond, nil, out))
		require.NoError(t, net.Close())
		if want == nil {
			want = out
		}
		require.Less(t, relative(out, want), 1e-5)
		require.False(t, math.IsNaN(float64(out[0])))
	}
}
