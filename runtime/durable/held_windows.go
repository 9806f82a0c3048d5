package durable

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// hold does nothing: Windows removes no file that is open, and a folder is removed only once it is old.
func hold(*os.File) (release func()) { return func() {} }

// heldBy tells what is known of a file: that removing it fails while a process has it open. Of a folder nothing is.
func heldBy(dir *os.Root, name string) (held, told bool, release func()) {
	st, err := dir.Lstat(name)
	return false, err == nil && !st.IsDir(), func() {}
}

// inUse reports whether something was not removed because a process has it open.
func inUse(err error) bool { return errors.Is(err, windows.ERROR_SHARING_VIOLATION) }
