package runs_test

import (
	"context"
	"fmt"
	"testing"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/widget"
	"github.com/stretchr/testify/require"

	"unnoise/app/studio"
	"unnoise/ui/kit"
	"unnoise/ui/page"
	"unnoise/ui/page/pagetest"
	"unnoise/ui/runs"
	"unnoise/ui/widgets/plot"
	"unnoise/ui/widgets/viewer"
)

// Every run has a page: how it stands with its best checkpoint and its likelihood, its samples, noise levels, curves and
// settings.
func TestRunPage(t *testing.T) {
	if testing.Short() {
		t.Skip("trains a real network")
	}
	b := pagetest.Open(t, runs.New)
	ctx := context.Background()
	d := b.Dataset(40)
	older := b.Train(d.ID, 2)
	b.Train(d.ID, 3)
	b.Page.(page.Opener).Open(page.OpenRun{Run: older.ID}) // not only the newest
	b.WaitText("1 · short")
	b.WaitText("★ the best")
	cs, err := b.S.Studio.Runs.Checkpoints(ctx, older.ID)
	require.NoError(t, err)
	require.Len(t, cs, 1)
	require.True(t, b.Shows("held-out loss "+page.Number(cs[0].HeldOut)))

	b.WaitText("Not measured yet")
	b.Tap("Measure")
	b.WaitText("With 95 % certainty")
	ev, err := b.S.Studio.Runs.Evaluate(ctx, older.ID, studio.NewestCheckpoint, nil)
	require.NoError(t, err)
	require.NotNil(t, ev.Bound)
	require.InDelta(t, ev.Bound.Bits, ev.Bound.Prior+ev.Bound.Steps+ev.Bound.Decoder, 1e-9)
	require.LessOrEqual(t, ev.Bound.Low, ev.Bound.Bits)
	require.GreaterOrEqual(t, ev.Bound.High, ev.Bound.Bits)
	require.True(t, ev.HeldOut)
	for _, v := range []float64{ev.Bound.Bits, ev.Bound.Prior, ev.Bound.Steps, ev.Bound.Decoder} {
		require.True(t, b.Shows(fmt.Sprintf("%.3f", v)), "the noise is the same at every call")
	}

	tabs := pagetest.Find(b, func(*container.AppTabs) bool { return true })
	var names []string
	for _, i := range tabs.Items {
		names = append(names, i.Text)
	}
	require.Equal(t, []string{"Overview", "Samples", "Noise levels", "Loss", "Settings"}, names)
	tabs.SelectIndex(1)
	b.Wait("a grid", func() bool { return pagetest.Find(b, func(*viewer.Scrubber) bool { return true }) != nil })
	tabs.SelectIndex(2)
	b.Wait("the heat map", func() bool { return pagetest.Find(b, func(*plot.Heat) bool { return true }) != nil })
	tabs.SelectIndex(3)
	b.Wait("the curve", func() bool { _, _, _, ok := curves(b).Last("training loss"); return ok })
	tabs.SelectIndex(4)
	b.WaitText("Learning rate")
	require.True(t, b.Shows("Crop the middle"))

	require.True(t, b.Page.(page.KeyHandler).TypedKey(&fyne.KeyEvent{Name: fyne.KeyEscape}))
	require.NotNil(t, pagetest.Find(b, func(*kit.List) bool { return true }), "back at the list")
	require.True(t, b.Page.(page.KeyHandler).TypedKey(&fyne.KeyEvent{Name: fyne.KeyReturn}))
	require.NotNil(t, pagetest.Find(b, func(*container.AppTabs) bool { return true }))
}

// The settings of ticked runs stand beside each other, those that differ alone unless somebody asks for all.
func TestSettingsOfRunsAreCompared(t *testing.T) {
	if testing.Short() {
		t.Skip("trains a real network")
	}
	b := pagetest.Open(t, runs.New)
	d := b.Dataset(8)
	b.Train(d.ID, 2)
	r := b.Request(d.ID, 3)
	r.LR, r.Preprocess.Fit = 0.0123, "stretch"
	b.TrainAs(r)
	list := pagetest.Find(b, func(*kit.List) bool { return true })
	b.Wait("both runs", func() bool { return list.Length() == 2 })
	require.Nil(t, b.Button("Compare settings"), "nothing is ticked")
	for range 2 {
		b.Wait("a box", func() bool {
			return pagetest.Find(b, func(c *kit.Check) bool { return c.Text == "" && !c.Checked }) != nil
		})
		pagetest.Find(b, func(c *kit.Check) bool { return c.Text == "" && !c.Checked }).SetChecked(true)
	}
	b.Tap("Compare settings")
	b.WaitText("Settings that differ")
	for _, text := range []string{"Steps", "Learning rate", "0.0123", "Fitting", "Stretch", "Crop the middle"} {
		require.True(t, b.Shows(text), text)
	}
	over := b.Window.Canvas().Overlays().Top()
	has := func(text string) bool {
		return pagetest.In(over, func(l *widget.Label) bool { return l.Text == text }) != nil
	}
	require.False(t, has("Batch"), "it is the same")
	pagetest.In(over, func(c *kit.Check) bool { return c.Text == "Show what is the same, too" }).SetChecked(true)
	require.True(t, has("Batch"))
}

// An ended run is trained further from its own list entry: so many steps more.
func TestTrainFurther(t *testing.T) {
	if testing.Short() {
		t.Skip("trains a real network")
	}
	b := pagetest.Open(t, runs.New)
	d := b.Dataset(8)
	run := b.Train(d.ID, 2)
	b.Page.(page.Opener).Open(page.OpenRun{Run: run.ID})
	b.Tap("Train further…")
	b.WaitText("has done 2 steps")
	e := pagetest.Find(b, func(e *page.Entry) bool { return e.Text == "1" })
	require.NotNil(t, e)
	e.SetText("none")
	b.Tap("Train")
	b.Wait("the refusal", func() bool { return len(b.S.Messages()) > 0 })
	b.Tap("Train further…")
	b.WaitText("has done 2 steps")
	pagetest.Find(b, func(e *page.Entry) bool { return e.Text == "1" }).SetText("3")
	b.Tap("Train")
	b.Wait("five steps", func() bool {
		r, err := b.S.Studio.Runs.Get(t.Context(), run.ID)
		require.NoError(t, err)
		return r.State == studio.RunDone && r.Step == 5
	})
	require.Contains(t, b.Visits, pagetest.Navigation{To: page.Train, Target: page.WatchRun{}})
}
