//go:build !windows

package ortlib

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type member struct {
	name string
	kind byte
	body []byte
	link string
}

func tgz(t testing.TB, members ...member) []byte {
	var b bytes.Buffer
	gz, err := gzip.NewWriterLevel(&b, gzip.NoCompression)
	require.NoError(t, err)
	tw := tar.NewWriter(gz)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Typeflag: m.kind, Size: int64(len(m.body)), Mode: 0o644, Linkname: m.link}
		require.NoError(t, tw.WriteHeader(h))
		_, err := tw.Write(m.body)
		require.NoError(t, err)
	}
	require.NoError(t, tw.Close())
	require.NoError(t, gz.Close())
	return b.Bytes()
}

// fakeNPM puts a program called npm, and nothing else of that name, on the PATH.
func fakeNPM(t testing.TB, script string) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "npm"), []byte("#!/bin/sh\n"+script+"\n"), 0o700))
	t.Setenv("PATH", dir+":/usr/bin:/bin")
}

// serve makes the fake npm deliver archive.
func serve(t testing.TB, archive []byte) {
	path := filepath.Join(t.TempDir(), "served.tgz")
	require.NoError(t, os.WriteFile(path, archive, 0o600))
	fakeNPM(t, fmt.Sprintf(`test "$1 $2 $3" = "pack onnxruntime-node@%s --ignore-scripts" || exit 9
while test "$1" != --pack-destination; do shift; done
cp %q "$2/onnxruntime-node-%s.tgz"`, Version, path, Version))
}

func realArchive(t testing.TB) []byte {
	p, lib := here(t), realLibrary(t)
	members := []member{{name: "package/package.json", kind: tar.TypeReg, body: []byte("{}")}}
	for _, f := range p.files {
		b, err := os.ReadFile(filepath.Join(filepath.Dir(lib), f.name))
		require.NoError(t, err)
		members = append(members, member{name: "package/bin/napi-v6/" + p.npmDir + "/" + f.name, kind: tar.TypeReg, body: b})
	}
	return tgz(t, members...)
}

// leftNothing says that a failed install left no trace but the lock.
func leftNothing(t testing.TB, f finder) {
	entries, err := os.ReadDir(filepath.Dir(f.cache))
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	require.NoError(t, err)
	for _, e := range entries {
		require.Equal(t, "install.lock", e.Name())
	}
}

func TestInstallPutsTheLibraryIntoTheCache(t *testing.T) {
	archive := realArchive(t)
	f := emptyFinder(t)
	serve(t, archive)

	// What a killed install left, and a library that was damaged since.
	require.NoError(t, os.MkdirAll(filepath.Join(filepath.Dir(f.cache), tmpPrefix+"old", "npm-cache"), 0o700))
	require.NoError(t, os.MkdirAll(f.cache, 0o700))
	text(t, f.cache, "damaged")

	var last, total int64
	lib, err := f.install(t.Context(), "", func(d, n int64, _ string) {
		require.LessOrEqual(t, d, n)
		last, total = d, n
	})
	require.NoError(t, err)
	require.Positive(t, total)
	require.Equal(t, total, last)
	require.Equal(t, "cache", lib.Source)
	require.NoError(t, here(t).verify(t.Context(), lib.Path))
	for _, notice := range []string{"onnxruntime-LICENSE", "onnxruntime-ThirdPartyNotices.txt"} {
		b, err := os.ReadFile(filepath.Join(f.cache, notice))
		require.NoError(t, err)
		require.Contains(t, string(b), "Permission is hereby granted")
	}
	entries, err := os.ReadDir(filepath.Dir(f.cache))
	require.NoError(t, err)
	require.Len(t, entries, 2, "the library's folder and the lock")

	got, err := f.find(t.Context())
	require.NoError(t, err)
	require.Equal(t, lib, got)

	// A second install has nothing to do and needs no npm.
	t.Setenv("PATH", t.TempDir())
	again, err := f.install(t.Context(), "", nil)
	require.NoError(t, err)
	require.Equal(t, lib, again)
}

func TestInstallsAtTheSameTimeDoNotDisturbEachOther(t *testing.T) {
	archive := realArchive(t)
	f := emptyFinder(t)
	serve(t, archive)
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() { _, errs[i] = f.install(t.Context(), "", nil) })
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	require.NoError(t, here(t).verify(t.Context(), filepath.Join(f.cache, here(t).files[0].name)))
}

func TestInstallWithoutNPM(t *testing.T) {
	f := emptyFinder(t)
	t.Setenv("PATH", "")
	_, err := f.install(t.Context(), "", nil)
	require.ErrorIs(t, err, ErrNoNPM)
	require.ErrorContains(t, err, "install Node.js")
	require.ErrorContains(t, err, f.cache)
	leftNothing(t, f)
}

func TestInstallTellsWhyNPMFailed(t *testing.T) {
	for name, c := range map[string]struct{ script, says string }{
		"no such version": {`echo "npm error code ETARGET" >&2; echo "npm error notarget No matching version found." >&2; exit 1`, "No matching version found"},
		"silent":          {"exit 3", "check the network"},
		"no archive":      {"exit 0", "npm left no archive"},
	} {
		t.Run(name, func(t *testing.T) {
			f := emptyFinder(t)
			fakeNPM(t, c.script)
			_, err := f.install(t.Context(), "", nil)
			require.ErrorContains(t, err, c.says)
			require.NotContains(t, err.Error(), "\n")
			leftNothing(t, f)
		})
	}
}

func TestCancelEndsNPMAndItsChildren(t *testing.T) {
	f := emptyFinder(t)
	pidFile := filepath.Join(t.TempDir(), "pid")
	fakeNPM(t, fmt.Sprintf(`sleep 600 & echo $! > %q.part; mv %q.part %q; wait`, pidFile, pidFile, pidFile))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { _, err := f.install(ctx, "", nil); done <- err }()

	var b []byte
	require.Eventually(t, func() bool {
		var err error
		b, err = os.ReadFile(pidFile)
		return err == nil
	}, 30*time.Second, 10*time.Millisecond)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	require.NoError(t, err)
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	require.Eventually(t, func() bool { return !running(pid) }, 30*time.Second, 10*time.Millisecond)
	leftNothing(t, f)
}

// running says whether a process lives; a zombie that nobody has collected does not.
func running(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

func TestInstallIntoAnUnwritableCache(t *testing.T) {
	f := emptyFinder(t)
	file := text(t, t.TempDir(), "a file where the folder should be")
	f.cache = filepath.Join(file, "unnoise", "here")
	fakeNPM(t, "exit 0")
	_, err := f.install(t.Context(), "", nil)
	require.ErrorContains(t, err, "make the cache folder")
}

// toy is a platform whose library is a few bytes, so that hostile archives stay small.
func toy(content string) platform {
	sum := sha256.Sum256([]byte(content))
	return platform{npmDir: "toy/x64", files: []pin{{"lib.so", int64(len(content)), hex.EncodeToString(sum[:])}}}
}

const toyName = "package/bin/napi-v6/toy/x64/lib.so"

func TestUnpackRefusesHostileArchives(t *testing.T) {
	p := toy("library")
	good := member{name: toyName, kind: tar.TypeReg, body: []byte("library")}
	many := make([]member, maxMembers+1)
	for i := range many {
		many[i] = member{name: fmt.Sprintf("package/%d", i), kind: tar.TypeReg}
	}
	whole := tgz(t, good)
	for name, c := range map[string]struct {
		archive []byte
		says    string
	}{
		"climbing name":   {tgz(t, member{name: "../../" + toyName, kind: tar.TypeReg, body: good.body}), "lacks"},
		"absolute name":   {tgz(t, member{name: "/" + toyName, kind: tar.TypeReg, body: good.body}), "lacks"},
		"symbolic link":   {tgz(t, member{name: toyName, kind: tar.TypeSymlink, link: "/etc/passwd"}), "is not the file"},
		"hard link":       {tgz(t, member{name: toyName, kind: tar.TypeLink, link: "/etc/passwd"}), "is not the file"},
		"folder":          {tgz(t, member{name: toyName, kind: tar.TypeDir}), "is not the file"},
		"too long":        {tgz(t, member{name: toyName, kind: tar.TypeReg, body: []byte("library and more")}), "is not the file"},
		"other content":   {tgz(t, member{name: toyName, kind: tar.TypeReg, body: []byte("Library")}), "SHA-256"},
		"too many":        {tgz(t, append(many, good)...), "far larger"},
		"empty":           {tgz(t), "lacks"},
		"not gzip":        {[]byte("hello, this is not an archive"), "gzip"},
		"cut":             {whole[:300], "EOF"},
		"no bytes at all": {nil, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			dir := filepath.Join(root, "a", "b", "c")
			require.NoError(t, os.MkdirAll(dir, 0o700))
			err := unpack(t.Context(), bytes.NewReader(c.archive), p, dir, func(int64, int64, string) {})
			require.ErrorContains(t, err, c.says)
			onlyIn(t, root, dir)
		})
	}
}

func TestUnpackTakesNothingElse(t *testing.T) {
	dir := t.TempDir()
	err := unpack(t.Context(), bytes.NewReader(tgz(t,
		member{name: "../escaped", kind: tar.TypeReg, body: []byte("x")},
		member{name: "package/script/install.js", kind: tar.TypeReg, body: []byte("x")},
		member{name: toyName, kind: tar.TypeReg, body: []byte("library")},
		member{name: toyName, kind: tar.TypeReg, body: []byte("another")},
	)), toy("library"), dir, func(int64, int64, string) {})
	require.NoError(t, err)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	b, err := os.ReadFile(filepath.Join(dir, "lib.so"))
	require.NoError(t, err)
	require.Equal(t, "library", string(b))
	require.NoFileExists(t, filepath.Join(filepath.Dir(dir), "escaped"))
}

// onlyIn says that every file under root lies directly in dir and is the pinned one's, possibly unfinished.
func onlyIn(t testing.TB, root, dir string) {
	require.NoError(t, filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && path != filepath.Join(dir, "lib.so") {
			t.Errorf("%s was written", path)
		}
		return err
	}))
}

func FuzzUnpack(f *testing.F) {
	p := toy("library")
	f.Add(tgz(f, member{name: toyName, kind: tar.TypeReg, body: []byte("library")}))
	f.Add(tgz(f, member{name: "../" + toyName, kind: tar.TypeReg, body: []byte("library")}))
	f.Add(tgz(f, member{name: toyName, kind: tar.TypeSymlink, link: "../../x"}))
	f.Add([]byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, b []byte) {
		root := t.TempDir()
		dir := filepath.Join(root, "in")
		require.NoError(t, os.Mkdir(dir, 0o700))
		err := unpack(t.Context(), bytes.NewReader(b), p, dir, func(int64, int64, string) {})
		onlyIn(t, root, dir)
		if err == nil {
			got, err := os.ReadFile(filepath.Join(dir, "lib.so"))
			require.NoError(t, err)
			require.Equal(t, "library", string(got))
		}
	})
}

// Without npm, the library comes from a file: the archive, or the library itself under any name. Nothing else is taken.
func TestInstallFromAFile(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	dir := t.TempDir()
	archive := filepath.Join(dir, "onnxruntime-node-"+Version+".tgz")
	require.NoError(t, os.WriteFile(archive, realArchive(t), 0o600))
	for _, file := range []string{archive, realLibrary(t)} {
		f := emptyFinder(t)
		lib, err := f.install(t.Context(), file, nil)
		require.NoError(t, err)
		require.Equal(t, "cache", lib.Source)
		require.NoError(t, here(t).verify(t.Context(), lib.Path))
	}
	for name, body := range map[string]string{"lib.so": "no library", "other.tgz": "no archive"} {
		wrong := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(wrong, []byte(body), 0o600))
		f := emptyFinder(t)
		_, err := f.install(t.Context(), wrong, nil)
		require.Error(t, err, name)
		leftNothing(t, f)
	}
	f := emptyFinder(t)
	_, err := f.install(t.Context(), filepath.Join(dir, "missing.so"), nil)
	require.ErrorContains(t, err, "missing.so")
	leftNothing(t, f)
}
