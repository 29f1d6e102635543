package vfs

import "io"

// A File is an open file. ReadAt and WriteAt are safe for concurrent use.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Truncate sets the file's size; bytes added read as zero.
	Truncate(size int64) error
	// Datasync returns when the bytes and the size are on stable storage.
	Datasync() error
	// Size is the file's present size in bytes.
	Size() (int64, error)
}

// Usage is the space of a file system, in bytes. Free is what an
// unprivileged process may still use.
type Usage struct{ Total, Free int64 }

// FS is a tree of files. Names are slash-separated paths of the host for OS
// and plain keys for the others. Errors match io/fs's ErrNotExist and ErrExist.
type FS interface {
	// Open opens an existing file for reading.
	Open(name string) (File, error)
	// OpenFile opens a file for reading and writing and makes it when it is missing.
	OpenFile(name string) (File, error)
	// Create makes a file, or empties an existing one, for reading and writing.
	Create(name string) (File, error)
	// Rename replaces newName by oldName in one step; durable after SyncDir.
	Rename(oldName, newName string) error
	// Remove deletes a file or an empty folder.
	Remove(name string) error
	// RemoveAll deletes a folder and all below it; a missing one is no error.
	RemoveAll(name string) error
	// MkdirAll makes a folder and its parents.
	MkdirAll(name string) error
	// List gives the names in a folder, sorted; folders end with a slash.
	List(dir string) ([]string, error)
	// Size is the size of a file in bytes.
	Size(name string) (int64, error)
	// SyncDir makes the names in a folder durable.
	SyncDir(dir string) error
	// SyncAll makes everything written below the file system of dir durable.
	SyncAll(dir string) error
	// Lock takes an exclusive lock that ends with the process or with Close.
	Lock(name string) (io.Closer, error)
	// Usage tells the space of the file system that holds dir.
	Usage(dir string) (Usage, error)
}

// ReadFile reads a whole file.
func ReadFile(fs FS, name string) ([]byte, error) {
	f, err := fs.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	n, err := f.ReadAt(b, 0)
	if err == io.EOF {
		err = nil
	}
	return b[:n], err
}
