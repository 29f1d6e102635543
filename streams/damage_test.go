package streams

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"strings"
	"sync/atomic"
	"testing"

	"weir/internal/vfs"
)

// stored makes a store with 8 streams of identified appends, most of them
// folded and the last few only in the log, and gives what each stream holds.
func stored(t *testing.T, mem *vfs.Mem, o Options) map[string]map[uint64]int64 {
	t.Helper()
	s := mustOpen(t, "data", o)
	want := map[string]map[uint64]int64{}
	for id := range uint64(250) {
		name := fmt.Sprintf("s%d", id%8)
		n := 900
		if id%50 == 3 {
			n = 5000
		}
		res := mustAppend(t, s, Record{Stream: mustCreate(t, s, name), Data: identified(id, n), Key: KeyOf([]byte(fmt.Sprint(id)))})
		if want[name] == nil {
			want[name] = map[uint64]int64{}
		}
		want[name][id] = res.Offset
	}
	if err := waitFolded(s); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return want
}

// flip damages a sector of a file.
func flip(t *testing.T, mem vfs.FS, name string, at int64) {
	t.Helper()
	f, err := mem.OpenFile(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, sectorBytes)
	n, _ := f.ReadAt(b, at)
	for i := range b[:n] {
		b[i] ^= 0x55
	}
	if _, err := f.WriteAt(b[:n], at); err != nil {
		t.Fatal(err)
	}
}

// readable gives which appends are found at their offsets, and fails when
// others than those of a hole are missing or any is wrong.
func readable(t *testing.T, s *Store, want map[string]map[uint64]int64) (found int) {
	t.Helper()
	for name, ids := range want {
		st, ok := s.Stream(name)
		if !ok {
			continue
		}
		for id, off := range ids {
			head := make([]byte, 12)
			_, err := st.ReadAt(st.State().Generation, head, off)
			if errors.Is(err, ErrHole) || err != nil && off >= st.State().Length {
				continue
			}
			if err != nil {
				t.Fatalf("%s %d: %v", name, id, err)
			}
			if !bytes.Equal(head, identified(id, int(head[8])|int(head[9])<<8)[:12]) {
				t.Fatalf("%s: append %d at %d has wrong bytes", name, id, off)
			}
			found++
		}
	}
	return found
}

func walk(fsys vfs.FS, dir string) (files []string) {
	names, _ := fsys.List(dir)
	for _, n := range names {
		if strings.HasSuffix(n, "/") {
			files = append(files, walk(fsys, path.Join(dir, n))...)
		} else {
			files = append(files, path.Join(dir, n))
		}
	}
	return files
}

// TestEachSectorDamaged damages one sector of any file that holds no
// plain bytes of a stream. The store opens, gives all that is not in the sector, says what is
// lost, and goes on; Check tells before.
func TestEachSectorDamaged(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem(1 << 40)
	o := small(mem)
	want := stored(t, mem, o)
	all := 0
	for _, ids := range want {
		all += len(ids)
	}
	outcome := map[string]int{}
	for _, name := range walk(mem, "data") {
		if strings.HasPrefix(name, "data/chunks/") || strings.HasPrefix(name, "data/uploads/") || path.Base(name) == "lock" {
			continue
		}
		size, _ := mem.Size(name)
		step := int64(sectorBytes)
		if path.Ext(name) == ".seg" {
			step *= 7 // one of seven will do
		}
		for at := int64(0); at < size; at += step {
			c := mem.CrashClone(rand.New(rand.NewPCG(1, 1)))
			flip(t, c, name, at)
			o := small(c)
			before, err := Check("data", o, true)
			if err != nil {
				t.Fatalf("%s at %d: check: %v", name, at, err)
			}
			s, err := Open("data", o)
			if err != nil {
				t.Fatalf("%s at %d: %v", name, at, err)
			}
			found := readable(t, s, want)
			lost := all - found
			if lost > 0 && before.Condition != Damaged {
				t.Fatalf("%s at %d: %d appends are lost, check says %s", name, at, lost, before.Condition)
			}
			if lost > 30 {
				t.Fatalf("%s at %d: one sector lost %d of %d appends: %+v", name, at, lost, all, before)
			}
			if lost > 0 && len(s.Stats().Recovery.QuarantinedFiles) == 0 {
				t.Fatalf("%s at %d: %d appends are lost and nothing is said", name, at, lost)
			}
			outcome[fmt.Sprintf("%s %s lost:%v", path.Ext(name), before.Condition, lost > 0)]++
			st := mustCreate(t, s, "s1")
			mustAppend(t, s, Record{Stream: st, Data: []byte("goes on")})
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%v", outcome)
	for _, must := range []string{".seg damaged lost:true", ".seg clean lost:false", ".manifest repairable lost:false", ".copy repairable lost:false", ".keys damaged lost:false"} {
		if outcome[must] == 0 {
			t.Errorf("never seen: %s", must)
		}
	}
}

func TestCheckChunkFiles(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem(1 << 40)
	o := small(mem)
	stored(t, mem, o)
	if r, err := Check("data", o, true); err != nil || r.Condition != Clean || r.Streams != 8 || r.Verified == 0 || r.Records != 250 {
		t.Fatalf("%+v %v", r, err)
	}
	var chunk string
	for _, name := range walk(mem, "data/chunks/s2") {
		chunk = name
		break
	}
	flip(t, mem, chunk, 0)
	if r, err := Check("data", o, false); err != nil || r.Condition != Clean {
		t.Fatalf("only a deep check reads chunk files: %+v %v", r, err)
	}
	r, err := Check("data", o, true)
	if err != nil || r.Condition != Damaged || len(r.Findings) != 1 || r.Findings[0].File != chunk || r.Findings[0].Stream != "s2" {
		t.Fatalf("%+v %v", r, err)
	}
	f, _ := mem.OpenFile(chunk)
	f.Truncate(100)
	f.Close()
	if r, err := Check("data", o, false); err != nil || r.Condition != Damaged || r.Findings[0].From != 100 {
		t.Fatalf("%+v %v", r, err)
	}
	mem.Remove(chunk)
	if r, err := Check("data", o, false); err != nil || r.Condition != Damaged {
		t.Fatalf("%+v %v", r, err)
	}
	if _, err := Check("elsewhere", o, false); !errors.Is(err, ErrNoStore) {
		t.Fatal(err)
	}
	s := mustOpen(t, "data", o)
	defer s.Close()
	if _, err := Check("data", o, false); err == nil {
		t.Fatal("checked a store that is open")
	}
}

// TestTornTail: what a cut commit left is repairable, cut, and said.
func TestTornTail(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem(1 << 40)
	o := small(mem)
	var dead atomic.Pointer[string] // the present segment
	o.FS = &vfs.Faulty{FS: mem, Rule: func(op vfs.Op) *vfs.Fault {
		if seg := dead.Load(); seg != nil {
			if op.Name != *seg { // no header of a next segment cuts it off
				return &vfs.Fault{Err: errors.New("killed")}
			}
			return &vfs.Fault{Err: errors.New("killed"), Partly: 2048}
		}
		return nil
	}}
	s := mustOpen(t, "data", o)
	st := mustCreate(t, s, "a")
	mustAppend(t, s, Record{Stream: st, Data: []byte("kept")})
	dead.Store(&s.log.cur.name)
	res := make([]Result, 1)
	if s.Append(context.Background(), []Record{{Stream: st, Data: make([]byte, 3000)}}, res) == nil {
		t.Fatal("acknowledged by a dead disk")
	}
	s.Close()
	o = small(mem)
	r, err := Check("data", o, true)
	if err != nil || r.Condition != Repairable || len(r.Findings) != 1 || r.Findings[0].To <= r.Findings[0].From {
		t.Fatalf("%+v %v", r, err)
	}
	s = mustOpen(t, "data", o)
	defer s.Close()
	if rec := s.Stats().Recovery; rec.Clean || rec.CutBytes < 3000 || len(rec.QuarantinedFiles) > 0 {
		t.Fatalf("%+v", rec)
	}
	st, _ = s.Stream("a")
	if got := string(readAll(t, st)); got != "kept" {
		t.Fatalf("%q", got)
	}
}

// TestHeaderLost: a segment whose header and its copy are gone is known by
// its batches, in the middle of the log and at its end.
func TestHeaderLost(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem(1 << 40)
	o := logged(mem)
	o.LiveSegments = 4
	s := mustOpen(t, "data", o)
	st := mustCreate(t, s, "a")
	var want []byte
	for i := range uint64(90) {
		b := identified(i, 2000)
		mustAppend(t, s, Record{Stream: st, Data: b})
		want = append(want, b...)
	}
	if full, _ := s.log.counts(); full < 2 {
		t.Fatalf("%d full segments", full)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range walk(mem, "data/log") {
		c := mem.CrashClone(rand.New(rand.NewPCG(1, 1)))
		size, _ := c.Size(name)
		flip(t, c, name, 0)
		flip(t, c, name, size-sectorBytes)
		o.FS = c
		s := mustOpen(t, "data", o)
		st, ok := s.Stream("a")
		if !ok || !bytes.Equal(readAll(t, st), want) {
			t.Fatalf("%s: not all is there", name)
		}
		mustAppend(t, s, Record{Stream: st, Data: []byte("goes on")})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = mustOpen(t, "data", o)
		if st, _ = s.Stream("a"); st.State().Length != int64(len(want)+7) {
			t.Fatalf("%s: %+v", name, st.State())
		}
		s.Close()
	}
}

// TestSegmentLost: without one segment of the log what is in the others is
// there, in its place.
func TestSegmentLost(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem(1 << 40)
	o := logged(mem)
	o.LiveSegments = 4
	s := mustOpen(t, "data", o)
	st := mustCreate(t, s, "a")
	for i := range uint64(90) {
		mustAppend(t, s, Record{Stream: st, Data: identified(i, 2000)})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := mem.Remove(segmentOf(t, mem, 2)); err != nil { // not the first, which holds the name
		t.Fatal(err)
	}
	if r, err := Check("data", o, false); err != nil || r.Condition != Damaged {
		t.Fatalf("%+v %v", r, err)
	}
	s = mustOpen(t, "data", o)
	defer s.Close()
	st, _ = s.Stream("a")
	found := 0
	for i := range int64(90) {
		p := make([]byte, 2012)
		_, err := st.ReadAt(1, p, i*2012)
		if err == nil && bytes.Equal(p, identified(uint64(i), 2000)) {
			found++
		} else if !errors.Is(err, ErrHole) {
			t.Fatalf("append %d: %v", i, err)
		}
	}
	if found < 40 || found == 90 || len(s.Stats().Recovery.QuarantinedFiles) == 0 {
		t.Fatalf("%d of 90, %+v", found, s.Stats().Recovery)
	}
}

// TestFoldOfDamage: a batch that rots while the store is open is found by the
// fold, set aside, and is a hole afterwards.
func TestFoldOfDamage(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem(1 << 40)
	s := mustOpen(t, "data", logged(mem))
	st := mustCreate(t, s, "a")
	mustAppend(t, s, Record{Stream: st, Data: make([]byte, 3000)})
	mustAppend(t, s, Record{Stream: st, Data: identified(1, 3000)})
	flip(t, mem, s.log.cur.name, 1024)
	for range 100 {
		mustAppend(t, s, Record{Stream: st, Data: make([]byte, 3000)})
	}
	if err := waitFolded(s); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 3012)
	if _, err := st.ReadAt(1, p, 0); !errors.Is(err, ErrHole) {
		t.Fatalf("damaged bytes were read: %v", err)
	}
	if _, err := st.ReadAt(1, p, 3000); err != nil || !bytes.Equal(p, identified(1, 3000)) {
		t.Fatalf("the bytes after the hole: %v", err)
	}
	if q := s.Stats().Recovery.QuarantinedFiles; len(q) != 1 {
		t.Fatalf("%q", q)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := Check("data", logged(mem), true)
	if err != nil || r.Condition != Damaged || len(r.Findings) != 1 || r.Findings[0].Stream != "a" || r.Findings[0].Length != 3000 {
		t.Fatalf("%+v %v", r, err)
	}
}

// segmentOf gives the file of a generation of the log. Which one it is depends
// on when spare files were made.
func segmentOf(t *testing.T, fsys vfs.FS, generation uint64) string {
	t.Helper()
	names, err := fsys.List("data/log")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		name = "data/log/" + name
		f, err := fsys.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		size, err := f.Size()
		if err != nil {
			t.Fatal(err)
		}
		h, ok, err := readSegHeader(f, size)
		f.Close()
		if err == nil && ok && h.generation == generation {
			return name
		}
	}
	t.Fatalf("no segment has generation %d", generation)
	return ""
}

// TestUnreadableTail: an append that the disk does not give back is told of as
// damage, not taken for a commit that was cut off.
func TestUnreadableTail(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem(1 << 40)
	o := small(mem)
	s := mustOpen(t, "data", o)
	st := mustCreate(t, s, "a")
	mustAppend(t, s, Record{Stream: st, Data: identified(1, 2000)})
	at := s.log.cur.pos
	mustAppend(t, s, Record{Stream: st, Data: identified(2, 2000)})
	name := s.log.cur.name
	clone := mem.CrashClone(rand.New(rand.NewPCG(1, 1))) // no orderly end
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	o.FS = &unreadable{FS: clone, name: name, from: at, to: at + sectorBytes}
	r, err := Check("data", o, false)
	if err != nil || r.Condition != Damaged {
		t.Errorf("check: %+v %v", r, err)
	}
	s = mustOpen(t, "data", o)
	defer s.Close()
	if q := s.Stats().Recovery.QuarantinedFiles; len(q) != 1 {
		t.Errorf("set aside: %v", q)
	}
	st, _ = s.Stream("a")
	p := make([]byte, 2012)
	if _, err := st.ReadAt(1, p, 0); err != nil || !bytes.Equal(p, identified(1, 2000)) {
		t.Errorf("the append before it: %v", err)
	}
}

// An unreadable file system does not give back a range of one file.
type unreadable struct {
	vfs.FS
	name     string
	from, to int64
}

type unreadableFile struct {
	vfs.File
	u *unreadable
}

func (u *unreadable) Open(name string) (vfs.File, error) { return u.wrap(name)(u.FS.Open(name)) }
func (u *unreadable) OpenFile(name string) (vfs.File, error) {
	return u.wrap(name)(u.FS.OpenFile(name))
}

func (u *unreadable) wrap(name string) func(vfs.File, error) (vfs.File, error) {
	return func(f vfs.File, err error) (vfs.File, error) {
		if err != nil || name != u.name {
			return f, err
		}
		return &unreadableFile{f, u}, nil
	}
}

func (f *unreadableFile) ReadAt(p []byte, at int64) (int, error) {
	if at < f.u.to && at+int64(len(p)) > f.u.from {
		n, _ := f.File.ReadAt(p[:max(0, f.u.from-at)], at)
		return n, errors.New("input/output error")
	}
	return f.File.ReadAt(p, at)
}
