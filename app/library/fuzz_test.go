package library

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzOpen holds that an index from elsewhere, whatever its bytes, leads to one that works.
func FuzzOpen(f *testing.F) {
	seed := filepath.Join(f.TempDir(), "library.db")
	d, err := Open(f.Context(), seed)
	require.NoError(f, err)
	require.NoError(f, d.Filled(f.Context()))
	require.NoError(f, d.Close())
	whole, err := os.ReadFile(seed)
	require.NoError(f, err)
	f.Add(whole, uint32(0), []byte(nil))
	f.Add(whole, uint32(100), []byte{0xff, 0, 0xff})
	f.Add(whole, uint32(4096), []byte{0x0d})
	f.Add(whole[:5000], uint32(0), []byte(nil))
	f.Add([]byte("SQLite format 3\x00"), uint32(0), []byte(nil))
	f.Add([]byte("no index"), uint32(0), []byte(nil))
	f.Fuzz(func(t *testing.T, b []byte, at uint32, over []byte) {
		if len(b) > 0 {
			copy(b[int(at)%len(b):], over)
		}
		path := filepath.Join(t.TempDir(), "library.db")
		require.NoError(t, os.WriteFile(path, b, 0o666))
		if err := Verify(t.Context(), path); err != nil {
			require.False(t, errors.Is(err, fs.ErrNotExist))
		}
		d, err := Open(t.Context(), path)
		require.NoError(t, err)
		defer func() { _ = d.Close() }()
		if _, err := d.RunStamps(t.Context()); err != nil {
			require.True(t, Broken(err), "%v", err)
			require.NoError(t, d.Renew(t.Context(), err))
			_, err := d.RunStamps(t.Context())
			require.NoError(t, err)
			require.True(t, d.Fresh())
		}
	})
}
