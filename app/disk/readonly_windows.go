package disk

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/windows"
)

// ReadOnly reports whether err says that nothing may be written there: the disk is read-only, or belongs to others.
func ReadOnly(err error) bool {
	return errors.Is(err, windows.ERROR_WRITE_PROTECT) || errors.Is(err, fs.ErrPermission)
}
