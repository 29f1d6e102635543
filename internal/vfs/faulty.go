package vfs

import "io"

// An Op is a call that changes or reads a file system.
type Op struct {
	Kind string // the method's name: "Create", "WriteAt", "Datasync", …
	Name string // the file or folder
	Size int    // bytes to read or write
}

// A Fault is what a Faulty file system answers instead of doing an Op.
type Fault struct {
	Err error
	// After does the Op before it fails, as a disk whose answer gets lost.
	After bool
	// Partly writes that many bytes before it fails, of a WriteAt.
	Partly int
}

// A Faulty file system asks Rule before each Op, but for Close, Usage and
// Lock; a nil answer lets it pass. Rule may block, or look at what is there,
// and must be safe for concurrent use.
type Faulty struct {
	FS
	Rule func(Op) *Fault
}

func (f *Faulty) do(op Op, call func() error) error {
	fault := f.Rule(op)
	if fault == nil {
		return call()
	}
	if fault.After {
		if err := call(); err != nil {
			return err
		}
	}
	return fault.Err
}

func (f *Faulty) open(kind, name string, call func(string) (File, error)) (file File, err error) {
	err = f.do(Op{Kind: kind, Name: name}, func() error {
		inner, err := call(name)
		if err == nil {
			file = &faultyFile{inner, f, name}
		}
		return err
	})
	if err != nil && file != nil {
		file.Close()
		file = nil
	}
	return file, err
}

// Open implements FS.
func (f *Faulty) Open(name string) (File, error) { return f.open("Open", name, f.FS.Open) }

// OpenFile implements FS.
func (f *Faulty) OpenFile(name string) (File, error) { return f.open("OpenFile", name, f.FS.OpenFile) }

// Create implements FS.
func (f *Faulty) Create(name string) (File, error) { return f.open("Create", name, f.FS.Create) }

// Rename implements FS; the Op has the old name.
func (f *Faulty) Rename(oldName, newName string) error {
	return f.do(Op{Kind: "Rename", Name: oldName}, func() error { return f.FS.Rename(oldName, newName) })
}

// Remove implements FS.
func (f *Faulty) Remove(name string) error {
	return f.do(Op{Kind: "Remove", Name: name}, func() error { return f.FS.Remove(name) })
}

// RemoveAll implements FS.
func (f *Faulty) RemoveAll(name string) error {
	return f.do(Op{Kind: "RemoveAll", Name: name}, func() error { return f.FS.RemoveAll(name) })
}

// MkdirAll implements FS.
func (f *Faulty) MkdirAll(name string) error {
	return f.do(Op{Kind: "MkdirAll", Name: name}, func() error { return f.FS.MkdirAll(name) })
}

// List implements FS.
func (f *Faulty) List(dir string) (names []string, err error) {
	err = f.do(Op{Kind: "List", Name: dir}, func() (err error) { names, err = f.FS.List(dir); return })
	return names, err
}

// Size implements FS.
func (f *Faulty) Size(name string) (n int64, err error) {
	err = f.do(Op{Kind: "Size", Name: name}, func() (err error) { n, err = f.FS.Size(name); return })
	return n, err
}

// SyncDir implements FS.
func (f *Faulty) SyncDir(dir string) error {
	return f.do(Op{Kind: "SyncDir", Name: dir}, func() error { return f.FS.SyncDir(dir) })
}

// SyncAll implements FS.
func (f *Faulty) SyncAll(dir string) error {
	return f.do(Op{Kind: "SyncAll", Name: dir}, func() error { return f.FS.SyncAll(dir) })
}

type faultyFile struct {
	File
	fs   *Faulty
	name string
}

func (f *faultyFile) ReadAt(p []byte, off int64) (n int, err error) {
	err = f.fs.do(Op{"ReadAt", f.name, len(p)}, func() (err error) { n, err = f.File.ReadAt(p, off); return })
	if err != nil && err != io.EOF {
		n = 0
	}
	return n, err
}

func (f *faultyFile) WriteAt(p []byte, off int64) (int, error) {
	fault := f.fs.Rule(Op{"WriteAt", f.name, len(p)})
	if fault == nil {
		return f.File.WriteAt(p, off)
	}
	n := min(fault.Partly, len(p))
	if fault.After {
		n = len(p)
	}
	if n > 0 {
		if n, err := f.File.WriteAt(p[:n], off); err != nil {
			return n, err
		}
	}
	return n, fault.Err
}

func (f *faultyFile) Truncate(size int64) error {
	return f.fs.do(Op{Kind: "Truncate", Name: f.name}, func() error { return f.File.Truncate(size) })
}

func (f *faultyFile) Datasync() error {
	return f.fs.do(Op{Kind: "Datasync", Name: f.name}, f.File.Datasync)
}
