//go:build !windows

package ortlib

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func privateCopy(t *testing.T) {
	t.Helper()
	path := realLibrary(t)
	want := here(t).files[0]
	f, err := os.Open(path)
	require.NoError(t, err)
	held, from, tidy, err := holdCopy(f, path, want.size)
	require.NoError(t, err)
	require.NotNil(t, held)
	st, err := os.Stat(filepath.Dir(from))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o700), st.Mode().Perm())
	require.Equal(t, want.sha256, sum(t, from))
	require.NoError(t, tidy())
	require.NoDirExists(t, filepath.Dir(from))
}
