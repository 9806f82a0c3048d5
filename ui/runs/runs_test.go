package runs_test

import (
	"context"
	"os"
	"testing"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/test"
	"github.com/stretchr/testify/require"

	"unnoise/app/studio"
	"unnoise/ui/kit"
	"unnoise/ui/page"
	"unnoise/ui/page/pagetest"
	"unnoise/ui/runs"
	"unnoise/ui/widgets/plot"
)

func curves(b *pagetest.Bench) *plot.Plot {
	return pagetest.Find(b, func(*plot.Plot) bool { return true })
}

func TestWithoutRuns(t *testing.T) {
	b := pagetest.Open(t, runs.New)
	b.WaitText("No runs yet")
	require.Nil(t, b.Page.(page.Inspected).Inspector())
	b.Tap("Set up a training")
	require.Equal(t, page.Train, b.Visits[0].To)
}

// Two real runs are found, compared, described, cloned, deleted and brought back.
func TestRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("trains a real network")
	}
	b := pagetest.Open(t, runs.New)
	ctx := context.Background()
	d := b.Dataset(8)
	first := b.Train(d.ID, 2)
	second := b.Train(d.ID, 3)
	require.NoError(t, b.S.Studio.Runs.SetName(ctx, second.ID, "the other"))
	b.WaitText("the other")
	list := pagetest.Find(b, func(*kit.List) bool { return true })
	require.Equal(t, 2, list.Length())

	// What is selected is drawn; ticked runs are put beside it.
	b.Wait("one curve", func() bool { _, _, _, ok := curves(b).Last("1 short"); return ok })
	pagetest.Find(b, func(c *kit.Check) bool {
		if c.Text == "" {
			c.SetChecked(true)
		}
		return false
	})
	b.Wait("two curves", func() bool {
		_, _, _, one := curves(b).Last("1 short")
		_, _, _, two := curves(b).Last("2 the other")
		return one && two
	})

	// Search.
	search := pagetest.Find(b, func(e *page.Entry) bool { return e.PlaceHolder == "Search names, notes, tags and datasets" })
	search.SetText("other")
	b.Wait("one run", func() bool { return list.Length() == 1 })
	search.SetText("")
	b.Wait("both runs", func() bool { return list.Length() == 2 })

	// Notes and tags are saved when the typing rests.
	b.Page.(page.Opener).Open(page.ShowRun{Run: first.ID})
	inspector := b.Page.(page.Inspected).Inspector()
	b.Wait("the inspector", func() bool { e := entry(inspector, "Notes"); return e != nil && entry(inspector, "").Text == "short" })
	entry(inspector, "Notes").SetText("a note, with 备注")
	entry(inspector, "Tags, separated by commas").SetText("best, best, 论文，late")
	b.Wait("the note to be saved", func() bool {
		r, err := b.S.Studio.Runs.Get(ctx, first.ID)
		require.NoError(t, err)
		return r.Notes == "a note, with 备注" && len(r.Tags) == 3
	})

	// A star by key; the settings into a new training; Delete and undo.
	require.True(t, b.Page.(page.RuneHandler).TypedRune('.'))
	b.Wait("the star", func() bool {
		n, err := b.S.Studio.Runs.Count(ctx, studio.RunFilter{Starred: true})
		require.NoError(t, err)
		return n == 1
	})
	test.Tap(pagetest.ButtonIn(inspector, "Use these settings"))
	require.Equal(t, pagetest.Navigation{To: page.Train, Target: page.TrainLike{Run: first.ID}}, b.Visits[len(b.Visits)-1])
	require.True(t, pagetest.ButtonIn(inspector, "Continue").Disabled(), "all its steps are done")
	path, err := b.S.Studio.Runs.Path(ctx, first.ID)
	require.NoError(t, err)
	require.True(t, b.Page.(page.KeyHandler).TypedKey(&fyne.KeyEvent{Name: fyne.KeyDelete}))
	b.Wait("one run", func() bool { return list.Length() == 1 })
	require.NoDirExists(t, path)
	b.S.Undo()
	b.Wait("both runs", func() bool { return list.Length() == 2 })
	fs, err := os.ReadDir(path)
	require.NoError(t, err)
	require.NotEmpty(t, fs)
}

func entry(o fyne.CanvasObject, placeholder string) *page.Entry {
	return pagetest.In(o, func(e *page.Entry) bool { return e.PlaceHolder == placeholder })
}
