package streams

import (
	"errors"
	"io"
	"io/fs"
	"sync"
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
	mu    sync.RWMutex // held shared while a file is opened and put into the cache
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
		var err error
		if f, err = h.open(name); err != nil {
			return err
		}
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

// open opens a file for the cache and for one reader.
func (h *handles) open(name string) (*handle, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	file, err := h.fs.Open(name)
	if err != nil {
		return nil, err
	}
	f := &handle{File: file}
	f.users.Store(2)
	h.cache.Add(name, f)
	return f, nil
}

// forget lets go of a file that has another name now: nobody who opened it by
// the old one just before leaves it in the cache.
func (h *handles) forget(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cache.Remove(name)
}

// remove deletes a file; once its last reader is done the disk has its space
// again, for no open file of it stays in the cache.
func (h *handles) remove(name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	err := h.fs.Remove(name)
	h.cache.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (h *handles) close() { h.cache.Purge() }
