package diffusion

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func schedule(t *testing.T, name string, T int) *Schedule {
	t.Helper()
	s, err := NewSchedule(name, T)
	require.NoError(t, err)
	return s
}

func normals(n int, r *rand.Rand) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

// levels of both processes, from hardly any noise to hardly any image.
func someLevels(t *testing.T) (ls []Level) {
	for _, name := range ScheduleNames() {
		s := schedule(t, name, 0)
		for _, i := range []int{0, 1, 50, 300, 700, 950, 999} {
			ls = append(ls, s.Level(i))
		}
	}
	for _, sigma := range []float64{0.002, 0.05, 0.5, 3, 80} {
		ls = append(ls, EDM{}.At(sigma))
	}
	return ls
}

func TestSchedulesBehave(t *testing.T) {
	for _, name := range ScheduleNames() {
		for _, T := range []int{2, 10, 1000, 4000} {
			s := schedule(t, name, T)
			require.Equal(t, T, s.T())
			before := Clean()
			for i := range T {
				l := s.Level(i)
				require.True(t, s.Betas[i] > 0 && s.Betas[i] < 1)
				require.Less(t, l.Alpha, before.Alpha)
				require.GreaterOrEqual(t, l.Sigma, before.Sigma) // 1-ᾱ may round to 1
				require.InDelta(t, 1, l.Alpha*l.Alpha+l.Sigma*l.Sigma, 1e-12)
				require.InDelta(t, float64(i), l.Cond, 0)
				before = l
			}
			require.Equal(t, Clean(), s.Level(-1))
			require.Equal(t, s.Level(T-1), s.Level(T+5))
		}
	}
	require.Equal(t, schedule(t, "cosine", 0), schedule(t, "squaredcos_cap_v2", DefaultT))
	require.Equal(t, "squaredcos_cap_v2", schedule(t, "cosine", 0).DiffusersName())
	require.Equal(t, "sigmoid", schedule(t, "sigmoid", 0).DiffusersName())
}

// Many steps of q(x_t|x_{t-1}) are one draw of q(x_t|x_0): exactly in mean and
// variance, and by Monte Carlo through the functions that training calls.
func TestForwardStepsAreOneStep(t *testing.T) {
	for _, name := range ScheduleNames() {
		s := schedule(t, name, 0)
		mean, variance := 1.0, 0.0
		for i := range s.T() {
			mean *= math.Sqrt(s.Alphas[i])
			variance = s.Alphas[i]*variance + s.Betas[i]
			l := s.Level(i)
			// alphas_cumprod is rounded to float32
			require.InEpsilon(t, l.Alpha, mean, 1e-6)
			require.InDelta(t, l.Sigma*l.Sigma, variance, 1e-6)
		}
	}

	const n, x0 = 20_000, 0.7
	r := rand.New(rand.NewPCG(1, 2))
	s := schedule(t, "linear", 100)
	x := make([]float32, n)
	for i := range x {
		x[i] = x0
	}
	for i := range s.T() {
		s.ForwardStep(x, x, normals(n, r), i)
		if i%33 != 32 {
			continue
		}
		l := s.Level(i)
		mean, variance := moments(x)
		require.InDelta(t, l.Alpha*x0, mean, 5*l.Sigma/math.Sqrt(n))
		require.InEpsilon(t, l.Sigma*l.Sigma, variance, 5*math.Sqrt(2.0/n))

		one := make([]float32, n)
		clean := make([]float32, n)
		for k := range clean {
			clean[k] = x0
		}
		AddNoise(one, clean, normals(n, r), l)
		mean, variance = moments(one)
		require.InDelta(t, l.Alpha*x0, mean, 5*l.Sigma/math.Sqrt(n))
		require.InEpsilon(t, l.Sigma*l.Sigma, variance, 5*math.Sqrt(2.0/n))
	}
}

func moments(x []float32) (mean, variance float64) {
	for _, v := range x {
		mean += float64(v) / float64(len(x))
	}
	for _, v := range x {
		variance += (float64(v) - mean) * (float64(v) - mean) / float64(len(x))
	}
	return mean, variance
}

// The posterior is the product of q(x_t|x_s) and q(x_s|x0), whose precisions add.
func TestPosteriorIsBayes(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	check := func(late, soon Level) {
		a := late.Alpha / soon.Alpha // q(x_t|x_s) = N(a x_s, v)
		v := late.Sigma*late.Sigma - a*a*soon.Sigma*soon.Sigma
		precision := 1/(soon.Sigma*soon.Sigma) + a*a/v
		q := PosteriorBetween(late, soon)
		require.InEpsilon(t, 1/precision, q.Var, 1e-6)
		require.InEpsilon(t, a/v/precision, q.Xt, 1e-6)
		require.InEpsilon(t, soon.Alpha/(soon.Sigma*soon.Sigma)/precision, q.X0, 1e-6)
		// Going on from x_s ~ q(x_s|x0) to x_t and back keeps the marginal.
		require.InEpsilon(t, soon.Alpha, q.X0+q.Xt*late.Alpha, 1e-9)
		require.InEpsilon(t, soon.Sigma*soon.Sigma, q.Var+q.Xt*q.Xt*late.Sigma*late.Sigma, 1e-9)
		require.Equal(t, Posterior{X0: 1}, PosteriorBetween(late, Clean()))
	}
	for _, name := range ScheduleNames() {
		s := schedule(t, name, 0)
		for range 200 {
			i := 1 + r.IntN(s.T()-1)
			check(s.Level(i), s.Level(r.IntN(i)))
		}
		q, d := s.Posterior(300), PosteriorBetween(s.Level(300), s.Level(299))
		require.Equal(t, d, q)
	}
	for range 200 {
		a, b := EDM{}.Train(r.Float64()), EDM{}.Train(r.Float64())
		check(EDM{}.At(max(a.Sigma, b.Sigma)*1.01), EDM{}.At(min(a.Sigma, b.Sigma)))
	}
}

func TestConversionsRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	const n = 64
	for _, l := range someLevels(t) {
		x0, eps := normals(n, r), normals(n, r)
		xt, v, got, score := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
		AddNoise(xt, x0, eps, l)
		// float32 keeps 6e-8 of x_t; getting x0 or eps out of it divides by Alpha or Sigma.
		size := 4 * (l.Alpha + l.Sigma)
		forX0, forEps := max(size/l.Alpha, 1), max(size/l.Sigma, 1)

		X0FromEps(got, xt, eps, l)
		near(t, x0, got, 5e-7, forX0, "x0 from eps")
		EpsFromX0(got, xt, x0, l)
		near(t, eps, got, 5e-7, forEps, "eps from x0")
		V(v, x0, eps, l)
		X0FromV(got, xt, v, l)
		near(t, x0, got, 5e-7, size, "x0 from v")
		EpsFromV(got, xt, v, l)
		near(t, eps, got, 5e-7, size, "eps from v")
		ScoreFromEps(score, eps, l)
		EpsFromScore(got, score, l)
		near(t, eps, got, 5e-7, 1, "eps from score")
		for i := range score { // the score of N(Alpha*x0, Sigma²) at x_t
			want := -(float64(xt[i]) - l.Alpha*float64(x0[i])) / (l.Sigma * l.Sigma)
			require.InDelta(t, want, score[i], 5e-7*forEps/l.Sigma)
		}
	}
}

// A network that hits its target predicts the very x0 and eps, whatever the objective.
func TestObjectivesInvert(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	const n = 64
	for _, l := range someLevels(t) {
		for _, o := range Objectives() {
			x0, eps := normals(n, r), normals(n, r)
			xt, target, got := make([]float32, n), make([]float32, n), make([]float32, n)
			AddNoise(xt, x0, eps, l)
			o.Target(target, x0, eps, l)
			size := 4 * (l.Alpha + l.Sigma)
			o.ToX0(got, xt, target, l)
			near(t, x0, got, 1e-6, max(size/l.Alpha, 1), string(o)+" x0")
			o.ToEps(got, xt, target, l)
			near(t, eps, got, 1e-6, max(size/l.Sigma, 1), string(o)+" eps")

			// The two predictions agree with x_t for any output, not only the right one.
			out, gx, ge := normals(n, r), make([]float32, n), make([]float32, n)
			o.ToX0(gx, xt, out, l)
			o.ToEps(ge, xt, out, l)
			AddNoise(got, gx, ge, l)
			near(t, xt, got, 2e-6, size*max(1, l.Ratio()*l.Alpha/l.Sigma), string(o)+" x_t")
		}
		if l.Alpha < 1 { // variance preserved: what goes into the network is x_t itself
			xt, in := normals(n, r), make([]float32, n)
			ObjectiveEps.Input(in, xt, l)
			near(t, xt, in, 1e-6, 0, "input")
		}
	}
	got := []float32{0}
	Objective("what").Target(got, []float32{1}, []float32{1}, Level{Alpha: 1, Sigma: 1})
	require.True(t, math.IsNaN(float64(got[0])))
}

// The plain squared error on the edm target is EDM's weighted loss λ(σ)||D - x0||² (EDM eq. 2 and 8,
// table 1), with D, the c's and λ written out here from the paper.
func TestEDMLoss(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	const sd = 0.5
	for _, sigma := range []float64{0.002, 0.01, 0.2, 0.5, 1, 10, 80} {
		l := EDM{}.At(sigma)
		x0, eps, out := normals(8, r), normals(8, r), normals(8, r)
		xt, target, in := make([]float32, 8), make([]float32, 8), make([]float32, 8)
		AddNoise(xt, x0, eps, l)
		ObjectiveEDM.Target(target, x0, eps, l)
		ObjectiveEDM.Input(in, xt, l)
		cSkip := sd * sd / (sigma*sigma + sd*sd)
		cOut := sigma * sd / math.Sqrt(sigma*sigma+sd*sd)
		lambda := (sigma*sigma + sd*sd) / (sigma * sd * sigma * sd)
		w := WeightingSimple.Weight(ObjectiveEDM, l)
		for i := range x0 {
			y := float64(x0[i]) + sigma*float64(eps[i])
			d := cSkip*y + cOut*float64(out[i]) - float64(x0[i])
			e := float64(out[i]) - float64(target[i])
			require.InEpsilon(t, lambda*d*d, w*e*e, 1e-4)
			require.InDelta(t, y/math.Sqrt(sigma*sigma+sd*sd), in[i], 1e-5)
		}
		require.InDelta(t, math.Log(sigma)/4, l.Cond, 1e-12)
	}
	// Input and target have unit variance for data of standard deviation sd: what the c's are chosen for.
	const n = 40_000
	x0, eps := normals(n, r), normals(n, r)
	for i := range x0 {
		x0[i] *= sd
	}
	for _, sigma := range []float64{0.01, 0.5, 5} {
		l := EDM{}.At(sigma)
		xt, got := make([]float32, n), make([]float32, n)
		AddNoise(xt, x0, eps, l)
		ObjectiveEDM.Input(got, xt, l)
		_, v := moments(got)
		require.InEpsilon(t, 1, v, 5*math.Sqrt(2.0/n))
		ObjectiveEDM.Target(got, x0, eps, l)
		_, v = moments(got)
		require.InEpsilon(t, 1, v, 5*math.Sqrt(2.0/n))
	}
}

func TestMinSNR(t *testing.T) {
	for _, l := range someLevels(t) {
		snr := l.SNR()
		require.InEpsilon(t, math.Log(snr), l.LogSNR(), 1e-6)
		clipped := math.Min(snr, 5)
		weight := func(o Objective) float64 { return WeightingMinSNR.Weight(o, l) }
		require.InEpsilon(t, clipped, weight(ObjectiveX0), 1e-9)
		require.InEpsilon(t, clipped/snr, weight(ObjectiveEps), 1e-9)
		if l.Alpha < 1 {
			require.InEpsilon(t, clipped/(snr+1), weight(ObjectiveV), 1e-9)
		}
		q := l.Ratio() * l.Ratio()
		require.InEpsilon(t, clipped*q*0.25/(q+0.25), weight(ObjectiveEDM), 1e-9)
		require.LessOrEqual(t, weight(ObjectiveEps), 1+1e-12)
		for _, o := range Objectives() {
			require.InDelta(t, 1, WeightingSimple.Weight(o, l), 0)
		}
	}
	s := schedule(t, "linear", 0)
	require.InDelta(t, 1, WeightingMinSNR.Weight(ObjectiveEps, s.Level(999)), 1e-12) // noisy: the plain loss
	require.InEpsilon(t, 5, WeightingMinSNR.Weight(ObjectiveX0, s.Level(0)), 1e-12)  // clear: held at γ
	require.True(t, math.IsNaN(Weighting("what").Weight(ObjectiveEps, s.Level(0))))
}

func TestTrainingLevels(t *testing.T) {
	vp := NewVP(schedule(t, "cosine", 0))
	for i := range 1000 {
		require.Equal(t, vp.Schedule().Level(i), vp.Train((float64(i)+0.5)/1000))
	}
	require.Equal(t, vp.Schedule().Level(0), vp.Train(0))
	require.Equal(t, vp.Schedule().Level(999), vp.Train(math.Nextafter(1, 0)))

	// ln σ ~ N(-1.2, 1.2²): moments over an even grid of u, and two quantiles of the normal distribution.
	const n = 100_000
	var m, v float64
	for i := range n {
		x := math.Log(EDM{}.Train((float64(i) + 0.5) / n).Sigma)
		m += x / n
		v += (x + 1.2) * (x + 1.2) / n
	}
	require.InDelta(t, -1.2, m, 1e-9)
	require.InDelta(t, 1.2*1.2, v, 1e-3)
	require.InDelta(t, -1.2+1.2*1.959963984540054, math.Log(EDM{}.Train(0.975).Sigma), 1e-9)
	require.InDelta(t, -1.2-1.2*1.2815515655446004, math.Log(EDM{}.Train(0.1).Sigma), 1e-9)
	for _, u := range []float64{0, math.Nextafter(1, 0)} {
		l := EDM{}.Train(u)
		require.True(t, l.Sigma > 1e-4 && l.Sigma < 1000, l)
	}
}

func TestStratified(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	const b = 16
	u := make([]float64, b)
	var mean, square [b]float64
	const rounds = 20_000
	for range rounds {
		Stratified(u, r)
		var seen [b]bool
		for i, v := range u {
			require.True(t, v >= 0 && v < 1)
			seen[int(v*b)] = true
			mean[i] += v / rounds
			square[i] += v * v / rounds
		}
		for _, s := range seen { // one in each sixteenth
			require.True(t, s)
		}
	}
	for i := range mean { // and each by itself uniform over all of [0,1)
		require.InDelta(t, 1.0/2, mean[i], 5*math.Sqrt(1.0/12/rounds))
		require.InDelta(t, 1.0/3, square[i], 5*math.Sqrt(4.0/45/rounds))
	}
}

func TestAtInvertsTheSchedule(t *testing.T) {
	for _, name := range ScheduleNames() {
		p := NewVP(schedule(t, name, 0))
		for i := range 1000 {
			want := p.Schedule().Level(i)
			got := p.At(want.Ratio())
			require.InDelta(t, want.Cond, got.Cond, 1e-6)
			require.InEpsilon(t, want.Alpha, got.Alpha, 1e-9)
			require.InEpsilon(t, want.Sigma, got.Sigma, 1e-9)
		}
		between := p.At(math.Sqrt(p.ratios[499] * p.ratios[500]))
		require.InDelta(t, 499.5, between.Cond, 1e-9)
		require.InDelta(t, 999, p.At(1e9).Cond, 0)
		require.InDelta(t, 0, p.At(1e-9).Cond, 0)
		require.Equal(t, Clean(), p.At(0))
	}
}

func TestLevelsFall(t *testing.T) {
	processes := []Process{EDM{}}
	for _, name := range ScheduleNames() {
		processes = append(processes, NewVP(schedule(t, name, 0)))
	}
	every := make([]int, 0, 104)
	for n := range 100 {
		every = append(every, n+1)
	}
	every = append(every, 333, 667, 999, 1000)
	for _, p := range processes {
		for _, s := range p.Spacings() {
			for _, n := range every {
				ls, err := p.Levels(n, s)
				require.NoError(t, err)
				require.Len(t, ls, n+1)
				for i := range n {
					require.Greater(t, ls[i].Ratio(), ls[i+1].Ratio(), "%s %s %d of %d", p.Name(), s, i, n)
				}
				require.Equal(t, Clean(), ls[n])
			}
		}
	}
}

func TestBins(t *testing.T) {
	s := schedule(t, "linear", 0)
	last := NumBins
	for i := range s.T() {
		b := s.Level(i).Bin()
		require.LessOrEqual(t, b, last)
		last = b
	}
	require.Equal(t, 0, last)
	require.Equal(t, NumBins-1, Clean().Bin())
	require.Equal(t, 3, Level{Alpha: 1, Sigma: 1}.Bin())
	require.Equal(t, "logsnr <-6", BinName(0))
	require.Equal(t, "logsnr 0..3", BinName(3))
	require.Equal(t, "logsnr >=6", BinName(NumBins-1))
}

func TestBadArguments(t *testing.T) {
	vp := NewVP(schedule(t, "linear", 100))
	for name, c := range map[string]struct {
		do   func() error
		want string
	}{
		"schedule":  {func() error { _, err := NewSchedule("quadratic", 0); return err }, `no noise schedule "quadratic"; choose one of linear, scaled_linear, cosine, sigmoid`},
		"few":       {func() error { _, err := NewSchedule("linear", 1); return err }, "between 2 and 100000 levels, not 1"},
		"many":      {func() error { _, err := NewSchedule("linear", 1<<40); return err }, "between 2 and 100000"},
		"process":   {func() error { _, err := NewProcess(ObjectiveEps, "?", 0); return err }, `no noise schedule "?"`},
		"objective": {func() error { _, err := ParseObjective("noise"); return err }, `no objective "noise"; choose one of eps, x0, v, edm`},
		"weighting": {func() error { _, err := ParseWeighting("p2"); return err }, `no loss weighting "p2"; choose one of simple, min-snr`},
		"steps":     {func() error { _, err := vp.Levels(101, SpacingLeading); return err }, "takes 1 to 100 steps, not 101"},
		"no steps":  {func() error { _, err := EDM{}.Levels(0, SpacingKarras); return err }, "takes 1 to 10000 steps, not 0"},
		"spacing":   {func() error { _, err := vp.Levels(10, "even"); return err }, `kind vp has no step spacing "even"; choose one of leading, trailing`},
		"edm":       {func() error { _, err := EDM{}.Levels(10, SpacingLeading); return err }, `kind edm has no step spacing "leading"; choose one of karras`},
		"json": {func() error {
			var o struct{ Objective Objective }
			return json.Unmarshal([]byte(`{"Objective":"flow"}`), &o)
		}, `no objective "flow"`},
		"json weighting": {func() error {
			var w struct{ Weighting Weighting }
			return json.Unmarshal([]byte(`{"Weighting":""}`), &w)
		}, `no loss weighting ""`},
	} {
		err := c.do()
		require.ErrorContains(t, err, c.want, name)
		require.NotContains(t, err.Error(), "\n")
		require.False(t, strings.HasSuffix(err.Error(), "."))
	}
	var o struct{ Objective Objective }
	require.NoError(t, json.Unmarshal([]byte(`{"Objective":"edm"}`), &o))
	require.Equal(t, ObjectiveEDM, o.Objective)
	p, err := NewProcess(ObjectiveEDM, "", 0)
	require.NoError(t, err)
	require.Equal(t, "edm", p.Name())
}
