package workspace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
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
		`{"format":`: "damaged",
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
	remove, err := w.CopyTo(ctx, to, func(d, n int64, _ string) { last, total = d, n })
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
	require.ErrorContains(t, remove(), "1 files changed")
	require.Len(t, contents(t, w.Dir()), 2)
	require.FileExists(t, late)
	require.FileExists(t, fresh)
}

func TestCopyToRefusesAndCancels(t *testing.T) {
	w := filled(t, 30)
	defer func() { require.NoError(t, w.Close()) }()
	before := contents(t, w.Dir())
	for _, to := range []string{w.Dir(), filepath.Join(w.Dir(), "runs", "x"), filepath.Dir(w.Dir())} {
		_, err := w.CopyTo(context.Background(), to, nil)
		require.Error(t, err, to)
	}
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(w.Dir(), link))
	_, err := w.CopyTo(context.Background(), filepath.Join(link, "sub"), nil)
	require.ErrorContains(t, err, "within")

	parent := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	_, err = w.CopyTo(ctx, filepath.Join(parent, "to"), func(int64, int64, string) {
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
