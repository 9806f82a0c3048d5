//go:build unix

package studio

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"unnoise/app/workspace"
	"unnoise/runtime/runtimetest"
)

// TestFullDiskOpens holds that a workspace on a full disk is listed, and that its index outlives that.
func TestFullDiskOpens(t *testing.T) {
	if !runtimetest.Alone(t) {
		return
	}
	dir := listed(t)
	lift := runtimetest.LimitFiles(t, 0)
	a, err := Attach(t.Context(), dir)
	require.NoError(t, err)
	all, err := a.Datasets.List(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.NoError(t, a.Close(context.Background()))
	s, err := Open(t.Context(), dir)
	require.NoError(t, err)
	require.NoError(t, s.Workspace.Refresh(t.Context()))
	all, err = s.Datasets.List(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.NoError(t, s.Close(context.Background()))
	lift()
	e, err := openEnv(t.Context(), dir, true)
	require.NoError(t, err)
	require.False(t, e.lib.Fresh())
	require.False(t, e.lib.InMemory())
	require.NoError(t, e.close())
	require.FileExists(t, workspace.Library(dir))
}

// TestPipesAreNotWaitedFor holds that a workspace opens and is checked where pipes lie in place of its folders and index.
func TestPipesAreNotWaitedFor(t *testing.T) {
	for _, name := range []string{"datasets/fish", "datasets/fish/cache", ".cache/trials", "library.db", "runs/r", "galleries/g", "models/m"} {
		dir := listed(t)
		path := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.RemoveAll(path))
		require.NoError(t, syscall.Mkfifo(path, 0o600))
		done := make(chan error, 1)
		go func() {
			_, err := Check(context.Background(), dir, false, nil)
			s, oerr := Attach(context.Background(), dir)
			if oerr == nil {
				oerr = s.Close(context.Background())
			}
			done <- errors.Join(err, oerr)
		}()
		select {
		case err := <-done:
			require.NoError(t, err, name)
		case <-time.After(time.Minute):
			t.Fatalf("a pipe at %s is waited for", name)
		}
	}
}
