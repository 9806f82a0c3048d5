//go:build unix

package library

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/runtime/runtimetest"
)

func mkfifo(t *testing.T, path string) {
	t.Helper()
	require.NoError(t, syscall.Mkfifo(path, 0o600))
}

// TestFullDiskKeepsTheIndex fills the disk at several places and looks that the index as it was is there afterwards.
func TestFullDiskKeepsTheIndex(t *testing.T) {
	if !runtimetest.Alone(t) {
		return
	}
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "library.db")
	d, _ := openTest(t, path)
	for i := range 500 {
		require.NoError(t, d.PutRuns(ctx, Run{ID: fmt.Sprint(i), Notes: "some notes to fill pages with"}))
	}
	require.NoError(t, d.Filled(ctx))
	require.NoError(t, d.Close())
	st, err := os.Stat(path)
	require.NoError(t, err)
	for _, room := range []int64{0, 1, 100, 4096, st.Size() / 2, st.Size()} {
		lift := runtimetest.LimitFiles(t, uint64(room))
		d, err := Open(ctx, path)
		require.NoError(t, err, "room for %d", room)
		for i := 500; i < 3000 && err == nil; i++ {
			err = d.PutRuns(ctx, Run{ID: fmt.Sprint(i), Notes: strings.Repeat("more", 100)})
		}
		if !d.InMemory() {
			require.Error(t, err, "room for %d", room)
			require.True(t, Broken(err), "%v", err)
			require.NoError(t, d.Renew(ctx, err))
		}
		require.True(t, d.InMemory())
		require.True(t, d.Fresh())
		require.Contains(t, d.Notice().String(), "kept in memory")
		require.NoError(t, d.PutRuns(ctx, Run{ID: "x"}))
		require.NoError(t, d.Close())
		lift()
		d, fresh := openTest(t, path)
		require.False(t, fresh, "room for %d", room)
		n, err := d.CountRuns(ctx, RunQuery{})
		require.NoError(t, err)
		require.GreaterOrEqual(t, n, 500)
		require.NoError(t, d.Close())
	}
}
