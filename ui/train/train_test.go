package train_test

import (
	"testing"

	"fyne.io/fyne/v2/widget"
	"github.com/stretchr/testify/require"

	"unnoise/app/studio"
	"unnoise/ui/page"
	"unnoise/ui/page/pagetest"
	"unnoise/ui/train"
	"unnoise/ui/widgets/form"
	"unnoise/ui/widgets/plot"
)

func TestWithoutADataset(t *testing.T) {
	b := pagetest.Open(t, train.New)
	b.WaitText("No dataset yet")
	require.True(t, b.Button("Start").Disabled())
	require.True(t, b.Shows("There is no dataset yet."), "the reason stands beside the button")
	b.Tap("Go to Datasets")
	require.Equal(t, page.Datasets, b.Visits[0].To)
}

// field is the entry that shows the value of a setting.
func field(b *pagetest.Bench, value string) *form.Entry {
	return pagetest.Find(b, func(e *form.Entry) bool { return e.Entry.Text == value })
}

// A real run is cloned into the form, started, held, sampled, stopped, continued and finished from the page.
func TestTrainFromThePage(t *testing.T) {
	if testing.Short() {
		t.Skip("trains a real network")
	}
	b := pagetest.Open(t, train.New)
	d := b.Dataset(10)
	b.WaitText("10 pictures")
	run := b.Train(d.ID, 2) // a short one, for its settings
	b.WaitText("Loss by noise level")
	b.Page.(page.Opener).Open(page.TrainLike{Run: run.ID})
	b.Wait("the clone", func() bool { return field(b, "2") != nil && b.Button("Start") != nil })

	b.WaitText("Measured on this computer")
	steps := field(b, "2")
	steps.Entry.SetText("100000")
	b.WaitText("have changed since")
	b.Tap("Start")
	b.Wait("training", func() bool {
		return b.S.Studio.Training.Snapshot().State == studio.JobTraining && b.Button("Stop") != nil
	})
	b.Tap("Pause")
	b.WaitText("Paused")
	b.Tap("Sample now")
	b.Wait("a grid", func() bool { s := b.S.Studio.Training.Snapshot(); return s.GridStep > 0 && s.State == studio.JobPaused })
	b.Tap("Go on")
	at := b.S.Studio.Training.Snapshot().Step
	b.Wait("steps", func() bool { return b.S.Studio.Training.Snapshot().Step > at+2 })

	// Another waits meanwhile, and can be taken out and put back.
	b.Tap("Set up")
	b.Tap("Add to the queue")
	b.WaitText("The next one starts when the present one is done.")
	b.Tap("Watch")
	require.False(t, b.Button("Stop").Disabled())
	b.Page.(page.Starter).Start() // Ctrl+Enter stops
	b.Wait("the stop", func() bool { return !b.S.Studio.Training.Snapshot().Busy() && b.Button("Continue") != nil })
	require.True(t, b.Shows("Stopped at step"))
	p := pagetest.Find(b, func(p *plot.Plot) bool { return len(p.Series()) > 0 })
	require.NotNil(t, p)
	require.NotEmpty(t, p.Series())
	b.Tap("Set up")
	b.WaitText("The queue is held: nothing starts by itself.")
	q := b.S.Studio.Training.Queue()
	require.Len(t, q, 1)
	require.NoError(t, b.S.Studio.Training.Remove(t.Context(), q[0].ID))
	b.Wait("an empty queue", func() bool { return !b.Shows("The queue is held: nothing starts by itself.") })

	b.Tap("Watch")
	b.Tap("Continue")
	b.Wait("training", func() bool { return b.S.Studio.Training.Snapshot().State == studio.JobTraining })
	require.NoError(t, b.S.Studio.Training.Stop())
	b.Wait("the end", func() bool { return !b.S.Studio.Training.Snapshot().Busy() })
	require.Nil(t, pagetest.Find(b, func(o *widget.Button) bool { return o.Text == "Stopping…" && !o.Disabled() }))
}
