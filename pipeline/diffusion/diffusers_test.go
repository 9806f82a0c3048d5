package diffusion

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// floats32 is a little-endian float32 array in base64.
type floats32 []float64

func (f *floats32) UnmarshalText(b []byte) error {
	raw, err := base64.StdEncoding.DecodeString(string(b))
	for ; err == nil && len(raw) >= 4; raw = raw[4:] {
		*f = append(*f, float64(math.Float32frombits(binary.LittleEndian.Uint32(raw))))
	}
	return err
}

// fixtures is what bench/fixtures/diffusion.py wrote with diffusers.
type fixtures struct {
	Schedules []struct {
		Name          string
		T             int
		Betas         floats32
		AlphasCumprod floats32 `json:"alphas_cumprod"`
		Variance      []float64
	}
	Formulas []struct {
		Schedule      string
		T             int
		X0, Eps       []float32
		Model         []float32
		Xt, V         []float64
		X0FromEps     []float64 `json:"x0_from_eps"`
		X0FromX0      []float64 `json:"x0_from_x0"`
		X0FromV       []float64 `json:"x0_from_v"`
		PosteriorMean []float64 `json:"posterior_mean"`
	}
	Spacings []struct {
		Spacing Spacing
		N       int
		Cond    []float64
		Ratio   []float64
	}
	EDM struct {
		Formulas []struct {
			Sigma, Cond float64
			Xt, Model   []float32
			Input, X0   []float64
		}
		Levels []struct {
			N           int
			Ratio, Cond []float64
		}
	}
}

func load(t *testing.T) (f fixtures) {
	b, err := os.ReadFile("testdata/diffusers.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &f))
	return f
}

// near holds got to want within rel of the larger of |want| and scale.
func near[G, W float32 | float64](t *testing.T, want []W, got []G, rel, scale float64, what string) {
	t.Helper()
	require.Len(t, got, len(want), what)
	for i := range want {
		w, g := float64(want[i]), float64(got[i])
		require.LessOrEqualf(t, math.Abs(w-g), rel*max(math.Abs(w), scale), "%s[%d]: want %g, got %g", what, i, w, g)
	}
}

func TestSchedulesEqualDiffusers(t *testing.T) {
	f := load(t)
	require.Len(t, f.Schedules, 2*len(ScheduleNames()))
	for _, want := range f.Schedules {
		t.Run(fmt.Sprint(want.Name, want.T), func(t *testing.T) {
			s, err := NewSchedule(want.Name, want.T)
			require.NoError(t, err)
			require.Equal(t, want.Name, s.Name)
			ulps := 0.0 // PyTorch's float32 exp, inside sigmoid, is not rounded correctly
			if s.Name == "sigmoid" {
				ulps = 2.4e-7
			}
			near(t, want.Betas, s.Betas, ulps, 0, "beta")
			near(t, want.AlphasCumprod, s.AlphasCumprod, ulps, 0, "alphas_cumprod")
			require.Zero(t, s.Posterior(0).Var)
			got := make([]float64, want.T)
			for i := range got {
				got[i] = s.Posterior(i).Var
			}
			// diffusers raises the variance 0 of the last step to 1e-20.
			near(t, want.Variance, got, 1e-5, 1e-14, "variance")
		})
	}
}

func TestFormulasEqualDiffusers(t *testing.T) {
	f := load(t)
	require.NotEmpty(t, f.Formulas)
	for _, c := range f.Formulas {
		t.Run(fmt.Sprint(c.Schedule, c.T), func(t *testing.T) {
			s, err := NewSchedule(c.Schedule, 0)
			require.NoError(t, err)
			l := s.Level(c.T)
			xt, got := make([]float32, len(c.X0)), make([]float32, len(c.X0))
			AddNoise(xt, c.X0, c.Eps, l)
			near(t, c.Xt, xt, 1e-6, 1, "x_t")
			V(got, c.X0, c.Eps, l)
			near(t, c.V, got, 1e-6, 1, "v")

			// 1/Alpha magnifies what float32 loses of x_t.
			scale := 1 / l.Alpha
			ObjectiveEps.ToX0(got, xt, c.Model, l)
			near(t, c.X0FromEps, got, 1e-6, scale, "x0 from eps")
			ObjectiveV.ToX0(got, xt, c.Model, l)
			near(t, c.X0FromV, got, 1e-6, 1, "x0 from v")
			ObjectiveX0.ToX0(got, xt, c.Model, l)
			near(t, c.X0FromX0, got, 1e-6, 1, "x0 from x0")

			p := s.Posterior(c.T)
			Combine(got, p.X0, c.X0, p.Xt, xt)
			near(t, c.PosteriorMean, got, 1e-6, 1, "posterior mean")
		})
	}
}

func TestLevelsEqualDiffusers(t *testing.T) {
	f := load(t)
	require.NotEmpty(t, f.Spacings)
	s, err := NewSchedule("linear", 0)
	require.NoError(t, err)
	p := NewVP(s)
	for _, want := range f.Spacings {
		t.Run(fmt.Sprint(want.Spacing, want.N), func(t *testing.T) {
			ls, err := p.Levels(want.N, want.Spacing)
			require.NoError(t, err)
			require.Len(t, ls, want.N+1)
			require.Equal(t, Clean(), ls[want.N])
			cond, ratio := columns(ls)
			if want.Ratio == nil { // whole timesteps: the level must be the schedule's own
				require.Equal(t, want.Cond, cond)
				for _, l := range ls[:want.N] {
					require.Equal(t, s.Level(int(l.Cond)), l)
				}
				return
			}
			near(t, want.Cond, cond, 1e-6, 1, "t") // diffusers keeps t and sigma in float32
			near(t, want.Ratio, ratio, 1e-6, 0, "sigma")
		})
	}
}

// columns splits all levels but the clean one.
func columns(ls []Level) (cond, ratio []float64) {
	for _, l := range ls[:len(ls)-1] {
		cond, ratio = append(cond, l.Cond), append(ratio, l.Ratio())
	}
	return cond, ratio
}

func TestEDMEqualsDiffusers(t *testing.T) {
	f := load(t)
	require.NotEmpty(t, f.EDM.Formulas)
	for _, c := range f.EDM.Formulas {
		l := EDM{}.At(c.Sigma)
		require.InDelta(t, c.Cond, l.Cond, 1e-12)
		got := make([]float32, len(c.Xt))
		ObjectiveEDM.Input(got, c.Xt, l)
		near(t, c.Input, got, 1e-6, 0, "input")
		ObjectiveEDM.ToX0(got, c.Xt, c.Model, l)
		near(t, c.X0, got, 1e-6, 0.1, "x0")
	}
	for _, c := range f.EDM.Levels {
		ls, err := EDM{}.Levels(c.N, SpacingKarras)
		require.NoError(t, err)
		cond, ratio := columns(ls)
		near(t, c.Ratio, ratio, 1e-6, 0, "sigma")
		near(t, c.Cond, cond, 1e-6, 1, "cond")
	}
}
