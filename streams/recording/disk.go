package recording

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// DiskUsed is which part of the disk of dir is in use, by what a service may use.
func DiskUsed(dir string) (float64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("size of the disk of %s: %w", dir, err)
	}
	used := st.Blocks - st.Bfree
	return float64(used) / float64(max(used+st.Bavail, 1)), nil
}
