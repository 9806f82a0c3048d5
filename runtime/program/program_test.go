package program

import (
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/runtime/runtimetest"
	"unnoise/runtime/safetensors"
	"unnoise/runtime/unet"
)

func TestMain(m *testing.M) { runtimetest.Main(m) }

func scaled(v []float32, f float32, plus float32) []float32 {
	for i := range v {
		v[i] = v[i]*f + plus
	}
	return v
}

func fixtureWeights(t testing.TB, cfg unet.Config) []float32 {
	ps, err := cfg.Params()
	require.NoError(t, err)
	w := make([]float32, cfg.NumParams())
	for _, p := range ps {
		u := runtimetest.Uniform(p.Name, p.Len())
		switch {
		case p.Frozen:
			u = scaled(u, 2, 0)
		case strings.HasPrefix(p.Name, "class_embedding"):
		case len(p.Shape) > 1:
			u = scaled(u, float32(math.Sqrt(3/float64(p.Len()/p.Shape[0]))), 0)
		case strings.Contains(p.Name, "norm") && strings.HasSuffix(p.Name, "weight"):
			u = scaled(u, 0.2, 1)
		default:
			u = scaled(u, 0.2, 0)
		}
		copy(w[p.Offset:], u)
	}
	return w
}

type fixture struct {
	name    string
	cfg     unet.Config
	n       int
	tensors map[string][]float32
	batch   Batch
}

func fixtures(t testing.TB) []fixture {
	paths, err := filepath.Glob("testdata/*.safetensors")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(paths), 6)
	var out []fixture
	for _, path := range paths {
		ts, meta, err := safetensors.Read(path)
		require.NoError(t, err)
		f := fixture{name: strings.TrimSuffix(filepath.Base(path), ".safetensors"), tensors: map[string][]float32{}}
		f.cfg, err = unet.ParseConfig([]byte(meta["config"]))
		require.NoError(t, err)
		f.n, err = strconv.Atoi(meta["batch"])
		require.NoError(t, err)
		for _, x := range ts {
			f.tensors[x.Name] = x.Data
		}
		w, h := f.cfg.Size()
		dim := f.cfg.InChannels * w * h
		f.batch = Batch{
			X: scaled(runtimetest.Uniform("x", f.n*dim), 2, 0), Target: scaled(runtimetest.Uniform("target", f.n*dim), 2, 0),
			Cond: scaled(runtimetest.Uniform("cond", f.n), 499, 500), Weight: scaled(runtimetest.Uniform("weight", f.n), 1, 1),
		}
		if k := f.cfg.Classes(); k > 0 {
			for i := range f.n {
				f.batch.Class = append(f.batch.Class, int64(i%k))
			}
		}
		out = append(out, f)
	}
	return out
}

// relative returns ‖a − b‖ / ‖b‖.
func relative(a, b []float32) float64 {
	var d, n float64
	for i := range b {
		e := float64(a[i]) - float64(b[i])
		d += e * e
		n += float64(b[i]) * float64(b[i])
	}
	return math.Sqrt(d / n)
}

func TestForwardMatchesDiffusers(t *testing.T) {
	for _, f := range fixtures(t) {
		t.Run(f.name, func(t *testing.T) {
			// One slot more than samples: unused places must not matter.
			net, err := NewNet(t.Context(), f.cfg, fixtureWeights(t, f.cfg), f.n+1, Options{})
			require.NoError(t, err)
			defer net.Close()
			out := make([]float32, len(f.tensors["out"]))
			require.NoError(t, net.Forward(t.Context(), f.batch.X, f.batch.Cond, f.batch.Class, out))
			require.Less(t, relative(out, f.tensors["out"]), 1e-4)
			for i := range out {
				require.InDelta(t, f.tensors["out"][i], out[i], 1e-4*max(1, math.Abs(float64(out[i]))), "value %d", i)
			}
		})
	}
}

func TestGradientMatchesPyTorch(t *testing.T) {
	for _, f := range fixtures(t) {
		if f.tensors["loss"] == nil {
			continue
		}
		for _, micro := range []int{f.n, 1, 2} {
			t.Run(fmt.Sprintf("%s/micro%d", f.name, micro), func(t *testing.T) {
				tr, err := NewTrainer(t.Context(), TrainSpec{UNet: f.cfg, Batch: f.n, MicroBatch: micro}, one)
				require.NoError(t, err)
				defer tr.Close()
				require.NoError(t, tr.SetState(State{Params: fixtureWeights(t, f.cfg)}))
				loss := make([]float32, f.n)
				flat, whole, err := tr.gradient(t.Context(), f.batch, loss)
				require.NoError(t, err)
				require.Less(t, relative(loss, f.tensors["loss"]), 1e-5)
				grad := make([]float32, f.cfg.NumParams())
				tr.store.save(grad, flat)
				ps, err := f.cfg.Params()
				require.NoError(t, err)
				total := 0.0
				for _, p := range ps {
					if !p.Frozen {
						total = math.Hypot(total, float64(f.tensors["grad."+p.Name][0]))
					}
				}
				require.InEpsilon(t, total, whole, 1e-5)
				for _, p := range ps {
					g := grad[p.Offset : p.Offset+p.Len()]
					if p.Frozen {
						continue
					}
					want := f.tensors["grad."+p.Name]
					require.Len(t, want, 18, p.Name)
					var norm, mix float64
					for i, u := range runtimetest.Uniform("mix:"+p.Name, p.Len()) {
						norm += float64(g[i]) * float64(g[i])
						mix += float64(g[i]) * float64(u)
					}
					norm = math.Sqrt(norm)
					// Some gradients are zero but for rounding: a key's bias, which
					// attention does not see, and a bias before a norm of its own channel.
					scale := max(float64(want[0]), 1e-2*total)
					require.InDelta(t, want[0], norm, 1e-4*scale, "norm of %s", p.Name)
					require.InDelta(t, want[1], mix, 1e-4*scale, "projection of %s", p.Name)
					for i, u := range runtimetest.Uniform("places:"+p.Name, 16) {
						at := int(math.Abs(float64(u))*float64(p.Len())) % p.Len()
						require.InDelta(t, want[2+i], g[at], 1e-4*scale, "%s[%d]", p.Name, at)
					}
				}
			})
		}
	}
}
