package settings

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "settings.json")
	s, err := Open(path)
	require.NoError(t, err)
	require.Equal(t, Settings{}, s.Get())
	want := Settings{Threads: 3, Workspace: "/x/图 “1”", Language: "zh", Theme: "dark", Scale: 2, ExportDir: "/y"}
	changed, err := s.Set(want)
	require.NoError(t, err)
	require.True(t, changed)
	changed, err = s.Set(want)
	require.NoError(t, err)
	require.False(t, changed)
	s, err = Open(path)
	require.NoError(t, err)
	require.Equal(t, want, s.Get())
	for _, bad := range []Settings{{Device: "abacus"}, {Threads: -1}, {Language: "tlh"}, {Theme: "pink"}, {Scale: 9}} {
		_, err := s.Set(bad)
		require.Error(t, err, "%+v", bad)
		require.Equal(t, want, s.Get())
	}
}

func TestDamagedAndNewerFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "settings.json")
	for i, bad := range []string{`{"vers`, `{"version":1,"theme":"pink"}`, ``, `[]`, `{"version":"1"}`} {
		require.NoError(t, os.WriteFile(path, []byte(bad), 0o600))
		for range 2 { // looking changes nothing, and every look tells
			s, err := Open(path)
			require.ErrorContains(t, err, "are damaged and not in use")
			require.NotContains(t, err.Error(), "json: ")
			require.Equal(t, Settings{}, s.Get())
		}
		s, err := Open(path)
		require.Error(t, err)
		_, err = s.Set(Settings{Theme: "dark"})
		require.NoError(t, err)
		_, err = s.Set(Settings{Theme: "light"})
		require.NoError(t, err)
		s, err = Open(path)
		require.NoError(t, err)
		require.Equal(t, Settings{Theme: "light"}, s.Get())
		aside := path + ".damaged"
		if i > 0 {
			aside += fmt.Sprintf("-%d", i+1)
		}
		b, err := os.ReadFile(aside)
		require.NoError(t, err)
		require.Equal(t, bad, string(b))
	}
	const newer = `{"version":7,"theme":"dark","colour":"mauve"}`
	require.NoError(t, os.WriteFile(path, []byte(newer), 0o600))
	s, err := Open(path)
	require.ErrorContains(t, err, "newer Unnoise")
	_, err = s.Set(Settings{Theme: "light"})
	require.ErrorContains(t, err, "newer Unnoise")
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, newer, string(b))

	// What cannot be read now is not damaged.
	folder := filepath.Join(t.TempDir(), "settings.json")
	require.NoError(t, os.Mkdir(folder, 0o700))
	s, err = Open(folder)
	require.Error(t, err)
	_, err = s.Set(Settings{Theme: "light"})
	require.Error(t, err)
	require.DirExists(t, folder)
}

// What the window was left with is there after a restart, survives a change of the settings, and harms nothing where it does
// not fit.
func TestRemembers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "settings.json")
	s, err := Open(path)
	require.NoError(t, err)
	type form struct {
		Name  string
		Steps int
	}
	require.False(t, s.Recall("form", &form{}))
	require.NoError(t, s.Remember("form", form{"fish", 3}))
	_, err = s.Set(Settings{Language: "zh"})
	require.NoError(t, err)
	require.NoError(t, s.Remember("window", []int{1, 2}))
	require.NoError(t, s.Remember("huge", make([]byte, maxRemembered)))
	s, err = Open(path)
	require.NoError(t, err)
	require.Equal(t, "zh", s.Get().Language)
	got := form{Name: "default", Steps: 7}
	require.True(t, s.Recall("form", &got))
	require.Equal(t, form{"fish", 3}, got)
	require.False(t, s.Recall("window", &form{}), "another shape")
	require.False(t, s.Recall("huge", &[]byte{}))

	require.NoError(t, os.WriteFile(path, []byte(`{"version":1,"language":"zh"}`), 0o666)) // as former versions wrote it
	s, err = Open(path)
	require.NoError(t, err)
	require.False(t, s.Recall("form", &form{}))
	require.NoError(t, os.WriteFile(path, []byte(`{"version":99}`), 0o666))
	s, err = Open(path)
	require.Error(t, err)
	require.NoError(t, s.Remember("form", form{"fish", 3}), "kept until the end")
	require.True(t, s.Recall("form", &got))
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, `{"version":99}`, string(b), "a newer version's file is left alone")
}
