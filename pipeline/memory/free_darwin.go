package memory

import "golang.org/x/sys/unix"

// free multiplies the installed memory with the share of it that the kernel calls available: the figure that the
// system's own memory_pressure command prints as “System-wide memory free percentage” (sysctl kern.memorystatus_level).
func free() (int64, error) {
	total, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return 0, err
	}
	percent, err := unix.SysctlUint32("kern.memorystatus_level")
	if err != nil {
		return 0, err
	}
	return int64(total / 100 * uint64(min(percent, 100))), nil
}
