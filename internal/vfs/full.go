package vfs

import (
	"io/fs"
	"sync/atomic"
	"syscall"
	"time"
)

// Full gives a file system on which nothing more can be made or written once
// the switch is set: such calls fail with ENOSPC, and Usage says that nothing
// is free. Writes to bytes that a file has already pass.
func Full(inner FS, full *atomic.Bool) FS {
	f := &fullFS{inner: inner, full: full}
	f.Faulty = &Faulty{FS: inner, Rule: f.rule}
	return f
}

type fullFS struct {
	*Faulty
	inner FS
	full  *atomic.Bool
}

func (f *fullFS) rule(op Op) *Fault {
	if !f.full.Load() {
		return nil
	}
	var err error
	switch op.Kind {
	case "Create", "OpenFile":
		_, err = f.inner.Size(op.Name)
	case "MkdirAll":
		_, err = f.inner.List(op.Name)
	}
	if err != nil {
		return &Fault{Err: noSpace(op.Kind, op.Name)}
	}
	return nil
}

func noSpace(op, name string) error {
	return &fs.PathError{Op: op, Path: name, Err: syscall.ENOSPC}
}

func (f *fullFS) OpenFile(name string) (File, error) { return f.wrap(name, f.Faulty.OpenFile) }
func (f *fullFS) Create(name string) (File, error)   { return f.wrap(name, f.Faulty.Create) }

func (f *fullFS) wrap(name string, open func(string) (File, error)) (File, error) {
	file, err := open(name)
	if err != nil {
		return nil, err
	}
	return &fullFile{file, name, f.full}, nil
}

func (f *fullFS) Usage(dir string) (Usage, error) {
	u, err := f.inner.Usage(dir)
	if f.full.Load() {
		u.Free = 0
	}
	return u, err
}

type fullFile struct {
	File
	name string
	full *atomic.Bool
}

func (f *fullFile) WriteAt(p []byte, off int64) (int, error) {
	if f.full.Load() {
		if size, err := f.File.Size(); err != nil || off+int64(len(p)) > size {
			return 0, noSpace("write", f.name)
		}
	}
	return f.File.WriteAt(p, off)
}

// Slow gives a file system on which each sync takes at least d.
func Slow(inner FS, d time.Duration) FS {
	return &Faulty{FS: inner, Rule: func(op Op) *Fault {
		switch op.Kind {
		case "Datasync", "SyncDir", "SyncAll":
			time.Sleep(d)
		}
		return nil
	}}
}
