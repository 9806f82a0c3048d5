package studio

import (
	"archive/zip"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/app/runs"
	"unnoise/pipeline/train"
	"unnoise/runtime/safetensors"
)

// unzip unpacks an archive of our own.
func unzip(t *testing.T, path, dir string) {
	t.Helper()
	z, err := zip.OpenReader(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, z.Close()) }()
	require.NoError(t, os.CopyFS(dir, z))
}

func weightsIn(t *testing.T, path string) map[string][]float32 {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	st, err := f.Stat()
	require.NoError(t, err)
	h, err := safetensors.ReadHeader(f, st.Size())
	require.NoError(t, err)
	out := map[string][]float32{}
	require.NoError(t, h.ReadData(io.Reader(f), func(i safetensors.Info) ([]float32, error) {
		n := 1
		for _, d := range i.Shape {
			n *= d
		}
		out[i.Name] = make([]float32, n)
		return out[i.Name], nil
	}))
	return out
}

// TestStoredWorkspaces reads a workspace of each version there was (bench/fixtures/workspace.sh makes them) and goes on with
// all that it holds. A run must end where the version that began it would have ended: to the bit on the machine where that
// was, and nearly so on others, whose processors add in another order.
func TestStoredWorkspaces(t *testing.T) {
	stored, err := filepath.Glob(filepath.Join("testdata", "workspaces", "*.zip"))
	require.NoError(t, err)
	require.NotEmpty(t, stored)
	for _, archive := range stored {
		t.Run(strings.TrimSuffix(filepath.Base(archive), ".zip"), func(t *testing.T) {
			tmp, ctx := t.TempDir(), t.Context()
			unzip(t, archive, tmp)
			dir := filepath.Join(tmp, "workspace")
			rep, err := Check(ctx, dir, false, nil)
			require.NoError(t, err)
			require.Empty(t, rep.Findings)
			require.Equal(t, []int{1, 2, 3, 5, 1, 1, 1}, []int{rep.Runs, rep.Checkpoints, rep.Records, rep.Pictures, rep.Datasets, rep.Caches, rep.Deleted})

			s, err := Open(ctx, dir)
			require.NoError(t, err)
			defer func() { require.NoError(t, s.Close(context.Background())) }()
			require.NoError(t, s.Workspace.Refresh(ctx))
			r, err := s.Runs.Get(ctx, "0001-small")
			require.NoError(t, err)
			require.Equal(t, []any{RunDone, int64(3), "good from step 2 on", []string{"small"}, true, "tiny"}, []any{r.State, r.Step, r.Notes, r.Tags, r.Starred, r.Preset})
			log, _, _, err := s.Runs.Log(ctx, "0001-small", 0)
			require.NoError(t, err)
			require.Len(t, log, 3)
			gs, err := s.Galleries.List(ctx)
			require.NoError(t, err)
			require.Len(t, gs, 1)
			require.Equal(t, 3, gs[0].Images)
			d, err := s.Datasets.Get(ctx, "pictures")
			require.NoError(t, err)
			require.Equal(t, []any{24, 0, 2, true}, []any{d.Items, d.Bad, len(d.Classes), d.Missing})
			waitFor(t, "the queue", func() bool { return len(s.Training.Queue()) > 0 })
			q := s.Training.Queue()
			require.Len(t, q, 1)
			require.Equal(t, []any{"pictures", "tiny", int64(50), "Waiting"}, []any{q[0].Request.Dataset, q[0].Request.Preset, q[0].Request.Steps, q[0].Request.Name})
			items, err := s.Trash.List(ctx)
			require.NoError(t, err)
			require.Len(t, items, 1)
			require.NoError(t, s.Trash.Restore(ctx, items[0].ID))
			_, err = s.Datasets.Get(ctx, "deleted")
			require.NoError(t, err)

			run, err := runs.Open(filepath.Join(dir, "runs", "0001-small"))
			require.NoError(t, err)
			require.NoError(t, run.Update(func(i *runs.Info) { i.Train.Steps = 6 }))
			out, err := run.Train(ctx, runs.Options{})
			require.NoError(t, err)
			require.True(t, out.Done)
			want := weightsIn(t, filepath.Join(tmp, "expected", "weights.safetensors"))
			got := weightsIn(t, filepath.Join(dir, "runs", "0001-small", train.CheckpointDir, "000006", "weights.safetensors"))
			require.Equal(t, len(want), len(got))
			for name, w := range want {
				require.InDeltaSlice(t, w, got[name], 1e-4, name)
			}
			was, err := train.ReadLog(filepath.Join(tmp, "expected", "log.jsonl"))
			require.NoError(t, err)
			now, err := run.Log()
			require.NoError(t, err)
			require.Len(t, now, len(was))
			for i := range was {
				require.InDelta(t, was[i].Loss, now[i].Loss, 1e-3*was[i].Loss)
				require.InDelta(t, was[i].LR, now[i].LR, 1e-12)
			}
			rep, err = s.Workspace.Check(ctx, false, nil)
			require.NoError(t, err)
			require.Empty(t, rep.Findings)
		})
	}
}
