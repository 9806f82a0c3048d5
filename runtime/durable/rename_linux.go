package durable

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// renameNew renames a file or folder without ever replacing one; it gives fs.ErrExist where there is one.
func renameNew(from *os.Root, old string, to *os.Root, name string) error {
	err := within(from, to, func(from, to int) error { return unix.Renameat2(from, old, to, name, unix.RENAME_NOREPLACE) })
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPERM) {
		return reserve(from, old, to, name) // a network or FUSE file system, or a sandbox, that does not know the call
	}
	return err
}
