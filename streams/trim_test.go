package streams

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/vfs"
)

// fillStream appends n appends of 3000 bytes, keyed by their number, and folds what
// can be; the rest is pushed out of the log by another stream.
func fillStream(t testing.TB, s *Store, st *Stream, n int) []byte {
	t.Helper()
	var all []byte
	for i := int(st.State().Records); n > 0; i, n = i+1, n-1 {
		b := identified(uint64(i+1), 2988)
		mustAppend(t, s, Record{Stream: st, Data: b, Key: KeyOf([]byte(st.name), []byte(fmt.Sprint(i)))})
		all = append(all, b...)
	}
	push(t, s)
	return all
}

// push fills segments until what was appended before is in chunk files.
func push(t testing.TB, s *Store) {
	t.Helper()
	other := mustCreate(t, s, "other")
	for range 60 {
		mustAppend(t, s, Record{Stream: other, Data: make([]byte, 3000)})
	}
	if err := waitFolded(s); err != nil {
		t.Fatal(err)
	}
}

func mustTrim(t testing.TB, s *Store, cuts ...Cut) {
	t.Helper()
	if err := s.Trim(context.Background(), cuts); err != nil {
		t.Fatal(err)
	}
}

func chunkNames(t testing.TB, s *Store, st *Stream) []string {
	t.Helper()
	names, err := s.o.FS.List(s.chunkDir(st.name))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestTrim: bytes before the cut are gone and their files with them, all
// others are where they were, and keys are remembered, also after a restart.
func TestTrim(t *testing.T) {
	t.Parallel()
	eachFS(t, func(t *testing.T, fs vfs.FS, dir string) {
		s := mustOpen(t, dir, logged(fs))
		st := mustCreate(t, s, "a")
		want := fillStream(t, s, st, 40)
		was := chunkNames(t, s, st)
		const at = 60_000 + 7 // inside of an append, and of a file
		mustTrim(t, s, Cut{Stream: st, Generation: 1, Before: at})
		if n := s.Stats().TrimmedBytes; n != at {
			t.Errorf("%d bytes trimmed, want %d", n, at)
		}
		check := func(s *Store, st *Stream) {
			t.Helper()
			state := st.State()
			if state.Begin != at || state.Length != int64(len(want)) || state.Records != 40 {
				t.Fatalf("%+v", state)
			}
			if got := readAll(t, st); !bytes.Equal(got, want[at:]) {
				t.Fatalf("%d bytes from %d on differ", len(got), at)
			}
			var one [1]byte
			if _, err := st.ReadAt(1, one[:], at-1); !errors.Is(err, ErrTrimmed) || !strings.Contains(err.Error(), fmt.Sprint(at)) {
				t.Fatalf("the byte before: %v", err)
			}
			if _, err := st.Reader(1, at-1, at+1); !errors.Is(err, ErrTrimmed) {
				t.Fatalf("a reader from before: %v", err)
			}
			for i := range 40 {
				res := mustAppend(t, s, Record{Stream: st, Data: identified(uint64(i+1), 2988), Key: KeyOf([]byte("a"), []byte(fmt.Sprint(i)))})
				if !res.Duplicate || res.Offset != int64(3000*i) {
					t.Fatalf("the repeat of append %d: %+v", i, res)
				}
			}
			now := chunkNames(t, s, st)
			if len(now) == 0 || len(now) >= len(was) {
				t.Fatalf("files %v, were %v", now, was)
			}
			if c := st.Chunks()[0]; c.Offset > at || c.Offset+c.Length <= at {
				t.Fatalf("the first chunk is %+v", c)
			}
		}
		check(s, st)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if r, err := Check(dir, logged(fs), true); err != nil || r.Condition != Clean || r.Bytes != int64(len(want)-at)+60*3000 {
			t.Fatalf("%+v %v", r, err)
		}
		s = mustOpen(t, dir, logged(fs))
		defer s.Close()
		st, _ = s.Stream("a")
		check(s, st)
	})
}

// TestTrimBounds: what no cut may do.
func TestTrimBounds(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, "data", logged(vfs.NewMem(1<<40)))
	defer s.Close()
	st, fresh := mustCreate(t, s, "a"), mustCreate(t, s, "fresh")
	want := fillStream(t, s, st, 20)
	mustAppend(t, s, Record{Stream: fresh, Data: []byte("in the log")})
	mustAppend(t, s, Record{Stream: st, Data: []byte("in the log")})
	want = append(want, "in the log"...)
	folded := st.folded.length
	for _, c := range []struct {
		what  string
		cut   Cut
		begin int64
	}{
		{"nothing", Cut{Stream: st, Generation: 1}, 0},
		{"negative", Cut{Stream: st, Generation: 1, Before: -5}, 0},
		{"another generation", Cut{Stream: st, Generation: 2, Before: 100}, 0},
		{"of the log alone", Cut{Stream: fresh, Generation: 1, Before: 5}, 0},
		{"some", Cut{Stream: st, Generation: 1, Before: 100}, 100},
		{"backwards", Cut{Stream: st, Generation: 1, Before: 50}, 100},
		{"beyond the end", Cut{Stream: st, Generation: 1, Before: 1 << 40}, folded},
	} {
		mustTrim(t, s, c.cut)
		if got := c.cut.Stream.State().Begin; got != c.begin {
			t.Fatalf("%s: the stream begins at %d, want %d", c.what, got, c.begin)
		}
	}
	if got := readAll(t, st); !bytes.Equal(got, want[folded:]) || len(chunkNames(t, s, st)) != 0 {
		t.Fatalf("%q, files %v", got, chunkNames(t, s, st))
	}
	more := fillStream(t, s, st, 7)[:0] // goes on in a new file
	_ = more
	if got := readAll(t, st); int64(len(got)) != st.State().Length-folded {
		t.Fatalf("%d bytes", len(got))
	}
	mustAppend(t, s, Record{Stream: st, Data: []byte("new"), Reset: true})
	if got := st.State(); got.Begin != 0 || string(readAll(t, st)) != "new" {
		t.Fatalf("after a reset: %+v", got)
	}
}

// TestTrimFaults: a trim that fails left all or nothing, and can be repeated.
func TestTrimFaults(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"WriteAt", "Datasync", "Create", "Truncate", "Remove", "SyncDir"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			mem := vfs.NewMem(1 << 40)
			var broken atomic.Bool
			faulty := &vfs.Faulty{FS: mem, Rule: func(op vfs.Op) *vfs.Fault {
				if broken.Load() && op.Kind == kind && (strings.Contains(op.Name, "manifest") || strings.Contains(op.Name, "chunks")) {
					return &vfs.Fault{Err: errors.New("broken")}
				}
				return nil
			}}
			s := mustOpen(t, "data", logged(faulty))
			st := mustCreate(t, s, "a")
			want := fillStream(t, s, st, 30)
			broken.Store(true)
			err := s.Trim(context.Background(), []Cut{{Stream: st, Generation: 1, Before: 50_000, Seal: true}})
			begin := st.State().Begin
			if (err != nil) != (begin == 0) {
				t.Fatalf("%v, and the stream begins at %d", err, begin)
			}
			if got := readAll(t, st); !bytes.Equal(got, want[begin:]) {
				t.Fatal("bytes differ")
			}
			broken.Store(false)
			mustTrim(t, s, Cut{Stream: st, Generation: 1, Before: 50_000})
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = mustOpen(t, "data", logged(mem))
			defer s.Close()
			st, _ = s.Stream("a")
			if got := readAll(t, st); !bytes.Equal(got, want[50_000:]) {
				t.Fatal("bytes differ after a restart")
			}
			for _, name := range chunkNames(t, s, st) {
				if _, offset, _ := parseChunkName(name); offset < st.firstFile() {
					t.Errorf("%s is left", name)
				}
			}
			if r := s.Stats().Recovery; len(r.QuarantinedFiles) > 0 {
				t.Errorf("%+v", r)
			}
		})
	}
}

// TestTrimUnderReaders: who reads when the bytes go gets the right ones or is
// told; no open file keeps their space.
func TestTrimUnderReaders(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, dir, logged(vfs.OS{}))
	defer s.Close()
	st := mustCreate(t, s, "a")
	want := fillStream(t, s, st, 60)
	slow, err := st.Reader(1, 0, int64(len(want)))
	if err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 1000)
	if _, err := io.ReadFull(slow, head); err != nil || !bytes.Equal(head, want[:1000]) {
		t.Fatal(err)
	}
	mustTrim(t, s, Cut{Stream: st, Generation: 1, Before: 120_000})
	if n, err := slow.Read(head); n != 0 || !errors.Is(err, ErrTrimmed) {
		t.Fatalf("a read of what is gone: %d %v", n, err)
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("this system does not tell which files are open")
	}
	for _, fd := range fds {
		if to, _ := os.Readlink("/proc/self/fd/" + fd.Name()); strings.HasPrefix(to, dir) && strings.HasSuffix(to, "(deleted)") {
			t.Errorf("%s is open", to)
		}
	}
}

// TestChunkReader reads a chunk whole though the stream begins inside of it.
func TestChunkReader(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, "data", logged(vfs.NewMem(1<<40)))
	defer s.Close()
	st := mustCreate(t, s, "a")
	want := fillStream(t, s, st, 30)
	chunks := st.Chunks()
	mustTrim(t, s, Cut{Stream: st, Generation: 1, Before: chunks[1].Offset + 100})
	r, err := st.ChunkReader(1, chunks[1])
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want[chunks[1].Offset:][:chunks[1].Length]) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	r, err = st.ChunkReader(1, chunks[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); !errors.Is(err, ErrTrimmed) {
		t.Fatalf("a chunk that is gone: %v", err)
	}
}

// TestOver: which chunk files are beyond a limit.
func TestOver(t *testing.T) {
	t.Parallel()
	clock := newHandClock()
	o := logged(vfs.NewMem(1 << 40))
	o.Now = clock.now
	s := mustOpen(t, "data", o)
	defer s.Close()
	st := mustCreate(t, s, "a")
	for range 3 { // hours apart
		fillStream(t, s, st, 20)
		clock.advance(time.Hour)
	}
	chunks, length := st.Chunks(), st.State().Length
	end := func(i int) int64 { return chunks[i].Offset + chunks[i].Length }
	old := 0 // chunks whose appends are all of the first hour
	for chunks[old].Until.Equal(chunks[0].Since) {
		old++
	}
	if old < 2 || chunks[len(chunks)-1].Log || !chunks[old].Until.After(chunks[0].Until) {
		t.Fatalf("%d old of %+v", old, chunks)
	}
	for _, c := range []struct {
		what         string
		limit        Limit
		upto         int64
		before, held int64
	}{
		{"no limit", Limit{}, length, 0, 0},
		{"young enough", Limit{Age: 4 * time.Hour}, length, 0, 0},
		{"the first hour", Limit{Age: 2*time.Hour + time.Minute}, length, end(old - 1), 0},
		{"all", Limit{Age: time.Minute}, length, length, 0},
		{"held", Limit{Age: 2*time.Hour + time.Minute}, end(0) + 5, end(0), end(old-1) - end(0)},
		{"all held", Limit{Age: time.Minute}, 0, 0, length},
		{"bytes", Limit{Bytes: length - end(2)}, length, end(2), 0},
		{"a byte more", Limit{Bytes: length - end(2) + 1}, length, end(1), 0},
		{"more than there is", Limit{Bytes: length + 1}, length, 0, 0},
		{"either", Limit{Bytes: length - end(0), Age: 2*time.Hour + time.Minute}, length, end(old - 1), 0},
	} {
		cut, held := st.Over(c.limit, c.upto, clock.now())
		if cut.Before != c.before || held != c.held || cut.Generation != 1 || cut.Stream != st {
			t.Errorf("%s: before %d, held %d, want %d and %d", c.what, cut.Before, held, c.before, c.held)
		}
	}
}

// TestSeal: a file that is appended to for long is ended, so that its oldest
// bytes can go.
func TestSeal(t *testing.T) {
	t.Parallel()
	clock := newHandClock()
	o := small(vfs.NewMem(1 << 40))
	o.Now, o.ChunkBytes = clock.now, 1<<30
	s := mustOpen(t, "data", o)
	defer s.Close()
	st := mustCreate(t, s, "a")
	limit := Limit{Age: 8 * time.Hour}
	for range 20 {
		mustAppend(t, s, Record{Stream: st, Data: make([]byte, 100)})
		push(t, s)
		clock.advance(time.Hour)
		cut, _ := st.Over(limit, 1<<60, clock.now())
		mustTrim(t, s, cut)
	}
	state, chunks := st.State(), st.Chunks()
	oldest := clock.now().Sub(chunks[0].Since)
	if kept := state.Length - state.Begin; kept < 800 || oldest > 11*time.Hour {
		t.Fatalf("%d bytes are kept, the oldest of %v ago: %+v", kept, oldest, chunks)
	}
	if cut, _ := st.Over(Limit{Bytes: 1 << 20}, 1<<60, clock.now()); cut.Seal {
		t.Error("a few bytes are sealed for a limit of bytes")
	}
}

// TestOldChunks: of what was kept before times were noted, the file tells.
func TestOldChunks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	copyFolder(t, vfs.OS{}, filepath.Join("testdata", "v1"), dir)
	o := goldenOptions(vfs.OS{})
	s := mustOpen(t, dir, o)
	defer s.Close()
	st, _ := s.Stream("plain")
	chunks := st.Chunks()
	if !chunks[0].Until.IsZero() {
		t.Fatalf("%+v; the test wants chunks without times", chunks[0])
	}
	now := time.Now()
	for i, c := range chunks {
		name := s.chunkFile("plain", 1, c.Offset)
		if err := os.Chtimes(name, now, now.Add(-time.Duration(10-i)*time.Hour)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	cut, _ := st.Over(Limit{Age: 8*time.Hour + time.Minute}, 1<<60, now)
	if want := chunks[1].Offset + chunks[1].Length; cut.Before != want {
		t.Fatalf("before %d, want %d", cut.Before, want)
	}
}

// TestTrimCloses: a trim on a store that closes ends.
func TestTrimCloses(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, "data", small(vfs.NewMem(1<<40)))
	st := mustCreate(t, s, "a")
	fillStream(t, s, st, 20)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Trim(context.Background(), []Cut{{Stream: st, Generation: 1, Before: 10}}); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

// TestSealCuts: what a fold that failed left in a file is no part of it when
// it is sealed.
func TestSealCuts(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem(1 << 40)
	s := mustOpen(t, "data", logged(mem))
	st := mustCreate(t, s, "a")
	want := fillStream(t, s, st, 8)
	last := st.Chunks()[1]
	if last.Sealed {
		t.Fatalf("%+v; the test wants a file that is appended to", last)
	}
	f, err := mem.OpenFile(s.chunkFile("a", 1, last.Offset))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 5000), last.Length); err != nil {
		t.Fatal(err)
	}
	mustTrim(t, s, Cut{Stream: st, Generation: 1, Seal: true})
	want = append(want, fillStream(t, s, st, 4)...)
	if c := st.Chunks()[1]; !c.Sealed || c.Length != last.Length {
		t.Fatalf("%+v, was %+v", c, last)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := Check("data", logged(mem), true); err != nil || r.Condition != Clean || r.Bytes != int64(len(want))+2*60*3000 {
		t.Fatalf("%+v %v", r, err)
	}
}

// TestLogAge: what little comes for leaves the log all the same.
func TestLogAge(t *testing.T) {
	t.Parallel()
	for _, age := range []time.Duration{0, time.Hour} {
		clock := newHandClock()
		o := small(vfs.NewMem(1 << 40))
		o.Now, o.LogAge = clock.now, age
		s := mustOpen(t, "data", o)
		defer s.Close()
		a, b := mustCreate(t, s, "a"), mustCreate(t, s, "b")
		mustAppend(t, s, Record{Stream: a, Data: make([]byte, 100)})
		clock.advance(30 * time.Minute)
		mustAppend(t, s, Record{Stream: a, Data: make([]byte, 100)})
		clock.advance(31 * time.Minute)
		mustAppend(t, s, Record{Stream: b, Data: make([]byte, 100)})
		if err := waitFolded(s); err != nil {
			t.Fatal(err)
		}
		if want := int64(200 * (age / time.Hour)); a.Folded() != want || b.Folded() != 0 {
			t.Errorf("age %v: %d and %d bytes are folded, want %d and 0", age, a.Folded(), b.Folded(), want)
		}
	}
}
