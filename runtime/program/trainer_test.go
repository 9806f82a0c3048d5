package program

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"unnoise/runtime/runtimetest"
	"unnoise/runtime/safetensors"
	"unnoise/runtime/unet"
)

// tiny is a configuration that takes milliseconds: plain tensors, attention, two classes.
func tiny() unet.Config {
	c := unet.Default()
	c.SampleSize = unet.Size{W: 4, H: 8}
	c.InChannels, c.OutChannels = 1, 1
	c.BlockOutChannels = []int{4, 8}
	c.LayersPerBlock = 1
	c.DownBlockTypes = []string{unet.Down, unet.AttnDown}
	c.UpBlockTypes = []string{unet.AttnUp, unet.Up}
	c.NormNumGroups = 2
	head, classes := 4, 2
	c.AttentionHeadDim, c.NumClassEmbeds = &head, &classes
	return c
}

// medium has whole channel blocks, so that blocked operators run where there are some.
func medium() unet.Config {
	c := unet.Default()
	c.SampleSize = unet.Size{W: 16, H: 16}
	c.BlockOutChannels = []int{16, 32}
	c.LayersPerBlock = 1
	c.DownBlockTypes = []string{unet.Down, unet.AttnDown}
	c.UpBlockTypes = []string{unet.AttnUp, unet.Up}
	c.NormNumGroups = 4
	return c
}

// batchOf draws a batch that depends on key.
func batchOf(cfg unet.Config, n int, key string) Batch {
	w, h := cfg.Size()
	b := Batch{
		X: scaled(runtimetest.Uniform("x"+key, n*cfg.InChannels*w*h), 2, 0), Target: scaled(runtimetest.Uniform("target"+key, n*cfg.OutChannels*w*h), 2, 0),
		Cond: scaled(runtimetest.Uniform("cond"+key, n), 499, 500), Weight: scaled(runtimetest.Uniform("weight"+key, n), 1, 1),
	}
	for i := range n {
		if k := cfg.Classes(); k > 0 {
			b.Class = append(b.Class, int64(i*7%k))
		}
	}
	return b
}

// one thread is enough for small networks, and does not wait for others on a busy machine.
var one = Options{Threads: 1}

func newTrainer(t testing.TB, spec TrainSpec, seed uint64) *Trainer {
	return newTrainerOn(t, spec, seed, one)
}

// requireUndisturbed holds that the next step, done after so many whole ones and whatever failed since, is what it would have
// been: bit by bit that of a trainer of the same seed to which nothing happened.
func requireUndisturbed(t *testing.T, tr *Trainer, steps int) {
	t.Helper()
	run(t, tr, steps, steps+1)
	clean := newTrainer(t, tr.spec, 1)
	run(t, clean, 0, steps+1)
	requireSame(t, clean.State(), tr.State())
}

func newTrainerOn(t testing.TB, spec TrainSpec, seed uint64, opt Options) *Trainer {
	tr, err := NewTrainer(t.Context(), spec, opt)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tr.Close()) })
	w, err := spec.UNet.Init(seed)
	require.NoError(t, err)
	require.NoError(t, tr.SetState(State{Params: w}))
	return tr
}

// requireSame compares bit by bit: 0 and −0 differ, a NaN equals itself.
func requireSame(t testing.TB, want, got State) {
	t.Helper()
	require.Equal(t, want.Step, got.Step)
	require.Len(t, got.EMA, len(want.EMA))
	same := func(name string, a, b []float32) {
		require.Len(t, b, len(a), name)
		for i := range a {
			if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
				require.Failf(t, "not the same bits", "%s[%d]: %v and %v", name, i, a[i], b[i])
			}
		}
	}
	same("params", want.Params, got.Params)
	same("m", want.M, got.M)
	same("v", want.V, got.V)
	for i := range want.EMA {
		same(fmt.Sprintf("ema %d", i), want.EMA[i], got.EMA[i])
	}
}

// Clipping, AdamW with weight decay, a changing rate and the moving average,
// five steps long, against PyTorch (bench/fixtures/adamw.py).
func TestStepsMatchPyTorchsAdamW(t *testing.T) {
	for _, f := range fixtures(t) {
		path := "testdata/adamw/" + f.name + ".safetensors"
		if _, err := os.Stat(path); err != nil {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			tensors, meta, err := safetensors.Read(path)
			require.NoError(t, err)
			want := map[string][]float32{}
			for _, x := range tensors {
				want[x.Name] = x.Data
			}
			var run struct {
				Clip  float64    `json:"clip"`
				Betas [2]float64 `json:"betas"`
				Eps   float64    `json:"eps"`
				Decay float64    `json:"weight_decay"`
			}
			require.NoError(t, json.Unmarshal([]byte(meta["run"]), &run))
			steps, err := strconv.Atoi(meta["steps"])
			require.NoError(t, err)
			tr, err := NewTrainer(t.Context(), TrainSpec{
				UNet: f.cfg, Batch: f.n, MicroBatch: 1, EMAs: 1, ClipNorm: run.Clip,
				Beta1: run.Betas[0], Beta2: run.Betas[1], Eps: run.Eps, WeightDecay: run.Decay,
			}, one)
			require.NoError(t, err)
			defer tr.Close()
			start := fixtureWeights(t, f.cfg)
			require.NoError(t, tr.SetState(State{Params: start}))
			clipped := 0
			for i := range steps {
				b := batchOf(f.cfg, f.n, strconv.Itoa(i))
				b.Cond = scaled(runtimetest.Uniform("cond"+strconv.Itoa(i), f.n), 0.75, 1)
				res, err := tr.Step(t.Context(), b,
					Hyper{LR: 1e-2 / float64(i+1), EMARates: []float64{1 / float64(i+2)}})
				require.NoError(t, err)
				require.InEpsilon(t, want["norms"][i], res.GradNorm, 2e-3, "step %d", i)
				require.InEpsilon(t, want["totals"][i], res.Total, 2e-3, "step %d", i)
				if run.Clip > 0 && res.GradNorm > run.Clip {
					clipped++
				}
			}
			require.Equal(t, run.Clip > 0, clipped >= 2, "steps whose gradient was clipped: %d", clipped)
			s := tr.State()
			require.EqualValues(t, steps, s.Step)
			ps, err := f.cfg.Params()
			require.NoError(t, err)
			for i := range start {
				s.Params[i] -= start[i]
				s.EMA[0][i] -= start[i]
			}
			frozen := 0
			for kind, v := range map[string][]float32{"params": s.Params, "ema": s.EMA[0], "m": s.M, "v": s.V} {
				scale := 0.0 // of the whole vector: some tensors hardly move
				for _, p := range ps {
					if w := want[kind+"."+p.Name]; w != nil {
						scale = math.Hypot(scale, float64(w[0])/math.Sqrt(float64(len(ps))))
					}
				}
				for _, p := range ps {
					got := v[p.Offset : p.Offset+p.Len()]
					if p.Frozen {
						frozen++
						for _, x := range got {
							require.Zero(t, x, "%s of the frozen %s", kind, p.Name)
						}
						continue
					}
					w := want[kind+"."+p.Name]
					require.Len(t, w, 18, p.Name)
					var norm, mix float64
					for i, u := range runtimetest.Uniform("mix:"+p.Name, p.Len()) {
						norm += float64(got[i]) * float64(got[i])
						mix += float64(got[i]) * float64(u)
					}
					tolerance := 2e-3 * max(float64(w[0]), 0.05*scale)
					require.InDelta(t, w[0], math.Sqrt(norm), tolerance, "norm of %s of %s", kind, p.Name)
					require.InDelta(t, w[1], mix, tolerance, "projection of %s of %s", kind, p.Name)
					for i, u := range runtimetest.Uniform("places:"+p.Name, 16) {
						at := int(math.Abs(float64(u))*float64(p.Len())) % p.Len()
						require.InDelta(t, w[2+i], got[at], tolerance, "%s of %s[%d]", kind, p.Name, at)
					}
				}
			}
			if f.name == "fourier" {
				require.Equal(t, 4, frozen)
			}
		})
	}
}

// However the batch is cut, the gradient and the losses are the same but for rounding.
func TestAccumulationDoesNotDependOnTheMicroBatch(t *testing.T) {
	for name, cfg := range map[string]unet.Config{"plain": tiny(), "blocked": medium()} {
		t.Run(name, func(t *testing.T) {
			const n = 7
			b := batchOf(cfg, n, "")
			var grad, loss []float32
			for _, micro := range []int{7, 1, 2, 3, 5, 0} {
				tr := newTrainer(t, TrainSpec{UNet: cfg, Batch: n, MicroBatch: micro}, 3)
				require.LessOrEqual(t, tr.MicroBatch(), n)
				l, g := make([]float32, n), make([]float32, cfg.NumParams())
				for range 2 { // what the last micro-batch leaves behind must not matter
					flat, _, err := tr.gradient(t.Context(), b, l)
					require.NoError(t, err)
					tr.store.save(g, flat)
				}
				if grad == nil {
					grad, loss = g, l
					continue
				}
				require.Less(t, relative(g, grad), 1e-5, "micro-batch %d", micro)
				require.Less(t, relative(l, loss), 1e-5, "micro-batch %d", micro)
			}
		})
	}
}

func TestStateRoundTrip(t *testing.T) {
	for name, cfg := range map[string]unet.Config{"plain": tiny(), "blocked": medium()} {
		t.Run(name, func(t *testing.T) {
			tr := newTrainer(t, TrainSpec{UNet: cfg, Batch: 2, EMAs: 2}, 1)
			n := cfg.NumParams()
			s := State{Params: runtimetest.Uniform("p", n), M: runtimetest.Uniform("m", n), V: runtimetest.Uniform("v", n), EMA: [][]float32{runtimetest.Uniform("a", n), runtimetest.Uniform("b", n)}, Step: 41}
			s.Params[0], s.Params[1], s.Params[2] = float32(math.Copysign(0, -1)), math.SmallestNonzeroFloat32, math.MaxFloat32
			require.NoError(t, tr.SetState(s))
			requireSame(t, s, tr.State())
			require.Equal(t, s.Params, tr.Params())
			require.Equal(t, s.EMA[1], tr.EMA(1))

			// Without moments and averages: zero, and the parameters.
			require.NoError(t, tr.SetState(State{Params: s.Params}))
			zero := make([]float32, n)
			requireSame(t, State{Params: s.Params, M: zero, V: zero, EMA: [][]float32{s.Params, s.Params}}, tr.State())
		})
	}
}

func TestWrongStatesAreRefused(t *testing.T) {
	cfg := tiny()
	tr := newTrainer(t, TrainSpec{UNet: cfg, Batch: 2, EMAs: 1}, 1)
	before, n := tr.State(), cfg.NumParams()
	for want, s := range map[string]State{
		fmt.Sprintf("the network has %d parameters; the state has %d", n, n-1):           {Params: make([]float32, n-1)},
		fmt.Sprintf("the network has %d parameters; the state's first moment has 3", n):  {Params: make([]float32, n), M: make([]float32, 3)},
		fmt.Sprintf("the network has %d parameters; the state's second moment has 4", n): {Params: make([]float32, n), V: make([]float32, 4)},
		"the state has 2 moving averages, training keeps 1":                              {Params: make([]float32, n), EMA: make([][]float32, 2)},
		fmt.Sprintf("the network has %d parameters; a moving average has 5", n):          {Params: make([]float32, n), EMA: [][]float32{make([]float32, 5)}},
		"the state counts -1 steps of the optimiser; the number cannot be negative":      {Params: make([]float32, n), Step: -1},
	} {
		require.EqualError(t, tr.SetState(s), want)
		requireSame(t, before, tr.State())
	}
}

// run trains from step `from` to step `to`; the data depend on the step alone.
func run(t testing.TB, tr *Trainer, from, to int) {
	for i := from; i < to; i++ {
		b := batchOf(tr.spec.UNet, tr.spec.Batch, strconv.Itoa(i))
		b.Dropout = uint64(i)
		_, err := tr.Step(t.Context(), b, Hyper{LR: 1e-3, EMARates: []float64{0.1}})
		require.NoError(t, err)
	}
}

// The same seed gives the same bits, and so does a run that was stopped at any step and resumed.
func TestRunsAreReproducibleAndResumable(t *testing.T) {
	for name, cfg := range map[string]unet.Config{"plain": tiny(), "blocked": medium()} {
		t.Run(name, func(t *testing.T) {
			cfg.Dropout = 0.2
			opt := one
			if name == "blocked" {
				opt = Options{Threads: 2} // bits must not depend on which thread is first
			}
			spec := TrainSpec{UNet: cfg, Batch: 5, MicroBatch: 2, EMAs: 1, ClipNorm: 1, WeightDecay: 0.01}
			whole := newTrainerOn(t, spec, 9, opt)
			run(t, whole, 0, 6)
			again := newTrainerOn(t, spec, 9, opt)
			run(t, again, 0, 6)
			requireSame(t, whole.State(), again.State())
			for _, stop := range []int{1, 4} {
				first := newTrainerOn(t, spec, 9, opt)
				run(t, first, 0, stop)
				second := newTrainerOn(t, spec, 10, opt)
				run(t, second, 0, 1) // a used trainer must not remember anything
				require.NoError(t, second.SetState(first.State()))
				run(t, second, stop, 6)
				requireSame(t, whole.State(), second.State())
			}
			other := newTrainerOn(t, spec, 11, opt)
			run(t, other, 0, 6)
			require.NotEqual(t, whole.State().Params, other.State().Params)
		})
	}
}

// Lanes share a session and go side by side: whichever is first, and however many there are, the bits are the same.
func TestStepsDoNotDependOnTheThreads(t *testing.T) {
	for name, cfg := range map[string]unet.Config{"plain": tiny(), "blocked": medium()} {
		t.Run(name, func(t *testing.T) {
			cfg.Dropout = 0.2
			var want State
			for threads := 1; threads <= 5; threads++ {
				tr := newTrainerOn(t, TrainSpec{UNet: cfg, Batch: 11, MicroBatch: 2, EMAs: 1, ClipNorm: 1}, 4, Options{Threads: threads})
				require.Len(t, tr.parts, maxParts)
				require.Len(t, tr.lanes, min(threads, maxParts))
				run(t, tr, 0, 3)
				if threads == 1 {
					want = tr.State()
				}
				requireSame(t, want, tr.State())
			}
		})
	}
}

func TestDropoutMasks(t *testing.T) {
	cfg := medium()
	cfg.Dropout = 0.3
	tr := newTrainer(t, TrainSpec{UNet: cfg, Batch: 4, MicroBatch: 4}, 1)
	ps, err := cfg.Params()
	require.NoError(t, err)
	blocks := 0
	for _, p := range ps {
		if strings.HasSuffix(p.Name, ".norm2.weight") {
			blocks++
		}
	}
	l := &tr.lanes[0]
	require.Len(t, l.masks, blocks, "one mask per residual block")
	l.draw(cfg.Dropout, 7, 0)
	snapshot := func() (all []uint8) {
		for _, m := range l.masks {
			all = append(all, m...)
		}
		return all
	}
	first := snapshot()
	kept := 0
	for _, v := range first {
		require.LessOrEqual(t, v, uint8(1))
		kept += int(v)
	}
	n := float64(len(first))
	// five standard deviations of the binomial distribution
	require.InDelta(t, 0.7, float64(kept)/n, 5*math.Sqrt(0.7*0.3/n))
	agree := func(a, b []uint8) float64 {
		same := 0
		for i := range a {
			if a[i] == b[i] {
				same++
			}
		}
		return float64(same) / float64(len(a))
	}
	chance := 0.7*0.7 + 0.3*0.3
	near := 5 * math.Sqrt(chance*(1-chance)/n)
	l.draw(cfg.Dropout, 7, 1)
	require.InDelta(t, chance, agree(first, snapshot()), near, "another micro-batch is independent")
	l.draw(cfg.Dropout, 8, 0)
	require.InDelta(t, chance, agree(first, snapshot()), near, "another step is independent")
	l.draw(cfg.Dropout, 7, 0)
	require.Equal(t, first, snapshot())
	small := min(len(l.masks[0]), len(l.masks[1]))
	require.InDelta(t, chance, agree(l.masks[0][:small], l.masks[1][:small]), 5*math.Sqrt(chance*(1-chance)/float64(small)))
}

// The gradient with dropout is that of the loss with the same masks: compared
// with a central difference along the gradient itself.
func TestGradientWithDropout(t *testing.T) {
	for name, cfg := range map[string]unet.Config{"plain": tiny(), "blocked": medium()} {
		t.Run(name, func(t *testing.T) {
			cfg.Dropout = 0.5
			tr := newTrainer(t, TrainSpec{UNet: cfg, Batch: 3, MicroBatch: 3}, 2)
			b := batchOf(cfg, 3, "")
			b.Dropout = 5
			total := func() (sum float64, grad []float32) {
				loss := make([]float32, 3)
				flat, _, err := tr.gradient(t.Context(), b, loss)
				require.NoError(t, err)
				for i, l := range loss {
					sum += float64(l) * float64(b.Weight[i]) / 3
				}
				grad = make([]float32, cfg.NumParams())
				tr.store.save(grad, flat)
				return sum, grad
			}
			at := tr.Params()
			_, g := total()
			norm := 0.0
			for _, v := range g {
				norm += float64(v) * float64(v)
			}
			norm = math.Sqrt(norm)
			along := func(h float64) float64 {
				p := make([]float32, len(at))
				for i := range p {
					p[i] = at[i] + float32(h*float64(g[i])/norm)
				}
				require.NoError(t, tr.SetState(State{Params: p}))
				l, _ := total()
				return l
			}
			const h = 0.02
			slope := (8*(along(h/2)-along(-h/2)) - (along(h) - along(-h))) / (6 * h)
			require.InEpsilon(t, norm, slope, 1e-2)
			require.NoError(t, tr.SetState(State{Params: at}))
			same, _ := total()
			b.Dropout = 6
			other, _ := total()
			require.NotEqual(t, same, other)
		})
	}
}

func TestNonFiniteStepsChangeNothing(t *testing.T) {
	cfg := tiny()
	tr := newTrainer(t, TrainSpec{UNet: cfg, Batch: 3, MicroBatch: 2, EMAs: 1}, 1)
	run(t, tr, 0, 2)
	before := tr.State()
	h := Hyper{LR: 1e-3, EMARates: []float64{0.1}}
	for name, spoil := range map[string]func(b *Batch){
		"NaN input":       func(b *Batch) { b.X[40] = float32(math.NaN()) },
		"infinite input":  func(b *Batch) { b.X[0] = float32(math.Inf(1)) },
		"NaN target":      func(b *Batch) { b.Target[95] = float32(math.NaN()) },
		"NaN condition":   func(b *Batch) { b.Cond[1] = float32(math.NaN()) },
		"NaN weight":      func(b *Batch) { b.Weight[0] = float32(math.NaN()) },
		"infinite weight": func(b *Batch) { b.Weight[2] = float32(math.Inf(-1)) },
		"overflow":        func(b *Batch) { b.Target[3] = 3e38 },
	} {
		b := batchOf(cfg, 3, "2")
		spoil(&b)
		res, err := tr.Step(t.Context(), b, h)
		require.ErrorIs(t, err, ErrNonFinite, name)
		require.Len(t, res.Loss, 3, name)
		require.True(t, bad(res.Total) || bad(res.GradNorm), name)
		requireSame(t, before, tr.State())
	}
	// and the next good step is what it would have been
	requireUndisturbed(t, tr, 2)
}

// An update that overflows is refused too: finite gradient, infinite rate.
func TestBadRates(t *testing.T) {
	cfg := tiny()
	tr := newTrainer(t, TrainSpec{UNet: cfg, Batch: 2, EMAs: 1}, 1)
	before := tr.State()
	b := batchOf(cfg, 2, "")
	for _, h := range []Hyper{
		{LR: math.NaN(), EMARates: []float64{0.1}}, {LR: math.Inf(1), EMARates: []float64{0.1}}, {LR: -1, EMARates: []float64{0.1}},
	} {
		_, err := tr.Step(t.Context(), b, h)
		require.ErrorContains(t, err, "the learning rate must be a number of at least 0")
	}
	for _, r := range []float64{math.NaN(), -0.1, 1.5} {
		_, err := tr.Step(t.Context(), b, Hyper{LR: 1e-3, EMARates: []float64{r}})
		require.ErrorContains(t, err, "a moving average's rate must lie in [0, 1]")
	}
	requireSame(t, before, tr.State())
}

func TestBadBatchesGetOneSentence(t *testing.T) {
	cfg := tiny()
	tr := newTrainer(t, TrainSpec{UNet: cfg, Batch: 2, EMAs: 1}, 1)
	h := Hyper{LR: 1e-3, EMARates: []float64{0.1}}
	good := func() Batch { return batchOf(cfg, 2, "") }
	for want, spoil := range map[string]func(b *Batch){
		"a batch of 2 needs 64 inputs, 64 targets, 2 conditions and weights; got 63, 64, 2 and 2": func(b *Batch) { b.X = b.X[1:] },
		"a batch of 2 needs 64 inputs, 64 targets, 2 conditions and weights; got 64, 0, 2 and 2":  func(b *Batch) { b.Target = nil },
		"a batch of 2 needs 64 inputs, 64 targets, 2 conditions and weights; got 64, 64, 1 and 2": func(b *Batch) { b.Cond = b.Cond[1:] },
		"a batch of 2 needs 64 inputs, 64 targets, 2 conditions and weights; got 64, 64, 2 and 3": func(b *Batch) { b.Weight = append(b.Weight, 1) },
		"the network has 2 classes; 0 class labels were given for 2 samples":                      func(b *Batch) { b.Class = nil },
		"the network has 2 classes; 3 class labels were given for 2 samples":                      func(b *Batch) { b.Class = append(b.Class, 0) },
		"class label 2 does not lie in 0…1":                                                       func(b *Batch) { b.Class[1] = 2 },
		"class label -1 does not lie in 0…1":                                                      func(b *Batch) { b.Class[0] = -1 },
	} {
		b := good()
		spoil(&b)
		_, err := tr.Step(t.Context(), b, h)
		require.EqualError(t, err, want)
	}
	_, err := tr.Step(t.Context(), good(), Hyper{LR: 1e-3})
	require.EqualError(t, err, "1 moving averages need as many rates, not 0")
	require.Zero(t, tr.State().Step)

	labelled := good()
	cfg.NumClassEmbeds = nil
	plain := newTrainer(t, TrainSpec{UNet: cfg, Batch: 2}, 1)
	_, err = plain.Step(t.Context(), labelled, Hyper{})
	require.EqualError(t, err, "the network has 0 classes; 2 class labels were given for 2 samples")
}

func TestBadSpecs(t *testing.T) {
	good := func() TrainSpec { return TrainSpec{UNet: tiny(), Batch: 2} }
	for want, spoil := range map[string]func(s *TrainSpec){
		"training needs a batch of at least 1":         func(s *TrainSpec) { s.Batch = 0 },
		"training needs a batch of at least 1, not -3": func(s *TrainSpec) { s.Batch = -3 },
		"model configuration":                          func(s *TrainSpec) { s.UNet.LayersPerBlock = 0 },
	} {
		s := good()
		spoil(&s)
		_, err := NewTrainer(t.Context(), s, Options{})
		require.ErrorContains(t, err, want)
	}
	_, err := NewTrainer(t.Context(), good(), Options{Device: "abacus"})
	require.ErrorContains(t, err, `device "abacus" is not available`)
}

func TestClosedTrainer(t *testing.T) {
	cfg := tiny()
	tr, err := NewTrainer(t.Context(), TrainSpec{UNet: cfg, Batch: 2}, one)
	require.NoError(t, err)
	require.Positive(t, tr.Memory())
	require.NoError(t, tr.Close())
	require.NoError(t, tr.Close())
	_, err = tr.Step(t.Context(), batchOf(cfg, 2, ""), Hyper{})
	require.EqualError(t, err, "the trainer is closed")
}

// Cancelling reaches a step that is running: the whole batch is one run of the
// program, so that only ONNX Runtime itself can stop it.
func TestCancelReachesARunningStep(t *testing.T) {
	cfg := medium()
	tr := newTrainer(t, TrainSpec{UNet: cfg, Batch: 64, MicroBatch: 64, EMAs: 1}, 1)
	run(t, tr, 0, 1)
	before := tr.State()
	b := batchOf(cfg, 64, "1")
	b.Dropout = 1
	h := Hyper{LR: 1e-3, EMARates: []float64{0.1}}
	for try := 0; ; try++ {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Millisecond, cancel)
		_, err := tr.Step(ctx, b, h)
		cancel()
		if err == nil && try < 20 { // the step was over before the timer fired
			require.NoError(t, tr.SetState(before))
			continue
		}
		require.ErrorIs(t, err, context.Canceled)
		break
	}
	requireSame(t, before, tr.State())
	ctx, cancel := context.WithTimeout(t.Context(), -1)
	defer cancel()
	_, err := tr.Step(ctx, b, h)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	requireSame(t, before, tr.State())
	// the cancelled step, done again, is what it would have been
	requireUndisturbed(t, tr, 1)
}

// resident reads the process's resident memory in bytes.
func resident(t testing.TB) int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("no /proc/self/statm here")
	}
	require.NoError(t, err)
	pages, err := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
	require.NoError(t, err)
	return pages * int64(os.Getpagesize())
}

func TestMemoryIsFlatOverAThousandSteps(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	cfg := tiny()
	cfg.Dropout = 0.1
	tr := newTrainer(t, TrainSpec{UNet: cfg, Batch: 2, MicroBatch: 1, EMAs: 1, ClipNorm: 1}, 1)
	net, err := NewNet(t.Context(), cfg, tr.Params(), 2, one)
	require.NoError(t, err)
	defer net.Close()
	b := batchOf(cfg, 2, "")
	out := make([]float32, len(b.Target))
	ctx, cancel := context.WithCancel(t.Context()) // the path with a watcher per run
	defer cancel()
	steps := func(n int) int64 {
		for i := range n {
			b.Dropout = uint64(i)
			_, err := tr.Step(ctx, b, Hyper{LR: 1e-4, EMARates: []float64{0.1}})
			require.NoError(t, err)
			if i%10 == 0 {
				require.NoError(t, net.SetWeights(tr.Params()))
				require.NoError(t, net.Forward(ctx, b.X, b.Cond, b.Class, out))
			}
		}
		debug.FreeOSMemory()
		return resident(t)
	}
	before := steps(200)
	goroutines := runtime.NumGoroutine()
	// A leak of 4 kB a step would be seen every time; the collector's own noise is not.
	least := int64(math.MaxInt64)
	for range 3 {
		after := steps(1000)
		if least, before = min(least, after-before), after; least < 4<<20 {
			break
		}
	}
	require.Less(t, least, int64(4<<20), "resident memory grows by a thousand steps")
	require.LessOrEqual(t, runtime.NumGoroutine(), goroutines+2)
}
