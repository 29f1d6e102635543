package vfs

import "golang.org/x/sys/unix"

// OpenDirect opens an existing file for writes past the page cache, which
// must be aligned to blocks in memory, offset and length.
func (OS) OpenDirect(name string) (File, error) {
	return open(name, unix.O_WRONLY|unix.O_DIRECT)
}
