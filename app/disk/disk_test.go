package disk

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/runtime/sentence"
)

func TestFreeOfWhatDoesNotExistYet(t *testing.T) {
	dir := t.TempDir()
	here, err := Free(dir)
	require.NoError(t, err)
	require.Positive(t, here)
	there, err := Free(filepath.Join(dir, "not", "yet"))
	require.NoError(t, err)
	require.InDelta(t, float64(here), float64(there), 1e9)
}

func TestRequire(t *testing.T) {
	free := func(string) (uint64, error) { return 1_000_000, nil }
	require.NoError(t, Require(free, "/x", 1_000_000, sentence.T("the run")))
	require.EqualError(t, Require(free, "/x", 3_000_000, sentence.T("the run")),
		"the disk is too full for the run: 3.0 MB are needed and 1.0 MB are free at /x; make room or choose another disk")
	broken := errors.New("broken")
	require.ErrorIs(t, Require(func(string) (uint64, error) { return 0, broken }, "/x", 1, sentence.T("the run")), broken)
}

// A folder that is not there yet is as writable as the one it would be made in, and asking leaves nothing.
func TestWritable(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, Writable(dir))
	require.NoError(t, Writable(filepath.Join(dir, "not", "yet")))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.ErrorContains(t, Writable(filepath.Join(file, "sub")), file+" is not a folder")
}
