// Package memory tells how much memory the process uses, that of libraries included, and how much it still can.
package memory

import (
	"bytes"
	"os"
	"strconv"
)

// Resident is the memory the process has in use, in bytes; 0 where the system does not tell (it is read from /proc,
// proc(5)).
func Resident() int64 { return statm(1) }

// statm is a field of /proc/self/statm, in bytes.
func statm(field int) int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	f := bytes.Fields(b)
	if len(f) <= field {
		return 0
	}
	pages, err := strconv.ParseInt(string(f[field]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

// Free returns the bytes of memory that the process can still take, 0 where the system does not say.
func Free() int64 {
	n, err := free()
	if err != nil {
		return 0
	}
	return n
}
