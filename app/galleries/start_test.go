package galleries

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/pipeline/data"
	"unnoise/pipeline/diffusion"
	"unnoise/pipeline/model"
	"unnoise/pipeline/rng"
	"unnoise/pipeline/sampler"
)

// dark is the best prediction of the noise in pictures of one channel whose brightness is N(mean, spread²) and whose pixels
// differ from it by N(0, pixel²), with an error at the levels that a cosine schedule hardly trains.
type dark struct {
	logs                              []float64 // ln(σ/α) by t
	mean, spread, pixel, wrong, dimen float64
}

func newDark(t *testing.T, s model.Spec) *dark {
	t.Helper()
	proc, err := s.Process()
	require.NoError(t, err)
	chain := proc.(*diffusion.VP).Schedule()
	d := &dark{mean: -0.4, spread: 0.15, pixel: 0.3, wrong: 0.05, dimen: float64(s.Dim())}
	for i := range chain.T() {
		d.logs = append(d.logs, math.Log(chain.Level(i).Ratio()))
	}
	return d
}

func (*dark) Batch() int   { return 8 }
func (*dark) Close() error { return nil }

func (d *dark) Forward(_ context.Context, x, cond []float32, _ []int64, out []float32) error {
	dim := int(d.dimen)
	for b, t := range cond {
		i := min(int(t), len(d.logs)-2)
		w := float64(t) - float64(i)
		r := math.Exp(d.logs[i]*(1-w) + d.logs[i+1]*w)
		alpha := 1 / math.Hypot(1, r)
		sigma := r * alpha
		xt := x[b*dim : (b+1)*dim]
		var bright float64
		for _, v := range xt {
			bright += float64(v) / d.dimen
		}
		s := d.spread*d.spread + d.pixel*d.pixel/d.dimen
		middle := d.mean + alpha*s/(alpha*alpha*s+sigma*sigma/d.dimen)*(bright-alpha*d.mean)
		k := alpha * d.pixel * d.pixel / (alpha*alpha*d.pixel*d.pixel + sigma*sigma)
		wrong := d.wrong * min(1, r/10)
		for j, v := range xt {
			x0 := middle + k*(float64(v)-bright)
			out[b*dim+j] = float32((float64(v)-alpha*x0)/sigma + wrong*math.Sin(23*float64(v)+float64(j)))
		}
	}
	return nil
}

// A model that predicts the noise of a cosine schedule draws as bright as its pictures are with every sampler; solvers that
// begin where σ/α is 80 make too much gray of them.
func TestSolversKeepTheBrightness(t *testing.T) {
	spec, err := model.New("tiny", model.Options{
		Preprocess: data.Preprocess{Width: 16, Height: 16, Channels: 1}, Objective: diffusion.ObjectiveEps, Schedule: "cosine",
	})
	require.NoError(t, err)
	proc, err := spec.Process()
	require.NoError(t, err)
	net := newDark(t, spec)
	const n = 64
	mean := func(x []float32) float64 {
		var sum float64
		for _, v := range x {
			sum += float64(v) / float64(len(x))
		}
		return sum
	}
	s := &Sampler{model: Model{Spec: spec}, proc: proc, net: net}
	indices := make([]int, n)
	for i := range indices {
		indices[i] = i
	}
	for _, name := range []string{"ddpm", "ddim", "ddpm-mean", "heun", "dpmpp2m"} {
		var drawn []float32
		set := Settings{Sampler: name, Steps: 40, Seed: 1}
		require.NoError(t, s.Images(t.Context(), set, indices, nil, func(_ int, x []float32) error {
			drawn = append(drawn, x...)
			return nil
		}))
		require.InDelta(t, net.mean, mean(drawn), 0.08, name)
		if name == "ddpm" {
			continue
		}
		x := make([]float32, n*spec.Dim())
		for i := range n {
			Start(x[i*spec.Dim():(i+1)*spec.Dim()], 1, i)
		}
		d, err := model.NewDenoiser(net, spec, nil)
		require.NoError(t, err)
		require.NoError(t, sampler.Sample(t.Context(), d, proc, x, n, sampler.Options{Name: name, Steps: 40, Clip: true}))
		t.Logf("%s: %.3f from where it is lower, %.3f from the top; the pictures' mean is %.3f", name, mean(drawn), mean(x), net.mean)
		if name == "heun" || name == "dpmpp2m" {
			require.Greater(t, math.Abs(mean(x)-net.mean), 1.5*math.Abs(mean(drawn)-net.mean), "%s needs it", name)
		}
	}
}

// Only models that need it start lower, so that all other pictures are those of before.
func TestWhoStartsLower(t *testing.T) {
	for _, c := range []struct {
		objective      diffusion.Objective
		schedule, with string
		eta            float64
		lower          bool
	}{
		{"eps", "cosine", "dpmpp2m", 0, true},
		{"eps", "cosine", "heun", 0, true},
		{"eps", "cosine", "ddim", 0, true},
		{"eps", "cosine", "ddim", 0.5, false},
		{"eps", "cosine", "ddpm", 0, false},
		{"eps", "linear", "dpmpp2m", 0, false},
		{"eps", "scaled_linear", "dpmpp2m", 0, false},
		{"eps", "sigmoid", "dpmpp2m", 0, false},
		{"v", "cosine", "dpmpp2m", 0, false},
		{"x0", "cosine", "dpmpp2m", 0, false},
		{"edm", "cosine", "dpmpp2m", 0, false},
	} {
		for _, size := range []int{8, 16, 32, 64, 128} {
			spec, err := model.New("tiny", model.Options{
				Preprocess: data.Preprocess{Width: size, Height: size, Channels: 1}, Objective: c.objective, Schedule: c.schedule,
			})
			require.NoError(t, err)
			start := startFor(spec, Settings{Sampler: c.with, Eta: c.eta})
			require.Equal(t, c.lower, start > 0, "%v %d", c, size)
			m := Model{Spec: spec}
			require.Equal(t, start, m.Meta(Settings{Sampler: c.with, Eta: c.eta}, 0, "").Start, "the pictures tell")
		}
	}
}

// A lower start takes the place of the first steps, not of their number, with every spacing.
func TestLevelsBelow(t *testing.T) {
	sch, err := diffusion.NewSchedule("cosine", 1000)
	require.NoError(t, err)
	vp := diffusion.NewVP(sch).Below(10)
	for _, s := range vp.Spacings() {
		levels, err := vp.Levels(20, s)
		require.NoError(t, err)
		require.Len(t, levels, 21)
		require.LessOrEqual(t, levels[0].Ratio(), 10*(1+1e-9), s)
		require.Greater(t, levels[0].Ratio(), 4.0, s)
		for i := range 20 {
			require.Less(t, levels[i+1].Ratio(), levels[i].Ratio(), s)
		}
	}
	x := make([]float32, 4)
	rng.Normal(x, rng.New(1, "x", 0))
	require.ErrorContains(t, sampler.Sample(t.Context(), nil, vp, x, 2, sampler.Options{Name: "heun", Steps: 3, Means: x[:2]}), "not the means")
}
