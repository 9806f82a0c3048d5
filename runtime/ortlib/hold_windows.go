package ortlib

import (
	"os"

	"golang.org/x/sys/windows"
)

// hold opens a file again such that, until tidy is called, nobody can write, rename or remove it.
func hold(f *os.File, path string, _ int64) (held *os.File, from string, tidy func() error, err error) {
	if err := f.Close(); err != nil {
		return nil, "", nil, err
	}
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, "", nil, err
	}
	h, err := windows.CreateFile(name, windows.GENERIC_READ, windows.FILE_SHARE_READ, nil, windows.OPEN_EXISTING, windows.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		return nil, "", nil, err
	}
	held = os.NewFile(uintptr(h), path)
	return held, path, held.Close, nil
}
