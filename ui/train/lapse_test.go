package train_test

import (
	"fmt"
	"image"
	"image/draw"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/ui/kit"
	"unnoise/ui/page/pagetest"
	"unnoise/ui/train"
	"unnoise/ui/widgets/viewer"
)

// The slider under the samples goes through the run's grids as they lie on disk, for the averaged weights and the raw ones,
// and plays them.
func TestSliderThroughTrainingTime(t *testing.T) {
	if testing.Short() {
		t.Skip("trains a real network")
	}
	b := pagetest.Open(t, train.New)
	r := b.Request(b.Dataset(8).ID, 4)
	r.SampleEvery = 1
	run := b.TrainAs(r)
	dir, err := b.S.Studio.Runs.Path(t.Context(), run.ID)
	require.NoError(t, err)
	scrub := func() *viewer.Scrubber { return pagetest.Find(b, func(*viewer.Scrubber) bool { return true }) }
	shows := func(weights string, step int) bool {
		v := pagetest.Find(b, func(v *viewer.Viewer) bool { return v.Image() != nil })
		if v == nil {
			return false
		}
		// On show there is nothing between the pictures; the file is white there.
		require.Zero(t, v.Image().RGBAAt(0, 0))
		white := image.NewRGBA(v.Image().Rect)
		draw.Draw(white, white.Rect, image.White, image.Point{}, draw.Src)
		draw.Draw(white, white.Rect, v.Image(), v.Image().Rect.Min, draw.Over)
		return pagetest.Same(grid(t, dir, step, weights), white, 1)
	}
	b.Wait("four grids", func() bool { s := scrub(); return s != nil && s.Count() == 4 })
	b.Wait("the newest grid", func() bool { return scrub().Index() == 3 && shows("ema", 4) })
	require.True(t, b.Shows("step 4"))

	for step := 1; step <= 3; step++ {
		scrub().Set(step - 1)
		b.Wait(fmt.Sprint("the grid of step ", step), func() bool { return shows("ema", step) })
		require.True(t, b.Shows(fmt.Sprint("step ", step)))
	}
	weights := pagetest.Find(b, func(s *kit.Select) bool { return s.Selected == "EMA" })
	require.NotNil(t, weights)
	weights.SetSelected("Raw weights")
	b.Wait("the raw weights at the same step", func() bool { return scrub().Index() == 2 && shows("raw", 3) })
	require.False(t, pagetest.Same(grid(t, dir, 3, "ema"), grid(t, dir, 3, "raw"), 1), "or the test shows nothing")

	scrub().Set(0)
	scrub().Toggle()
	require.True(t, scrub().Playing())
	b.Wait("the end of playing", func() bool { return !scrub().Playing() })
	b.Wait("the last grid", func() bool { return scrub().Index() == 3 && shows("raw", 4) })
}

func grid(t *testing.T, dir string, step int, weights string) image.Image {
	t.Helper()
	return pagetest.PNG(t, filepath.Join(dir, "samples", fmt.Sprintf("%06d-%s.png", step, weights)))
}
