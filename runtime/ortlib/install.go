package ortlib

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// notices are ONNX Runtime's LICENSE and ThirdPartyNotices.txt of release 1.27.0. The npm package carries neither, and
// both must go wherever the library goes.
//
//go:embed notices
var notices embed.FS

// ErrNoNPM says that the npm client, which fetches the library, is not on this machine.
var ErrNoNPM = sentence.Errorf("npm was not found")

// Progress is told the bytes done of total and what is going on. It is called from one goroutine at a time.
type Progress func(done, total int64, what string)

// Install puts the pinned library into the user's cache folder with the npm client, unless it is there already, and
// returns it. The download ends with ctx; nothing half-done is left where Find looks. Installs at the same time wait for
// each other. A nil progress is allowed.
func Install(ctx context.Context, progress Progress) (Library, error) {
	f, err := newFinder()
	if err != nil {
		return Library{}, err
	}
	return f.install(ctx, "", progress)
}

// DownloadBytes is how much Install fetches, about.
const DownloadBytes = tarballSize

// InstallFrom is Install for a computer without npm or network: it takes the library from a file that was brought there, the
// package's archive or the library itself, if that is the pinned one.
func InstallFrom(ctx context.Context, path string, progress Progress) (Library, error) {
	f, err := newFinder()
	if err != nil {
		return Library{}, err
	}
	return f.install(ctx, path, progress)
}

// install takes the library from a file, or, where none is named, through npm.
func (f finder) install(ctx context.Context, from string, progress Progress) (lib Library, err error) {
	if progress == nil {
		progress = func(int64, int64, string) {}
	}
	p, ok := platforms[f.goos+"/"+f.goarch]
	if !ok {
		return Library{}, sentence.Errorf("%w for %s/%s: build it and set %s to its path", ErrNotFound, f.goos, f.goarch, EnvVar)
	}
	lib = Library{Path: filepath.Join(f.cache, p.files[0].name), Version: Version, Source: "cache"}
	if p.verify(ctx, lib.Path) == nil {
		return lib, nil
	}
	npm := ""
	if from == "" {
		npm, err = exec.LookPath("npm")
	}
	if err != nil {
		return Library{}, sentence.T("npm was not found: install Node.js (it brings npm) and try again, or put {{.File}} of ONNX Runtime {{.Version}} into {{.Folder}}",
			"File", p.files[0].name, "Version", Version, "Folder", f.cache).Because(ErrNoNPM)
	}
	parent := filepath.Dir(f.cache)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return Library{}, sentence.Errorf("make the cache folder: %w", err)
	}
	lock := flock.New(filepath.Join(parent, "install.lock"))
	progress(0, tarballSize, "waiting for another install")
	if _, err := lock.TryLockContext(ctx, 100*time.Millisecond); err != nil {
		return Library{}, sentence.Errorf("lock %s: %w", lock.Path(), err)
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	if p.verify(ctx, lib.Path) == nil { // the other install has done it
		return lib, nil
	}
	if err := removeLeftovers(parent); err != nil {
		return Library{}, err
	}
	tmp, err := os.MkdirTemp(parent, tmpPrefix)
	if err != nil {
		return Library{}, sentence.Errorf("make a temporary folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()

	out := filepath.Join(tmp, "out")
	if err := os.Mkdir(out, 0o755); err != nil {
		return Library{}, sentence.Errorf("make a temporary folder: %w", err)
	}
	tarball := from
	if from == "" {
		if tarball, err = download(ctx, npm, tmp, progress); err != nil {
			return Library{}, err
		}
	}
	if from != "" && !isArchive(from) {
		err = p.take(ctx, from, out, progress)
	} else {
		err = unpackFile(ctx, tarball, p, out, progress)
	}
	if err != nil {
		return Library{}, err
	}
	progress(1, 1, "checking")
	if err := writeNotices(out); err != nil {
		return Library{}, err
	}
	if err := replaceDir(out, f.cache, filepath.Join(tmp, "damaged")); err != nil {
		return Library{}, err
	}
	if err := p.verify(ctx, lib.Path); err != nil {
		return Library{}, err
	}
	return lib, nil
}

func isArchive(path string) bool {
	return strings.HasSuffix(path, ".tgz") || strings.HasSuffix(path, ".tar.gz")
}

// take copies the platform's files from beside the library at path, which may have any name, into dir. Each must be the pinned
// one.
func (p platform) take(ctx context.Context, path, dir string, progress Progress) error {
	for i, want := range p.files {
		from := path
		if i > 0 {
			from = filepath.Join(filepath.Dir(path), want.name)
		}
		progress(int64(i), int64(len(p.files)), "copying")
		f, err := openRegular(from)
		if err != nil {
			return sentence.Errorf("open %s: %w", from, err)
		}
		err = want.write(filepath.Join(dir, want.name), readerWithContext{ctx, f})
		if err = errors.Join(err, f.Close()); err != nil {
			return sentence.T("{{.File}} is not the file of ONNX Runtime {{.Version}} for this computer: choose {{.Name}} of it, or the archive {{.Archive}}",
				"File", from, "Version", Version, "Name", want.name, "Archive", npmPackage+"-"+Version+".tgz").Because(err)
		}
	}
	return nil
}

// writeNotices writes ONNX Runtime's licence and its notices of third parties into dir.
func writeNotices(dir string) error {
	entries, err := fs.ReadDir(notices, "notices")
	if err != nil {
		return sentence.Errorf("read the notices: %w", err)
	}
	for _, e := range entries {
		b, err := fs.ReadFile(notices, "notices/"+e.Name())
		if err != nil {
			return sentence.Errorf("read the notices: %w", err)
		}
		if err := os.WriteFile(filepath.Join(dir, "onnxruntime-"+e.Name()), b, 0o644); err != nil {
			return sentence.Errorf("write the notices: %w", err)
		}
	}
	return nil
}

const tmpPrefix = ".install-"

// removeLeftovers deletes what killed installs left behind; the caller holds the lock.
func removeLeftovers(parent string) error {
	old, err := filepath.Glob(filepath.Join(parent, tmpPrefix+"*"))
	if err != nil {
		return sentence.Errorf("look for leftovers: %w", err)
	}
	for _, dir := range old {
		if err := os.RemoveAll(dir); err != nil {
			return sentence.Errorf("remove a leftover: %w", err)
		}
	}
	return nil
}

// replaceDir moves the folder from to to; what was at to goes to aside.
func replaceDir(from, to, aside string) error {
	if err := os.Rename(to, aside); err != nil && !errors.Is(err, os.ErrNotExist) {
		return sentence.Errorf("move the damaged library aside: %w", err)
	}
	if err := durable.SyncDir(from); err != nil {
		return sentence.Errorf("write the library: %w", err)
	}
	if err := os.Rename(from, to); err != nil {
		return sentence.Errorf("move the library into the cache: %w", err)
	}
	if err := durable.SyncDir(filepath.Dir(to)); err != nil {
		return sentence.Errorf("write the library: %w", err)
	}
	return nil
}

// download lets npm fetch the package into dir and returns the path of its archive. npm checks the archive against the
// registry's checksum; --ignore-scripts keeps the package's own code from running.
func download(ctx context.Context, npm, dir string, progress Progress) (string, error) {
	cmd := exec.CommandContext(ctx, npm, "pack", npmPackage+"@"+Version, //nolint:gosec // constants
		"--ignore-scripts", "--no-update-notifier", "--loglevel=error",
		"--pack-destination", dir,
		// A cache of its own, so that the growing file can be watched and nothing is left in the user's.
		"--cache", filepath.Join(dir, "npm-cache"))
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	killGroup(cmd)
	cmd.WaitDelay = 5 * time.Second

	const what = "downloading ONNX Runtime " + Version
	progress(0, tarballSize, what)
	done := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				progress(min(largestFile(dir), tarballSize), tarballSize, what)
			}
		}
	})
	err := cmd.Run()
	close(done)
	watcher.Wait()
	if ctx.Err() != nil {
		return "", sentence.Errorf("download of ONNX Runtime: %w", ctx.Err())
	}
	if err != nil {
		return "", sentence.T("npm could not fetch {{.Package}} {{.Version}} ({{.Problem}}): {{.Reason}}",
			"Package", npmPackage, "Version", Version, "Problem", err, "Reason", npmReason(stderr.String())).Because(err)
	}
	tarball := filepath.Join(dir, npmPackage+"-"+Version+".tgz")
	if _, err := os.Stat(tarball); err != nil {
		return "", sentence.Errorf("npm left no archive of %s %s: update npm and try again", npmPackage, Version)
	}
	progress(tarballSize, tarballSize, what)
	return tarball, nil
}

// npmReason picks from npm's complaint the first line that says something to a person.
func npmReason(stderr string) string {
	for line := range strings.Lines(stderr) {
		line = strings.TrimSpace(line)
		for _, p := range []string{"npm ERR! ", "npm error "} {
			line = strings.TrimPrefix(line, p)
		}
		if line == "" || strings.HasPrefix(line, "code ") || strings.HasPrefix(line, "errno ") || strings.HasPrefix(line, "syscall ") {
			continue
		}
		if r := []rune(line); len(r) > 300 {
			line = string(r[:300]) + "…"
		}
		return line
	}
	return "check the network and the free disk space, and try again"
}

// largestFile returns the length of the longest file under dir: the archive, as far as it has come.
func largestFile(dir string) (size int64) {
	// Files vanish while npm works, and a wrong figure only shows in the progress: errors are passed over.
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if fi, err := d.Info(); err == nil {
				size = max(size, fi.Size())
			}
		}
		return nil
	})
	return size
}
