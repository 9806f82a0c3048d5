package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
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
	dead, err := Disk{}.NewFolder(filepath.Join(dir, "dead"))
	require.NoError(t, err)
	dead.release() // as the end of its process does
	require.NoError(t, os.WriteFile(filepath.Join(dir, "kept"), nil, 0o600))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "gone", "sub"), 0o700))
	require.Len(t, names(t, dir), 3)
	require.NoError(t, Sweep(dir))
	require.NoError(t, RemoveAll(filepath.Join(dir, "gone")))
	require.Equal(t, []string{"kept"}, names(t, dir))
	require.ErrorIs(t, RemoveAll(filepath.Join(dir, "gone")), fs.ErrNotExist)
	require.ErrorIs(t, Sweep(filepath.Join(dir, "no")), fs.ErrNotExist)
}

func TestNewNeverReplaces(t *testing.T) {
	dir := t.TempDir()
	p := filepath.Join(dir, "thesis")
	late := func(w io.Writer) error { // it comes while the file is being written
		require.NoError(t, os.WriteFile(p, []byte("thesis"), 0o600))
		return text("mine")(w)
	}
	err := WriteNew(p, late)
	require.ErrorIs(t, err, fs.ErrExist)
	require.ErrorContains(t, err, "exists already: choose another name")
	require.ErrorIs(t, WriteNew(p, func(io.Writer) error { t.Error("refused before the work"); return nil }), fs.ErrExist)
	b, err := os.ReadFile(p)
	require.NoError(t, err)
	require.Equal(t, "thesis", string(b))

	require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, "link")))
	require.ErrorIs(t, WriteNew(filepath.Join(dir, "link"), text("x")), fs.ErrExist)
	require.NoError(t, WriteNew(filepath.Join(dir, "new"), text("new")))

	// An empty folder, which an ordinary rename replaces, and a file, likewise.
	for _, make := range []func(string) error{func(p string) error { return os.Mkdir(p, 0o700) }, func(p string) error { return WriteFile(p, text("x")) }} {
		dst := filepath.Join(dir, "folder")
		f, err := Disk{}.NewFolder(dst)
		require.NoError(t, err)
		_, err = f.Write("a", text("a"))
		require.NoError(t, err)
		require.NoError(t, make(dst))
		require.ErrorIs(t, f.Commit(), fs.ErrExist)
		require.NoError(t, f.Discard())
		require.NoError(t, os.Remove(dst))
	}
	require.Equal(t, []string{"link", "new", "thesis"}, names(t, dir), "nothing is left behind")
}

func TestRenameNew(t *testing.T) {
	for name, rename := range map[string]func(old, path string) error{
		"here": RenameNew,
		"where the system cannot": func(old, path string) error {
			from, err := os.OpenRoot(filepath.Dir(old))
			require.NoError(t, err)
			defer from.Close()
			return reserve(from, filepath.Base(old), from, filepath.Base(path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			at := func(n string) string { return filepath.Join(dir, n) }
			for _, n := range []string{"file", "taken"} {
				require.NoError(t, os.WriteFile(at(n), []byte(n), 0o600))
			}
			for _, n := range []string{"folder", "empty"} {
				require.NoError(t, os.Mkdir(at(n), 0o700))
			}
			require.NoError(t, os.WriteFile(filepath.Join(at("folder"), "f"), []byte("f"), 0o600))
			for _, old := range []string{"file", "folder"} {
				for _, dst := range []string{"taken", "empty"} {
					require.ErrorIs(t, rename(at(old), at(dst)), fs.ErrExist, "%s to %s", old, dst)
				}
			}
			require.ErrorIs(t, rename(at("no"), at("new")), fs.ErrNotExist)
			require.NoError(t, rename(at("file"), at("file2")))
			require.NoError(t, rename(at("folder"), at("folder2")))
			require.FileExists(t, filepath.Join(at("folder2"), "f"))
			require.Equal(t, []string{"empty", "file2", "folder2", "taken"}, names(t, dir))
			b, err := os.ReadFile(at("taken"))
			require.NoError(t, err)
			require.Equal(t, "taken", string(b))
		})
	}
}

// TestBelow holds that nothing within a folder from elsewhere leads out of it.
func TestBelow(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	for _, n := range []string{"precious", ".tmp-x-0123abcd"} {
		require.NoError(t, os.WriteFile(filepath.Join(outside, n), []byte("precious"), 0o600))
	}
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "link")))
	require.NoError(t, os.Symlink(filepath.Join(outside, "precious"), filepath.Join(dir, "log")))
	require.NoError(t, os.Symlink(filepath.Join(outside, "made"), filepath.Join(dir, "lock")))
	d, err := Below(dir)
	require.NoError(t, err)
	defer d.Root.Close()
	for what, err := range map[string]error{
		"write":  d.WriteFile("link/precious", text("x")),
		"new":    d.WriteNew("link/new", text("x")),
		"up":     d.WriteFile("../x", text("x")),
		"sweep":  d.Sweep("link"),
		"remove": d.RemoveAll("link/precious"),
		"rename": d.RenameNew("link/precious", "mine"),
		"mkdir":  d.MkdirAll("link/new"),
		"lock":   Lock(filepath.Join(dir, "lock")).Lock(),
	} {
		require.Error(t, err, what)
	}
	_, err = d.Open("log")
	require.Error(t, err)
	_, err = d.OpenAppend("log")
	require.ErrorIs(t, err, ErrNotRegular)
	_, err = Disk{}.OpenAppend(filepath.Join(dir, "log"))
	require.ErrorIs(t, err, ErrNotRegular)
	_, err = d.Sub("link")
	require.Error(t, err)
	_, err = d.NewFolder("link/new")
	require.Error(t, err)
	require.NoError(t, d.WriteFile("log", text("the link itself is replaced")))
	require.Equal(t, []string{".tmp-x-0123abcd", "precious"}, names(t, outside))
	b, err := os.ReadFile(filepath.Join(outside, "precious"))
	require.NoError(t, err)
	require.Equal(t, "precious", string(b))

	require.NoError(t, d.MkdirAll("a/b"))
	require.NoError(t, d.MkdirAll("a/b"))
	require.ErrorIs(t, d.MkdirAll("log/b"), syscall.ENOTDIR)
	sub, err := d.Sub("a")
	require.NoError(t, err)
	defer sub.Root.Close()
	require.NoError(t, sub.WriteNew("b/c", text("c")))
	b, err = d.ReadFile("a/b/c", 1)
	require.NoError(t, err)
	require.Equal(t, "c", string(b))
	require.Equal(t, filepath.Join(dir, "a", "b", "c"), sub.Path("b/c"))
}

func TestSweepKeepsOthers(t *testing.T) {
	dir := t.TempDir()
	others := []string{".tmp-", ".tmp-mywork", ".tmp-notes-of-2026", ".tmp-report-20261126", ".tmp-123456", ".tmp-x-0123ABCD"}
	for _, n := range append(others, ".tmp-cache.bin-0123abcd", ".tmp-probe-3214567", tempName("x"), tempName(strings.Repeat("龙", 80))) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, n), nil, 0o600))
	}
	require.NoError(t, Sweep(dir))
	require.ElementsMatch(t, others, names(t, dir))
}

func TestSweepFor(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat("龙", 80)
	for _, n := range []string{".tmp-mine-0123abcd", tempName("mine"), tempName("mine-2"), tempName("not-mine"), tempName(long)} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, n), nil, 0o600))
	}
	require.NoError(t, SweepFor(dir, Becomes("mine", long)))
	left := names(t, dir)
	require.Len(t, left, 2)
	require.Contains(t, left[0], "-mine-2-")
	require.Contains(t, left[1], "-not-mine-")
}

// TestSweepKeepsTheLiving holds that nothing that is being written is taken away, by this or another process.
func TestSweepKeepsTheLiving(t *testing.T) {
	dir := t.TempDir()
	dead := filepath.Join(dir, tempName("new"))
	require.NoError(t, WriteFile(filepath.Join(dir, "file"), text("x")))
	require.NoError(t, os.MkdirAll(filepath.Join(dead, "sub"), 0o777))
	f, err := Disk{}.NewFolder(filepath.Join(dir, "new"))
	require.NoError(t, err)
	require.NoDirExists(t, dead, "what is left of the same folder goes with the next")
	require.NoError(t, os.MkdirAll(filepath.Join(dead, "sub"), 0o777))
	_, err = f.Write("a", text("a"))
	require.NoError(t, err)
	require.NoError(t, WriteFile(filepath.Join(dir, "file"), func(w io.Writer) error {
		require.Len(t, names(t, dir), 4)
		require.NoError(t, Sweep(dir))
		require.Len(t, names(t, dir), 3, "the dead one is gone, what is being written is there")
		return text("x")(w)
	}))
	require.NoError(t, Sweep(dir))
	require.NoError(t, f.Commit())
	require.Equal(t, []string{"file", "new"}, names(t, dir))
	require.FileExists(t, filepath.Join(dir, "new", "a"))

	f, err = Disk{}.NewFolder(filepath.Join(dir, "newer"))
	require.NoError(t, err)
	require.NoError(t, f.Discard())
	require.Equal(t, []string{"file", "new"}, names(t, dir))
}

// TestFirstWriteTidies holds that whatever writes into a folder first removes what dead processes left there, and only that.
func TestFirstWriteTidies(t *testing.T) {
	for name, write := range map[string]func(path string) error{
		"file": func(p string) error { return WriteFile(p, text("x")) },
		"new":  func(p string) error { return WriteNew(p, text("x")) },
		"folder": func(p string) error {
			f, err := Disk{}.NewFolder(p)
			return errors.Join(err, f.Commit())
		},
		"below a root": func(p string) error {
			d, err := Below(filepath.Dir(p))
			return errors.Join(err, d.WriteFile(filepath.Base(p), text("x")), d.Root.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, tempName("anything")), nil, 0o600))
			require.NoError(t, os.WriteFile(filepath.Join(dir, ".tmp-not-ours-0badcafe"), nil, 0o600))
			require.NoError(t, write(filepath.Join(dir, "mine")))
			require.Equal(t, []string{".tmp-not-ours-0badcafe", "mine"}, names(t, dir))
		})
	}
}

// TestSweepBesideWriters sweeps all the time while others write.
func TestSweepBesideWriters(t *testing.T) {
	dir := t.TempDir()
	var g errgroup.Group
	var done atomic.Int32
	for i := range 4 {
		g.Go(func() error {
			defer done.Add(1)
			for j := range 50 {
				if err := WriteFile(filepath.Join(dir, fmt.Sprint(i)), text(fmt.Sprint(j))); err != nil {
					return err
				}
				f, err := Disk{}.NewFolder(filepath.Join(dir, fmt.Sprintf("folder-%d-%d", i, j)))
				if err != nil {
					return err
				}
				if err := f.Commit(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for done.Load() < 4 {
		require.NoError(t, Sweep(dir))
	}
	require.NoError(t, g.Wait())
	require.Len(t, names(t, dir), 4+4*50)
}
