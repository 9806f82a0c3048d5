//go:build !linux && !windows

package ortlib

import "os"

// hold copies a file into a private folder.
func hold(f *os.File, path string, size int64) (held *os.File, from string, tidy func() error, err error) {
	return holdCopy(f, path, size)
}
