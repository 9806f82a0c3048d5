package studio

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"unnoise/app/events"
	"unnoise/app/queue"
)

// Whoever hears of a change can undo that very change: a Ctrl-Z pressed at once must not take back the one before.
func TestWhoHearsOfAChangeCanUndoIt(t *testing.T) {
	ctx := t.Context()
	s, err := Attach(ctx, filepath.Join(t.TempDir(), "ws")) // as a subcommand: it does not look at the folders by itself
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close(context.Background())) }()
	src := t.TempDir()
	makePictures(t, src, 12)
	heard := make(chan struct{}, 100)
	t.Cleanup(s.Subscribe(func(e Event) {
		switch e.(type) {
		case events.DatasetsChanged, events.GalleriesChanged, events.QueueChanged:
			heard <- struct{}{}
		}
	}))
	// do makes a change while nothing can be put on the list of what can be undone: nobody must hear of it before it is
	// on that list.
	do := func(want string, change func() error) {
		t.Helper()
		errs := make(chan error, 1)
		s.core.undo.mu.Lock()
		go func() { errs <- change() }()
		early := false
		select {
		case <-heard:
			early = true
		case <-time.After(100 * time.Millisecond):
		}
		s.core.undo.mu.Unlock()
		require.False(t, early, "%s: it was told before it could be undone", want)
		<-heard
		what, _ := s.Trash.CanUndo()
		require.Equal(t, want, what.String())
		require.NoError(t, <-errs)
	}
	var d Dataset
	do("Import of “x”", func() (err error) {
		d, err = s.Datasets.Import(ctx, src, "x", nil)
		return err
	})
	require.NoError(t, os.Mkdir(filepath.Join(s.Workspace.Path(), "galleries", "g"), 0o777))
	do("Renaming to “y”", func() error { return s.Datasets.Rename(ctx, d.ID, "y") })
	do("Exclusion of 2 images", func() error { return s.Datasets.Exclude(ctx, d.ID, []int{0, 1}) })
	do("Inclusion of 1 images", func() error { return s.Datasets.Include(ctx, d.ID, []int{0}) })
	do("Renaming to “h”", func() error { return s.Galleries.Rename(ctx, "g", "h") })
	do("Deletion of the gallery “h”", func() error { return s.Galleries.Delete(ctx, "g") })
	id := queue.NewID()
	require.NoError(t, s.core.sup.change(ctx, func(l *queue.List) error {
		l.Entries = append(l.Entries, queue.Entry{ID: id, Run: "r"})
		return nil
	}, "", nil))
	<-heard
	do("Removal from the queue", func() error { return s.Training.Remove(ctx, id) })
	do("Deletion of the dataset “y”", func() error { return s.Datasets.Delete(ctx, d.ID) })
	for range 7 { // and all of it is taken back, the newest first
		_, err := s.Trash.Undo(ctx)
		require.NoError(t, err)
	}
	d, err = s.Datasets.Get(ctx, d.ID)
	require.NoError(t, err)
	require.Equal(t, "x", d.Name)
	require.Zero(t, d.Excluded)
	g, err := s.Galleries.Get(ctx, "g")
	require.NoError(t, err)
	require.Equal(t, "g", g.Name)
	require.Len(t, s.Training.Queue(), 1)
}

// Wait, called right after something was started, waits for it, even when the queue's goroutine is woken all the time.
func TestWaitRightAfterStart(t *testing.T) {
	if testing.Short() {
		t.Skip("trains a real network")
	}
	ctx := t.Context()
	s := openStudio(t, filepath.Join(t.TempDir(), "ws"))
	src := t.TempDir()
	makePictures(t, src, 12)
	d, err := s.Datasets.Import(ctx, src, "x", nil)
	require.NoError(t, err)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case s.core.sup.wake <- struct{}{}:
			case <-stop:
				return
			}
		}
	}()
	require.NoError(t, s.Training.Wait(ctx), "nothing is there to wait for")
	done := func(n int) {
		t.Helper()
		require.NoError(t, s.Training.Wait(ctx))
		rs, err := s.Runs.List(ctx, RunFilter{State: RunDone})
		require.NoError(t, err)
		require.Len(t, rs, n)
	}
	require.NoError(t, s.Training.Hold(ctx, true))
	require.NoError(t, s.Training.Start(ctx, small(t, s, d.ID, "started", 2)))
	done(1)
	require.True(t, s.Training.Snapshot().Held)
	_, err = s.Training.Enqueue(ctx, small(t, s, d.ID, "queued", 2))
	require.NoError(t, err)
	done(1) // held
	require.NoError(t, s.Training.Hold(ctx, false))
	done(2)
	_, err = s.Training.Enqueue(ctx, small(t, s, d.ID, "queued too", 2))
	require.NoError(t, err)
	done(3)

	// An entry that vanished before it could be started leaves nothing to wait for.
	s.core.sup.mu.Lock()
	s.core.sup.next = queue.NewID()
	s.core.sup.mu.Unlock()
	require.NoError(t, s.Training.Wait(ctx))
}
