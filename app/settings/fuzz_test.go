package settings

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzOpen holds that whatever the file says, the settings in use can be used, and that what is set aside is kept as it was.
func FuzzOpen(f *testing.F) {
	f.Add([]byte(`{"version":1,"device":"cpu","threads":3,"workspace":"/x","language":"zh","theme":"dark","scale":1.5,"export_dir":"/y"}`))
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte(`{"version":1,"scale":1e99}`))
	f.Add([]byte(`{"version":1,"threads":"3"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		path := filepath.Join(dir, "settings.json")
		require.NoError(t, os.WriteFile(path, b, 0o666))
		s, problem := Open(path)
		require.NoError(t, s.Get().Check())
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		kept := false
		for _, e := range entries {
			got, err := os.ReadFile(filepath.Join(dir, e.Name()))
			require.NoError(t, err)
			kept = kept || string(got) == string(b)
		}
		require.True(t, kept, "the file is where it was, or beside it")
		n := s.Get()
		n.Threads = n.Threads%64 + 1
		changed, err := s.Set(n)
		if err != nil {
			require.Error(t, problem, "only what was told at the start stands in the way")
			return
		}
		require.True(t, changed)
		again, err := Open(path)
		require.NoError(t, err)
		require.Equal(t, n, again.Get())
	})
}
