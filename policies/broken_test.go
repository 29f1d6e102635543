package policies

import (
	"errors"
	"sync/atomic"

	"weir/internal/vfs"
)

var errBroken = errors.New("the disk is broken")

// brokenFS is a file system whose files fail to sync, once it is told.
type brokenFS struct {
	vfs.FS
	broken atomic.Bool
}

func (f *brokenFS) Open(name string) (vfs.File, error)     { return f.wrap(f.FS.Open(name)) }
func (f *brokenFS) OpenFile(name string) (vfs.File, error) { return f.wrap(f.FS.OpenFile(name)) }
func (f *brokenFS) Create(name string) (vfs.File, error)   { return f.wrap(f.FS.Create(name)) }

func (f *brokenFS) wrap(file vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &brokenFile{file, f}, nil
}

type brokenFile struct {
	vfs.File
	fs *brokenFS
}

func (f *brokenFile) Datasync() error {
	if f.fs.broken.Load() {
		return errBroken
	}
	return f.File.Datasync()
}
