//go:build unix

package train_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/runtime/runtimetest"
	"unnoise/ui/page/pagetest"
	"unnoise/ui/train"
)

// A run whose learning rate is far too high stops, says so on the page until it is answered, and both ways out do what
// they say.
func TestDivergenceIsMendedFromThePage(t *testing.T) {
	if testing.Short() {
		t.Skip("trains a real network")
	}
	b := pagetest.Open(t, train.New)
	b.NeedRuntime()
	ctx, st := t.Context(), b.S.Studio
	r := b.Request(b.Dataset(8).ID, 50)
	r.LR, r.Warmup = 1e30, 0
	require.NoError(t, st.Training.Start(ctx, r))
	b.WaitText("The training stopped: the training diverged")
	require.False(t, b.Shows("goes on with a learning rate of"), "what was said of the attempts before is overtaken")
	require.Empty(t, b.S.Messages(), "a message that vanishes would only repeat it")
	run := st.Training.Snapshot().Run
	b.Wait("the end", func() bool { return !st.Training.Snapshot().Busy() })

	// Half of the rate that the last attempt had: 1e30 / 2³ / 2.
	b.Tap("Continue with a learning rate of 6.25e+28")
	b.Wait("the lower rate", func() bool {
		s, err := st.Runs.Settings(ctx, run)
		require.NoError(t, err)
		return s.LR == 5e29 // that three attempts divided by 8, and goes on doing so
	})
	b.Wait("the next failure in the place of the first", func() bool {
		return b.Button("Continue with a learning rate of 6.25e+28") == nil && b.Button("Continue with a learning rate of 3.13e+28") != nil
	})
	b.Wait("the end", func() bool { return !st.Training.Snapshot().Busy() })

	b.Tap("Start anew with a learning rate of 3.13e+28")
	b.Wait("another run", func() bool {
		s := st.Training.Snapshot()
		return s.Run != "" && s.Run != run
	})
	s, err := st.Runs.Settings(ctx, st.Training.Snapshot().Run)
	require.NoError(t, err)
	require.InEpsilon(t, 3.125e28, s.LR, 1e-9)
	b.Wait("the old notice to go", func() bool { return b.Button("Start anew with a learning rate of 3.13e+28") == nil })
}

// With no room on the disk the page says so and stays with it; emptying the trash and dropping old checkpoints are asked
// about, done, and the run goes on.
func TestAFullDiskIsMendedFromThePage(t *testing.T) {
	if testing.Short() {
		t.Skip("trains a real network")
	}
	if !runtimetest.Alone(t) {
		return
	}
	b := pagetest.Open(t, train.New)
	b.NeedRuntime()
	ctx, st := t.Context(), b.S.Studio
	d := b.Dataset(8)
	gone := b.Train(d.ID, 2)
	require.NoError(t, st.Runs.Delete(ctx, gone.ID))
	trash := func() int {
		l, err := st.Trash.List(ctx)
		require.NoError(t, err)
		return len(l)
	}
	require.Equal(t, 1, trash())

	r := b.Request(d.ID, 4)
	r.CheckpointEvery, r.KeepLast = 1, 100
	require.NoError(t, st.Training.Start(ctx, r))
	var run string
	b.Wait("four checkpoints", func() bool {
		s := st.Training.Snapshot()
		run = s.Run
		return !s.Busy() && s.Step == 4
	})
	steps := func() (out []int64) {
		cs, err := st.Runs.Checkpoints(ctx, run)
		require.NoError(t, err)
		for _, c := range cs {
			out = append(out, c.Step)
		}
		return out
	}
	require.Equal(t, []int64{4, 3, 2, 1}, steps())

	// The next checkpoints have no room, nor has the last.
	lift := runtimetest.LimitFiles(t, 2<<20)
	defer func() { lift() }()
	require.NoError(t, st.Training.ContinueRun(ctx, run, 6))
	b.WaitText("the checkpoint of step 5 could not be saved")
	b.WaitText("the last checkpoint could not be saved")
	require.Equal(t, []int64{4, 3, 2, 1}, steps(), "what was saved is whole")
	require.NotNil(t, b.Button("Open the folder"))
	b.Wait("the end", func() bool { return !st.Training.Snapshot().Busy() })
	b.Turn()
	require.True(t, b.Shows("the last checkpoint could not be saved"), "it stays")
	lift()
	lift = func() {}

	b.Tap("Keep only the newest checkpoint and continue")
	b.WaitText("Every checkpoint of this run but the newest and the best is removed for good.")
	require.Equal(t, []int64{4, 3, 2, 1}, steps(), "it asks before")
	b.Tap("Cancel")
	require.Equal(t, []int64{4, 3, 2, 1}, steps())
	b.Tap("Keep only the newest checkpoint and continue")
	tapInDialog(b, "Keep only the newest checkpoint and continue")
	b.Wait("the rest of the steps", func() bool { return slices.Equal(steps(), []int64{6, 5, 4}) })
	b.Wait("the failure to go", func() bool { return !b.Shows("the last checkpoint could not be saved") })

	// What warned of the full disk is still there, and empties the trash.
	require.Equal(t, 1, trash())
	b.Tap("Empty the trash")
	tapInDialog(b, "Empty the trash")
	b.Wait("an empty trash", func() bool { return trash() == 0 })
	b.Wait("the warning to go", func() bool { return b.Button("Empty the trash") == nil })
}

// tapInDialog taps a button of the dialog that asks.
func tapInDialog(b *pagetest.Bench, label string) {
	b.T.Helper()
	b.Wait("the question", func() bool { return b.Window.Canvas().Overlays().Top() != nil })
	b.Tap(label) // what lies on top is found first
}
