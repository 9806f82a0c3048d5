package studio

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"unnoise/app/datasets"
	"unnoise/app/disk"
)

func TestDecodedPicturesAreTidied(t *testing.T) {
	if testing.Short() {
		t.Skip("trains a real network")
	}
	ctx := t.Context()
	s := openStudio(t, filepath.Join(t.TempDir(), "ws"))
	src := t.TempDir()
	makePictures(t, src, 24)
	d, err := s.Datasets.Import(ctx, src, "x", nil)
	require.NoError(t, err)
	home := filepath.Join(s.Workspace.Path(), "datasets", d.ID)
	there := func() int {
		t.Helper()
		require.NoError(t, s.Workspace.Refresh(ctx))
		require.NoError(t, s.core.tidyCaches(ctx, cacheBudget))
		found, err := datasets.Caches(home)
		require.NoError(t, err)
		return len(found)
	}
	train := func(name string, side int, steps int64) string {
		req := small(t, s, d.ID, name, steps)
		req.Preprocess.Width, req.Preprocess.Height = side, side
		require.NoError(t, s.Training.Start(ctx, req))
		require.NoError(t, s.Training.Wait(ctx))
		rs, err := s.Runs.List(ctx, RunFilter{Search: name})
		require.NoError(t, err)
		require.Len(t, rs, 1)
		require.Equal(t, RunDone, rs[0].State, rs[0].Error)
		return rs[0].ID
	}
	finished, unfinished := train("finished", 8, 2), train("unfinished", 16, 2)
	require.Equal(t, 2, there(), "both are of the dataset as it is now")
	run, err := s.core.env.openRun(unfinished)
	require.NoError(t, err)
	info := run.Info()
	info.Train.Steps = 4
	require.NoError(t, disk.WriteJSON(filepath.Join(run.Dir, "run.json"), info)) // as if it had been stopped on its way
	require.NoError(t, s.Datasets.Exclude(ctx, d.ID, []int{0}))
	require.Equal(t, 1, there(), "only the unfinished run has a use for pictures of the dataset as it was")
	require.DirExists(t, run.CacheDir())

	// What a waiting run will use stays, whatever there is room for.
	decode(t, s, small(t, s, d.ID, "waits", 2))
	require.Equal(t, 2, there())
	require.NoError(t, s.Training.Hold(ctx, true))
	id, err := s.Training.Enqueue(ctx, small(t, s, d.ID, "waits", 2))
	require.NoError(t, err)
	require.NoError(t, s.core.tidyCaches(ctx, 0))
	require.Equal(t, 1, there())
	require.NoError(t, s.Training.Remove(ctx, id))
	require.NoError(t, s.core.tidyCaches(ctx, 0))
	require.Zero(t, there())

	// Rebuilt as they are needed: a run goes on with the pictures it began with.
	was := info.Data
	require.NoError(t, s.Training.ContinueRun(ctx, unfinished, 4))
	require.NoError(t, s.Training.Wait(ctx))
	r, err := s.Runs.Get(ctx, unfinished)
	require.NoError(t, err)
	require.Equal(t, RunDone, r.State, r.Error)
	require.EqualValues(t, 4, r.Step)
	run, err = s.core.env.openRun(unfinished)
	require.NoError(t, err)
	require.Equal(t, was, run.Info().Data)
	require.Equal(t, 24, run.Info().Data.Images)
	run, err = s.core.env.openRun(finished)
	require.NoError(t, err)
	pics, err := run.Pictures(ctx, s.core.options("", 0))
	require.NoError(t, err)
	require.Equal(t, run.Info().Data.Fingerprint, pics.Fingerprint())
	require.Equal(t, 1, there(), "unclaimed, but in use")
	require.NoError(t, pics.Close())
	require.Zero(t, there())

	// Those of a deleted dataset go when its deletion is not of this hour.
	decode(t, s, small(t, s, d.ID, "again", 2))
	require.NoError(t, s.Datasets.Delete(ctx, d.ID))
	list, err := s.core.env.bin.List()
	require.NoError(t, err)
	trashed := s.core.env.bin.Files(list[0])[0]
	require.NoError(t, s.core.tidyCaches(ctx, cacheBudget))
	found, err := datasets.Caches(trashed)
	require.NoError(t, err)
	require.Len(t, found, 1)
	list[0].Deleted = time.Now().Add(-2 * deletedFor)
	require.NoError(t, disk.WriteJSON(filepath.Join(s.Workspace.Path(), ".trash", list[0].ID, "manifest.json"), list[0]))
	require.NoError(t, s.core.tidyCaches(ctx, cacheBudget))
	found, err = datasets.Caches(trashed)
	require.NoError(t, err)
	require.Empty(t, found)
	_, err = s.Trash.Undo(ctx)
	require.NoError(t, err)
	_, err = s.Datasets.Get(ctx, d.ID)
	require.NoError(t, err)
}

// decode decodes a dataset's pictures for a run like the request.
func decode(t *testing.T, s *Studio, req TrainRequest) {
	t.Helper()
	sc, err := s.core.scan(t.Context(), req.Dataset)
	require.NoError(t, err)
	defer sc.release()
	dir := filepath.Join(s.core.env.ws.Runs(), "0000-new")
	info, err := sc.runInfo(s.core.env.ws, req, dir)
	require.NoError(t, err)
	c, err := datasets.Decode(t.Context(), sc.rep, info.Model.Preprocess, info.Data.Exclude, filepath.Join(dir, info.Data.Cache), disk.Free, nil)
	require.NoError(t, err)
	require.NoError(t, c.Close())
}
