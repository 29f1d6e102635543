package streams

import (
	"runtime"
	"sync"
	"testing"

	"weir/internal/vfs"
)

// A lateFS gives files that it opened only when it may.
type lateFS struct {
	vfs.FS
	opened, may chan struct{}
}

func (l lateFS) Open(name string) (vfs.File, error) {
	f, err := l.FS.Open(name)
	close(l.opened)
	<-l.may
	return f, err
}

// TestForgetWhileOpening: a file that is renamed while a reader opens it does not
// stay open by its old name, or its space would not come back when it is deleted.
func TestForgetWhileOpening(t *testing.T) {
	t.Parallel()
	disk := lateFS{vfs.NewMem(1 << 20), make(chan struct{}), make(chan struct{})}
	f, err := disk.Create("old")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("text"), 0); err != nil {
		t.Fatal(err)
	}
	h := newHandles(disk)
	var all sync.WaitGroup
	all.Go(func() {
		if err := h.readAt("old", make([]byte, 4), 0); err != nil {
			t.Error(err)
		}
	})
	<-disk.opened
	if err := disk.Rename("old", "new"); err != nil {
		t.Fatal(err)
	}
	all.Go(func() { h.forget("old") })
	for range 1000 { // forget does its work now, unless it waits
		runtime.Gosched()
	}
	close(disk.may)
	all.Wait()
	if h.cache.Contains("old") {
		t.Error("the file is held open by its old name")
	}
}
