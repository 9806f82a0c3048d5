// Package memory tells how much memory the process uses, that of libraries included.
package memory

import (
	"bytes"
	"os"
	"strconv"
)

// Resident is the memory the process has in use, in bytes; 0 where the system does not tell (it is read from /proc,
// proc(5)).
func Resident() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	f := bytes.Fields(b)
	if len(f) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(string(f[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
