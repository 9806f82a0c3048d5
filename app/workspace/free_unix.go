//go:build !windows

package workspace

import "golang.org/x/sys/unix"

// Free is the bytes a person may still write on the disk that holds path.
func Free(path string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), nil //nolint:gosec,unconvert // the types differ between systems
}
