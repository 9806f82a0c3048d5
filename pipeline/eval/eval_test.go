package eval

import (
	"context"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/pipeline/data"
	"unnoise/pipeline/diffusion"
	"unnoise/pipeline/model"
)

// cacheOf makes a cache of n gray pictures of 8×8, in two classes, of random-looking stripes.
func cacheOf(t *testing.T, n int) *data.Cache {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		img := image.NewGray(image.Rect(0, 0, 8, 8))
		for k := range 64 {
			img.SetGray(k%8, k/8, color.Gray{Y: uint8((k*(2*i+3) + 17*i) % 256)})
		}
		sub := filepath.Join(dir, []string{"a", "b"}[i%2])
		require.NoError(t, os.MkdirAll(sub, 0o755))
		f, err := os.Create(filepath.Join(sub, string(rune('a'+i%26))+string(rune('a'+i/26))+".png"))
		require.NoError(t, err)
		require.NoError(t, png.Encode(f, img))
		require.NoError(t, f.Close())
	}
	rep, err := data.Scan(t.Context(), dir, nil)
	require.NoError(t, err)
	c, err := data.BuildCache(t.Context(), dir, rep, data.Preprocess{Width: 8, Height: 8, Channels: 1}, t.TempDir(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// net answers a constant, and notes what it was asked.
type net struct {
	batch  int
	value  float32
	conds  []float32
	labels []int64
	inputs []float32
}

func (n *net) Batch() int { return n.batch }

func (n *net) Forward(ctx context.Context, x, cond []float32, class []int64, out []float32) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n.conds = append(n.conds, cond...)
	n.labels = append(n.labels, class...)
	n.inputs = append(n.inputs, x...)
	for i := range out {
		out[i] = n.value
	}
	return nil
}

func spec(t *testing.T, c *data.Cache, obj diffusion.Objective, classes []string) model.Spec {
	t.Helper()
	s, err := model.New("tiny", model.Options{Preprocess: c.Preprocess(), Objective: obj, Classes: classes})
	require.NoError(t, err)
	return s
}

func all(c *data.Cache) []int {
	idx := make([]int, c.Len())
	for i := range idx {
		idx[i] = i
	}
	return idx
}

// Against a constant v the mean squared error of eps ~ N(0,1) is 1+v², at every level.
func TestLossOfAConstant(t *testing.T) {
	c := cacheOf(t, 50)
	r, err := Loss(t.Context(), &net{batch: 7, value: 2}, spec(t, c, diffusion.ObjectiveEps, nil), c, all(c), Options{Seed: 1})
	require.NoError(t, err)
	require.Equal(t, 50, r.Images)
	require.Len(t, r.Levels, DefaultLevels)
	require.InDelta(t, 5, r.Loss, 0.1)
	last := 0.0
	for _, l := range r.Levels {
		require.InDelta(t, 5, l.Loss, 0.35)
		require.Greater(t, l.Sigma, last)
		last = l.Sigma
	}
}

func TestSameQuestionsWhateverTheBatch(t *testing.T) {
	c := cacheOf(t, 6)
	s := spec(t, c, diffusion.ObjectiveV, c.Classes())
	a, b := &net{batch: 1}, &net{batch: 5}
	var seen []int
	ra, err := Loss(t.Context(), a, s, c, all(c), Options{Seed: 3, Levels: 4, Progress: func(done, total int) {
		require.Equal(t, 6, total)
		seen = append(seen, done)
	}})
	require.NoError(t, err)
	rb, err := Loss(t.Context(), b, s, c, all(c), Options{Seed: 3, Levels: 4})
	require.NoError(t, err)
	require.Equal(t, ra, rb)
	require.Equal(t, a.inputs, b.inputs)
	require.Equal(t, []int{1, 2, 3, 4, 5, 6}, seen)
	require.Equal(t, []int64{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, a.labels)
	rc, err := Loss(t.Context(), &net{batch: 5}, s, c, all(c), Options{Seed: 4, Levels: 4})
	require.NoError(t, err)
	require.NotEqual(t, ra.Loss, rc.Loss)
}

func TestSubsetIsSpreadAndStable(t *testing.T) {
	idx := make([]int, 1000)
	for i := range idx {
		idx[i] = 3 * i
	}
	s := Subset(idx, 100, 5)
	require.Equal(t, s, Subset(idx, 100, 5))
	require.Len(t, s, 100)
	sum := 0
	for i, v := range s {
		require.Zero(t, v%3)
		if i > 0 {
			require.Greater(t, v, s[i-1])
		}
		sum += v
	}
	require.InDelta(t, 1500, sum/100, 300)
	require.Equal(t, idx[:5], Subset(idx[:5], 10, 5))
}

func TestLossNeedsPictures(t *testing.T) {
	c := cacheOf(t, 2)
	_, err := Loss(t.Context(), &net{batch: 1}, spec(t, c, diffusion.ObjectiveEps, nil), c, nil, Options{})
	require.ErrorContains(t, err, "no pictures")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Loss(ctx, &net{batch: 1}, spec(t, c, diffusion.ObjectiveEps, nil), c, all(c), Options{})
	require.ErrorIs(t, err, context.Canceled)
}
