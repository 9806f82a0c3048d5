package workspace

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzMarker holds that a workspace whose marker is from elsewhere is refused in a sentence or opens, and that what the
// marker was is not lost.
func FuzzMarker(f *testing.F) {
	f.Add([]byte(`{"format":"unnoise workspace","version":1,"created":"2026-01-02T03:04:05Z"}`))
	f.Add([]byte(`{"format":"unnoise workspace","version":99}`))
	f.Add([]byte(`{"format":"unnoise workspace","version":-1}`))
	f.Add([]byte(`{"format":`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := filepath.Join(t.TempDir(), "ws")
		w, err := Open(dir, Window)
		require.NoError(t, err)
		require.NoError(t, w.Close())
		require.NoError(t, os.WriteFile(w.MarkerPath(), b, 0o666))
		require.NoError(t, os.WriteFile(filepath.Join(dir, holderName), b, 0o666))
		a, err := Attach(dir)
		if err == nil {
			require.NoError(t, a.Marker())
			require.NoError(t, a.Close())
		} else if _, newer := errors.AsType[*NewerError](err); !newer {
			require.NotEmpty(t, err.Error())
		}
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		kept := false
		for _, e := range entries {
			if e.Type().IsRegular() {
				got, err := os.ReadFile(filepath.Join(dir, e.Name()))
				require.NoError(t, err)
				kept = kept || string(got) == string(b)
			}
		}
		require.True(t, kept)
		_ = readHolder(dir)
	})
}
