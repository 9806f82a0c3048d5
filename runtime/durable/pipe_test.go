//go:build !windows

package durable

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPipeIsRefused would hang if a pipe were waited for.
func TestPipeIsRefused(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	require.NoError(t, os.Symlink("pipe", filepath.Join(dir, "link")))
	below, err := Below(dir)
	require.NoError(t, err)
	defer below.Root.Close()
	for _, d := range []Disk{{}, below} {
		at := func(n string) string {
			if d.Root == nil {
				return filepath.Join(dir, n)
			}
			return n
		}
		for _, n := range []string{"pipe", "link", "."} {
			_, err := d.Open(at(n))
			require.ErrorIs(t, err, ErrNotRegular)
			_, err = d.OpenAppend(at(n))
			require.ErrorIs(t, err, ErrNotRegular)
			_, err = d.ReadFile(at(n), 10)
			require.ErrorIs(t, err, ErrNotRegular)
		}
		require.ErrorIs(t, d.Sweep(at("pipe")), syscall.ENOTDIR)
		_, err := d.ReadDir(at("pipe"))
		require.ErrorIs(t, err, syscall.ENOTDIR)
		entries, err := d.ReadDir(at("."))
		require.NoError(t, err)
		require.NotEmpty(t, entries)
		_, err = d.NewFolder(at("pipe/x"))
		require.ErrorIs(t, err, syscall.ENOTDIR)
		require.ErrorIs(t, d.WriteFile(at("pipe/x"), text("x")), syscall.ENOTDIR)
	}
	_, err = ReadFile("/dev/zero", 10)
	require.ErrorIs(t, err, ErrNotRegular)
	ok, err := Lock(pipe).TryLock()
	require.True(t, ok || err != nil)

	require.NoError(t, os.WriteFile(filepath.Join(dir, "long"), []byte("12345678901"), 0o600))
	_, err = ReadFile(filepath.Join(dir, "long"), 10)
	require.ErrorContains(t, err, "over 10 bytes")
	_, err = OpenUpTo(filepath.Join(dir, "long"), 10)
	require.ErrorIs(t, err, ErrTooLarge)
	f, err := OpenUpTo(filepath.Join(dir, "long"), 11)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	// Of one that claims more, nothing is read.
	require.NoError(t, os.Truncate(filepath.Join(dir, "long"), 1<<40))
	allocs := testing.AllocsPerRun(1, func() { _, err = ReadFile(filepath.Join(dir, "long"), 1<<38) })
	require.ErrorIs(t, err, ErrTooLarge)
	require.Less(t, allocs, 100.0)
}
