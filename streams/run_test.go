package streams

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"weir/internal/vfs"
)

// busyStream appends to one stream until commits write to its chunk file, and
// gives the bytes up to there.
func busyStream(t *testing.T, s *Store) (*Stream, []byte) {
	t.Helper()
	st := mustCreate(t, s, "a")
	var want []byte
	for i := range uint64(100) {
		b := identified(i, 3000)
		mustAppend(t, s, Record{Stream: st, Data: b})
		want = append(want, b...)
		s.mu.Lock()
		open := st.run != nil && st.tip.length > st.run.start
		s.mu.Unlock()
		if open && i > 20 {
			return st, want
		}
	}
	t.Fatal("no run began")
	return nil, nil
}

func mustBe(t *testing.T, dir string, o Options, want []byte) {
	t.Helper()
	if r, err := Check(dir, o, true); err != nil || r.Condition != Clean {
		t.Fatalf("%+v %v", r, err)
	}
	s := mustOpen(t, dir, o)
	defer s.Close()
	st, ok := s.Stream("a")
	if !ok || !bytes.Equal(readAll(t, st), want) {
		t.Fatal("the bytes differ")
	}
}

// TestRunIsWrittenOnce: the log hardly grows by what a busy stream gets, and
// all is there, at once, after a restart and when the log was folded.
func TestRunIsWrittenOnce(t *testing.T) {
	t.Parallel()
	eachFS(t, func(t *testing.T, fs vfs.FS, dir string) {
		s := mustOpen(t, dir, small(fs))
		st, want := busyStream(t, s)
		moved := s.Stats().FoldedBytes
		for i := range uint64(400) {
			b := identified(1000+i, 3900)
			mustAppend(t, s, Record{Stream: st, Data: b})
			want = append(want, b...)
		}
		if !bytes.Equal(readAll(t, st), want) {
			t.Fatal("the bytes differ")
		}
		at := int64(0)
		for _, c := range st.Chunks() {
			if c.Offset != at {
				t.Fatalf("a chunk begins at %d, the one before ends at %d", c.Offset, at)
			}
			at += c.Length
		}
		moved = s.Stats().FoldedBytes - moved
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if moved > 400_000 {
			t.Errorf("%d bytes of 1.6 million were moved from the log to chunk files", moved)
		}
		mustBe(t, dir, small(fs), want)
		s = mustOpen(t, dir, small(fs))
		for range 300 { // has all folded
			mustAppend(t, s, Record{Stream: mustCreate(t, s, "other"), Data: make([]byte, 800)})
		}
		if err := waitFolded(s); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		mustBe(t, dir, small(fs), want)
	})
}

// TestRunCannotBeWritten: when a chunk file cannot be written to, its bytes go
// to the log, and no append fails: neither those of that commit nor those that
// were taken for the next one meanwhile.
func TestRunCannotBeWritten(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"WriteAt", "Datasync"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			mem := vfs.NewMem(1 << 40)
			var broken atomic.Bool
			reached, release := make(chan struct{}), make(chan struct{})
			var once sync.Once
			fs := &vfs.Faulty{FS: mem, Rule: func(op vfs.Op) *vfs.Fault {
				if op.Kind != kind || !strings.Contains(op.Name, "/chunks/") || !broken.Load() {
					return nil
				}
				once.Do(func() { close(reached) })
				<-release
				return &vfs.Fault{Err: syscall.EIO, Partly: 100}
			}}
			o := small(fs)
			o.LiveSegments = 100 // no fold
			s := mustOpen(t, "data", o)
			st, want := busyStream(t, s)
			broken.Store(true)
			first, second := identified(5000, 3000), identified(5001, 3000)
			var errs [2]error
			var both sync.WaitGroup
			keep := func(i int, data []byte) {
				errs[i] = s.Append(context.Background(), []Record{{Stream: st, Data: data, Key: Key{9, byte(i)}}}, make([]Result, 1))
			}
			both.Go(func() { keep(0, first) })
			<-reached
			taken := make(chan struct{})
			both.Go(func() { close(taken); keep(1, second) })
			<-taken
			for full := false; !full; {
				s.mu.Lock()
				full = !s.filling.empty()
				s.mu.Unlock()
			}
			close(release)
			both.Wait()
			if errs[0] != nil || errs[1] != nil {
				t.Fatal(errs)
			}
			want = append(append(want, first...), second...)
			for i := range uint64(30) {
				b := identified(6000+i, 3000)
				mustAppend(t, s, Record{Stream: st, Data: b})
				want = append(want, b...)
			}
			if !bytes.Equal(readAll(t, st), want) {
				t.Fatal("the bytes differ")
			}
			for i, data := range [][]byte{first, second} {
				if res := mustAppend(t, s, Record{Stream: st, Data: data, Key: Key{9, byte(i)}}); !res.Duplicate {
					t.Errorf("append %d was stored again", i)
				}
			}
			s.Close()
			mustBe(t, "data", small(mem), want)
		})
	}
}

// TestRunRecordLost: damage to the log takes one append of a run, and no other.
func TestRunRecordLost(t *testing.T) {
	t.Parallel()
	for name, restart := range map[string]bool{"open": false, "restart": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mem := vfs.NewMem(1 << 40)
			s := mustOpen(t, "data", small(mem))
			st, want := busyStream(t, s)
			hole := int64(len(want))
			seg, at := s.log.cur.name, s.log.cur.pos
			for i := range uint64(12) { // more than one block of the log
				b := identified(2000+i, 2000)
				mustAppend(t, s, Record{Stream: st, Data: b})
				want = append(want, b...)
			}
			flip(t, mem, seg, at)
			if restart {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = mustOpen(t, "data", small(mem))
				st, _ = s.Stream("a")
			}
			for i := range uint64(200) {
				b := identified(3000+i, 2000)
				mustAppend(t, s, Record{Stream: st, Data: b})
				want = append(want, b...)
			}
			for range 300 {
				mustAppend(t, s, Record{Stream: mustCreate(t, s, "other"), Data: make([]byte, 800)})
			}
			if err := waitFolded(s); err != nil {
				t.Fatal(err)
			}
			p := make([]byte, 2012)
			if _, err := st.ReadAt(1, p, hole); !errors.Is(err, ErrHole) {
				t.Errorf("what the damage took can be read: %v", err)
			}
			got := make([]byte, len(want))
			if _, err := st.ReadAt(1, got[:hole], 0); err != nil {
				t.Fatal(err)
			}
			if _, err := st.ReadAt(1, got[hole+2012:], hole+2012); err != nil {
				t.Fatal(err)
			}
			copy(got[hole:], want[hole:hole+2012])
			if !bytes.Equal(got, want) {
				t.Fatal("other bytes differ")
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestRunTrimmed: a file that commits write to stays, whatever is trimmed.
func TestRunTrimmed(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem(1 << 40)
	o := small(mem)
	o.ChunkBytes = 4 << 20
	s := mustOpen(t, "data", o)
	st, want := busyStream(t, s)
	for i := range uint64(500) { // so that a part of the file is folded
		b := identified(1000+i, 2000)
		mustAppend(t, s, Record{Stream: st, Data: b})
		want = append(want, b...)
	}
	if err := waitFolded(s); err != nil {
		t.Fatal(err)
	}
	st.mu.Lock()
	chunks := append([]chunk(nil), st.chunks...)
	grows := len(chunks) > 0 && st.grows(chunks[len(chunks)-1].offset)
	st.mu.Unlock()
	if !grows {
		t.Fatalf("the test wants a folded part of a run: %+v", chunks)
	}
	mustTrim(t, s, Cut{Stream: st, Generation: 1, Before: st.State().Length, Seal: true})
	begin := st.State().Begin
	if begin != chunks[len(chunks)-1].offset {
		t.Errorf("it begins at %d; %+v", begin, chunks)
	}
	for i := range uint64(3) {
		b := identified(2000+i, 2000)
		mustAppend(t, s, Record{Stream: st, Data: b})
		want = append(want, b...)
	}
	if !bytes.Equal(readAll(t, st), want[begin:]) {
		t.Fatal("the bytes differ")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	mustBe(t, "data", o, want[begin:])
}

// TestStrayRun: the file of a run whose first commit a crash cut off is not left.
func TestStrayRun(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem(1 << 40)
	var dead atomic.Bool
	var stray atomic.Pointer[string]
	disk := &vfs.Faulty{FS: mem, Rule: func(op vfs.Op) *vfs.Fault {
		if op.Kind == "WriteAt" && strings.Contains(op.Name, "/chunks/") && stray.Load() == nil {
			stray.Store(&op.Name)
			return nil
		}
		if stray.Load() != nil && strings.Contains(op.Name, "/log/") {
			dead.Store(true)
		}
		if dead.Load() {
			return &vfs.Fault{Err: errors.New("killed")}
		}
		return nil
	}}
	s := mustOpen(t, "data", small(disk))
	st := mustCreate(t, s, "a")
	var want []byte
	for i := range uint64(10) {
		b := identified(i, 3000)
		if s.Append(context.Background(), []Record{{Stream: st, Data: b}}, make([]Result, 1)) != nil {
			break
		}
		want = append(want, b...)
	}
	s.Close()
	if !dead.Load() {
		t.Fatal("no run began")
	}
	if _, err := mem.Size(*stray.Load()); err != nil {
		t.Fatal(err)
	}
	mustBe(t, "data", small(mem), want)
	if _, err := mem.Size(*stray.Load()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left: %v", *stray.Load(), err)
	}
}
