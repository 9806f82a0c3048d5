//go:build !windows

package disk

import (
	"errors"
	"io/fs"
	"syscall"
)

// ReadOnly reports whether err says that nothing may be written there: the disk is read-only, or belongs to others.
func ReadOnly(err error) bool {
	return errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission)
}
