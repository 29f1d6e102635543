package streams

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"weir/internal/vfs"
)

// runOf gives the run of a stream, if it has one.
func runOf(s *Store, st *Stream) *run {
	s.mu.Lock()
	defer s.mu.Unlock()
	return st.run
}

// more appends to a stream, one commit each, and gives what it then holds.
func more(t *testing.T, s *Store, st *Stream, want []byte, from, n uint64, size int) []byte {
	t.Helper()
	for i := range n {
		b := identified(from+i, size)
		mustAppend(t, s, Record{Stream: st, Data: b})
		want = append(want, b...)
	}
	return want
}

// foldAll makes the store fold all that it had before.
func foldAll(t *testing.T, s *Store) {
	t.Helper()
	other := mustCreate(t, s, "other")
	for range 300 {
		mustAppend(t, s, Record{Stream: other, Data: make([]byte, 800)})
	}
	if err := waitFolded(s); err != nil {
		t.Fatal(err)
	}
}

// TestEmptyBodyBeforeRun: a body without bytes has no file among the chunks; a
// run that begins at the same offset would lose its own to it.
func TestEmptyBodyBeforeRun(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem(1 << 40)
	s := mustOpen(t, "data", small(mem))
	st := mustCreate(t, s, "a")
	var want []byte
	for i := range uint64(60) {
		want = more(t, s, st, want, 10*i, 9, 1500)
		body, err := s.NewStaged()
		if err != nil {
			t.Fatal(err)
		}
		if res := mustAppend(t, s, Record{Stream: st, Body: body}); res.Offset != int64(len(want)) {
			t.Fatalf("%+v", res)
		}
		body.Discard()
		s.mu.Lock()
		if st.run == nil { // as it is when other appends of a busy stream come right after
			s.beginRun(st)
		}
		s.mu.Unlock()
	}
	foldAll(t, s)
	if !bytes.Equal(readAll(t, st), want) {
		t.Fatal("the bytes differ")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := mem.List("data/uploads"); err != nil || len(left) > 0 {
		t.Errorf("left: %q %v", left, err)
	}
	mustBe(t, "data", small(mem), want)
}

// TestRunsOfGenerations: a run that ends does not take from the one of the
// next generation, which begins at the same offset, that its file is written to.
func TestRunsOfGenerations(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, "data", small(vfs.NewMem(1<<40)))
	defer s.Close()
	st := mustCreate(t, s, "a")
	data := make([]byte, 2000)
	for range 8 {
		// Busy, and then a reset: what comes next gets a run from offset 0 on.
		recs := []Record{{Stream: st, Data: data}, {Stream: st, Data: data}, {Stream: st, Reset: true}}
		if err := s.Append(context.Background(), recs, make([]Result, len(recs))); err != nil {
			t.Fatal(err)
		}
	}
	mustAppend(t, s, Record{Stream: st, Data: data})
	r := runOf(s, st)
	if r == nil || r.start != 0 {
		t.Fatalf("the test wants a run from 0 on: %+v", r)
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.runs = nil // as if folded
	if !st.grows(r.start) {
		t.Error("commits write to the file, and nobody knows")
	}
}

// TestRunFailureGivesSpaceBack: what a commit that failed wrote to a chunk file
// is cut off when its bytes are in the log, and a file of its own goes.
func TestRunFailureGivesSpaceBack(t *testing.T) {
	t.Parallel()
	for _, fresh := range []bool{false, true} {
		mem := vfs.NewMem(1 << 40)
		var broken atomic.Bool
		disk := &vfs.Faulty{FS: mem, Rule: func(op vfs.Op) *vfs.Fault {
			if broken.Load() && op.Kind == "Datasync" && strings.Contains(op.Name, "/chunks/") {
				return &vfs.Fault{Err: syscall.ENOSPC}
			}
			return nil
		}}
		o := small(disk)
		o.LiveSegments, o.ChunkBytes = 100, 1<<20 // no fold, one file
		s := mustOpen(t, "data", o)
		var st *Stream
		var want []byte
		if fresh {
			st = mustCreate(t, s, "a")
			for i := uint64(0); runOf(s, st) == nil; i++ {
				want = more(t, s, st, want, i, 1, 3000)
			}
		} else {
			st, want = busyStream(t, s)
		}
		r := runOf(s, st)
		name := s.chunkFile("a", 1, r.start)
		broken.Store(true)
		want = more(t, s, st, want, 1000, 1, 3900)
		broken.Store(false)
		want = more(t, s, st, want, 1001, 1, 10) // the commit before is done with all
		size, err := mem.Size(name)
		if fresh && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%d bytes are left of a file that has none that count: %v", size, err)
		}
		if !fresh && (err != nil || size != r.kept) {
			t.Errorf("the file has %d bytes, %d count: %v", size, r.kept, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		mustBe(t, "data", small(mem), want)
	}
}

// TestRunThatFollowsFailure: a full file's run fails when the next one has
// bytes already: these go to the log as well, and no file stays open.
func TestRunThatFollowsFailure(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem(1 << 40)
	var broken atomic.Bool
	reached, release := make(chan struct{}), make(chan struct{})
	disk := &vfs.Faulty{FS: mem, Rule: func(op vfs.Op) *vfs.Fault {
		if op.Kind == "Datasync" && strings.Contains(op.Name, "/chunks/") && broken.CompareAndSwap(true, false) {
			close(reached)
			<-release
			return &vfs.Fault{Err: syscall.EIO}
		}
		return nil
	}}
	o := small(disk)
	o.LiveSegments = 100
	s := mustOpen(t, "data", o)
	st, want := busyStream(t, s)
	for i := uint64(1000); ; i++ { // up to where one append fills the file
		s.mu.Lock()
		last := st.run != nil && st.run.start+o.ChunkBytes-st.tip.length <= 3000
		s.mu.Unlock()
		if last {
			break
		}
		want = more(t, s, st, want, i, 1, 2000)
	}
	before := runOf(s, st)
	broken.Store(true)
	errs := make(chan error, 2)
	keep := func(data []byte) {
		errs <- s.Append(context.Background(), []Record{{Stream: st, Data: data}}, make([]Result, 1))
	}
	first, second := identified(5000, 3900), identified(5001, 3900)
	go keep(first)
	<-reached
	next := runOf(s, st)
	if next == nil || next == before {
		t.Fatal("the test wants another run")
	}
	go keep(second)
	waitFor(s, func() bool { return !s.filling.empty() })
	close(release)
	for range 2 {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	want = append(append(want, first...), second...)
	want = more(t, s, st, want, 6000, 5, 100)
	if next.file != nil {
		t.Error("the file of a run that ended stays open")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	mustBe(t, "data", small(mem), want)
}

// TestTrimBesideRescue: damage made a fold copy what a run has behind it to a
// file of its own. A trim of that leaves the file to which commits still write.
func TestTrimBesideRescue(t *testing.T) {
	t.Parallel()
	for _, restart := range []bool{false, true} {
		mem := vfs.NewMem(1 << 40)
		o := small(mem)
		o.ChunkBytes = 4 << 20
		s := mustOpen(t, "data", o)
		st, want := busyStream(t, s)
		seg, at := s.log.cur.name, s.log.cur.pos
		want = more(t, s, st, want, 2000, 12, 2000)
		flip(t, mem, seg, at)
		for i := uint64(0); ; i++ {
			want = more(t, s, st, want, 3000+i, 1, 2000)
			st.mu.Lock()
			folded := st.folded.length > int64(len(want)/3)
			st.mu.Unlock()
			if folded {
				break
			}
		}
		if err := waitFolded(s); err != nil {
			t.Fatal(err)
		}
		r := runOf(s, st)
		if r == nil {
			t.Fatal("the test wants the run to go on")
		}
		mustTrim(t, s, Cut{Stream: st, Generation: 1, Before: st.State().Length})
		want = more(t, s, st, want, 7000, 3, 2000)
		if restart {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = mustOpen(t, "data", o)
			st, _ = s.Stream("a")
		}
		foldAll(t, s)
		tail := make([]byte, 6000)
		if _, err := st.ReadAt(1, tail, int64(len(want)-len(tail))); err != nil || !bytes.Equal(tail, want[len(want)-len(tail):]) {
			names, _ := mem.List("data/chunks/a")
			t.Errorf("restart %v: bytes behind a trim: %v; files %q", restart, err, names)
		}
		names, err := mem.List(path.Dir(s.chunkFile("a", 1, 0)))
		if err != nil || len(names) == 0 || !slices.IsSorted(names) {
			t.Error(names, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
