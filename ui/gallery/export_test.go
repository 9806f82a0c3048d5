package gallery_test

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"os"
	"path/filepath"
	"testing"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/widget"
	"github.com/stretchr/testify/require"

	"unnoise/app/studio"
	"unnoise/ui/gallery"
	"unnoise/ui/kit"
	"unnoise/ui/page"
	"unnoise/ui/page/pagetest"
	"unnoise/ui/widgets/viewer"
)

// Contact sheet, trajectory and walk of really sampled pictures are made from the page, and the files hold what they are
// said to, pixel by pixel.
func TestExportsOfAGallery(t *testing.T) {
	if testing.Short() {
		t.Skip("trains and samples a real network")
	}
	b := pagetest.Open(t, gallery.New)
	ctx := context.Background()
	d := b.Dataset(8)
	run := b.Train(d.ID, 2)
	req, err := b.S.Studio.Galleries.Defaults(ctx, run.ID)
	require.NoError(t, err)
	req.Count, req.Steps, req.Sampler, req.Eta = 5, 3, "ddim", 0
	made, err := b.S.Studio.Galleries.Create(ctx, req, nil)
	require.NoError(t, err)
	b.Page.(page.Opener).Open(page.ShowGallery{Gallery: made.ID})
	b.Wait("the pictures", func() bool { g := grid(b); return g != nil && g.Len() == 5 })
	keys, err := b.S.Studio.Galleries.Images(ctx, studio.ImageFilter{Gallery: made.ID})
	require.NoError(t, err)
	picture := func(i int) image.Image {
		info, err := b.S.Studio.Galleries.Info(ctx, keys[i].Ref)
		require.NoError(t, err)
		return pagetest.PNG(t, info.Path)
	}
	out := t.TempDir()

	// A sheet of five pictures in three columns: 16 pixels twice enlarged, 7 apart, a line of text below each.
	grid(b).SelectAll()
	b.Turn()
	b.Tap("Export…")
	b.Wait("the dialog", func() bool { return b.Button("Export") != nil })
	kinds := pagetest.Find(b, func(r *widget.RadioGroup) bool { return len(r.Options) == 3 })
	kinds.SetSelected("Contact sheet")
	b.Turn()
	b.Type("Columns", "3")
	b.Type("Spacing", "7")
	b.Type("Enlarge", "2")
	pagetest.Find(b, func(c *kit.Check) bool { return c.Text == "Label each picture with its class and seed" }).SetChecked(true)
	file := filepath.Join(out, "sheet.png")
	b.Export("Contact sheet", file)
	sheet := pagetest.PNG(t, file)
	const side, gap, line = 32, 7, 16
	require.Equal(t, image.Pt(3*side+4*gap, 2*(side+line)+3*gap), sheet.Bounds().Size())
	part := func(x, y, w, h int) image.Image {
		return sheet.(interface {
			SubImage(image.Rectangle) image.Image
		}).SubImage(image.Rect(x, y, x+w, y+h))
	}
	for i := range 6 {
		x, y := gap+i%3*(side+gap), gap+i/3*(side+line+gap)
		require.True(t, blank(part(x-gap, y, gap, side+line)), "the space left of picture %d", i)
		require.True(t, blank(part(x, y-gap, side, gap)), "the space above picture %d", i)
		if i == 5 {
			require.True(t, blank(part(x, y, side, side+line)), "there is no sixth picture")
			continue
		}
		require.True(t, pagetest.Same(picture(i), part(x, y, side, side), 2), "picture %d", i)
		require.False(t, blank(part(x, y+side, side, line)), "the label of picture %d", i)
	}

	// The trajectory of the first picture, exact as APNG and as a GIF of the same length.
	grid(b).OnOpen(0)
	tabs := pagetest.Find(b, func(*container.AppTabs) bool { return true })
	tabs.SelectIndex(1)
	scrub := func() *viewer.Scrubber {
		return pagetest.Find(b, func(s *viewer.Scrubber) bool { return s.Count() > 0 })
	}
	b.Wait("the steps", func() bool { return scrub() != nil })
	n := scrub().Count()
	require.Equal(t, 4, n, "three steps and the end")
	b.Tap("Export…")
	b.WaitText("Export an animation of 4 frames")
	b.Type("Enlarge", "2")
	b.Type("Frames per second", "10")
	b.Type("Hold the last frame", "3")
	file = filepath.Join(out, "trace.png")
	b.Export("APNG", file)
	frames, delays := pagetest.APNG(t, file)
	require.Len(t, frames, n)
	require.Equal(t, []int{100, 100, 100, 3100}, delays)
	require.True(t, near(picture(0), frames[n-1], 2), "it ends with the picture")
	require.False(t, near(picture(0), frames[0], 2), "and begins with something else")
	b.Tap("Export…")
	b.WaitText("Export an animation of 4 frames")
	file = filepath.Join(out, "trace.gif")
	b.Export("GIF", file)
	require.Equal(t, image.Pt(256, 256), animated(t, file, n), "enlarged to be seen")
	require.True(t, b.Page.(page.KeyHandler).TypedKey(&fyne.KeyEvent{Name: fyne.KeyEscape}))

	// A walk between two seeds begins and ends with their pictures.
	b.Wait("the grid", func() bool { return grid(b) != nil })
	grid(b).Select(0)
	require.True(t, grid(b).Key(fyne.KeyRight, true))
	b.Tap("Walk between two")
	b.WaitText("Samples the pictures between two seeds")
	b.Type("Frames", "6")
	b.Tap("Sample")
	b.Wait("the walk", func() bool { s := scrub(); return s != nil && s.Count() == 6 })
	require.True(t, scrub().Playing())
	b.Tap("Export…")
	b.WaitText("Export an animation of 6 frames")
	b.Type("Enlarge", "1")
	file = filepath.Join(out, "walk.png")
	b.Export("APNG", file)
	frames, _ = pagetest.APNG(t, file)
	require.Len(t, frames, 6)
	require.True(t, near(picture(0), frames[0], 1), "the first picture")
	require.True(t, near(picture(1), frames[5], 1), "the second picture")
	for i := range 5 {
		require.False(t, near(frames[i], frames[i+1], 1), "frames %d and %d", i, i+1)
	}
	b.Tap("Export…")
	b.WaitText("Export an animation of 6 frames")
	file = filepath.Join(out, "walk.gif")
	b.Export("GIF", file)
	animated(t, file, 6)
	b.Tap("Back")
	b.Wait("the grid", func() bool { return grid(b) != nil })

	// The nearest training pictures are seen also when their dataset is gone.
	require.NoError(t, b.S.Studio.Datasets.Delete(ctx, d.ID))
	grid(b).OnOpen(0)
	pagetest.Find(b, func(*container.AppTabs) bool { return true }).SelectIndex(2)
	b.WaitText("distance 0.")
	seen := 0
	pagetest.Find(b, func(p *kit.Picture) bool {
		if p.Image() != nil && p.Image().Bounds().Dx() == 16 {
			seen++
		}
		return false
	})
	require.GreaterOrEqual(t, seen, 7, "one is held out at most")
	require.Empty(t, failures(b))
}

// failures are the messages on show but those of what was exported.
func failures(b *pagetest.Bench) (out []string) {
	for _, m := range b.S.Messages() {
		if len(m) < 12 || m[:12] != "Exported to " {
			out = append(out, m)
		}
	}
	return out
}

// animated reads a GIF of n frames and returns its size.
func animated(t *testing.T, path string, n int) image.Point {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	g, err := gif.DecodeAll(f)
	require.NoError(t, err)
	require.Len(t, g.Image, n)
	return image.Pt(g.Config.Width, g.Config.Height)
}

// blank says whether a part of a sheet is white all over.
func blank(img image.Image) bool {
	r := img.Bounds()
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			if color.GrayModel.Convert(img.At(x, y)).(color.Gray).Y != 255 {
				return false
			}
		}
	}
	return true
}

// near says whether b is a, enlarged, but for one step in 255: sums differ in their last bits with the size of a batch.
func near(a, b image.Image, scale int) bool {
	ra, rb := a.Bounds(), b.Bounds()
	if ra.Dx()*scale != rb.Dx() || ra.Dy()*scale != rb.Dy() {
		panic(fmt.Sprint(ra, rb))
	}
	for y := range rb.Dy() {
		for x := range rb.Dx() {
			p := color.NRGBAModel.Convert(a.At(ra.Min.X+x/scale, ra.Min.Y+y/scale)).(color.NRGBA)
			q := color.NRGBAModel.Convert(b.At(rb.Min.X+x, rb.Min.Y+y)).(color.NRGBA)
			for _, d := range []int{int(p.R) - int(q.R), int(p.G) - int(q.G), int(p.B) - int(q.B)} {
				if d < -1 || d > 1 {
					return false
				}
			}
		}
	}
	return true
}
