package workspace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

func TestFolderName(t *testing.T) {
	for in, want := range map[string]string{
		"Sprites":                "sprites",
		"  My “best” pics!! ":    "my-best-pics",
		"../../etc/passwd":       "etc-passwd",
		"图片 集":                   "图片-集",
		"🎨🎨":                     "untitled",
		"":                       "untitled",
		"CON":                    "untitled-con",
		".hidden":                "hidden",
		"a\x00b":                 "a-b",
		"ÄÖÜ ß":                  "äöü-ß",
		strings.Repeat("x", 200): strings.Repeat("x", 80),
	} {
		require.Equal(t, want, FolderName(in), "%q", in)
	}
}

func FuzzFolderName(f *testing.F) {
	for _, s := range []string{"a b", "龙", "..", "a/b\\c", strings.Repeat("é", 100), "\xff\xfe"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		got := FolderName(name)
		require.NotEmpty(t, got)
		require.LessOrEqual(t, len(got), maxFolder+len("untitled-"))
		require.True(t, utf8.ValidString(got))
		_, err := Child("/base", got)
		require.NoError(t, err)
	})
}

func TestChildRefusesPaths(t *testing.T) {
	for _, id := range []string{"", ".", "..", "a/b", "/etc", `a\b`, ".hidden", "a/.."} {
		_, err := Child("/base", id)
		require.Error(t, err, "%q", id)
	}
	got, err := Child("/base", "a b “c”")
	require.NoError(t, err)
	require.Equal(t, filepath.Join("/base", "a b “c”"), got)
}

func TestLockNamesItsHolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ws")
	w, err := Open(dir, "window")
	require.NoError(t, err)
	_, err = Open(dir, "window")
	locked, ok := errors.AsType[*LockedError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, os.Getpid(), locked.Holder.PID)
	require.Equal(t, "window", locked.Holder.What)
	a, err := Attach(dir)
	require.NoError(t, err)
	require.False(t, a.Held())
	require.NoError(t, a.Close())
	require.NoError(t, w.Close())
	w, err = Open(dir, "window")
	require.NoError(t, err, "the lock was given back")
	require.NoError(t, w.Close())
}

func TestRefusals(t *testing.T) {
	full := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(full, "tax.pdf"), []byte("x"), 0o600))
	_, err := Open(full, "window")
	require.ErrorContains(t, err, "tax.pdf")

	for content, want := range map[string]string{
		`{"format":"unnoise workspace","version":9}`: "newer Unnoise",
		`{"format":"something else","version":1}`:    "does not describe a workspace",
		`{"format":`: "move that file away and open it again",
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, markerName)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		_, err := Open(dir, "window")
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "\n")
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, content, string(b), "what was there is left alone")
	}

	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = Open(filepath.Join(file, "ws"), "window")
	require.Error(t, err)
	if os.Getuid() != 0 { // root may write everywhere
		ro := t.TempDir()
		require.NoError(t, os.Chmod(ro, 0o500))
		_, err = Open(filepath.Join(ro, "ws"), "window")
		require.ErrorContains(t, err, "cannot be made")
	}
}

// TestFirstMoments holds that a workspace can be opened whatever moment of its making a process died in, and that what
// systems leave in folders does not matter.
func TestFirstMoments(t *testing.T) {
	for name, left := range map[string][]string{
		"nothing":               {},
		"some folders":          {"datasets/", "runs/"},
		"before the marker":     {"datasets/", "runs/", "galleries/", "models/", ".trash/", ".cache/", ".tmp-workspace.json-cc142f4c"},
		"before the folders":    {".tmp-workspace.json-cc142f4c"},
		"a lock and an index":   {".lock", ".place.lock", ".holder.json", "library.db", "library.db-journal"},
		"looked at on a Mac":    {".DS_Store", "._runs", ".localized"},
		"a disk of its own":     {"lost+found/", ".Trash-1000/"},
		"looked at on Windows":  {"desktop.ini", "Thumbs.db", "$RECYCLE.BIN/", "System Volume Information/"},
		"a workspace of a user": {"datasets/", "runs/", "galleries/", "my notes.txt", ".DS_Store"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, n := range left {
				if d, ok := strings.CutSuffix(n, "/"); ok {
					require.NoError(t, os.Mkdir(filepath.Join(dir, d), 0o777))
				} else {
					require.NoError(t, os.WriteFile(filepath.Join(dir, n), []byte("x"), 0o600))
				}
			}
			for range 2 {
				w, err := Attach(dir)
				require.NoError(t, err)
				require.NoError(t, w.Close())
				require.DirExists(t, w.Models())
				require.FileExists(t, filepath.Join(dir, markerName))
			}
		})
	}
}

// TestManyBegin makes a workspace from many processes' places at once.
func TestManyBegin(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "ws")
	var g errgroup.Group
	for range 16 {
		g.Go(func() error {
			w, err := Attach(dir)
			if err != nil {
				return err
			}
			return w.Close()
		})
	}
	require.NoError(t, g.Wait())
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		require.NotContains(t, e.Name(), ".tmp-")
	}
}

// TestMarkerIsMended holds that a workspace outlives the damage or loss of its marker, and that nothing is thrown away.
func TestMarkerIsMended(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ws")
	w, err := Attach(dir)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	run := filepath.Join(w.Runs(), "0001-x")
	require.NoError(t, os.Mkdir(run, 0o777))
	for _, n := range []string{".DS_Store", "holiday plans.txt"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, n), nil, 0o600))
	}
	marker := filepath.Join(dir, markerName)
	for i, damage := range []string{"", `{"format":`, "\x00\x00\x00", "[]", strings.Repeat("x", 1<<17)} {
		require.NoError(t, os.WriteFile(marker, []byte(damage), 0o600))
		w, err := Attach(dir)
		require.NoError(t, err)
		require.Contains(t, w.Mended().String(), "was made anew")
		require.NoError(t, w.Close())
		aside := marker + ".damaged"
		if i > 0 {
			aside += fmt.Sprintf("-%d", i+1)
		}
		b, err := os.ReadFile(aside)
		require.NoError(t, err)
		require.Equal(t, damage, string(b))
		_, err = readMarker(dir)
		require.NoError(t, err)
	}
	require.NoError(t, os.Remove(marker))
	w, err = Attach(dir)
	require.NoError(t, err)
	require.Empty(t, w.Mended().String())
	require.NoError(t, w.Close())
	require.DirExists(t, run)

	// Another program's file of that name stays where it is, whatever else is there.
	require.NoError(t, os.WriteFile(marker, []byte(`{"format":"editor","version":1}`), 0o600))
	_, err = Attach(dir)
	require.ErrorContains(t, err, "does not describe a workspace")
}

// TestReadOnly needs a folder that cannot be written, which root has only on a read-only disk.
func TestReadOnly(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may write everywhere; app/studio tests this on a read-only disk")
	}
	dir := filepath.Join(t.TempDir(), "ws")
	w, err := Attach(dir)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, os.Remove(filepath.Join(dir, placeName)))
	require.NoError(t, os.Chmod(dir, 0o500))
	defer func() { require.NoError(t, os.Chmod(dir, 0o700)) }()
	for _, open := range []func() (*Workspace, error){func() (*Workspace, error) { return Attach(dir) }, func() (*Workspace, error) { return Open(dir, Window) }} {
		w, err := open()
		require.NoError(t, err)
		require.True(t, w.ReadOnly())
		require.False(t, w.Held())
		require.NoError(t, w.Close())
	}
}

// TestPlaceIsHeld holds that a workspace is not moved under those who work in it.
func TestPlaceIsHeld(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ws")
	w, err := Open(dir, Window)
	require.NoError(t, err)
	defer func() { require.NoError(t, w.Close()) }()
	a, err := Attach(dir)
	require.NoError(t, err)
	b, err := Attach(dir)
	require.NoError(t, err, "several may work at once")
	require.NoError(t, b.Close())
	_, err = w.HoldPlace(t.Context())
	require.ErrorContains(t, err, "a command is still working in it")
	require.NoError(t, a.Close())
	release, err := w.HoldPlace(t.Context())
	require.NoError(t, err)
	_, err = Attach(dir)
	require.ErrorContains(t, err, "is being moved")
	release()
	a, err = Attach(dir)
	require.NoError(t, err)
	require.NoError(t, a.Close())
}

func filled(t *testing.T, files int) *Workspace {
	t.Helper()
	w, err := Open(filepath.Join(t.TempDir(), "from"), "window")
	require.NoError(t, err)
	for i := range files {
		dir := filepath.Join(w.Runs(), fmt.Sprintf("%04d “run” 龙", i%7))
		require.NoError(t, os.MkdirAll(dir, 0o777))
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), []byte(strings.Repeat("data", i*37)), 0o666))
	}
	require.NoError(t, os.MkdirAll(filepath.Join(w.Galleries(), "empty"), 0o777))
	require.NoError(t, os.WriteFile(w.Library(), []byte("index"), 0o666))
	require.NoError(t, os.WriteFile(filepath.Join(w.Cache(), "thumb"), []byte("x"), 0o666))
	return w
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		out[rel] = string(b)
		return err
	}))
	return out
}

func TestCopyTo(t *testing.T) {
	ctx := context.Background()
	w := filled(t, 50)
	defer func() { require.NoError(t, w.Close()) }()
	before := contents(t, w.Runs())
	to := filepath.Join(t.TempDir(), "deep", "to")
	var last, total int64
	remove, err := w.CopyTo(ctx, to, nil, func(d, n int64, _ string) { last, total = d, n })
	require.NoError(t, err)
	require.Equal(t, total, last)
	require.Equal(t, before, contents(t, filepath.Join(to, "runs")))
	require.Equal(t, before, contents(t, w.Runs()), "the original is there until it is removed")
	require.DirExists(t, filepath.Join(to, "galleries", "empty"))
	require.NoFileExists(t, filepath.Join(to, "library.db"), "the index is made anew")
	require.NoDirExists(t, filepath.Join(to, ".cache"))

	// What changed or came after the copy is kept.
	late := filepath.Join(w.Runs(), "0001 “run” 龙", "1")
	require.NoError(t, os.WriteFile(late, []byte("changed since"), 0o666))
	fresh := filepath.Join(w.Runs(), "0002 “run” 龙", "new")
	require.NoError(t, os.WriteFile(fresh, []byte("new"), 0o666))
	require.ErrorContains(t, remove(), "2 files came or changed")
	require.Len(t, contents(t, w.Dir()), 2)
	require.FileExists(t, late)
	require.FileExists(t, fresh)
}

func TestCopyToRefusesAndCancels(t *testing.T) {
	w := filled(t, 30)
	defer func() { require.NoError(t, w.Close()) }()
	before := contents(t, w.Dir())
	for _, to := range []string{w.Dir(), filepath.Join(w.Dir(), "runs", "x"), filepath.Dir(w.Dir())} {
		_, err := w.CopyTo(context.Background(), to, nil, nil)
		require.Error(t, err, to)
	}
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(w.Dir(), link))
	_, err := w.CopyTo(context.Background(), filepath.Join(link, "sub"), nil, nil)
	require.ErrorContains(t, err, "within")

	parent := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	_, err = w.CopyTo(ctx, filepath.Join(parent, "to"), nil, func(int64, int64, string) {
		if n++; n == 10 {
			cancel()
		}
	})
	require.ErrorIs(t, err, context.Canceled)
	left, err := os.ReadDir(parent)
	require.NoError(t, err)
	require.Empty(t, left)
	require.Equal(t, before, contents(t, w.Dir()))
}

// TestCopyKeepsPermissions holds that a private workspace is private at its new place, also while it is copied.
func TestCopyKeepsPermissions(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no such permissions")
	}
	w := filled(t, 8)
	defer func() { require.NoError(t, w.Close()) }()
	run := filepath.Join("runs", "0001 “run” 龙")
	modes := map[string]fs.FileMode{
		".": 0o700, "runs": 0o750, run: 0o500, filepath.Join(run, "1"): 0o400, filepath.Join("runs", "0002 “run” 龙", "2"): 0o640, "workspace.json": 0o604,
	}
	for p, m := range modes {
		require.NoError(t, os.Chmod(filepath.Join(w.Dir(), p), m))
	}
	defer func() { require.NoError(t, os.Chmod(filepath.Join(w.Dir(), run), 0o700)) }()
	parent := t.TempDir()
	to := filepath.Join(parent, "to")
	_, err := w.CopyTo(t.Context(), to, nil, func(int64, int64, string) {
		entries, err := os.ReadDir(parent)
		require.NoError(t, err)
		require.Len(t, entries, 1)
		st, err := entries[0].Info()
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o700), st.Mode().Perm())
	})
	require.NoError(t, err)
	for p, m := range modes {
		st, err := os.Stat(filepath.Join(to, p))
		require.NoError(t, err)
		require.Equal(t, m, st.Mode().Perm(), p)
	}
	require.NoError(t, os.Chmod(filepath.Join(to, run), 0o700))

	require.NoError(t, os.Chmod(w.Dir(), 0o755))
	private := filepath.Join(parent, "private")
	require.NoError(t, os.Mkdir(private, 0o700))
	_, err = w.CopyTo(t.Context(), private, nil, nil)
	require.NoError(t, err)
	st, err := os.Stat(private)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o700), st.Mode().Perm(), "a folder that was made private stays so")
	require.NoError(t, os.Chmod(filepath.Join(private, run), 0o700))
}

// TestCopyFollowsChanges holds that what others finish while the workspace is copied is in the copy.
func TestCopyFollowsChanges(t *testing.T) {
	w := filled(t, 20)
	defer func() { require.NoError(t, w.Close()) }()
	to := filepath.Join(t.TempDir(), "to")
	n := 0
	remove, err := w.CopyTo(t.Context(), to, func() error { n = -100; return nil }, func(int64, int64, string) {
		switch n++; n {
		case 5: // a run is finished, one is deleted, one goes on
			require.NoError(t, os.MkdirAll(filepath.Join(w.Runs(), "0000 new"), 0o777))
			require.NoError(t, os.WriteFile(filepath.Join(w.Runs(), "0000 new", "run.json"), []byte("{}"), 0o666))
			require.NoError(t, os.RemoveAll(filepath.Join(w.Runs(), "0000 “run” 龙")))
			require.NoError(t, os.WriteFile(filepath.Join(w.Runs(), "0001 “run” 龙", "1"), []byte("longer than it was before"), 0o666))
		case 19: // while the changes are being copied
			require.NoError(t, os.WriteFile(filepath.Join(w.Runs(), "0000 new", "log.jsonl"), []byte("x"), 0o666))
		}
	})
	require.NoError(t, err)
	require.Less(t, n, 0, "it was asked whether all is quiet")
	require.Equal(t, contents(t, w.Runs()), contents(t, filepath.Join(to, "runs")))
	require.FileExists(t, filepath.Join(to, "runs", "0000 new", "log.jsonl"))
	require.NoError(t, remove())
	require.NoDirExists(t, w.Runs())

	busy := errors.New("busy")
	w2 := filled(t, 3)
	defer func() { require.NoError(t, w2.Close()) }()
	to2 := filepath.Join(t.TempDir(), "to2")
	_, err = w2.CopyTo(t.Context(), to2, func() error { return busy }, nil)
	require.ErrorIs(t, err, busy)
	entries, err := os.ReadDir(filepath.Dir(to2))
	require.NoError(t, err)
	require.Empty(t, entries)
}

// A call is not written through a link that was put in its place.
func TestCallFollowsNoLink(t *testing.T) {
	dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "made")
	host, err := os.Hostname()
	require.NoError(t, err)
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, callName)))
	e := &LockedError{Dir: dir, Holder: Holder{What: Window, Host: host}}
	require.False(t, e.Call(t.Context(), 100*time.Millisecond))
	require.NoFileExists(t, outside)
}
