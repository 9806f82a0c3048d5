//go:build !windows

package durable

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// hold locks an open file or folder until release is called, also after f is closed. Where the file system has no locks,
// it does nothing.
func hold(f *os.File) (release func()) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return func() {}
	}
	for unix.Flock(fd, unix.LOCK_EX) == syscall.EINTR { //nolint:errorlint // it waits while another process sweeps
	}
	return func() { _ = unix.Close(fd) }
}

// heldBy reports whether a process holds a file or folder, and whether that could be told; until release is called no
// other can begin to.
func heldBy(dir *os.Root, name string) (held, told bool, release func()) {
	f, err := dir.OpenFile(name, os.O_RDONLY|nonBlocking|noFollow, 0)
	if err != nil {
		return false, false, func() {}
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	return errors.Is(err, syscall.EWOULDBLOCK), err == nil, func() { _ = f.Close() }
}

// inUse reports whether something was not removed because a process has it open; here that hinders nothing.
func inUse(error) bool { return false }
