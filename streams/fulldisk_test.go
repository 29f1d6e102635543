package streams

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/internal/vfs"
)

// A boundedDisk has so many bytes and no more: what needs more fails, half done.
type boundedDisk struct {
	*vfs.Mem
	mu sync.Mutex
}

type boundedFile struct {
	vfs.File
	d    *boundedDisk
	name string
}

func (d *boundedDisk) wrap(name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return boundedFile{f, d, name}, nil
}

func (d *boundedDisk) OpenFile(name string) (vfs.File, error) {
	f, err := d.Mem.OpenFile(name)
	return d.wrap(name, f, err)
}

func (d *boundedDisk) Create(name string) (vfs.File, error) {
	f, err := d.Mem.Create(name)
	return d.wrap(name, f, err)
}

func (d *boundedDisk) free() int64 {
	u, _ := d.Usage("data")
	return u.Free
}

func (f boundedFile) WriteAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	size, err := f.File.Size()
	if err != nil {
		return 0, err
	}
	if more := off + int64(len(p)) - max(size, off); more > f.d.free() {
		n, _ := f.File.WriteAt(p[:int64(len(p))-more+max(0, f.d.free())], off)
		return n, fmt.Errorf("write %s: %w", f.name, syscall.ENOSPC)
	}
	return f.File.WriteAt(p, off)
}

// TestTrimOnFullDisk: appends fill the disk, all that the store lets them. What
// is trimmed then gives room, and appends go on; so it goes on for ever.
func TestTrimOnFullDisk(t *testing.T) {
	t.Parallel()
	disk := &boundedDisk{Mem: vfs.NewMem(1500 << 10)}
	clock := newHandClock()
	o := logged(disk)
	o.MinFree, o.Now = 64<<10, clock.now
	s := mustOpen(t, "data", o)
	defer s.Close()
	st := mustCreate(t, s, "a")
	var want []byte
	for round := range 6 {
		for i := uint64(1); ; i++ {
			b := identified(uint64(round)*10_000+i, 3000)
			err := s.Append(context.Background(), []Record{{Stream: st, Data: b}}, make([]Result, 1))
			if errors.Is(err, ErrNoSpace) {
				break
			}
			if err != nil || i > 2000 {
				t.Fatalf("append %d: %v", i, err)
			}
			want = append(want, b...)
		}
		before := st.State().Begin
		for try := 0; ; try++ {
			clock.advance(time.Minute)
			err := s.Trim(context.Background(), []Cut{{Stream: st, Generation: 1, Before: st.Folded() - 100_000}})
			if err == nil && st.State().Begin > before {
				break
			}
			if try > 50 {
				t.Fatalf("round %d: trim to %d from %d: %v; %d bytes are free, fold %q", round, st.Folded(), before, err, disk.free(), s.Stats().FoldFailed)
			}
			s.wakeKeeper()
		}
		begin := st.State().Begin
		got := make([]byte, int64(len(want))-begin)
		if _, err := st.ReadAt(1, got, begin); err != nil || !bytes.Equal(got, want[begin:]) {
			t.Fatalf("round %d: the bytes differ: %v", round, err)
		}
	}
}
