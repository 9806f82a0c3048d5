package diffusion

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGaussianKL(t *testing.T) {
	require.InDelta(t, 0, GaussianKL(0.3, 2, 0.3, 2), 1e-15)
	r := rand.New(rand.NewPCG(1, 1))
	for range 5 { // against its definition, integrated
		m1, v1, m2, v2 := r.Float64(), 0.2+r.Float64(), r.Float64(), 0.2+r.Float64()
		logDensity := func(x, m, v float64) float64 { return -(x-m)*(x-m)/(2*v) - math.Log(2*math.Pi*v)/2 }
		var sum float64
		const dx = 1e-3
		for x := -15.0; x < 15; x += dx {
			sum += math.Exp(logDensity(x, m1, v1)) * (logDensity(x, m1, v1) - logDensity(x, m2, v2)) * dx
		}
		require.InDelta(t, sum, GaussianKL(m1, v1, m2, v2), 1e-6)
	}
}

// StepKL in signal-to-noise ratios is the KL divergence of the two posteriors.
func TestStepKLIsOfPosteriors(t *testing.T) {
	x0, predicted := []float32{0.3, -0.9, 0.1}, []float32{0.25, -1, 0.4}
	check := func(late, soon Level) {
		q := PosteriorBetween(late, soon)
		var want float64
		for i := range x0 {
			want += GaussianKL(q.X0*float64(x0[i]), q.Var, q.X0*float64(predicted[i]), q.Var)
		}
		require.InEpsilon(t, want, StepKL(x0, predicted, late, soon), 1e-6)
	}
	for _, name := range ScheduleNames() {
		s := schedule(t, name, 0)
		for _, i := range []int{1, 2, 30, 500, 990} {
			check(s.Level(i), s.Level(i-1))
			check(s.Level(i), s.Level(i/2))
		}
	}
	check(EDM{}.At(3), EDM{}.At(0.1))
}

func TestDecoderIsADistribution(t *testing.T) {
	for _, mean := range []float32{-1.3, -1, 0, 0.4999, 1} {
		for _, std := range []float64{0.001, 0.01, 0.3} {
			var sum float64
			for v := range 256 {
				x := []float32{float32(v)/127.5 - 1}
				nll := DecoderNLL(x, []float32{mean}, std)
				require.False(t, math.IsNaN(nll) || math.IsInf(nll, 0), "%v %v %v", x, mean, std)
				sum += math.Exp(-nll)
			}
			require.InDelta(t, 1, sum, 1e-4) // x itself is rounded to float32, 1e-4 of the smallest std
		}
	}
	// The far tail continues the near one: the second difference of the log-density is -width² there and here.
	width := 0.05
	for _, at := range []float64{34, 35.5, 36, 37, 60} {
		f := func(k float64) float64 { return logNormalMass(at+k*width, at+(k+1)*width) }
		require.InDelta(t, -width*width, f(1)-2*f(0)+f(-1), 2e-4)
	}
}

// For Gaussian data and the best denoiser the bound must come down to the entropy of the data, from above,
// as the levels grow dense: all three terms have to be right for that.
func TestBoundReachesEntropy(t *testing.T) {
	const std, n = 0.2, 4000
	r := rand.New(rand.NewPCG(2, 2))
	x0 := make([]float32, n) // 8-bit values of N(0, std²)
	for i := range x0 {
		x0[i] = float32(math.Round((r.NormFloat64()*std+1)*127.5)/127.5 - 1)
	}
	predict := func(l Level) []float32 {
		xt := make([]float32, n)
		AddNoise(xt, x0, normals(n, r), l)
		gain := l.Alpha * std * std / (l.Alpha*l.Alpha*std*std + l.Sigma*l.Sigma)
		Combine(xt, gain, xt, 0, xt)
		return xt
	}
	levels, err := EDM{}.Levels(1000, SpacingKarras)
	require.NoError(t, err)
	total := PriorKL(x0, levels[0], EDM{}.PriorStd())
	require.Less(t, total/n, 1e-4)
	i := 0
	for ; levels[i].Sigma > 0.02; i++ { // below that the data is 256 points rather than a Gaussian
		total += StepKL(x0, predict(levels[i]), levels[i], levels[i+1])
	}
	total += DecoderNLL(x0, predict(levels[i]), levels[i].Sigma)
	entropy := math.Log(2*math.Pi*math.E*std*std)/2 - math.Log(2.0/255)
	got, want := BitsPerDim(total, n), entropy/math.Ln2
	require.Greater(t, got, want-0.05) // noise of 4000 draws
	require.Less(t, got, want+0.1)
	t.Log(got, want)
}
