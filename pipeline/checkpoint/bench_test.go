package checkpoint

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/runtime/program"
	"unnoise/runtime/unet"
)

// BenchmarkDDPM saves and loads the state of ddpm-cifar10's 35.7 million parameters: about 570 MB with one average.
func BenchmarkDDPM(b *testing.B) {
	cfg := unet.Default()
	cfg.SampleSize = unet.Size{W: 32, H: 32}
	cfg.DownBlockTypes = []string{unet.Down, unet.AttnDown, unet.Down, unet.Down}
	cfg.UpBlockTypes = []string{unet.Up, unet.Up, unet.AttnUp, unet.Up}
	cfg.BlockOutChannels, cfg.AttentionHeadDim = []int{128, 256, 256, 256}, nil
	r := rand.New(rand.NewPCG(1, 2))
	vec := func() []float32 {
		v := make([]float32, cfg.NumParams())
		for i := range v {
			v[i] = r.Float32()
		}
		return v
	}
	c := Checkpoint{UNet: cfg, EMANames: []string{"a"}, State: program.State{Params: vec(), M: vec(), V: vec(), EMA: [][]float32{vec()}}}
	dir := b.TempDir()
	require.NoError(b, Save(at(b, dir), 1, c))
	size := 16 * int64(cfg.NumParams())
	b.Run("save", func(b *testing.B) {
		b.SetBytes(size)
		b.ReportAllocs()
		for b.Loop() {
			require.NoError(b, Save(at(b, dir), 1, c))
		}
	})
	b.Run("load", func(b *testing.B) {
		b.SetBytes(size)
		b.ReportAllocs()
		for b.Loop() {
			_, err := Load(dir, 1)
			require.NoError(b, err)
		}
	})
	b.Run("verify", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			require.NoError(b, verify(context.Background(), filepath.Join(dir, "000001"), 1))
		}
	})
}
