package program

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/runtime/runtimetest"
	"unnoise/runtime/unet"
)

// small is the preset that the project's speed is measured on.
func small() unet.Config {
	c := unet.Default()
	c.SampleSize = unet.Size{W: 32, H: 32}
	c.BlockOutChannels = []int{64, 128, 128}
	c.DownBlockTypes = []string{unet.Down, unet.AttnDown, unet.Down}
	c.UpBlockTypes = []string{unet.Up, unet.AttnUp, unet.Up}
	c.AttentionHeadDim = nil
	c.NormEps = 1e-6
	return c
}

func BenchmarkStep(b *testing.B) {
	const batch = 32
	for _, micro := range []int{2, 4, 8, 16, 32} {
		b.Run(fmt.Sprintf("micro%d", micro), func(b *testing.B) {
			cfg := small()
			tr, err := NewTrainer(b.Context(), TrainSpec{UNet: cfg, Batch: batch, MicroBatch: micro, EMAs: 1, ClipNorm: 1}, Options{Profile: os.Getenv("UNNOISE_PROFILE")})
			require.NoError(b, err)
			defer tr.Close()
			w, err := cfg.Init(1)
			require.NoError(b, err)
			require.NoError(b, tr.SetState(State{Params: w}))
			dim := batch * 3 * 32 * 32
			in := Batch{X: runtimetest.Uniform("x", dim), Target: runtimetest.Uniform("target", dim), Cond: scaled(runtimetest.Uniform("cond", batch), 499, 500), Weight: scaled(runtimetest.Uniform("w", batch), 0, 1)}
			h := Hyper{LR: 1e-4, EMARates: []float64{0.001}}
			_, err = tr.Step(b.Context(), in, h)
			require.NoError(b, err)
			b.ResetTimer()
			for b.Loop() {
				_, err := tr.Step(b.Context(), in, h)
				require.NoError(b, err)
			}
		})
	}
}

func BenchmarkForward(b *testing.B) {
	for _, batch := range []int{1, 4, 8, 32} {
		b.Run(fmt.Sprintf("batch%d", batch), func(b *testing.B) {
			cfg := small()
			w, err := cfg.Init(1)
			require.NoError(b, err)
			net, err := NewNet(b.Context(), cfg, w, batch, Options{Profile: os.Getenv("UNNOISE_PROFILE")})
			require.NoError(b, err)
			defer net.Close()
			x, cond, out := runtimetest.Uniform("x", batch*3*1024), scaled(runtimetest.Uniform("cond", batch), 499, 500), make([]float32, batch*3*1024)
			require.NoError(b, net.Forward(b.Context(), x, cond, nil, out))
			b.ResetTimer()
			for b.Loop() {
				require.NoError(b, net.Forward(b.Context(), x, cond, nil, out))
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/1e3/float64(b.N*batch), "ms/image")
		})
	}
}
