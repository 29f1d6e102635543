package vfs

// A Direct writes to an open file past the page cache where the file system
// can do so and the place is suited, and through it elsewhere. That spares
// memory and, with it, most of the processor's time. It is for one goroutine.
type Direct struct {
	fs     FS
	name   string
	file   File
	direct File // nil until it is needed, or where there is none
	tried  bool // to open direct
}

// A directFS can open files past the page cache.
type directFS interface {
	OpenDirect(name string) (File, error)
}

// NewDirect writes to an open file, which it does not own.
func NewDirect(fs FS, name string, file File) *Direct {
	return &Direct{fs: fs, name: name, file: file}
}

// WriteAt writes b, which lies in a Piece from its beginning on. It is durable
// after the file's Datasync.
func (d *Direct) WriteAt(b []byte, at int64) (int, error) {
	whole := len(b) &^ (block - 1)
	if whole < leastDirect || at%block != 0 || !d.past(b[:whole], at) {
		whole = 0 // the page cache will do
	}
	if whole == len(b) {
		return whole, nil
	}
	n, err := d.file.WriteAt(b[whole:], at+int64(whole))
	return whole + n, err
}

// past writes blocks past the page cache, if that can be done.
func (d *Direct) past(b []byte, at int64) bool {
	if fs, ok := d.fs.(directFS); ok && !d.tried {
		d.tried = true
		if f, err := fs.OpenDirect(d.name); err == nil {
			d.direct = f
		}
	}
	if d.direct == nil {
		return false
	}
	_, err := d.direct.WriteAt(b, at)
	return err == nil
}

// Close lets go of the file.
func (d *Direct) Close() error {
	if d.direct == nil {
		return nil
	}
	return d.direct.Close()
}
