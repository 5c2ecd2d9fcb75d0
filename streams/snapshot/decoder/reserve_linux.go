package decoder

import "golang.org/x/sys/unix"

// reserve takes memory straight from the system, so that it goes back whole.
func reserve(n int64) (b []byte, free func(), err error) {
	b, err = unix.Mmap(-1, 0, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	return b, func() { _ = unix.Munmap(b) }, err
}
