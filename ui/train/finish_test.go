package train_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/app/studio"
	"unnoise/ui/home"
	"unnoise/ui/page"
	"unnoise/ui/page/pagetest"
	"unnoise/ui/train"
)

// The end of a run is told to the desktop and stands on the page with what may come next, while the queue goes on with
// the next one.
func TestTheEndOfARunIsNotMissed(t *testing.T) {
	if testing.Short() {
		t.Skip("trains a real network")
	}
	b := pagetest.Open(t, train.New)
	b.NeedRuntime()
	var told []string
	b.S.Notify = func(title, text string) { told = append(told, title+": "+text) }
	d := b.Dataset(8)
	first := b.Request(d.ID, 2)
	first.Name = "first"
	require.NoError(t, b.S.Studio.Training.Start(t.Context(), first))
	next := b.Request(d.ID, 100_000)
	next.Name = "next"
	_, err := b.S.Studio.Training.Enqueue(t.Context(), next)
	require.NoError(t, err)
	b.Wait("the next one", func() bool {
		s := b.S.Studio.Training.Snapshot()
		return s.Name == "next" && s.State == studio.JobTraining
	})
	b.WaitText("“first” is done: 2 steps.")
	require.Equal(t, []string{"The training is done: “first” is done: 2 steps."}, told)
	b.Tap("Make a gallery")
	require.Equal(t, pagetest.Navigation{To: page.Gallery, Target: page.NewGallery{Model: "0001-first", Checkpoint: -1}}, b.Visits[len(b.Visits)-1])
	b.Tap("Open the run")
	require.Equal(t, pagetest.Navigation{To: page.Runs, Target: page.OpenRun{Run: "0001-first"}}, b.Visits[len(b.Visits)-1])

	// Home shows it, too, and trained further it waits in the queue.
	h := home.New(b.S)
	b.Window.SetContent(h.Content())
	b.Page = h
	h.Shown()
	b.WaitText("“first” is done: 2 steps.")
	b.Tap("Train further…")
	b.WaitText("has done 2 steps")
	b.Tap("Train")
	b.Wait("the queue", func() bool { return len(b.S.Studio.Training.Queue()) == 1 })
	require.NoError(t, b.S.Studio.Training.Stop())
	b.Wait("the end", func() bool { return !b.S.Studio.Training.Snapshot().Busy() })

	// What was stopped goes on from Home.
	b.WaitText("Stopped at step")
	b.Tap("Continue")
	b.Wait("training", func() bool { return b.S.Studio.Training.Snapshot().State == studio.JobTraining })
	require.Equal(t, "next", b.S.Studio.Training.Snapshot().Name)
	require.NoError(t, b.S.Studio.Training.Stop())
	b.Wait("the end", func() bool { return !b.S.Studio.Training.Snapshot().Busy() })

	// Of a run that is deleted, nothing more is told.
	require.True(t, b.Shows("“first” is done: 2 steps."))
	require.NoError(t, b.S.Studio.Runs.Delete(t.Context(), "0001-first"))
	b.Wait("the run's end to go", func() bool { return !b.Shows("“first” is done: 2 steps.") })
}
