//go:build linux || darwin

package durable

import (
	"errors"
	"os"
)

// within gives use the descriptors of two open folders.
func within(from, to *os.Root, use func(from, to int) error) error {
	f, err := from.Open(".")
	if err != nil {
		return err
	}
	t, err := to.Open(".")
	if err != nil {
		return errors.Join(err, f.Close())
	}
	return errors.Join(use(int(f.Fd()), int(t.Fd())), f.Close(), t.Close())
}
