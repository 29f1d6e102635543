package streams

import (
	"io"
	"sync/atomic"

	"github.com/hashicorp/golang-lru/v2"

	"weir/internal/vfs"
)

// openFiles is how many chunk files are held open for readers.
const openFiles = 256

// handles holds chunk files open for readers, the most recent ones.
type handles struct {
	fs    vfs.FS
	cache *lru.Cache[string, *handle]
}

// A handle is closed when the cache and all readers are done with it.
type handle struct {
	vfs.File
	users atomic.Int32
}

func newHandles(fs vfs.FS) *handles {
	h := &handles{fs: fs}
	h.cache, _ = lru.NewWithEvict(openFiles, func(_ string, f *handle) { f.release() })
	return h
}

func (f *handle) release() {
	if f.users.Add(-1) == 0 {
		f.File.Close()
	}
}

// use takes a share in f; false when it is closed already.
func (f *handle) use() bool {
	for {
		n := f.users.Load()
		if n == 0 {
			return false
		}
		if f.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (h *handles) readAt(name string, p []byte, at int64) error {
	f, ok := h.cache.Get(name)
	if !ok || !f.use() {
		file, err := h.fs.Open(name)
		if err != nil {
			return err
		}
		f = &handle{File: file}
		f.users.Store(2)
		h.cache.Add(name, f)
	}
	defer f.release()
	n, err := f.ReadAt(p, at)
	if err == io.EOF {
		err = nil
		if n < len(p) {
			err = io.ErrUnexpectedEOF
		}
	}
	return err
}

func (h *handles) forget(name string) { h.cache.Remove(name) }

func (h *handles) close() { h.cache.Purge() }
