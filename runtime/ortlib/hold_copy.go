//go:build !windows

package ortlib

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// holdCopy copies a file into a folder that only this user can enter, until tidy removes it.
func holdCopy(f *os.File, path string, size int64) (held *os.File, from string, tidy func() error, err error) {
	dir, err := os.MkdirTemp("", "unnoise-library-")
	if err != nil {
		return nil, "", nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	from = filepath.Join(dir, filepath.Base(path))
	held, err = os.OpenFile(from, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o500)
	if err != nil {
		return nil, "", nil, err
	}
	if err := fill(held, f, size); err != nil {
		return nil, "", nil, errors.Join(err, held.Close())
	}
	return held, from, func() error { return errors.Join(held.Close(), os.RemoveAll(dir)) }, nil
}

// fill copies a file of this size and goes back to the copy's beginning; it closes the original.
func fill(to, from *os.File, size int64) error {
	_, err := io.CopyN(to, from, size)
	if err == nil {
		_, err = to.Seek(0, io.SeekStart)
	}
	return errors.Join(err, from.Close())
}
