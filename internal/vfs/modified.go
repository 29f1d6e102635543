package vfs

import (
	"os"
	"time"
)

// Modified tells when a file was written last, where the file system knows.
func Modified(fs FS, name string) (time.Time, bool) {
	timed, ok := fs.(interface {
		Modified(name string) (time.Time, error)
	})
	if !ok {
		return time.Time{}, false
	}
	t, err := timed.Modified(name)
	return t, err == nil
}

// Modified is the host's time of the last write to a file.
func (OS) Modified(name string) (time.Time, error) {
	info, err := os.Stat(name)
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}
