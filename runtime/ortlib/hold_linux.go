package ortlib

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// hold copies a file into sealed memory, which nobody can change, this process included (man 2 memfd_create); where the
// system does not allow that, into a private folder.
func hold(f *os.File, path string, size int64) (held *os.File, from string, tidy func() error, err error) {
	fd, err := unix.MemfdCreate("onnxruntime", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // kernels before 6.3 do not know MFD_EXEC
		fd, err = unix.MemfdCreate("onnxruntime", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return holdCopy(f, path, size)
	}
	held = os.NewFile(uintptr(fd), path)
	if err = fill(held, f, size); err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
	}
	from = fmt.Sprintf("/proc/self/fd/%d", fd)
	if err == nil {
		_, err = os.Stat(from) // a system without /proc
	}
	if err == nil {
		return held, from, held.Close, nil
	}
	_ = held.Close()
	if f, err = openRegular(path); err != nil {
		return nil, "", nil, err
	}
	return holdCopy(f, path, size)
}
