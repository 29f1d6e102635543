package streams

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"weir/internal/vfs"
)

// A troubledLife runs one goroutine's work on a few streams against a disk that
// fails a few calls in a row now and then: one that a run or a commit needs. The
// sender repeats; a stream that was reset is known by its generation.
type troubledLife struct {
	t     *testing.T
	seed  uint64
	rng   *rand.Rand
	mem   *vfs.Mem
	clock *handClock
	s     *Store

	want  map[string][]byte
	begin map[string]int64
	gen   map[string]uint64
	next  uint64
	runs  int

	mu    sync.Mutex // guards what the disk does
	dice  *rand.Rand
	fails int // calls that fail yet
	kind  string
	where string
	full  atomic.Bool
	hits  int
}

func (l *troubledLife) rule(op vfs.Op) *vfs.Fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fails == 0 || op.Kind != l.kind || !strings.Contains(op.Name, l.where) {
		return nil
	}
	l.fails--
	l.hits++
	switch l.dice.IntN(3) {
	case 0:
		return &vfs.Fault{Err: syscall.EIO, After: true}
	case 1:
		return &vfs.Fault{Err: syscall.EIO, Partly: l.dice.IntN(6000)}
	}
	return &vfs.Fault{Err: syscall.EIO}
}

func (l *troubledLife) open() {
	o := small(vfs.Full(&vfs.Faulty{FS: l.mem, Rule: l.rule}, &l.full))
	o.Now, o.LiveSegments = l.clock.now, 1
	s, err := Open("data", o)
	for range 20 {
		if err == nil {
			break
		}
		s, err = Open("data", o)
	}
	if err != nil {
		l.t.Fatalf("seed %d: %v", l.seed, err)
	}
	if q := s.Stats().Recovery.QuarantinedFiles; len(q) > 0 {
		l.t.Fatalf("seed %d: set aside: %v", l.seed, q)
	}
	l.s = s
}

// trouble makes the next calls of some kind fail.
func (l *troubledLife) trouble() {
	l.mu.Lock()
	defer l.mu.Unlock()
	kinds := []string{"WriteAt", "Datasync", "SyncDir", "OpenFile", "Truncate", "Remove", "Rename", "Create", "MkdirAll", "Size"}
	places := []string{"/chunks", "/chunks", "/log", "/manifest", ""}
	l.kind, l.where, l.fails = kinds[l.dice.IntN(len(kinds))], places[l.dice.IntN(len(places))], 1+l.dice.IntN(3)
}

// append adds some records, of several senders at once, until all are kept.
func (l *troubledLife) append() {
	var recs []Record
	for range 1 + l.rng.IntN(4) {
		st := mustCreate(l.t, l.s, fmt.Sprint("s", l.rng.IntN(3)))
		l.next++
		r := Record{Stream: st, Data: identified(l.next, l.rng.IntN(2500)), Key: workKey(l.next)}
		switch l.rng.IntN(40) {
		case 0:
			r.Data = identified(l.next, 5000)
		case 1:
			r.Reset = true
		case 2:
			r.Data = nil
		}
		recs = append(recs, r)
	}
	res := make([]Result, len(recs))
	for try := 0; ; try++ {
		err := l.s.Append(context.Background(), recs, res)
		if err == nil {
			break
		}
		if try > 100 {
			l.t.Fatalf("seed %d: %v", l.seed, err)
		}
		l.clock.advance(7e9)
		l.full.Store(false)
	}
	order := make([]int, len(recs)) // some may have been kept by an earlier try
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(res[a].Generation, res[b].Generation), cmp.Compare(res[a].Offset, res[b].Offset), cmp.Compare(len(recs[a].Data), len(recs[b].Data)))
	})
	for _, i := range order {
		name := recs[i].Stream.name
		if res[i].Generation > l.gen[name] {
			l.want[name], l.begin[name], l.gen[name] = nil, 0, res[i].Generation
		}
		if res[i].Generation != l.gen[name] || res[i].Offset != int64(len(l.want[name])) {
			l.t.Fatalf("seed %d: %s: %d is at %+v, want %d", l.seed, name, i, res[i], len(l.want[name]))
		}
		l.want[name] = append(l.want[name], recs[i].Data...)
		if runOf(l.s, recs[i].Stream) != nil {
			l.runs++
		}
	}
}

func (l *troubledLife) trim() {
	st := mustCreate(l.t, l.s, fmt.Sprint("s", l.rng.IntN(3)))
	before := l.rng.Int64N(int64(len(l.want[st.name])) + 1)
	c, _ := st.Over(Limit{Bytes: 1 + l.rng.Int64N(90_000)}, 1<<40, l.clock.now())
	if l.rng.IntN(2) == 0 {
		c.Before, c.Seal = before, l.rng.IntN(2) == 0
	}
	l.s.Trim(context.Background(), []Cut{c})
	l.begin[st.name] = st.State().Begin
}

func (l *troubledLife) restart() {
	l.s.Close() // may fail; what was acknowledged is durable all the same
	if l.rng.IntN(2) == 0 {
		l.mem = l.mem.CrashClone(l.rng)
	}
	l.open()
}

func (l *troubledLife) compare() {
	for name, want := range l.want {
		st, ok := l.s.Stream(name)
		if !ok {
			l.t.Fatalf("seed %d: no %s", l.seed, name)
		}
		state := st.State()
		if state.Begin > l.begin[name] { // a trim that failed may count after a restart
			l.begin[name] = state.Begin
		}
		got := make([]byte, state.Length-state.Begin)
		if _, err := st.ReadAt(state.Generation, got, state.Begin); err != nil || state.Length != int64(len(want)) || !bytes.Equal(got, want[state.Begin:]) {
			l.t.Fatalf("seed %d: %s: %+v, want %d bytes: %v", l.seed, name, state, len(want), err)
		}
	}
}

// check looks at what a store that is closed has on the disk.
func (l *troubledLife) check() {
	if r, err := Check("data", small(l.mem), true); err != nil || r.Condition == Damaged {
		l.t.Fatalf("seed %d: %+v %v", l.seed, r, err)
	}
}

// TestRunsInTrouble: runs begin, fail and end all the time, beside folds, trims,
// resets and large appends, on a disk that fails or is full, and whose power goes.
func TestRunsInTrouble(t *testing.T) {
	t.Parallel()
	seeds := uint64(12)
	if thorough() {
		seeds = 600
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			l := &troubledLife{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 3)), dice: rand.New(rand.NewPCG(seed, 4)),
				mem: vfs.NewMem(1 << 40), clock: newHandClock(), want: map[string][]byte{}, begin: map[string]int64{}, gen: map[string]uint64{}}
			l.open()
			for range 500 {
				switch l.rng.IntN(30) {
				case 0, 1, 2:
					l.trouble()
				case 3:
					l.trim()
				case 4:
					l.full.Store(true)
				case 5:
					l.full.Store(false)
				case 6:
					l.compare()
				case 7:
					if l.rng.IntN(3) == 0 {
						l.restart()
						l.compare()
					}
				}
				l.append()
				l.clock.advance(1e9)
			}
			l.mu.Lock()
			l.fails = 0
			l.mu.Unlock()
			l.full.Store(false)
			l.compare()
			l.restart()
			l.compare()
			if err := l.s.Close(); err != nil {
				t.Fatal(err)
			}
			l.check()
			if l.runs == 0 || l.hits == 0 {
				t.Errorf("%d appends to runs, %d failures", l.runs, l.hits)
			}
		})
	}
}
