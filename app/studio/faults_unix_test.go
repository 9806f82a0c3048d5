//go:build unix

package studio

import (
	"context"
	"testing"

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
