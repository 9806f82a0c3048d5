// Package ortlib finds, verifies and installs the ONNX Runtime shared library.
//
// The library is data from elsewhere, so nothing is loaded but bytes that were checked: size and SHA-256 are pinned
// per platform, and Load keeps what was checked from being changed before it is loaded. A library named by UNNOISE_ORT_LIB may be another build of the same version (CUDA, CoreML …); it is then
// checked for being a whole library of this platform and of that version. The package only looks at files: opening the
// library is the work of package ort.
package ortlib

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/adrg/xdg"

	"unnoise/runtime/sentence"
)

// EnvVar names the environment variable that points at a library (or at the folder that holds it).
const EnvVar = "UNNOISE_ORT_LIB"

var (
	// ErrNotFound says that no usable library is on this machine.
	ErrNotFound = sentence.Errorf("ONNX Runtime %s was not found", Version)
	// ErrRefused says that the library the user named is wrong, damaged or of another version.
	ErrRefused = sentence.Errorf("ONNX Runtime library refused")
)

// Library is a verified ONNX Runtime library.
type Library struct {
	Path    string   // absolute path of the shared library
	Version string   // its version, always Version
	Source  string   // where it was found: "environment", "program", "cache" or "system"
	Skipped []string // one sentence for each library that came earlier in the search and was refused
}

// finder is one search; its fields are the places, so that tests need not touch the machine's.
type finder struct {
	goos, goarch string
	explicit     string   // value of EnvVar
	program      string   // folder of the running program
	cache        string   // folder Install fills
	system       []string // library folders of the system
	open         opener   // nil: openPlain
}

func newFinder() (finder, error) {
	f := finder{goos: runtime.GOOS, goarch: runtime.GOARCH, explicit: os.Getenv(EnvVar)}
	f.cache = filepath.Join(xdg.CacheHome, "unnoise", "onnxruntime", Version, f.goos+"-"+f.goarch)
	f.system = systemDirs(f.goos, f.goarch)
	exe, err := os.Executable()
	if err != nil {
		return f, sentence.Errorf("find the folder of the program: %w", err)
	}
	if real, err := filepath.EvalSymlinks(exe); err == nil {
		exe = real
	}
	f.program = filepath.Dir(exe)
	return f, nil
}

// Find returns the first usable library of: the one UNNOISE_ORT_LIB names, beside the program, the user's cache folder
// (where Install puts it), the system's library folders. A library that is named and cannot be used is an error
// (ErrRefused); elsewhere it is passed over and told in Library.Skipped, or in the error (ErrNotFound) if nothing is left.
func Find(ctx context.Context) (Library, error) {
	f, err := newFinder()
	if err != nil {
		return Library{}, err
	}
	return f.find(ctx)
}

func (f finder) find(ctx context.Context) (Library, error) {
	if f.open == nil {
		f.open = openPlain
	}
	if f.explicit != "" {
		return f.findExplicit(ctx)
	}
	p, ok := platforms[f.goos+"/"+f.goarch]
	if !ok {
		return Library{}, sentence.Errorf("%w: none is pinned for %s/%s; set %s to a build of that version for this machine",
			ErrNotFound, f.goos, f.goarch, EnvVar)
	}
	type place struct{ dir, source string }
	places := []place{{f.program, "program"}, {f.cache, "cache"}}
	for _, d := range f.system {
		places = append(places, place{d, "system"})
	}
	var skipped []string
	for _, pl := range places {
		path, ok := p.pathIn(pl.dir)
		if !ok {
			continue
		}
		err := p.verifyWith(ctx, path, f.open)
		if err == nil {
			return Library{Path: path, Version: Version, Source: pl.source, Skipped: skipped}, nil
		}
		if ctx.Err() != nil {
			return Library{}, ctx.Err()
		}
		if errors.Is(err, errHold) { // it is there, and another in its place would fare no better
			return Library{}, err
		}
		skipped = append(skipped, err.Error())
	}
	found := ""
	if len(skipped) > 0 {
		found = " (" + strings.Join(skipped, "; ") + ")"
	}
	return Library{}, sentence.T("ONNX Runtime {{.Version}} was not found{{.Found}}: run `unnoise runtime install`, or set {{.Variable}} to the path of {{.File}}",
		"Version", Version, "Found", found, "Variable", EnvVar, "File", p.files[0].name).Because(ErrNotFound)
}

// findExplicit judges the library the user named, and only that.
func (f finder) findExplicit(ctx context.Context) (Library, error) {
	refuse := func(err error) (Library, error) {
		if ctx.Err() != nil {
			return Library{}, ctx.Err()
		}
		return Library{}, sentence.Errorf("%w: %w; set %s to a library of ONNX Runtime %s, or unset it", ErrRefused, err, EnvVar, Version)
	}
	path, err := filepath.Abs(f.explicit)
	if err != nil {
		return refuse(err)
	}
	p, pinned := platforms[f.goos+"/"+f.goarch]
	if fi, err := os.Stat(path); err != nil {
		return refuse(sentence.Errorf("%s cannot be read: %w", path, errors.Unwrap(err)))
	} else if fi.IsDir() {
		inside, ok := p.pathIn(path)
		if !ok {
			return refuse(sentence.Errorf("%s holds no ONNX Runtime library", path))
		}
		path = inside
	}
	if !pinned || p.verifyWith(ctx, path, f.open) != nil {
		if err := p.checkOtherBuild(ctx, path, f.goos, f.goarch, f.open); err != nil {
			return refuse(err)
		}
	}
	return Library{Path: path, Version: Version, Source: "environment"}, nil
}

// pathIn returns the first name under which the runtime exists in dir.
func (p platform) pathIn(dir string) (string, bool) {
	for _, n := range p.names {
		path := filepath.Join(dir, n)
		if _, err := os.Stat(path); err == nil {
			return path, true
		}
	}
	return "", false
}

func systemDirs(goos, goarch string) []string {
	switch goos {
	case "linux":
		multiarch := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[goarch]
		return []string{"/usr/local/lib", "/usr/lib/" + multiarch, "/usr/lib64", "/usr/lib"}
	case "darwin":
		return []string{"/opt/homebrew/lib", "/usr/local/lib"}
	case "windows":
		// System32 is left out: Windows keeps an old onnxruntime.dll of its own there.
		return []string{filepath.Join(os.Getenv("ProgramFiles"), "onnxruntime", "lib")}
	}
	return nil
}
