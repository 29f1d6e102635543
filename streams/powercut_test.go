package streams

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/vfs"
)

// An identified append is [id 8][length 4][fill]: a stream of them can be
// parsed, and each found or missed.
func identified(id uint64, n int) []byte {
	b := make([]byte, 12+n)
	binary.LittleEndian.PutUint64(b, id)
	binary.LittleEndian.PutUint32(b[8:], uint32(n))
	for i := range n {
		b[12+i] = byte(id) + byte(i)
	}
	return b
}

// parseIdentified gives the offset of each id, or what is wrong.
func parseIdentified(b []byte) (map[uint64]int64, error) {
	found := map[uint64]int64{}
	for at := 0; at < len(b); {
		if len(b)-at < 12 {
			return nil, fmt.Errorf("torn append at %d", at)
		}
		id, n := binary.LittleEndian.Uint64(b[at:]), int(binary.LittleEndian.Uint32(b[at+8:]))
		if len(b)-at < 12+n || !bytes.Equal(b[at:at+12+n], identified(id, n)) {
			return nil, fmt.Errorf("append %d at %d has wrong bytes", id, at)
		}
		if _, ok := found[id]; ok {
			return nil, fmt.Errorf("append %d is there twice", id)
		}
		found[id] = int64(at)
		at += 12 + n
	}
	return found, nil
}

// A cutWorld runs writers against a disk in memory until the power goes.
type cutWorld struct {
	seed uint64
	rng  *rand.Rand // of the one goroutine that cuts
	mem  *vfs.Mem

	mu    sync.Mutex
	acked map[string]map[uint64]Result // by stream and id
	sizes map[uint64]int
	tried map[string]map[uint64]bool
	begin map[string]int64 // where a trim that was answered began the stream
	most  map[string]int64 // where one that was tried would have
	last  uint64

	trimmed int64 // bytes that checks found gone
}

func newCutWorld(seed uint64, rng *rand.Rand) *cutWorld {
	return &cutWorld{seed: seed, rng: rng, mem: vfs.NewMem(1 << 40), acked: map[string]map[uint64]Result{}, sizes: map[uint64]int{},
		tried: map[string]map[uint64]bool{}, begin: map[string]int64{}, most: map[string]int64{}}
}

func (w *cutWorld) name(i int) string { return fmt.Sprintf("stream/%d", i) }

// run writes until the n-th file system call after Open, at which the disk is
// cloned as a power cut would leave it. It gives the clone.
func (w *cutWorld) run(t *testing.T, n int64) *vfs.Mem {
	var calls atomic.Int64
	var clone *vfs.Mem
	cut := make(chan struct{})
	fs := &vfs.Faulty{FS: w.mem, Rule: func(vfs.Op) *vfs.Fault {
		switch c := calls.Add(1); {
		case c == n:
			w.mu.Lock()
			clone = w.mem.CrashClone(w.rng)
			w.mu.Unlock()
			close(cut)
		case c > n:
			<-cut
			return &vfs.Fault{Err: errors.New("no power")}
		}
		return nil
	}}
	o := small(fs)
	o.together = 4 + 8*int(w.seed%2)
	s, err := Open("data", o)
	if err != nil {
		<-cut
		return clone
	}
	var wg sync.WaitGroup
	for i := range 6 {
		rng := rand.New(rand.NewPCG(w.seed, uint64(i)))
		wg.Go(func() { w.write(t, s, rng, cut) })
	}
	wg.Go(func() { w.trim(s, rand.New(rand.NewPCG(w.seed, 7)), cut) })
	wg.Wait()
	<-cut
	s.Close()
	return clone
}

// trim cuts streams at appends that were acknowledged, now and then.
func (w *cutWorld) trim(s *Store, rng *rand.Rand, cut chan struct{}) {
	for {
		select {
		case <-cut:
			return
		case <-s.folded.wait():
		case <-time.After(time.Millisecond):
		}
		w.mu.Lock()
		var cuts []Cut
		for name, ids := range w.acked {
			st, ok := s.Stream(name)
			for _, res := range ids {
				if ok && rng.IntN(3) == 0 {
					cuts = append(cuts, Cut{Stream: st, Generation: 1, Before: res.Offset, Seal: rng.IntN(2) == 0})
					w.most[name] = max(w.most[name], res.Offset)
				}
				break
			}
		}
		w.mu.Unlock()
		err := s.Trim(context.Background(), cuts)
		w.mu.Lock()
		select {
		case <-cut: // too late to count
		default:
			for _, c := range cuts {
				if state := c.Stream.State(); err == nil {
					w.begin[c.Stream.name] = max(w.begin[c.Stream.name], state.Begin)
				}
			}
		}
		w.mu.Unlock()
	}
}

func (w *cutWorld) write(t *testing.T, s *Store, rng *rand.Rand, cut chan struct{}) {
	for {
		select {
		case <-cut:
			return
		default:
		}
		name := w.name(rng.IntN(9))
		st, err := s.Create(name, "")
		if err != nil {
			t.Error(err)
			return
		}
		id, b := w.fresh(name, rng)
		rec := Record{Stream: st, Data: b, Key: uploadKey(workKey(id), sha256.Sum256(b))}
		var res Result
		if rng.IntN(12) == 0 {
			var u Upload
			u, err = st.Upload(context.Background(), bytes.NewReader(b), UploadOptions{Key: workKey(id), Length: int64(len(b))})
			res = u.Result
		} else {
			list := make([]Result, 2)
			err = s.Append(context.Background(), []Record{rec, rec}[:1+rng.IntN(2)], list)
			res = list[0]
		}
		w.mu.Lock()
		if err == nil && res.Err == nil {
			select {
			case <-cut: // too late to count
			default:
				w.acked[name][id] = res
			}
		}
		w.mu.Unlock()
	}
}

// fresh gives an append to try: mostly a new one, else one that was tried.
func (w *cutWorld) fresh(name string, rng *rand.Rand) (uint64, []byte) {
	n := rng.IntN(1500)
	if rng.IntN(15) == 0 {
		n = 4096 + rng.IntN(9000)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if rng.IntN(3) == 0 {
		var pick uint64
		for id := range w.tried[name] {
			pick = id
			if _, ok := w.acked[name][id]; !ok {
				break
			}
		}
		if pick != 0 {
			return pick, identified(pick, w.sizes[pick])
		}
	}
	w.last++
	id := w.last
	w.sizes[id] = n
	if w.tried[name] == nil {
		w.tried[name], w.acked[name] = map[uint64]bool{}, map[uint64]Result{}
	}
	w.tried[name][id] = true
	return id, identified(id, n)
}

// check opens what the cut left: what was acknowledged is there, unless it was
// trimmed, nothing is there twice, and a repeat of anything, trimmed or not, is
// answered or stored once.
func (w *cutWorld) check(t *testing.T) (acks int) {
	s, err := Open("data", small(w.mem))
	if err != nil {
		t.Fatalf("seed %d: %v", w.seed, err)
	}
	defer s.Close()
	if q := s.Stats().Recovery.QuarantinedFiles; len(q) > 0 {
		t.Fatalf("seed %d: a power cut is no damage, but set aside: %v", w.seed, q)
	}
	for name, ids := range w.tried {
		found := map[uint64]int64{}
		begin := int64(0)
		if st, ok := s.Stream(name); ok {
			begin = st.State().Begin
			if found, err = parseFrom(readAll(t, st), begin); err != nil {
				t.Fatalf("seed %d: %s: %v", w.seed, name, err)
			}
			w.files(t, s, st)
		}
		if begin < w.begin[name] || begin > w.most[name] {
			t.Fatalf("seed %d: %s begins at %d, was trimmed to %d, asked for %d", w.seed, name, begin, w.begin[name], w.most[name])
		}
		w.trimmed += begin
		for id, res := range w.acked[name] {
			if at, ok := found[id]; res.Offset >= begin && (!ok || at != res.Offset) {
				t.Fatalf("seed %d: %s: acknowledged %d at %d, found at %d %v", w.seed, name, id, res.Offset, at, ok)
			}
		}
		acks += len(w.acked[name])
		st, trimmed := mustCreate(t, s, name), 0
		for id := range ids {
			at, had := found[id]
			b := identified(id, w.sizes[id])
			res := mustAppend(t, s, Record{Stream: st, Data: b, Key: uploadKey(workKey(id), sha256.Sum256(b))})
			gone := !had && res.Duplicate && res.Offset < begin
			if _, acked := w.acked[name][id]; acked && !res.Duplicate {
				t.Fatalf("seed %d: %s: %d was acknowledged and stored again: %+v", w.seed, name, id, res)
			}
			if gone {
				trimmed++
			}
			if res.Duplicate != had && !gone || had && res.Offset != at {
				t.Fatalf("seed %d: %s: repeat of %d: %+v, was there %v at %d", w.seed, name, id, res, had, at)
			}
			w.acked[name][id] = res
		}
		if found, err = parseFrom(readAll(t, st), begin); err != nil || len(found)+trimmed != len(ids) {
			t.Fatalf("seed %d: %s: after the repeats %d of %d appends, %d of them trimmed, %v", w.seed, name, len(found), len(ids), trimmed, err)
		}
	}
	return acks
}

// parseFrom is parseIdentified for a stream that begins somewhere.
func parseFrom(b []byte, begin int64) (map[uint64]int64, error) {
	found, err := parseIdentified(b)
	for id := range found {
		found[id] += begin
	}
	return found, err
}

// files are those of the stream that count, none from before its beginning.
func (w *cutWorld) files(t *testing.T, s *Store, st *Stream) {
	names, err := s.o.FS.List(s.chunkDir(st.name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	first := st.firstFile()
	for _, name := range names {
		if _, offset, ok := parseChunkName(name); !ok || offset < first {
			t.Fatalf("seed %d: %s: %s is left of before %d", w.seed, st.name, name, first)
		}
	}
}

// TestPowerCut cuts the power at random file system calls, also in folds, in
// rewrites of the manifest, in uploads and in the recovery of the cut before.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	seeds := uint64(15)
	if thorough() {
		seeds = 300
	}
	var acks, trimmed atomic.Int64
	t.Run("seeds", func(t *testing.T) {
		for seed := range seeds {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				rng := rand.New(rand.NewPCG(seed, 99))
				w := newCutWorld(seed, rng)
				for range 3 {
					clone := w.run(t, 1+rng.Int64N(2500))
					if rng.IntN(2) == 0 { // the process was killed, and then the power goes
						clone = w.run(t, 40+rng.Int64N(100))
					}
					w.mem = clone
					for rng.IntN(3) == 0 { // in the recovery
						w.mem = w.run(t, 1+rng.Int64N(120))
					}
					acks.Add(int64(w.check(t)))
					w.mem = w.mem.CrashClone(rng)
				}
				trimmed.Add(w.trimmed)
			})
		}
	})
	t.Logf("%d acknowledged appends checked, %d bytes trimmed", acks.Load(), trimmed.Load())
	if trimmed.Load() == 0 {
		t.Error("nothing was trimmed")
	}
}

// TestKillThenPowerCut: a process dies between write and sync. The next one
// finds the bytes in the page cache, and answers a repeat as a duplicate; when
// the power goes then, they are still there.
func TestKillThenPowerCut(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		mem := vfs.NewMem(1 << 40)
		var dead atomic.Pointer[string] // the present segment, once the process is about to die
		fs := &vfs.Faulty{FS: mem, Rule: func(op vfs.Op) *vfs.Fault {
			if seg := dead.Load(); seg != nil && (op.Kind != "WriteAt" || op.Name != *seg) {
				return &vfs.Fault{Err: errors.New("killed")}
			}
			return nil
		}}
		s := mustOpen(t, "data", small(fs))
		st := mustCreate(t, s, "a")
		mustAppend(t, s, Record{Stream: st, Data: identified(1, 3000), Key: Key{1}})
		dead.Store(&s.log.cur.name)
		res := make([]Result, 1)
		if err := s.Append(context.Background(), []Record{{Stream: st, Data: identified(2, 3000), Key: Key{2}}}, res); !errors.Is(err, ErrUnknown) {
			t.Fatalf("an append that was not synced: %v", err)
		}
		s.Close()
		s = mustOpen(t, "data", small(mem))
		st = mustCreate(t, s, "a")
		if res := mustAppend(t, s, Record{Stream: st, Data: identified(2, 3000), Key: Key{2}}); !res.Duplicate {
			t.Fatalf("%+v; the test wants bytes that only the page cache has", res)
		}
		s = mustOpen(t, "data", small(mem.CrashClone(rand.New(rand.NewPCG(seed, 1)))))
		st = mustCreate(t, s, "a")
		if found, err := parseIdentified(readAll(t, st)); len(found) != 2 || err != nil {
			t.Fatalf("seed %d: %v %v", seed, found, err)
		}
	}
}

// workKey is the identity that a sender gives to its append.
func workKey(id uint64) Key { return KeyOf([]byte(fmt.Sprint(id))) }
