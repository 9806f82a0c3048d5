//go:build !linux && !darwin && !windows

package durable

import "os"

// renameNew renames a file or folder without ever replacing one; it gives fs.ErrExist where there is one.
func renameNew(from *os.Root, old string, to *os.Root, name string) error {
	return reserve(from, old, to, name)
}
