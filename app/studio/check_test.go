package studio

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheckAWorkspace(t *testing.T) {
	dir, _ := prepared(t)
	ctx := t.Context()
	s, err := Open(ctx, dir)
	require.NoError(t, err)
	m := importUntrained(t, s)
	req, err := s.Galleries.Defaults(ctx, m.ID)
	require.NoError(t, err)
	req.Count, req.Steps, req.Name = 3, 2, "three"
	g, err := s.Galleries.Create(ctx, req, nil)
	require.NoError(t, err)
	other, err := s.Datasets.Import(ctx, pngFolder(t), "goes", nil)
	require.NoError(t, err)
	require.NoError(t, s.Datasets.Delete(ctx, other.ID))

	require.NoError(t, os.Mkdir(filepath.Join(dir, "runs", "0009-empty"), 0o777)) // no run, and nothing wrong with it

	last := Progress{}
	rep, err := s.Workspace.Check(ctx, false, func(p Progress) { last = p })
	require.NoError(t, err)
	require.Empty(t, rep.Findings)
	require.True(t, rep.Whole())
	require.Equal(t, []int{1, 3, 1, 0, 1}, []int{rep.Datasets, rep.Pictures, rep.Models, rep.Unhashed, rep.Deleted})
	require.Equal(t, last.Total, last.Done)
	require.NoError(t, s.Close(context.Background()))

	turn := func(path string, at int64) {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		require.NoError(t, err)
		if at < 0 { // from its end
			st, err := f.Stat()
			require.NoError(t, err)
			at += st.Size()
		}
		b := make([]byte, 16)
		_, err = f.ReadAt(b, at)
		require.NoError(t, err)
		for i := range b {
			b[i] ^= 0x55
		}
		_, err = f.WriteAt(b, at)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	images, err := filepath.Glob(filepath.Join(dir, "galleries", g.ID, "*.png"))
	require.NoError(t, err)
	turn(images[1], -40)
	models, err := filepath.Glob(filepath.Join(dir, "models", "*", weightsName))
	require.NoError(t, err)
	turn(models[0], 4000)
	turn(filepath.Join(dir, "datasets", "victim", reportName), 100)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "queue.json"), []byte(`{"version":1,"entries":[{`), 0o666))
	deleted, err := filepath.Glob(filepath.Join(dir, ".trash", "*", "files", "0"))
	require.NoError(t, err)
	require.Len(t, deleted, 1)
	require.NoError(t, os.RemoveAll(deleted[0]))
	index := filepath.Join(dir, "library.db")
	for _, page := range []int64{1, 2, 4, 6} {
		turn(index, page*4096)
	}
	states := func(rep *CheckReport) map[string]CheckState {
		out := make(map[string]CheckState)
		for _, f := range rep.Findings {
			rel, err := filepath.Rel(dir, f.Path)
			require.NoError(t, err)
			out[filepath.ToSlash(rel)] = f.State
			require.NotEmpty(t, f.What.String())
			require.NotEmpty(t, f.Do.String())
		}
		return out
	}
	rel := func(path string) string { r, _ := filepath.Rel(dir, path); return filepath.ToSlash(r) }
	want := map[string]CheckState{
		rel(images[1]): CheckLost, rel(filepath.Dir(models[0])): CheckLost, "datasets/victim": CheckLost,
		"queue.json": CheckLost, rel(deleted[0]): CheckLost, "library.db": CheckMendable,
	}
	before := tree(t, dir)
	rep, err = Check(ctx, dir, false, nil)
	require.NoError(t, err)
	require.False(t, rep.Whole())
	require.Equal(t, want, states(rep))
	require.Equal(t, before, tree(t, dir), "looking changes nothing")

	rep, err = Check(ctx, dir, true, nil)
	require.NoError(t, err)
	want["library.db"] = CheckMended
	require.Equal(t, want, states(rep))
	after := tree(t, dir)
	for path, content := range before {
		if path != "library.db" {
			require.Equal(t, content, after[path], "%s: what cannot be mended stays as it is", path)
		}
	}
	rep, err = Check(ctx, dir, false, nil)
	require.NoError(t, err)
	require.Equal(t, 5, rep.Count(CheckLost))
	require.Zero(t, rep.Count(CheckMendable))
	a, err := Attach(ctx, dir)
	require.NoError(t, err)
	gs, err := a.Galleries.List(ctx)
	require.NoError(t, err)
	require.Len(t, gs, 1)
	require.Equal(t, "three", gs[0].Name)
	require.NoError(t, a.Close(ctx))
}

// pngFolder is a folder of three pictures.
func pngFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	makePictures(t, dir, 3)
	return dir
}
