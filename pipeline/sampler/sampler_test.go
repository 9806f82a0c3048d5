package sampler

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/pipeline/diffusion"
)

func processes(t *testing.T) map[string]diffusion.Process {
	t.Helper()
	ps := map[string]diffusion.Process{}
	for _, name := range append(diffusion.ScheduleNames(), "edm") {
		o := diffusion.ObjectiveEps
		if name == "edm" {
			o = diffusion.ObjectiveEDM
		}
		p, err := diffusion.NewProcess(o, name, 0)
		require.NoError(t, err)
		ps[name] = p
	}
	return ps
}

func normals(n int, seed uint64) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

// noise is a source of standard normal numbers for one sampling.
func noise(seed uint64) func(int, []float32) {
	r := rand.New(rand.NewPCG(seed, 2))
	return func(_ int, dst []float32) {
		for i := range dst {
			dst[i] = float32(r.NormFloat64())
		}
	}
}

// plane is the best possible denoiser for a correlated Gaussian in two dimensions.
type plane struct {
	mean [2]float64
	cov  [2][2]float64
}

func (g plane) Denoise(_ context.Context, xt []float32, _ int, l diffusion.Level, x0 []float32) error {
	a, v := l.Alpha, l.Sigma*l.Sigma
	// x_t ~ N(a*mean, S) with S = a²cov + v I, and E[x0|x_t] = mean + a cov S⁻¹ (x_t - a mean).
	s00, s11, s01 := a*a*g.cov[0][0]+v, a*a*g.cov[1][1]+v, a*a*g.cov[0][1]
	det := s00*s11 - s01*s01
	for i := 0; i < len(xt); i += 2 {
		d0, d1 := float64(xt[i])-a*g.mean[0], float64(xt[i+1])-a*g.mean[1]
		w0, w1 := (s11*d0-s01*d1)/det, (s00*d1-s01*d0)/det
		x0[i] = float32(g.mean[0] + a*(g.cov[0][0]*w0+g.cov[0][1]*w1))
		x0[i+1] = float32(g.mean[1] + a*(g.cov[0][1]*w0+g.cov[1][1]*w1))
	}
	return nil
}

// Every sampler on every process reaches the mean and covariance of a Gaussian whose score is known.
func TestGaussianIsReached(t *testing.T) {
	const n = 10_000
	g := plane{mean: [2]float64{0.4, -0.2}, cov: [2][2]float64{{0.25, 0.09}, {0.09, 0.09}}}
	for name, p := range processes(t) {
		for _, c := range []Options{
			{Name: "ddpm", Steps: 1000},
			{Name: "ddpm-mean", Steps: 100},
			{Name: "ddim", Steps: 200, Eta: 0},
			{Name: "ddim", Steps: 500, Eta: 0.6},
			{Name: "heun", Steps: 60},
			{Name: "dpmpp2m", Steps: 60},
		} {
			if testing.Short() && c.Steps > 100 {
				continue
			}
			t.Run(fmt.Sprint(name, c.Name, c.Eta), func(t *testing.T) {
				t.Parallel()
				c.Noise = noise(uint64(c.Steps))
				x := normals(2*n, 3)
				require.NoError(t, Sample(t.Context(), g, p, x, n, c))
				var mean [2]float64
				var cov [2][2]float64
				for i := range x {
					mean[i%2] += float64(x[i]) / n
				}
				for i := 0; i < len(x); i += 2 {
					d := [2]float64{float64(x[i]) - mean[0], float64(x[i+1]) - mean[1]}
					for j := range d {
						for k := range d {
							cov[j][k] += d[j] * d[k] / n
						}
					}
				}
				for j := range mean {
					sd := math.Sqrt(g.cov[j][j])
					// Five standard errors, and 1 % of a deviation for the steps being finite and x_T not quite pure noise.
					require.InDelta(t, g.mean[j], mean[j], sd*(5/math.Sqrt(n)+0.01), "mean %d", j)
					for k := range mean {
						both := sd * math.Sqrt(g.cov[k][k])
						if c.Name == "ddpm-mean" {
							// The mean of the posterior alone loses variance in every direction.
							require.Less(t, cov[j][j], 0.9*g.cov[j][j])
							continue
						}
						require.InDelta(t, g.cov[j][k], cov[j][k], both*(5*math.Sqrt(2.0/n)+0.02), "covariance %d %d", j, k)
					}
				}
			})
		}
	}
}

// mixture is the best possible denoiser for weight*N(-gap, std²) + (1-weight)*N(gap, std²).
type mixture struct{ weight, gap, std float64 }

func (m mixture) Denoise(_ context.Context, xt []float32, _ int, l diffusion.Level, x0 []float32) error {
	v := l.Alpha*l.Alpha*m.std*m.std + l.Sigma*l.Sigma
	gain := l.Alpha * m.std * m.std / v
	for i, x := range xt {
		x := float64(x)
		// odds of the upper component: the ratio of the two densities at x
		odds := (1 - m.weight) / m.weight * math.Exp(2*x*l.Alpha*m.gap/v)
		up := 1.0
		if !math.IsInf(odds, 1) {
			up = odds / (1 + odds)
		}
		centre := (2*up - 1) * m.gap
		x0[i] = float32(centre + gain*(x-l.Alpha*centre))
	}
	return nil
}

// A score that is not linear: both components must come out with their share, place and width.
func TestMixtureIsReached(t *testing.T) {
	const n = 10_000
	m := mixture{weight: 0.3, gap: 0.6, std: 0.15}
	for name, p := range processes(t) {
		for _, c := range []Options{
			{Name: "ddpm", Steps: 1000},
			{Name: "ddim", Steps: 500},
			{Name: "ddim", Steps: 1000, Eta: 1},
			{Name: "heun", Steps: 60},
			{Name: "dpmpp2m", Steps: 60},
		} {
			if testing.Short() && c.Steps > 100 {
				continue
			}
			t.Run(fmt.Sprint(name, c.Name, c.Eta), func(t *testing.T) {
				t.Parallel()
				c.Noise = noise(7)
				x := normals(n, 5)
				require.NoError(t, Sample(t.Context(), m, p, x, n, c))
				var low, place, width float64
				for _, v := range x {
					if v < 0 {
						low += 1.0 / n
					}
					place += math.Abs(float64(v)) / n
				}
				for _, v := range x {
					d := math.Abs(float64(v)) - place
					width += d * d / n
				}
				require.InDelta(t, m.weight, low, 5*math.Sqrt(0.3*0.7/n)+0.01)
				require.InDelta(t, m.gap, place, 0.01)
				require.InDelta(t, m.std, math.Sqrt(width), 0.005)
			})
		}
	}
}

// For a centred Gaussian the exact flow only stretches: x keeps its quotient with the standard deviation
// of its level. The distance from that, down to the last level with noise, falls with the solver's order.
func TestOrders(t *testing.T) {
	const std = 0.5
	deviation := func(l diffusion.Level) float64 { return math.Hypot(l.Alpha*std, l.Sigma) }
	g := gauss{mean: []float64{0}, std: []float64{std}}
	for name, p := range processes(t) {
		for sampler, order := range map[string]float64{"ddim": 1, "heun": 2, "dpmpp2m": 2} {
			t.Run(name+sampler, func(t *testing.T) {
				var wrong []float64
				for _, steps := range []int{24, 48, 96} {
					x := []float32{1}
					var first, last Step
					o := Options{Name: sampler, Steps: steps, Spacing: diffusion.SpacingKarras, Callback: func(s Step) error {
						s.Xt = append([]float32(nil), s.Xt...)
						if s.Index == 0 {
							first = s
						}
						last = s
						return nil
					}}
					require.NoError(t, Sample(t.Context(), g, p, x, 1, o))
					exact := float64(first.Xt[0]) / deviation(first.Level) * deviation(last.Level)
					wrong = append(wrong, math.Abs(float64(last.Xt[0])/exact-1))
				}
				measured := math.Log2(wrong[0]/wrong[2]) / 2
				require.Greater(t, measured, order-0.3, wrong)
				require.Less(t, wrong[2], 0.03, wrong)
			})
		}
	}
}

// counter counts calls and can fail or spoil its answer at one of them.
type counter struct {
	calls, failAt int
	err           error
	spoil         float32
}

func (c *counter) Denoise(_ context.Context, xt []float32, _ int, l diffusion.Level, x0 []float32) error {
	c.calls++
	for i, v := range xt {
		x0[i] = float32(l.Alpha) * v * 5
	}
	if c.calls == c.failAt {
		x0[len(x0)-1] += c.spoil
		return c.err
	}
	return nil
}

func TestEndings(t *testing.T) {
	p := processes(t)["linear"]
	for _, name := range Names() {
		o := Options{Name: name, Steps: 10, Noise: noise(1)}
		want := 10
		if name == "heun" {
			want = 19
		}
		d := &counter{}
		require.NoError(t, Sample(t.Context(), d, p, normals(8, 1), 2, o))
		require.Equal(t, want, d.calls, name)

		failed := errors.New("device lost")
		d = &counter{failAt: 3, err: failed}
		err := Sample(t.Context(), d, p, normals(8, 1), 2, o)
		require.ErrorIs(t, err, failed)
		require.ErrorContains(t, err, "sampling step ")
		require.ErrorContains(t, err, "of 10: device lost")

		for _, spoil := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			o.Clip = true // which would hide an infinity
			d = &counter{failAt: 4, spoil: float32(spoil)}
			require.ErrorContains(t, Sample(t.Context(), d, p, normals(8, 1), 2, o), "not finite")
			require.Equal(t, 4, d.calls)
		}

		ctx, cancel := context.WithCancel(t.Context())
		d, o.Callback = &counter{}, func(s Step) error {
			if s.Index == 4 {
				cancel()
			}
			return nil
		}
		require.ErrorIs(t, Sample(ctx, d, p, normals(8, 1), 2, o), context.Canceled)
		require.LessOrEqual(t, d.calls, want/2+1)

		stop := errors.New("enough")
		o.Callback = func(Step) error { return stop }
		require.ErrorIs(t, Sample(t.Context(), &counter{}, p, normals(8, 1), 2, o), stop)
	}
}

// The callback's three views agree with each other, clipped or not.
func TestCallbackIsConsistent(t *testing.T) {
	for pname, p := range processes(t) {
		for _, name := range Names() {
			for _, clip := range []bool{false, true} {
				beyond, edge := 0, 0 // predictions outside and at the edge of [-1, 1]
				ls, err := Levels(p, Options{Name: name, Steps: 12})
				require.NoError(t, err)
				o := Options{Name: name, Steps: 12, Clip: clip, Noise: noise(1), Callback: func(s Step) error {
					require.Equal(t, ls[s.Index], s.Level)
					for i := range s.Xt {
						switch a := math.Abs(float64(s.X0[i])); {
						case a > 1:
							beyond++
						case a == 1:
							edge++
						}
						sum := s.Level.Alpha*float64(s.X0[i]) + s.Level.Sigma*float64(s.Eps[i])
						require.InDelta(t, s.Xt[i], sum, 1e-5*max(1, s.Level.Sigma), "%s %s", pname, name)
					}
					return nil
				}}
				g := gauss{mean: []float64{1.2, -1.1}, std: []float64{0.5, 0.4}}
				require.NoError(t, Sample(t.Context(), g, p, normals(400, 2), 100, o))
				if clip {
					require.Zero(t, beyond)
					require.Positive(t, edge)
				} else {
					require.Positive(t, beyond)
				}
			}
		}
	}
}

// Sampling in one batch and sample by sample give the same bits, and the work buffers do not grow with the steps.
func TestBatchesAndBuffers(t *testing.T) {
	p := processes(t)["edm"]
	g := gauss{mean: []float64{0.1}, std: []float64{0.5}}
	for _, name := range Names() {
		run := func(x []float32, n, steps int) {
			o := Options{Name: name, Steps: steps, Noise: func(step int, dst []float32) {
				for i := range dst {
					dst[i] = float32(math.Sin(float64(step)))
				}
			}}
			require.NoError(t, Sample(t.Context(), g, p, x, n, o))
		}
		all := normals(12, 4)
		var one []float32
		for i := 0; i < 12; i += 4 {
			x := append([]float32(nil), all[i:i+4]...)
			run(x, 1, 9)
			one = append(one, x...)
		}
		run(all, 3, 9)
		require.Equal(t, one, all, name)

		x := normals(64, 1)
		few := testing.AllocsPerRun(5, func() { run(x, 1, 20) })
		many := testing.AllocsPerRun(5, func() { run(x, 1, 200) })
		require.InDelta(t, few, many, 2, name)
	}
}

func TestBadOptions(t *testing.T) {
	vp := processes(t)["linear"]
	edm := processes(t)["edm"]
	z := noise(1)
	for _, c := range []struct {
		p    diffusion.Process
		x, n int
		o    Options
		want string
	}{
		{vp, 8, 2, Options{Name: "euler", Steps: 5}, `there is no sampler "euler"; choose one of ddpm, ddpm-mean, ddim, heun, dpmpp2m`},
		{vp, 8, 2, Options{Name: "ddim", Steps: 0}, "takes 1 to 1000 steps, not 0"},
		{vp, 8, 2, Options{Name: "ddim", Steps: 1001}, "takes 1 to 1000 steps, not 1001"},
		{vp, 8, 2, Options{Name: "dpmpp2m", Steps: -1, Spacing: "leading"}, "takes 1 to 1000 steps, not -1"},
		{vp, 8, 2, Options{Name: "dpmpp2m", Steps: 1000, Spacing: "linspace"}, "takes fewer than 1000 steps"},
		{edm, 8, 2, Options{Name: "heun", Steps: 5, Spacing: "leading"}, `no step spacing "leading"`},
		{vp, 8, 3, Options{Name: "ddim", Steps: 5}, "8 numbers are not the noise of 3 samples"},
		{vp, 0, 1, Options{Name: "ddim", Steps: 5}, "0 numbers are not the noise of 1 samples"},
		{vp, 8, 0, Options{Name: "ddim", Steps: 5}, "not the noise of 0 samples"},
		{vp, 8, 2, Options{Name: "ddim", Steps: 5, Eta: 1.5, Noise: z}, "eta must be between 0 and 1, not 1.5"},
		{vp, 8, 2, Options{Name: "ddim", Steps: 5, Eta: math.NaN(), Noise: z}, "eta must be between 0 and 1"},
		{vp, 8, 2, Options{Name: "heun", Steps: 5, Eta: 0.5, Noise: z}, "eta belongs to the sampler ddim; heun has none"},
		{vp, 8, 2, Options{Name: "ddpm", Steps: 5}, "no source of noise was given"},
		{vp, 8, 2, Options{Name: "ddim", Steps: 5, Eta: 0.5}, "no source of noise was given"},
	} {
		err := Sample(t.Context(), &counter{}, c.p, make([]float32, c.x), c.n, c.o)
		require.ErrorContains(t, err, c.want)
	}
}

func BenchmarkSample(b *testing.B) {
	p, err := diffusion.NewProcess(diffusion.ObjectiveEps, "linear", 0)
	require.NoError(b, err)
	x := normals(64*3*32*32, 1)
	for _, name := range Names() {
		b.Run(name, func(b *testing.B) {
			o := Options{Name: name, Steps: 10, Clip: true, Noise: func(int, []float32) {}}
			for b.Loop() {
				require.NoError(b, Sample(b.Context(), idle{}, p, x, 64, o))
			}
		})
	}
}

// idle costs nothing, so that a benchmark sees the sampler alone.
type idle struct{}

func (idle) Denoise(context.Context, []float32, int, diffusion.Level, []float32) error { return nil }
