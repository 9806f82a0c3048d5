package memory

import (
	"bufio"
	"bytes"
	"math"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// free is the least of what the computer, the process's control group and its limit on addresses (ulimit -v) leave.
func free() (int64, error) {
	n, err := available()
	if err != nil {
		return 0, err
	}
	return max(min(n, inGroup(), inLimit()), 1), nil
}

// available adds MemAvailable and SwapFree of /proc/meminfo (proc(5)): what programs can still use, however slowly.
func available() (int64, error) {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	var n int64
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		fields := strings.Fields(sc.Text())
		if len(fields) >= 2 && (fields[0] == "MemAvailable:" || fields[0] == "SwapFree:") {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				return 0, err
			}
			n += kib << 10
		}
	}
	return n, sc.Err()
}

// inGroup is what the limits of the process's control group and those around it leave (cgroup v2, memory.max), without
// what is only cached there.
func inGroup() int64 {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return math.MaxInt64
	}
	_, group, ok := bytes.Cut(b, []byte("0::"))
	if !ok {
		return math.MaxInt64
	}
	group, _, _ = bytes.Cut(group, []byte("\n"))
	least := int64(math.MaxInt64)
	for dir := path.Join("/sys/fs/cgroup", string(group)); strings.HasPrefix(dir, "/sys/fs/cgroup"); dir = path.Dir(dir) {
		limit, err := number(path.Join(dir, "memory.max"))
		if err != nil {
			continue // there is none
		}
		stat, err := os.ReadFile(path.Join(dir, "memory.stat"))
		if err != nil {
			continue
		}
		fields := strings.Fields(string(stat))
		for i := 0; i+1 < len(fields); i += 2 {
			if fields[i] == "anon" {
				if used, err := strconv.ParseInt(fields[i+1], 10, 64); err == nil {
					least = min(least, limit-used)
				}
			}
		}
	}
	return least
}

func number(file string) (int64, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
}

// inLimit is what RLIMIT_AS leaves.
func inLimit() int64 {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_AS, &l); err != nil || l.Cur > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(l.Cur) - statm(0)
}
