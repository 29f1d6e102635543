package streams

import (
	"bytes"
	"context"
	"math/rand/v2"
	"path"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"weir/internal/vfs"
)

// A halfDisk is one on which, once it is half broken, a change of the manifest
// reaches the first copy alone, and no new manifest can be made; and once it is
// broken, chunk files cannot be written either.
type halfDisk struct {
	mem          *vfs.Mem
	half, broken atomic.Bool
}

func (d *halfDisk) fs() vfs.FS {
	return &vfs.Faulty{FS: d.mem, Rule: func(op vfs.Op) *vfs.Fault {
		switch {
		case d.half.Load() && path.Base(path.Dir(op.Name)) == "manifest" && (strings.HasSuffix(op.Name, manifestKinds[1]) || op.Kind == "Create"),
			d.broken.Load() && op.Kind == "WriteAt" && strings.Contains(op.Name, "/chunks/"):
			return &vfs.Fault{Err: syscall.EIO}
		}
		return nil
	}}
}

// nextToFold has another stream push what the log has of a stream so far that
// the next fold takes it.
func nextToFold(t *testing.T, s *Store, st *Stream) {
	t.Helper()
	other := mustCreate(t, s, "other")
	for {
		mustAppend(t, s, Record{Stream: other, Data: make([]byte, 3000)})
		if err := waitFolded(s); err != nil {
			t.Fatal(err)
		}
		st.mu.Lock()
		at := st.extents[0].segment
		st.mu.Unlock()
		if oldest := s.log.oldest(0); oldest != nil && uint32(oldest.generation) == at {
			return
		}
	}
}

// failedFold appends until the keeper could not fold.
func failedFold(t *testing.T, s *Store) {
	t.Helper()
	other := mustCreate(t, s, "other")
	for range 60 {
		mustAppend(t, s, Record{Stream: other, Data: make([]byte, 3000)})
	}
	for {
		ch := s.folded.wait()
		if s.Stats().FoldFailed != "" {
			return
		}
		<-ch
	}
}

// afterCut compares a stream with what it must have when the power goes.
func afterCut(t *testing.T, mem *vfs.Mem, want []byte) {
	t.Helper()
	for seed := range uint64(8) {
		disk := mem.CrashClone(rand.New(rand.NewPCG(seed, 0)))
		s := mustOpen(t, "data", logged(disk))
		if q := s.Stats().Recovery.QuarantinedFiles; len(q) > 0 {
			t.Fatalf("set aside: %v", q)
		}
		st, _ := s.Stream("a")
		if !bytes.Equal(readAll(t, st), want) {
			t.Fatal("the bytes differ")
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if r, err := Check("data", logged(disk), true); err != nil || r.Condition != Clean {
			t.Fatalf("%+v %v", r, err)
		}
	}
}

// halfBroken gives a store on a disk that is half broken, and a stream of which
// the next fold adds to a chunk file that is there.
func halfBroken(t *testing.T) (*halfDisk, *Store, *Stream, []byte) {
	t.Helper()
	disk := &halfDisk{mem: vfs.NewMem(1 << 40)}
	s := mustOpen(t, "data", logged(disk.fs()))
	t.Cleanup(func() { s.Close() })
	st := mustCreate(t, s, "a")
	want := more(t, s, st, fillStream(t, s, st, 2), 100, 2, 3000)
	nextToFold(t, s, st)
	disk.half.Store(true)
	return disk, s, st, want
}

// TestTrimAfterFailedFold: a fold of which one copy of the manifest knows may
// count after a crash, so that a trim must not cut off what it wrote.
func TestTrimAfterFailedFold(t *testing.T) {
	t.Parallel()
	disk, s, st, want := halfBroken(t)
	failedFold(t, s)
	disk.broken.Store(true) // else the fold, tried again, could write it anew
	if err := s.Trim(context.Background(), []Cut{{Stream: st, Generation: 1, Seal: true}}); err == nil {
		t.Fatal("the trim was to fail")
	}
	afterCut(t, disk.mem, want)
}

// TestFoldAfterFailedTrim: the same with a file that may be sealed, to which a
// fold must not add.
func TestFoldAfterFailedTrim(t *testing.T) {
	t.Parallel()
	disk, s, st, want := halfBroken(t)
	if err := s.Trim(context.Background(), []Cut{{Stream: st, Generation: 1, Seal: true}}); err == nil {
		t.Fatal("the trim was to fail")
	}
	failedFold(t, s)
	afterCut(t, disk.mem, want)
}

// TestSealAfterFailedSync: a file that was cut off, but not durably, is synced
// when its chunk is sealed at the next try.
func TestSealAfterFailedSync(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem(1 << 40)
	var fails atomic.Int32
	s := mustOpen(t, "data", small(&vfs.Faulty{FS: mem, Rule: func(op vfs.Op) *vfs.Fault {
		if op.Kind == "Datasync" && strings.Contains(op.Name, "/chunks/a/") && fails.Add(-1) >= 0 {
			return &vfs.Fault{Err: syscall.EIO}
		}
		return nil
	}}))
	defer s.Close()
	st, want := busyStream(t, s)
	foldAll(t, s)
	st.mu.Lock()
	last := st.chunks[len(st.chunks)-1]
	st.mu.Unlock()
	if size, err := mem.Size(st.chunkFile(last.offset)); err != nil || last.sealed || size <= last.length {
		t.Fatalf("the test wants a run's file, not cut off yet: %+v, %d bytes, %v", last, size, err)
	}
	fails.Store(1)
	seal := []Cut{{Stream: st, Generation: 1, Seal: true}}
	if err := s.Trim(context.Background(), seal); err == nil {
		t.Fatal("the trim was to fail")
	}
	if err := s.Trim(context.Background(), seal); err != nil {
		t.Fatal(err)
	}
	afterCut(t, mem, want)
}
