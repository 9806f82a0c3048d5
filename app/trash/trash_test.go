package trash

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func bin(t *testing.T) (*Bin, string) {
	t.Helper()
	root := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(root, ".trash"), 0o777))
	return New(root, filepath.Join(root, ".trash")), root
}

func write(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o666))
}

func TestThereAndBack(t *testing.T) {
	b, root := bin(t)
	run := filepath.Join(root, "runs", "7 “龙” 🎨")
	write(t, filepath.Join(run, "deep", "a"), "1")
	img := filepath.Join(root, "galleries", "g", "x.png")
	write(t, img, "2")
	e, err := b.Put("run", "Seven", run, img)
	require.NoError(t, err)
	require.NoDirExists(t, run)
	require.NoFileExists(t, img)
	list, err := b.List()
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, "Seven", list[0].Name)
	size, err := b.Size(context.Background(), e.ID)
	require.NoError(t, err)
	require.Positive(t, size)

	// Something else has taken the place: nothing moves.
	write(t, img, "other")
	require.ErrorContains(t, b.Restore(e.ID), "exists again")
	require.NoDirExists(t, run)
	require.NoError(t, os.Remove(img))
	require.NoError(t, b.Restore(e.ID))
	got, err := os.ReadFile(filepath.Join(run, "deep", "a"))
	require.NoError(t, err)
	require.Equal(t, "1", string(got))
	require.FileExists(t, img)
	list, err = b.List()
	require.NoError(t, err)
	require.Empty(t, list)
}

func TestRefusals(t *testing.T) {
	b, root := bin(t)
	outside := filepath.Join(t.TempDir(), "mine")
	write(t, outside, "x")
	a := filepath.Join(root, "a")
	write(t, a, "x")
	for _, paths := range [][]string{nil, {outside}, {root}, {a, filepath.Join(root, "missing")}, {filepath.Join(root, "..", "x")}} {
		_, err := b.Put("run", "x", paths...)
		require.Error(t, err, "%v", paths)
	}
	require.FileExists(t, a, "a refused deletion moves nothing")
	require.FileExists(t, outside)
	for _, id := range []string{"", "..", "../x", "nope"} {
		require.Error(t, b.Restore(id))
	}
	// A manifest that points outside is not followed.
	e, err := b.Put("run", "x", a)
	require.NoError(t, err)
	write(t, filepath.Join(root, ".trash", e.ID, manifestName), `{"version":1,"kind":"run","name":"x","paths":["../../evil"]}`)
	require.ErrorContains(t, b.Restore(e.ID), "damaged")
}

// A crash may come between any two moves: what has moved comes back, what has not stays.
func TestRestoreAfterACrashInTheMiddle(t *testing.T) {
	b, root := bin(t)
	x, y := filepath.Join(root, "x"), filepath.Join(root, "y")
	write(t, x, "x")
	write(t, y, "y")
	e, err := b.Put("images", "two", x, y)
	require.NoError(t, err)
	require.NoError(t, os.Rename(b.file(e.ID, 1), y)) // as if y had never moved
	require.NoError(t, b.Restore(e.ID))
	require.FileExists(t, x)
	require.FileExists(t, y)

	require.NoError(t, os.MkdirAll(filepath.Join(root, ".trash", "begun", filesName), 0o777))
	write(t, filepath.Join(root, ".trash", "unknown", filesName, "0"), "keep me")
	require.NoError(t, b.Recover())
	require.NoDirExists(t, filepath.Join(root, ".trash", "begun"))
	require.FileExists(t, filepath.Join(root, ".trash", "unknown", filesName, "0"))
}

func TestPurge(t *testing.T) {
	b, root := bin(t)
	for _, n := range []string{"old", "new"} {
		write(t, filepath.Join(root, n), "0123456789")
		_, err := b.Put("run", n, filepath.Join(root, n))
		require.NoError(t, err)
		time.Sleep(3 * time.Millisecond)
	}
	list, err := b.List()
	require.NoError(t, err)
	require.Equal(t, "new", list[0].Name)
	freed, err := b.Purge(context.Background(), list[0].Deleted, nil)
	require.NoError(t, err)
	require.GreaterOrEqual(t, freed, int64(10))
	list, err = b.List()
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, "new", list[0].Name)
}
