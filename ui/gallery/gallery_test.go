package gallery_test

import (
	"archive/zip"
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/test"
	"fyne.io/fyne/v2/widget"
	"github.com/stretchr/testify/require"

	"unnoise/app/studio"
	"unnoise/ui/gallery"
	"unnoise/ui/kit"
	"unnoise/ui/page"
	"unnoise/ui/page/pagetest"
	"unnoise/ui/widgets/form"
	"unnoise/ui/widgets/imagegrid"
	"unnoise/ui/widgets/viewer"
)

func grid(b *pagetest.Bench) *imagegrid.Grid[studio.Ref] {
	return pagetest.Find(b, func(*imagegrid.Grid[studio.Ref]) bool { return true })
}

// entryOf is the entry with a text, such as a default, in the dialog on show.
func entryOf(b *pagetest.Bench, text string) *form.Entry {
	return pagetest.Find(b, func(e *form.Entry) bool { return e.Entry.Text == text })
}

func TestWithoutAnything(t *testing.T) {
	b := pagetest.Open(t, gallery.New)
	b.WaitText("No pictures yet")
	b.Tap("Go to Train")
	require.Equal(t, page.Train, b.Visits[0].To)
}

// The life of a gallery, with a real network: sampled in the dialog, sorted, looked into, exported, deleted and brought back.
func TestGallery(t *testing.T) {
	if testing.Short() {
		t.Skip("trains and samples a real network")
	}
	b := pagetest.Open(t, gallery.New)
	d := b.Dataset(12, "cats", "dogs")
	run := b.Train(d.ID, 2)
	ctx := context.Background()

	// Sample four pictures.
	b.Page.(page.Opener).Open(page.NewGallery{Model: run.ID, Checkpoint: -1})
	b.Wait("the dialog to be filled", func() bool { o := b.Button("Sample"); return o != nil && !o.Disabled() })
	def, err := b.S.Studio.Galleries.Defaults(ctx, run.ID)
	require.NoError(t, err)
	count := entryOf(b, page.Int(def.Count))
	require.NotNil(t, count)
	count.Entry.SetText("none")
	b.Wait("the reason", func() bool { return count.Problem() != "" })
	count.Entry.SetText("4")
	steps := entryOf(b, page.Int(def.Steps))
	require.NotNil(t, steps)
	steps.Entry.SetText("3")
	b.Tap("Sample")
	b.Wait("the pictures", func() bool { g := grid(b); return g != nil && g.Len() == 4 && b.Button("Sample") == nil })
	b.WaitText("4 pictures")

	// The controls take two lines, however little room there is: that of a small screen at 200 % is 720 × 450.
	size := b.S.Window.Canvas().Size()
	for _, width := range []float32{size.Width, 630, 400} {
		b.S.Window.Resize(fyne.NewSize(width, 450))
		b.Turn()
		at := fyne.CurrentApp().Driver().AbsolutePositionForObject
		entry := pagetest.Find(b, func(e *page.Entry) bool { return e.PlaceHolder != "" })
		require.Less(t, at(grid(b)).Y-at(entry).Y, 3*entry.MinSize().Height, "%g wide", width)
	}
	b.S.Window.Resize(size)
	b.Turn()

	// A star, and the search for it.
	g := grid(b)
	g.Select(1)
	b.Turn()
	require.True(t, b.Page.(page.RuneHandler).TypedRune('.'))
	b.Wait("the star", func() bool {
		ks, err := b.S.Studio.Galleries.Images(ctx, studio.ImageFilter{Starred: true})
		require.NoError(t, err)
		return len(ks) == 1
	})
	search := pagetest.Find(b, func(e *page.Entry) bool { return e.PlaceHolder != "" })
	search.SetText("is:starred")
	b.Wait("one picture", func() bool { return g.Len() == 1 })
	search.SetText("sampler:nosuch")
	b.WaitText("Nothing matches.")
	search.SetText("")
	b.Wait("all pictures", func() bool { return g.Len() == 4 })

	// Its metadata stands in the inspector.
	g.Select(0)
	inspector := b.Page.(page.Inspected).Inspector()
	b.Wait("the metadata", func() bool { return containsText(inspector, "16 × 16") })

	// Large, with its trajectory and its neighbours.
	g.OnOpen(0)
	b.Wait("the picture", func() bool {
		v := pagetest.Find(b, func(v *viewer.Viewer) bool { return v.Image() != nil })
		return v != nil && v.Image().Rect.Dx() == 16
	})
	tabs := pagetest.Find(b, func(*container.AppTabs) bool { return true })
	tabs.SelectIndex(1)
	scrub := func() *viewer.Scrubber {
		return pagetest.Find(b, func(*viewer.Scrubber) bool { return true })
	}
	b.Wait("the steps", func() bool { s := scrub(); return s != nil && s.Count() > 0 })
	require.GreaterOrEqual(t, scrub().Count(), 3)
	scrub().Set(0)
	b.WaitText("x_t = ")
	tabs.SelectIndex(2)
	b.WaitText("distance 0.")
	require.True(t, b.Page.(page.KeyHandler).TypedKey(&fyne.KeyEvent{Name: fyne.KeyEscape}))
	b.Wait("the grid", func() bool { return grid(b) != nil })

	// Two pictures compared.
	g.SelectAll()
	b.Turn()
	require.True(t, b.Button("Compare two").Disabled())
	g.Select(0)
	require.True(t, g.Key(fyne.KeyRight, true))
	b.Tap("Compare two")
	modes := pagetest.Find(b, func(m *kit.Select) bool { return slices.Contains(m.Options, "Difference") })
	b.Wait("both", func() bool {
		n := 0
		pagetest.Find(b, func(v *viewer.Viewer) bool {
			if v.Image() != nil {
				n++
			}
			return false
		})
		return n == 2
	})
	modes.SetSelected("Difference")
	b.WaitText("Mean difference")
	b.Tap("Back")

	// Exported as files, and as a zip.
	dir := filepath.Join(t.TempDir(), "out put")
	g.SelectAll()
	b.Turn()
	b.Tap("Export…")
	path := pagetest.Find(b, func(e *page.Entry) bool { return filepath.IsAbs(e.Text) })
	require.NotNil(t, path)
	path.SetText(dir)
	b.Tap("Export")
	b.Wait("the files", func() bool { fs, _ := filepath.Glob(filepath.Join(dir, "*.png")); return len(fs) == 4 })
	b.Tap("Export…")
	kinds := pagetest.Find(b, func(r *widget.RadioGroup) bool { return len(r.Options) == 3 })
	kinds.SetSelected("Zip")
	path = pagetest.Find(b, func(e *page.Entry) bool { return filepath.IsAbs(e.Text) })
	zipped := filepath.Join(t.TempDir(), "all.zip")
	path.SetText(zipped)
	b.Tap("Export")
	b.Wait("the zip", func() bool { _, err := os.Stat(zipped); return err == nil })
	z, err := zip.OpenReader(zipped)
	require.NoError(t, err)
	require.Len(t, z.File, 4)
	require.NoError(t, z.Close())

	// Deleted, and brought back.
	g.Select(2)
	b.Turn()
	require.True(t, b.Page.(page.KeyHandler).TypedKey(&fyne.KeyEvent{Name: fyne.KeyDelete}))
	b.Wait("three pictures", func() bool { return g.Len() == 3 && b.Shows("Deleted pictures: 1") })
	b.S.Undo()
	b.Wait("four pictures", func() bool { return g.Len() == 4 })

	// More like it.
	g.Select(0)
	b.Wait("the metadata", func() bool { return containsText(inspector, "16 × 16") })
	more := pagetest.ButtonIn(inspector, "Use these settings")
	require.NotNil(t, more)
	test.Tap(more)
	b.Wait("the dialog", func() bool { return b.Button("Sample") != nil && entryOf(b, "3") != nil })
	require.NotNil(t, pagetest.Find(b, func(p *kit.Picture) bool { return true }))
}

func containsText(o fyne.CanvasObject, s string) bool {
	return pagetest.In(o, func(l *widget.Label) bool { return l.Visible() && l.Text == s }) != nil
}
