package streams

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weir/internal/vfs"
)

// TestUploadBesideDamage: an upload has a file of its own, which is whole when
// the batch that refers to it is not.
func TestUploadBesideDamage(t *testing.T) {
	t.Parallel()
	body := bytes.Repeat([]byte("large"), 2000)
	// begin keeps a small append and a large one in one batch.
	begin := func() (*vfs.Mem, *Store, *Stream) {
		mem := vfs.NewMem(1 << 40)
		s := mustOpen(t, "data", small(mem))
		st := mustCreate(t, s, "a")
		recs := []Record{{Stream: st, Data: make([]byte, 2000)}, {Stream: st, Data: body}}
		if err := s.Append(context.Background(), recs, make([]Result, 2)); err != nil {
			t.Fatal(err)
		}
		return mem, s, st
	}
	fill := func(s *Store, st *Stream) {
		for range 60 {
			mustAppend(t, s, Record{Stream: st, Data: make([]byte, 3000)})
		}
	}
	check := func(s *Store, st *Stream) {
		t.Helper()
		p := make([]byte, len(body))
		if _, err := st.ReadAt(1, p, 2000); err != nil || !bytes.Equal(p, body) {
			t.Errorf("the upload cannot be read: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}

	mem, s, st := begin()
	flip(t, mem, s.log.cur.name, 1024) // of the batch's data
	fill(s, st)
	if err := waitFolded(s); err != nil {
		t.Fatal(err)
	}
	check(s, st)

	mem, s, st = begin()
	mustAppend(t, s, Record{Stream: st, Data: []byte("more")})
	flip(t, mem, s.log.cur.name, 512) // the batch's header
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, "data", small(mem))
	defer s.Close()
	b, err := vfs.ReadFile(mem, "data/quarantine/upload-0000000000000001")
	if err != nil || !bytes.Equal(b, body) {
		t.Errorf("the upload was not set aside: %v", err)
	}
}

// TestShortChunkFile: a chunk file that lost its end does not get zeros there.
func TestShortChunkFile(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem(1 << 40)
	o := logged(mem)
	o.ChunkBytes = 1 << 20
	s := mustOpen(t, "data", o)
	st := mustCreate(t, s, "a")
	fill := func(n int) {
		for range n {
			mustAppend(t, s, Record{Stream: st, Data: bytes.Repeat([]byte("x"), 3000)})
		}
		if err := waitFolded(s); err != nil {
			t.Fatal(err)
		}
	}
	fill(60)
	f, err := mem.OpenFile("data/chunks/a/00000001-0000000000000000")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(1000), f.Close()); err != nil {
		t.Fatal(err)
	}
	from := st.State().Length
	fill(60)
	b := make([]byte, 3000)
	for off := int64(0); off < st.State().Length; off += 3000 {
		n, err := st.ReadAt(1, b, off)
		if bytes.ContainsRune(b[:n], 0) {
			t.Fatalf("zeros at %d", off)
		}
		if err == nil && off == 0 || err != nil && off >= from {
			t.Fatalf("read at %d: %v", off, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestPartLost: a folder of the store that is gone is told, or the rest is not
// touched.
func TestPartLost(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem(1 << 40)
	stored(t, mem, small(mem))
	lost := mem.CrashClone(rand.New(rand.NewPCG(1, 1)))
	if err := lost.RemoveAll("data/log"); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, "data", small(lost))
	if q := s.Stats().Recovery.QuarantinedFiles; len(q) == 0 {
		t.Error("nobody is told that the log is gone")
	}
	s.Close()
	lost = mem.CrashClone(rand.New(rand.NewPCG(1, 1)))
	if err := lost.RemoveAll("data/manifest"); err != nil {
		t.Fatal(err)
	}
	forgetFirst(t, lost)
	if s, err := Open("data", small(lost)); err == nil || !strings.Contains(err.Error(), "backup") {
		t.Errorf("a store without its manifest opens: %v", err)
		s.Close()
	}
}

// forgetFirst makes sure that the log does not go back to its beginning, as
// after any longer life.
func forgetFirst(t *testing.T, fsys vfs.FS) {
	t.Helper()
	segs, err := openSegments(fsys, "data/log", fsys.OpenFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range segs {
		g.file.Close()
		if g.whole && g.generation == 1 {
			if err := fsys.Remove(g.name); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestManifestCannotBeListed: a store does not begin without its manifest when
// the folder cannot be read just then: what was trimmed would be missed, and the
// next start would find the old manifest again.
func TestManifestCannotBeListed(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem(1 << 40)
	o := small(mem)
	o.LogAge = time.Nanosecond // each append folds what came before
	s := mustOpen(t, "data", o)
	st := mustCreate(t, s, "a")
	want := more(t, s, st, nil, 1, 3, 5000) // for which no segment was used again
	if err := waitFolded(s); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	bad := small(&vfs.Faulty{FS: mem, Rule: func(op vfs.Op) *vfs.Fault {
		if op.Kind == "List" && strings.HasSuffix(op.Name, "/manifest") {
			return &vfs.Fault{Err: syscall.EIO}
		}
		return nil
	}})
	if s, err := Open("data", bad); !errors.Is(err, syscall.EIO) {
		t.Errorf("opened without its manifest: %v", err)
		s.Close()
	}
	if _, err := Check("data", bad, true); !errors.Is(err, syscall.EIO) {
		t.Errorf("checked without its manifest: %v", err)
	}
	mustBe(t, "data", small(mem), want)
}

// TestUploadLost: the file of a large body is gone. Its bytes are a hole; what
// comes before and after is folded, and so is all that comes later.
func TestUploadLost(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem(1 << 40)
	s := mustOpen(t, "data", logged(mem))
	st := mustCreate(t, s, "a")
	want := more(t, s, st, nil, 1, 1, 1000)
	from := len(want)
	want = more(t, s, st, want, 2, 1, 6000)
	to := len(want)
	want = more(t, s, st, want, 3, 1, 1000)
	if err := mem.Remove(s.uploadFile(1)); err != nil {
		t.Fatal(err)
	}
	foldAll(t, s)
	for restart := range 2 {
		if q := s.Stats(); q.FoldFailed != "" || restart == 0 && len(q.Recovery.QuarantinedFiles) == 0 {
			t.Fatalf("folding: %q, told of damage: %v", q.FoldFailed, q.Recovery.QuarantinedFiles)
		}
		for _, part := range [][2]int{{0, from}, {to, len(want)}} {
			p := make([]byte, part[1]-part[0])
			if _, err := st.ReadAt(1, p, int64(part[0])); err != nil || !bytes.Equal(p, want[part[0]:part[1]]) {
				t.Errorf("bytes from %d to %d: %v", part[0], part[1], err)
			}
		}
		if _, err := st.ReadAt(1, make([]byte, 10), int64(from)); !errors.Is(err, ErrHole) {
			t.Errorf("what is lost: %v, want %v", err, ErrHole)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = mustOpen(t, "data", logged(mem))
		st, _ = s.Stream("a")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestStagedThatCannotBeSynced: a body whose file could not be made durable is
// refused, and refused again.
func TestStagedThatCannotBeSynced(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem(1 << 40)
	s := mustOpen(t, "data", small(&vfs.Faulty{FS: mem, Rule: func(op vfs.Op) *vfs.Fault {
		if op.Kind == "SyncDir" && strings.HasSuffix(op.Name, uploadsFolder) {
			return &vfs.Fault{Err: syscall.EIO}
		}
		return nil
	}}))
	defer s.Close()
	body, err := s.NewStaged()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := body.Write([]byte("text")); err != nil {
		t.Fatal(err)
	}
	st := mustCreate(t, s, "a")
	for range 2 {
		if err := s.Append(context.Background(), []Record{{Stream: st, Body: body}}, make([]Result, 1)); err == nil {
			t.Error("kept what is not durable")
		}
	}
	body.Discard()
	if left, err := mem.List("data/" + uploadsFolder); err != nil || len(left) > 0 {
		t.Errorf("left: %q %v", left, err)
	}
}

// TestKeysReadAgain: a key file that cannot be read at once is read again, and
// no repeat is stored twice.
func TestKeysReadAgain(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"Open", "ReadAt"} {
		mem := vfs.NewMem(1 << 40)
		s := mustOpen(t, "data", logged(mem))
		st := mustCreate(t, s, "a")
		rec := Record{Stream: st, Data: []byte("once"), Key: Key{1}}
		mustAppend(t, s, rec)
		foldAll(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		var fails atomic.Int32
		fails.Store(2)
		s = mustOpen(t, "data", logged(&vfs.Faulty{FS: mem, Rule: func(op vfs.Op) *vfs.Fault {
			if op.Kind == kind && strings.Contains(op.Name, "/keys/") && fails.Add(-1) >= 0 {
				return &vfs.Fault{Err: syscall.EIO}
			}
			return nil
		}}))
		if fails.Load() == 2 {
			t.Fatalf("%s: the test wants a failure", kind)
		}
		rec.Stream, _ = s.Stream("a")
		if res := mustAppend(t, s, rec); !res.Duplicate {
			t.Errorf("%s: stored again: %+v", kind, res)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
