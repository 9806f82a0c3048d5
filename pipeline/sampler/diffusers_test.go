package sampler

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/pipeline/diffusion"
)

// gauss is the best possible denoiser for data whose components are independent
// N(mean, std²): E[x0 | x_t] in closed form. Components repeat with the length of mean.
type gauss struct{ mean, std []float64 }

func (g gauss) Denoise(_ context.Context, xt []float32, _ int, l diffusion.Level, x0 []float32) error {
	for i, v := range xt {
		m, s := g.mean[i%len(g.mean)], g.std[i%len(g.std)]
		gain := l.Alpha * s * s / (l.Alpha*l.Alpha*s*s + l.Sigma*l.Sigma)
		x0[i] = float32(m + gain*(float64(v)-l.Alpha*m))
	}
	return nil
}

// TestStepsEqualDiffusers walks beside diffusers' schedulers: bench/fixtures/diffusion.py
// saved every state on their way.
func TestStepsEqualDiffusers(t *testing.T) {
	b, err := os.ReadFile("testdata/diffusers.json")
	require.NoError(t, err)
	var f struct {
		Samples   int
		Mean, Std []float64
		Cases     []struct {
			Sampler, Process, Schedule string
			Steps                      int
			NoiseIn                    []float32 `json:"noise_in"`
			Eta                        float64
			Clip                       bool
			Spacing                    diffusion.Spacing
			Noise                      [][]float32
			X, X0                      [][]float64
		}
	}
	require.NoError(t, json.Unmarshal(b, &f))
	seen := map[string]bool{}
	for i, c := range f.Cases {
		seen[c.Sampler+" "+c.Process] = true
		t.Run(fmt.Sprint(i, c.Sampler, c.Process, c.Schedule, c.Spacing, c.Clip), func(t *testing.T) {
			objective := diffusion.ObjectiveEps
			if c.Process == "edm" {
				objective = diffusion.ObjectiveEDM
			}
			p, err := diffusion.NewProcess(objective, c.Schedule, 0)
			require.NoError(t, err)
			x := c.NoiseIn
			steps := 0
			tol := 1e-5
			if c.Sampler == "heun" && c.Schedule == "cosine" {
				tol = 1e-4 // from Sigma/Alpha = 20,000 the trapezoid rule takes 10,000 times the difference of two float32 eps
			}
			err = Sample(t.Context(), gauss{f.Mean, f.Std}, p, x, f.Samples, Options{
				Name: c.Sampler, Steps: c.Steps, Spacing: c.Spacing, Eta: c.Eta, Clip: c.Clip,
				Noise: func(step int, dst []float32) { require.Equal(t, len(dst), copy(dst, c.Noise[step])) },
				Callback: func(s Step) error {
					require.Equal(t, steps, s.Index)
					require.Equal(t, c.Steps, s.Total)
					close32(t, c.X[s.Index], s.Xt, tol, fmt.Sprint("x before step ", s.Index))
					if c.Sampler != "heun" { // there diffusers tells only x̂0 of the second half
						close32(t, c.X0[s.Index], s.X0, tol, fmt.Sprint("x0 of step ", s.Index))
					}
					steps++
					return nil
				},
			})
			require.NoError(t, err)
			require.Equal(t, c.Steps, steps)
			close32(t, c.X[c.Steps], x, tol, "sample")
		})
	}
	require.Equal(t, map[string]bool{
		"ddpm vp": true, "ddpm-mean vp": true, "ddim vp": true, "heun vp": true, "dpmpp2m vp": true,
		"ddim edm": true, "heun edm": true, "dpmpp2m edm": true,
	}, seen)
}

func close32(t *testing.T, want []float64, got []float32, tol float64, what string) {
	t.Helper()
	require.Len(t, got, len(want))
	for i, w := range want {
		require.LessOrEqualf(t, math.Abs(w-float64(got[i])), tol*max(1, math.Abs(w)), "%s[%d]: want %g, got %g", what, i, w, got[i])
	}
}
