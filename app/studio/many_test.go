//go:build !race

// Ten thousand folders are written and read: with the race detector that takes many minutes.

package studio

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"unnoise/app/library"
)

func TestTenThousandRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("makes ten thousand folders")
	}
	ctx := t.Context()
	dir, _ := prepared(t)
	manyRuns(t, dir, 10_000)
	s, err := Open(ctx, dir)
	require.NoError(t, err)
	began := time.Now()
	require.NoError(t, s.Workspace.Refresh(ctx))
	t.Logf("indexed for the first time in %v", time.Since(began))
	began = time.Now()
	all, err := s.Runs.List(ctx, RunFilter{})
	require.NoError(t, err)
	t.Logf("listed in %v", time.Since(began))
	require.Len(t, all, 10_000)
	require.Equal(t, 10_000, all[0].Number)
	began = time.Now()
	some, err := s.Runs.List(ctx, RunFilter{Search: "run 77", Order: ByLoss, Limit: 20})
	require.NoError(t, err)
	t.Logf("searched in %v", time.Since(began))
	require.Len(t, some, 20)
	began = time.Now()
	require.NoError(t, s.Workspace.Refresh(ctx))
	t.Logf("looked through again in %v", time.Since(began))
	require.NoError(t, s.Close(context.Background()))

	// A deleted index is made anew.
	require.NoError(t, library.Remove(filepath.Join(dir, "library.db")))
	s, err = Open(ctx, dir)
	require.NoError(t, err)
	require.NoError(t, s.Workspace.Refresh(ctx))
	n, err := s.Runs.Count(ctx, RunFilter{})
	require.NoError(t, err)
	require.Equal(t, 10_000, n)
	require.NoError(t, s.Close(context.Background()))
}
