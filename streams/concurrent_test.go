package streams

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"weir/internal/vfs"
)

// TestConcurrent has writers, readers that compare every byte while segments
// are folded and recycled under them, and watchers that must miss nothing.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	eachFS(t, func(t *testing.T, fs vfs.FS, dir string) {
		s := mustOpen(t, dir, small(fs))
		ctx, cancel := context.WithCancel(context.Background())
		var writers, readers, watcher sync.WaitGroup
		for w := range 8 {
			writers.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(w), 5))
				for i := range 150 {
					st := mustCreate(t, s, fmt.Sprintf("s%d", rng.IntN(5)))
					data := identified(uint64(w*1000+i), rng.IntN(3000)*(1+i%30/29*3))
					mustAppend(t, s, Record{Stream: st, Data: data})
				}
			})
		}
		seen := map[string]int64{}
		changes := s.Changes()
		watcher.Go(func() {
			for {
				grown, err := changes.Next(context.Background())
				if err != nil {
					return
				}
				for _, st := range grown {
					seen[st.Name()] = st.State().Length
				}
			}
		})
		for r := range 3 {
			readers.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(r), 6))
				for ctx.Err() == nil {
					if st, ok := s.Stream(fmt.Sprintf("s%d", rng.IntN(5))); ok {
						if _, err := parseIdentified(readAll(t, st)); err != nil {
							t.Error(err)
							return
						}
						st.Chunks()
						s.Stats()
					}
				}
			})
		}
		writers.Wait()
		cancel()
		readers.Wait()
		lengths := map[string]int64{}
		for i := range 5 {
			st, _ := s.Stream(fmt.Sprintf("s%d", i))
			lengths[st.Name()] = st.State().Length
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		watcher.Wait()
		for name, n := range lengths {
			if seen[name] != n {
				t.Errorf("the watcher saw %s at %d, it has %d", name, seen[name], n)
			}
		}
	})
}

// TestSameKeyAtOnce: of many appends with one key one is stored, and none is
// answered before it is durable; when the commit fails, all fail.
func TestSameKeyAtOnce(t *testing.T) {
	t.Parallel()
	var gate sync.Mutex
	fail := false
	fs := &vfs.Faulty{FS: vfs.NewMem(1 << 40)}
	fs.Rule = func(op vfs.Op) *vfs.Fault {
		gate.Lock() // held by the test: the commit hangs
		defer gate.Unlock()
		if fail && op.Kind == "Datasync" {
			fail = false
			return &vfs.Fault{Err: errors.New("broken")}
		}
		return nil
	}
	s := mustOpen(t, "data", small(fs))
	defer s.Close()
	st := mustCreate(t, s, "a")
	mustAppend(t, s, Record{Stream: st, Data: []byte("first")})
	for round := range 8 {
		gate.Lock()
		fail = round%2 == 1
		ahead := make(chan error, 1)
		if round >= 4 { // another commit is on its way: the key's is being filled
			go func() {
				ahead <- s.Append(context.Background(), []Record{{Stream: mustCreate(t, s, "other"), Data: []byte("x")}}, make([]Result, 1))
			}()
			waitFor(s, func() bool { return s.syncing != nil })
		} else {
			ahead <- nil
		}
		answers := make(chan Result, 20)
		for range 20 {
			go func() {
				res := make([]Result, 1)
				s.Append(context.Background(), []Record{{Stream: st, Data: []byte("x"), Key: Key{1, byte(round)}}}, res)
				answers <- res[0]
			}()
		}
		known := keyID{st.id, Key{1, byte(round)}}
		waitFor(s, func() bool { _, ok := s.keys.get(known); return ok })
		for range 1000 {
			runtime.Gosched()
		}
		var early []Result
		select {
		case r := <-answers:
			early = append(early, r)
		default:
		}
		failing := fail
		gate.Unlock()
		if len(early) > 0 {
			t.Fatalf("round %d: answered %+v while nothing was synced", round, early)
		}
		<-ahead
		stored := 0
		for range 20 {
			r := <-answers
			if r.Err == nil && !r.Duplicate {
				stored++
			}
			if r.Err != nil && !failing {
				t.Fatalf("round %d: %+v", round, r)
			}
		}
		if stored > 1 || stored == 0 && !failing {
			t.Fatalf("round %d: stored %d times", round, stored)
		}
		if r := mustAppend(t, s, Record{Stream: st, Data: []byte("x"), Key: Key{1, byte(round)}}); r.Offset != int64(5+round) {
			t.Fatalf("round %d: %+v", round, r)
		}
	}
	if got := string(readAll(t, st)); got != "firstxxxxxxxx" {
		t.Fatalf("%q", got)
	}
}

// waitFor waits until something holds under the store's lock.
func waitFor(s *Store, holds func() bool) {
	for {
		s.mu.Lock()
		ok := holds()
		s.mu.Unlock()
		if ok {
			return
		}
		runtime.Gosched()
	}
}

// TestPinnedSegment: a segment that a reader holds is folded, and not used
// again before the reader is done.
func TestPinnedSegment(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, "data", logged(vfs.NewMem(1<<40)))
	defer s.Close()
	st := mustCreate(t, s, "a")
	want := identified(1, 3000)
	mustAppend(t, s, Record{Stream: st, Data: want})
	pl, seg, err := st.find(1, 0, false)
	if err != nil || seg == nil {
		t.Fatal(err)
	}
	churn := func() {
		for range 150 {
			mustAppend(t, s, Record{Stream: st, Data: make([]byte, 3000)})
		}
		if err := waitFolded(s); err != nil {
			t.Fatal(err)
		}
	}
	churn()
	if now, _, _ := st.find(1, 0, false); now.segment != 0 {
		t.Fatal("the test wants the bytes folded")
	}
	got := make([]byte, len(want))
	if _, err := seg.file.ReadAt(got, pl.at); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("other bytes under a reader: %v", err)
	}
	generation := seg.generation
	seg.unpin()
	churn()
	if seg.generation == generation {
		t.Fatal("the segment is not used again")
	}
}

// TestChanges: one commit tells of all its streams, each once, to all who watch.
func TestChanges(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, "data", small(vfs.NewMem(1<<40)))
	defer s.Close()
	watch := []*Changes{s.Changes(), s.Changes()}
	var recs []Record
	for i := range 9 {
		recs = append(recs, Record{Stream: mustCreate(t, s, fmt.Sprint(i%3)), Data: []byte("x")})
	}
	if err := s.Append(context.Background(), recs, make([]Result, 9)); err != nil {
		t.Fatal(err)
	}
	for _, c := range watch {
		grown, err := c.Next(context.Background())
		if err != nil || len(grown) != 3 {
			t.Fatalf("%d streams, %v", len(grown), err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		if again, err := c.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("told twice: %v %v", again, err)
		}
		cancel()
		c.Close()
		if _, err := c.Next(context.Background()); !errors.Is(err, ErrClosed) {
			t.Fatal(err)
		}
	}
}

// TestApplyTwice: a record that a stream has already changes nothing.
func TestApplyTwice(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, "data", small(vfs.NewMem(1<<40)))
	defer s.Close()
	st := mustCreate(t, s, "a")
	mustAppend(t, s, Record{Stream: st, Data: make([]byte, 100)})
	mustAppend(t, s, Record{Stream: st, Data: make([]byte, 50), Reset: true})
	mustAppend(t, s, Record{Stream: st, Data: make([]byte, 50)})
	before, extents := st.State(), len(st.extents)
	for _, r := range []logRecord{
		{generation: 1, offset: 0, length: 100, appends: 1},
		{generation: 2, offset: 0, length: 50, appends: 1, reset: true},
		{generation: 2, offset: 50, length: 50, appends: 1},
	} {
		st.mu.Lock()
		st.apply(&r, 1, 512, 1, false)
		st.mu.Unlock()
	}
	if after := st.State(); after != before || len(st.extents) != extents {
		t.Fatalf("%+v became %+v", before, after)
	}
	w := chunkWriter{generation: 2, folded: fold{100, 2}}
	if err := w.record(&foldRecord{generation: 2, offset: 50, length: 50, appends: 1}, foldData{}); err != nil || w.folded != (fold{100, 2}) || w.dirty {
		t.Fatalf("folded twice: %+v %v", w.folded, err)
	}
}

// TestWriteToSocket sends a stream that lies in chunk files, an upload and
// the log over a connection.
func TestWriteToSocket(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, t.TempDir(), small(vfs.OS{}))
	defer s.Close()
	st := mustCreate(t, s, "a")
	var want []byte
	for i := range 100 {
		b := identified(uint64(i), 1000+i%40/39*8000)
		mustAppend(t, s, Record{Stream: st, Data: b})
		want = append(want, b...)
	}
	kinds := map[bool]bool{}
	for _, c := range st.Chunks() {
		kinds[c.Log] = true
	}
	if !kinds[true] || !kinds[false] {
		t.Fatal("the test wants bytes in the log and in chunk files")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, c := range []struct{ off, end int64 }{{0, int64(len(want))}, {1, 2}, {777, int64(len(want)) - 5}, {5, 5}} {
		go func() {
			conn, err := l.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			r, err := st.Reader(1, c.off, c.end)
			if err == nil {
				_, err = io.Copy(conn, r)
			}
			if err != nil {
				t.Error(err)
			}
		}()
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(conn)
		conn.Close()
		if err != nil || !bytes.Equal(got, want[c.off:c.end]) {
			t.Fatalf("%+v: %d bytes, %v", c, len(got), err)
		}
	}
}

// TestReset: the next generation begins empty, files of the old one go, and
// whoever reads it is told.
func TestReset(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem(1 << 40)
	s := mustOpen(t, "data", logged(mem))
	st := mustCreate(t, s, "a")
	fill := func() {
		for range 60 {
			mustAppend(t, s, Record{Stream: mustCreate(t, s, "b"), Data: make([]byte, 3000)})
		}
		if err := waitFolded(s); err != nil {
			t.Fatal(err)
		}
	}
	mustAppend(t, s, Record{Stream: st, Data: make([]byte, 9000), Key: Key{1}})
	mustAppend(t, s, Record{Stream: st, Data: make([]byte, 900)})
	fill()
	if names, _ := mem.List("data/chunks/a"); len(names) != 2 {
		t.Fatalf("%q", names)
	}
	r, err := st.Reader(1, 0, 9900)
	if err != nil {
		t.Fatal(err)
	}
	r.Read(make([]byte, 10))
	var res [1]Result
	other := Record{Stream: st, Data: []byte("no"), Expect: 9900, Conditional: true, Within: 2}
	if err := s.Append(t.Context(), []Record{other}, res[:]); !errors.Is(err, ErrExpect) {
		t.Fatalf("an append to another generation: %v", err)
	}
	if res := mustAppend(t, s, Record{Stream: st, Data: []byte("new"), Reset: true, Expect: 9900, Conditional: true, Within: 1}); res.Generation != 2 || res.Offset != 0 {
		t.Fatalf("%+v", res)
	}
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, ErrGeneration) {
		t.Fatalf("reader of an old generation: %v", err)
	}
	if res := mustAppend(t, s, Record{Stream: st, Data: []byte("new"), Key: Key{1}}); !res.Duplicate || res.Generation != 1 {
		t.Fatalf("a key from before the reset: %+v", res)
	}
	fill()
	if names, _ := mem.List("data/chunks/a"); len(names) != 1 || names[0] != chunkName(2, 0) {
		t.Fatalf("%q", names)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, "data", logged(mem))
	defer s.Close()
	st, _ = s.Stream("a")
	if got := string(readAll(t, st)); got != "new" {
		t.Fatalf("%q", got)
	}
}

// TestCloseEndsAll: appends, waits and watches end; what was taken is kept.
func TestCloseEndsAll(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem(1 << 40)
	s := mustOpen(t, "data", small(vfs.Slow(mem, time.Millisecond)))
	st := mustCreate(t, s, "a")
	acks := make(chan int, 10)
	for range 10 {
		go func() {
			n := 0
			for {
				res := make([]Result, 1)
				err := s.Append(context.Background(), []Record{{Stream: st, Data: []byte("x")}}, res)
				if err == nil {
					n++
					continue
				}
				if !errors.Is(err, ErrClosed) {
					t.Error(err)
				}
				acks <- n
				return
			}
		}()
	}
	c := s.Changes()
	if _, err := c.Next(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open("data", small(mem)); err == nil {
		t.Fatal("opened twice")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	total := 0
	for range 10 {
		total += <-acks
	}
	for {
		if _, err := c.Next(context.Background()); err != nil {
			if !errors.Is(err, ErrClosed) {
				t.Fatal(err)
			}
			break
		}
	}
	if err := s.Close(); err != nil {
		t.Fatalf("closed twice: %v", err)
	}
	if _, err := st.ReadAt(1, make([]byte, 1), 0); !errors.Is(err, ErrClosed) {
		t.Fatalf("read after close: %v", err)
	}
	s = mustOpen(t, "data", small(mem))
	defer s.Close()
	st, _ = s.Stream("a")
	if got := st.State(); got.Length != int64(total) || got.Records != int64(total) {
		t.Fatalf("%+v, %d acknowledged", got, total)
	}
}

// TestWaitForRoom: a context ends the wait for room, and nothing is kept.
func TestWaitForRoom(t *testing.T) {
	t.Parallel()
	var gate sync.Mutex
	fs := &vfs.Faulty{FS: vfs.NewMem(1 << 40), Rule: func(vfs.Op) *vfs.Fault {
		gate.Lock()
		defer gate.Unlock()
		return nil
	}}
	s := mustOpen(t, "data", small(fs))
	st := mustCreate(t, s, "a")
	gate.Lock()
	results := make(chan error, 100)
	for range 100 { // more than two batches
		go func() {
			res := make([]Result, 1)
			results <- s.Append(context.Background(), []Record{{Stream: st, Data: make([]byte, 3000)}}, res)
		}()
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancelled := make(chan error)
	go func() {
		for {
			s.mu.Lock()
			full := s.filling.full
			s.mu.Unlock()
			if full {
				break
			}
			runtime.Gosched()
		}
		res := make([]Result, 1)
		go cancel()
		cancelled <- s.Append(ctx, []Record{{Stream: st, Data: make([]byte, 1)}}, res)
	}()
	if err := <-cancelled; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	gate.Unlock()
	for range 100 {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
	if n := st.State().Length; n != 300_000 {
		t.Fatalf("%d bytes", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestManyStreams: ten thousand streams, most of them quiet, cost little
// memory, fold, and open fast.
func TestManyStreams(t *testing.T) {
	t.Parallel()
	const n = 10_000
	mem := vfs.NewMem(1 << 40)
	o := Options{FS: mem, SegmentBytes: 1 << 20, LiveSegments: 1, MinFree: 1}
	s := mustOpen(t, "data", o)
	recs, res := make([]Record, 0, 500), make([]Result, 500)
	for round := range 3 {
		for i := range n {
			b := binary.LittleEndian.AppendUint64(nil, uint64(i))
			recs = append(recs, Record{Stream: mustCreate(t, s, fmt.Sprintf("many.%05d", i)), Data: append(b, byte(round))})
			if len(recs) == cap(recs) {
				if err := s.Append(context.Background(), recs, res); err != nil {
					t.Fatal(err)
				}
				recs = recs[:0]
			}
		}
	}
	if err := waitFolded(s); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	s = mustOpen(t, "data", o)
	defer s.Close()
	t.Logf("open took %v", time.Since(start))
	if names := s.Names("many.", "", n+1); len(names) != n {
		t.Fatalf("%d names", len(names))
	}
	for i := 0; i < n; i += 37 {
		st, ok := s.Stream(fmt.Sprintf("many.%05d", i))
		if !ok || st.State().Length != 27 {
			t.Fatalf("stream %d: %v", i, ok)
		}
		if b := readAll(t, st); binary.LittleEndian.Uint64(b[18:]) != uint64(i) || b[26] != 2 {
			t.Fatalf("stream %d holds %x", i, b)
		}
	}
}
