package durable

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// renameNew renames a file or folder without ever replacing one; it gives fs.ErrExist where there is one.
func renameNew(from *os.Root, old string, to *os.Root, name string) error {
	a, err := windows.UTF16PtrFromString(filepath.Join(from.Name(), old))
	if err != nil {
		return err
	}
	b, err := windows.UTF16PtrFromString(filepath.Join(to.Name(), name))
	if err != nil {
		return err
	}
	return windows.MoveFile(a, b)
}
