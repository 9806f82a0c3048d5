package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
}

func names(t *testing.T, dir string) (out []string) {
	t.Helper()
	es, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range es {
		out = append(out, e.Name())
	}
	return out
}

// lying is a file that loses what is written past a limit, with or without saying so.
type lying struct {
	File
	left *int
	err  error
}

func (f lying) Write(p []byte) (int, error) {
	if len(p) <= *f.left {
		*f.left -= len(p)
		return f.File.Write(p)
	}
	n, _ := f.File.Write(p[:*f.left])
	*f.left = 0
	if f.err == nil {
		return len(p), nil
	}
	return n, f.err
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	p := filepath.Join(dir, "a.txt")
	require.NoError(t, WriteFile(p, text("one")))
	require.NoError(t, WriteFile(p, text("two")))
	b, err := os.ReadFile(p)
	require.NoError(t, err)
	require.Equal(t, "two", string(b))
	require.NoError(t, WriteFile(filepath.Join(dir, strings.Repeat("n", 255)), text("longest name")))

	boom := errors.New("boom")
	require.ErrorIs(t, WriteFile(p, func(w io.Writer) error { _ = text("x")(w); return boom }), boom)
	require.ErrorIs(t, WriteFile(filepath.Join(dir, "no", "a.txt"), text("x")), fs.ErrNotExist)
	for _, err := range []error{boom, nil} {
		left := 2
		full := Disk{Create: func(p string) (File, error) {
			f, cerr := CreateNew(p)
			return lying{f, &left, err}, cerr
		}}
		got := full.WriteFile(p, text("three"))
		if err != nil {
			require.ErrorIs(t, got, boom)
		} else {
			require.ErrorContains(t, got, "5 bytes were written but the file holds 2")
		}
	}
	b, err = os.ReadFile(p)
	require.NoError(t, err)
	require.Equal(t, "two", string(b), "the former file is untouched")
	require.Equal(t, []string{"a.txt", strings.Repeat("n", 255)}, names(t, dir), "nothing is left behind")
}

func TestFullDisk(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full on this system")
	}
	full := Disk{Create: func(string) (File, error) { return os.OpenFile("/dev/full", os.O_WRONLY, 0) }}
	err := full.WriteFile(filepath.Join(t.TempDir(), "a"), text("x"))
	require.True(t, IsFull(err), err)
	require.False(t, IsFull(fs.ErrExist))
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	dst := filepath.Join(dir, "out")
	f, err := Disk{}.NewFolder(dst)
	require.NoError(t, err)
	for _, bad := range []string{"../x", "/x", "", ".", "a/../../x"} {
		_, err := f.Write(bad, text("x"))
		require.ErrorContains(t, err, "leads out", bad)
	}
	var wg sync.WaitGroup
	for _, n := range []string{"a", "sub/b", "sub/c", "sub/deep/d"} {
		wg.Go(func() {
			k, err := f.Write(n, text(n))
			if err != nil || k != int64(len(n)) {
				t.Errorf("%s: %d, %v", n, k, err)
			}
		})
	}
	wg.Wait()
	_, err = f.Write("a", text("again"))
	require.ErrorIs(t, err, fs.ErrExist)
	require.NoDirExists(t, dst, "not before Commit")
	require.NoError(t, f.Commit())
	require.NoError(t, f.Discard())
	b, err := os.ReadFile(filepath.Join(dst, "sub", "deep", "d"))
	require.NoError(t, err)
	require.Equal(t, "sub/deep/d", string(b))

	g, err := Disk{}.NewFolder(dst)
	require.NoError(t, err)
	require.ErrorIs(t, g.Commit(), fs.ErrExist)
	require.NoError(t, g.Discard())
	require.Equal(t, []string{"out"}, names(t, dir))
}

func TestSweepAndRemove(t *testing.T) {
	dir := t.TempDir()
	_, err := Disk{}.NewFolder(filepath.Join(dir, "dead"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "kept"), nil, 0o600))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "gone", "sub"), 0o700))
	require.Len(t, names(t, dir), 3)
	require.NoError(t, Sweep(dir))
	require.NoError(t, RemoveAll(filepath.Join(dir, "gone")))
	require.Equal(t, []string{"kept"}, names(t, dir))
	require.ErrorIs(t, RemoveAll(filepath.Join(dir, "gone")), fs.ErrNotExist)
	require.ErrorIs(t, Sweep(filepath.Join(dir, "no")), fs.ErrNotExist)
}
