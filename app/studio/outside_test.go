package studio

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A folder that holds the workspace, and one within it, are no datasets; a gallery is.
func TestSourceAroundTheWorkspace(t *testing.T) {
	home := t.TempDir()
	ws := filepath.Join(home, "pictures", "ws")
	require.NoError(t, os.MkdirAll(filepath.Join(ws, "galleries", "g"), 0o755))
	require.ErrorContains(t, outside(ws, filepath.Join(home, "pictures")), "would become pictures to train on")
	require.ErrorContains(t, outside(ws, home), "would become pictures to train on")
	require.Error(t, outside(ws, filepath.Join(ws, "runs")))
	require.Error(t, outside(ws, ws))
	require.NoError(t, outside(ws, filepath.Join(ws, "galleries", "g")))
	require.NoError(t, outside(ws, filepath.Join(home, "others")))
}

// A dataset whose path is not UTF-8 is there again after the workspace was opened anew.
func TestDatasetOfAnyPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "caf\xe9")
	if os.Mkdir(dir, 0o755) != nil {
		t.Skip("this file system takes UTF-8 only")
	}
	makePictures(t, dir, 5)
	writeImage(t, filepath.Join(dir, "caf\xe9.png"), 9)
	ws := t.TempDir()
	s := openStudio(t, ws)
	d, err := s.Datasets.Import(t.Context(), dir, "", nil)
	require.NoError(t, err)
	require.Equal(t, "caf_", d.Name)
	require.NoError(t, s.Close(t.Context()))
	s = openStudio(t, ws)
	again, err := s.Datasets.Get(t.Context(), d.ID)
	require.NoError(t, err)
	require.False(t, again.Missing)
	require.Equal(t, dir, string(again.Source))
	list, err := s.Datasets.List(t.Context())
	require.NoError(t, err)
	require.False(t, list[0].Missing)
	require.Equal(t, dir, string(list[0].Source))
	again, err = s.Datasets.Rescan(t.Context(), d.ID, nil)
	require.NoError(t, err)
	require.Equal(t, 6, again.Items)
	for i := range again.Items {
		path, err := s.Datasets.RevealPath(t.Context(), d.ID, i)
		require.NoError(t, err)
		require.FileExists(t, path)
	}
}
