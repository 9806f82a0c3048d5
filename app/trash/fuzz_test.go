package trash

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// FuzzManifest holds that a trash from elsewhere moves and removes nothing outside its workspace, and loses nothing in it.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"version":1,"kind":"run","name":"x","deleted":"2026-01-02T03:04:05Z","paths":["runs/x"]}`))
	f.Add([]byte(`{"version":1,"paths":["../outside","a/../../outside","/outside"]}`))
	f.Add([]byte(`{"version":1,"paths":["runs","runs/x"]}`))
	f.Add([]byte(`{"version":1,"paths":[".","" ]}`))
	f.Add([]byte(`{"version":1,"paths":[".trash/id"]}`))
	f.Add([]byte(`{"version":9,"paths":["runs/x"]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		parent := t.TempDir()
		root := filepath.Join(parent, "ws")
		bin := New(root, filepath.Join(root, ".trash"))
		home := filepath.Join(root, ".trash", "id")
		require.NoError(t, os.MkdirAll(filepath.Join(home, filesName), 0o777))
		require.NoError(t, os.MkdirAll(filepath.Join(root, "runs"), 0o777))
		require.NoError(t, os.WriteFile(filepath.Join(home, manifestName), b, 0o666))
		for _, name := range []string{"0", "1"} {
			require.NoError(t, os.WriteFile(filepath.Join(home, filesName, name), []byte(name), 0o666))
		}
		_, err := bin.Get("id")
		list, lerr := bin.List()
		require.NoError(t, lerr)
		require.Equal(t, err == nil, len(list) == 1)
		rerr := bin.Restore("id")
		if err != nil {
			require.Error(t, rerr)
		}
		entries, err := os.ReadDir(parent)
		require.NoError(t, err)
		require.Len(t, entries, 1, "nothing outside")
		contents := map[string]bool{}
		require.NoError(t, filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				b, err := os.ReadFile(p)
				contents[string(b)] = true
				return err
			}
			return err
		}))
		if rerr != nil { // what could not be brought back is still there
			require.True(t, contents["0"] && contents["1"], "%v", rerr)
		}
		_, _ = bin.Size(t.Context(), "id")
		_, err = bin.Purge(t.Context(), time.Time{}, nil)
		require.NoError(t, err)
	})
}
