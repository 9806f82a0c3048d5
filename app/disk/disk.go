// Package disk is what the services share about files: how much room a disk has, small files of JSON,
// and what the system says when something fails.
package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/dustin/go-humanize"

	"unnoise/runtime/durable"
	"unnoise/runtime/sentence"
)

// Free returns the bytes that may still be written below path; path itself need not exist yet.
func Free(path string) (uint64, error) {
	p, err := filepath.Abs(path)
	if err != nil {
		return 0, err
	}
	for {
		n, err := free(p)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return n, err
		}
		parent := filepath.Dir(p)
		if parent == p {
			return 0, err
		}
		p = parent
	}
}

// Reason is what the system says of a failed call on a file, without the call and the path: those are told in the
// sentence around it.
func Reason(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[syscall.Errno](err); ok { // within a sentence of durable's
		return e
	}
	return err
}

// Writable returns an error if no file could be made in the folder dir, which need not exist yet. It leaves nothing behind,
// and is asked before work that takes long.
func Writable(dir string) error {
	p, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	for {
		st, err := os.Stat(p)
		if (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)) && filepath.Dir(p) != p {
			p = filepath.Dir(p)
			continue
		}
		if err == nil && !st.IsDir() {
			return sentence.Errorf("the folder %s cannot be made: %s is not a folder", dir, p)
		}
		if err == nil {
			var probe *os.File
			if probe, err = os.CreateTemp(p, durable.TempPrefix+"probe-*"); err == nil {
				err = errors.Join(probe.Close(), ignoreMissing(os.Remove(probe.Name()))) // another process may tidy
			}
		}
		if err != nil {
			return sentence.T("the folder {{.Path}} cannot be written ({{.Problem}}): choose another place", "Path", dir, "Problem", Reason(err)).Because(err)
		}
		return nil
	}
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Require returns an error that says how much is missing when fewer than need bytes are free below path.
// free is Free, or a test's own.
func Require(free func(string) (uint64, error), path string, need int64, what sentence.Text) error {
	have, err := free(path)
	if err != nil {
		return sentence.Errorf("the free space of the disk of %s cannot be told: %w", path, err)
	}
	if need > 0 && have < uint64(need) {
		return sentence.T("the disk is too full for {{.What}}: {{.Need}} are needed and {{.Have}} are free at {{.Path}}; make room or choose another disk",
			"What", what, "Need", humanize.Bytes(uint64(need)), "Have", humanize.Bytes(have), "Path", path)
	}
	return nil
}
