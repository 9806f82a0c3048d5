package studio

import (
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"unnoise/app/events"
	"unnoise/app/workspace"
	"unnoise/runtime/durable"
)

// listed makes a workspace with one dataset and closes it.
func listed(t *testing.T) (dir string) {
	t.Helper()
	src := t.TempDir()
	makePictures(t, src, 4)
	dir = filepath.Join(t.TempDir(), "ws")
	s, err := Open(t.Context(), dir)
	require.NoError(t, err)
	_, err = s.Datasets.Import(t.Context(), src, "Fish", nil)
	require.NoError(t, err)
	require.NoError(t, s.Workspace.Refresh(t.Context()))
	require.NoError(t, s.Close(context.Background()))
	return dir
}

// requireListed opens the workspace as a subcommand and as a window do, and looks that all is listed; it returns what was
// told.
func requireListed(t *testing.T, dir string) (told []string) {
	t.Helper()
	for _, open := range []func(context.Context, string) (*Studio, error){Attach, Open} {
		s, err := open(t.Context(), dir)
		require.NoError(t, err)
		require.NoError(t, s.Workspace.Refresh(t.Context()))
		all, err := s.Datasets.List(t.Context())
		require.NoError(t, err)
		require.Len(t, all, 1)
		require.Equal(t, "Fish", all[0].Name)
		for _, n := range s.Unheard() {
			told = append(told, n.Text.String())
		}
		require.NoError(t, s.Close(context.Background()))
	}
	return told
}

// TestIndexFaults holds that nothing that is wrong with the index keeps the workspace from being listed.
func TestIndexFaults(t *testing.T) {
	dir := listed(t)
	path := workspace.Library(dir)
	good, err := os.ReadFile(path)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(good), 8*4096)
	require.Empty(t, requireListed(t, dir))
	for _, page := range []int{1, 3, len(good)/4096 - 1} {
		bad := append([]byte(nil), good...)
		copy(bad[page*4096:], strings.Repeat("\xa5", 4096))
		require.NoError(t, os.WriteFile(path, bad, 0o600))
		told := requireListed(t, dir)
		require.Len(t, told, 1, "page %d", page)
		require.Contains(t, told[0], "made anew from the folders")
		require.Empty(t, requireListed(t, dir), "it is whole again")
	}
	require.NoError(t, os.WriteFile(path, []byte("my library of books"), 0o600))
	told := requireListed(t, dir)
	require.Len(t, told, 2)
	require.Contains(t, told[0], "is not an index of this program and is left as it is")
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "my library of books", string(b))
}

// TestReadOnlyWorkspace holds that what cannot be written can be read: a disk that is read-only, another user's folder.
func TestReadOnlyWorkspace(t *testing.T) {
	if asOrdinaryUser(t) {
		return
	}
	dir := listed(t)
	chmod := func(mode fs.FileMode) {
		require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				return os.Chmod(path, mode|0o500)
			}
			if err == nil {
				return os.Chmod(path, mode|0o400)
			}
			return err
		}))
	}
	before, err := os.ReadFile(workspace.Library(dir))
	require.NoError(t, err)
	chmod(0)
	told := requireListed(t, dir)
	chmod(0o200)
	require.NotEmpty(t, told)
	require.Contains(t, told[0], "cannot be written: it is open for reading only")
	for _, text := range told {
		require.NotContains(t, text, "damaged")
	}
	after, err := os.ReadFile(workspace.Library(dir))
	require.NoError(t, err)
	require.Equal(t, before, after)
	require.Empty(t, requireListed(t, dir))
}

// TestMoveLeavesAWholeIndex holds that the index of a workspace that was moved is a filled one, and that a workspace is
// not moved under a subcommand.
func TestMoveLeavesAWholeIndex(t *testing.T) {
	dir := listed(t)
	require.NoError(t, os.Chmod(dir, 0o700))
	s, err := Open(t.Context(), dir)
	require.NoError(t, err)
	a, err := Attach(t.Context(), dir)
	require.NoError(t, err)
	to := filepath.Join(t.TempDir(), "to")
	require.ErrorContains(t, s.Workspace.Move(t.Context(), to, nil), "a command is still working in it")
	require.NoDirExists(t, to)
	require.NoError(t, a.Close(context.Background()))
	require.NoError(t, s.Workspace.Move(t.Context(), to, nil))
	require.NoDirExists(t, dir)
	require.False(t, s.core.env.lib.Fresh())
	require.NoError(t, s.Close(context.Background()))
	e, err := openEnv(t.Context(), to, true)
	require.NoError(t, err)
	require.False(t, e.lib.Fresh(), "the next start finds it filled")
	require.NoError(t, e.close())
	require.Empty(t, requireListed(t, to))
	st, err := os.Stat(to)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o700), st.Mode().Perm())
}

// TestStartTidiesThings holds that what killed processes left goes with the next start, of a subcommand too, wherever in
// the workspace it lies, and nothing else does.
func TestStartTidiesThings(t *testing.T) {
	dir := listed(t)
	places := []string{".", "datasets", "datasets/fish", "runs", "galleries", "galleries/g", "models", ".cache"}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "galleries", "g"), 0o777))
	for _, p := range places {
		for _, n := range []string{durable.TempPrefix + "x-0badcafe", ".tmp-mine", ".tmp-report-20261126"} {
			require.NoError(t, os.WriteFile(filepath.Join(dir, p, n), nil, 0o600))
		}
		require.NoError(t, os.MkdirAll(filepath.Join(dir, p, durable.TempPrefix+"folder-0badcafe", "sub"), 0o777))
	}
	s, err := Attach(t.Context(), dir)
	require.NoError(t, err)
	require.NoError(t, s.Close(context.Background()))
	for _, p := range places {
		left, err := filepath.Glob(filepath.Join(dir, p, ".tmp-*"))
		require.NoError(t, err)
		require.Equal(t, []string{filepath.Join(dir, p, ".tmp-mine"), filepath.Join(dir, p, ".tmp-report-20261126")}, left)
	}
}

// TestNotesStayInTheWorkspace holds that a note that came with a workspace has nothing removed elsewhere.
func TestNotesStayInTheWorkspace(t *testing.T) {
	dir := listed(t)
	outside := t.TempDir()
	victim := filepath.Join(outside, durable.TempPrefix+"x-0badcafe")
	require.NoError(t, os.Mkdir(victim, 0o777))
	notes := filepath.Join(dir, ".cache", "unfinished")
	require.NoError(t, os.MkdirAll(notes, 0o777))
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "galleries", "link")))
	for i, place := range []string{outside, filepath.Join(dir, "..", filepath.Base(dir), "galleries", "link"), filepath.Join(dir, "galleries", "link")} {
		b, err := json.Marshal(unfinished{What: events.T("Import"), Dir: place})
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(notes, strings.Repeat("a", i+1)+".json"), b, 0o600))
	}
	s, err := Attach(t.Context(), dir)
	require.NoError(t, err)
	require.Len(t, s.Unheard(), 3)
	require.NoError(t, s.Close(context.Background()))
	require.DirExists(t, victim)
	left, err := os.ReadDir(notes)
	require.NoError(t, err)
	require.Empty(t, left)
}
