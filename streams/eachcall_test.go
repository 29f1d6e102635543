package streams

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/internal/vfs"
)

// A brittleDisk fails a few calls, and loses its power at one: the power is what
// CrashClone leaves, and all calls after it fail.
type brittleDisk struct {
	mem *vfs.Mem
	rng *rand.Rand

	mu     sync.Mutex
	calls  int64
	fault  *vfs.Fault
	from   int64  // the first call that fails
	fails  int    // how many may, of the kind and the file of the first
	first  vfs.Op // which that was
	cut    int64  // the call before which the power goes; 0 is none
	left   *vfs.Mem
	lastOp vfs.Op
}

var errNoPower = errors.New("no power")

func (d *brittleDisk) fs() vfs.FS { return &vfs.Faulty{FS: d.mem, Rule: d.rule} }

func (d *brittleDisk) rule(op vfs.Op) *vfs.Fault {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls++
	if d.left != nil {
		return &vfs.Fault{Err: errNoPower}
	}
	if d.calls == d.cut {
		d.lastOp = op
		d.left = d.mem.CrashClone(d.rng)
		return &vfs.Fault{Err: errNoPower}
	}
	if d.fault == nil || d.calls < d.from || d.fails == 0 {
		return nil
	}
	if d.first.Kind == "" {
		d.first = op
	} else if op.Kind != d.first.Kind || op.Name != d.first.Name {
		return nil
	}
	d.fails--
	return d.fault
}

func (d *brittleDisk) dark() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.left != nil
}

// A shortLife is what one sender, who repeats, does to a store that has busy
// streams, resets, trims, large bodies, folds, turns of key files and restarts.
type shortLife struct {
	disk  *brittleDisk
	clock *handClock
	o     Options
	s     *Store
	rng   *rand.Rand

	want    map[string][]byte
	gen     map[string]uint64
	begin   map[string]int64 // as answered
	most    map[string]int64 // as asked for
	kept    []keptRecord
	pending []Record // of which no answer came
	next    uint64
	runs    int
}

type keptRecord struct {
	name string
	rec  Record
	res  Result
}

const (
	lifeKeys  = 60
	lifeSteps = 26
)

func newShortLife(d *brittleDisk, seed uint64) *shortLife {
	l := &shortLife{disk: d, clock: newHandClock(), rng: rand.New(rand.NewPCG(seed, 5)),
		want: map[string][]byte{}, gen: map[string]uint64{}, begin: map[string]int64{}, most: map[string]int64{}}
	l.o = l.options(d.fs())
	return l
}

func (l *shortLife) options(fs vfs.FS) Options {
	o := small(fs)
	o.Now, o.LogAge, o.Keys, o.busyBytes, o.runEager = l.clock.now, 6*time.Second, lifeKeys, 500, 900
	o.ChunkBytes = 6 << 10
	o.together = 2 + int(l.disk.from+l.disk.cut)%3
	return o
}

// live does all, or what the power allows.
func (l *shortLife) live() error {
	for range 3 {
		if err := l.open(); err != nil {
			return err
		}
		for range lifeSteps {
			if err := l.step(); err != nil {
				l.s.Close()
				return err
			}
			l.clock.advance(time.Second)
		}
		if l.rng.IntN(3) > 0 {
			if err := l.settle(); err != nil {
				l.s.Close()
				return err
			}
		}
		if err := l.s.Close(); err != nil && l.disk.dark() {
			return err
		}
	}
	return nil
}

// settle waits until the keeper has nothing to fold.
func (l *shortLife) settle() error {
	for range 100 {
		if l.disk.dark() {
			return errNoPower
		}
		ch := l.s.folded.wait()
		l.s.wakeKeeper()
		if l.s.log.oldest(l.o.LiveSegments) == nil {
			return nil
		}
		<-ch
	}
	return fmt.Errorf("no fold succeeds: %s", l.s.Stats().FoldFailed)
}

func (l *shortLife) open() (err error) {
	for range 6 {
		if l.s, err = Open("data", l.o); err == nil || l.disk.dark() {
			return err
		}
	}
	return err
}

func (l *shortLife) step() error {
	switch l.rng.IntN(9) {
	case 0:
		return l.trim()
	case 1:
		return l.append(l.record("big", 4100+l.rng.IntN(3000), false))
	case 2:
		return l.staged()
	case 3:
		return l.append(l.record("ab"[l.rng.IntN(2):][:1], l.rng.IntN(900), true))
	}
	recs := []Record{l.record("a", 600+l.rng.IntN(1500), false)}
	for range l.rng.IntN(3) {
		recs = append(recs, l.record([]string{"a", "b", "c", "big"}[l.rng.IntN(4)], l.rng.IntN(1000), false))
	}
	return l.append(recs...)
}

func (l *shortLife) record(name string, n int, reset bool) Record {
	st, err := l.s.Create(name, "")
	if err != nil {
		panic(err)
	}
	l.next++
	return Record{Stream: st, Data: identified(l.next, n), Key: workKey(l.next), Reset: reset}
}

// staged appends a body that was written to its file before.
func (l *shortLife) staged() error {
	r := l.record("big", 200+l.rng.IntN(2000), false)
	body, err := l.s.NewStaged()
	if err == nil {
		_, err = body.Write(r.Data)
	}
	if err == nil {
		res := make([]Result, 1)
		with := r
		with.Data, with.Body = nil, body
		err = l.s.Append(context.Background(), []Record{with}, res)
		if err == nil && !l.disk.dark() {
			return l.note([]Record{r}, res)
		}
		body.Discard()
	}
	return l.append(r) // as small data
}

// append repeats until all is kept.
func (l *shortLife) append(recs ...Record) error {
	l.pending = recs
	res := make([]Result, len(recs))
	for try := 0; ; try++ {
		err := l.s.Append(context.Background(), recs, res)
		if l.disk.dark() {
			return errNoPower
		}
		if err == nil {
			return l.note(recs, res)
		}
		if try > 60 {
			return err
		}
		l.clock.advance(time.Second)
	}
}

// note adds what was kept to what must be there.
func (l *shortLife) note(recs []Record, res []Result) error {
	order := make([]int, len(recs)) // some may have been kept by an earlier try
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(res[a].Generation, res[b].Generation), cmp.Compare(res[a].Offset, res[b].Offset))
	})
	for _, i := range order {
		name := recs[i].Stream.name
		if res[i].Generation > l.gen[name] {
			l.want[name], l.begin[name], l.most[name], l.gen[name] = nil, 0, 0, res[i].Generation
		}
		if res[i].Generation != l.gen[name] || res[i].Offset != int64(len(l.want[name])) {
			return fmt.Errorf("%s: an append is at %+v, want %d in generation %d", name, res[i], len(l.want[name]), l.gen[name])
		}
		l.want[name] = append(l.want[name], recs[i].Data...)
		l.kept = append(l.kept, keptRecord{name, recs[i], res[i]})
		l.s.mu.Lock()
		if recs[i].Stream.run != nil {
			l.runs++
		}
		l.s.mu.Unlock()
	}
	l.pending = nil
	return nil
}

func (l *shortLife) trim() error {
	var cuts []Cut
	for name, want := range l.want {
		if st, ok := l.s.Stream(name); ok && l.rng.IntN(3) > 0 {
			c := Cut{Stream: st, Generation: l.gen[name], Before: l.rng.Int64N(int64(len(want)) + 1), Seal: l.rng.IntN(2) == 0}
			cuts = append(cuts, c)
			l.most[name] = max(l.most[name], c.Before)
		}
	}
	err := l.s.Trim(context.Background(), cuts)
	if l.disk.dark() {
		return errNoPower
	}
	for _, c := range cuts {
		if err == nil {
			l.begin[c.Stream.name] = c.Stream.State().Begin
		}
	}
	return nil // a trim that failed may be tried again, and need not be
}

// check opens what is left, repeats what had no answer, and compares.
func (l *shortLife) check(mem *vfs.Mem, rng *rand.Rand) error {
	o := l.options(mem)
	if r, err := Check("data", o, true); !errors.Is(err, ErrNoStore) && (err != nil || r.Condition == Damaged) {
		return fmt.Errorf("check of what is left: %+v %w", r, err)
	}
	s, err := Open("data", o)
	if err != nil {
		return err
	}
	defer func() { s.Close() }()
	if q := s.Stats().Recovery.QuarantinedFiles; len(q) > 0 {
		return fmt.Errorf("set aside: %v", q)
	}
	if err := l.remembered(s); err != nil {
		return err
	}
	if err := l.compare(s, false); err != nil {
		return err
	}
	if l.s = s; len(l.pending) > 0 {
		recs, res := l.pending, make([]Result, len(l.pending))
		for i := range recs {
			recs[i].Stream, _ = s.Create(recs[i].Stream.name, "")
		}
		if err := errors.Join(s.Append(context.Background(), recs, res), l.note(recs, res)); err != nil {
			return fmt.Errorf("the repeat: %w", err)
		}
	}
	if err := l.compare(s, true); err != nil {
		return fmt.Errorf("after the repeat: %w", err)
	}
	was := s
	if s, err = Open("data", l.options(mem.CrashClone(rng))); err != nil {
		return fmt.Errorf("second start: %w", err)
	}
	was.Close()
	if err := l.compare(s, true); err != nil {
		return fmt.Errorf("second start: %w", err)
	}
	if err := s.Close(); err != nil {
		return err
	}
	if r, err := Check("data", s.o, true); err != nil || r.Condition != Clean {
		return fmt.Errorf("check at the end: %+v %w", r, err)
	}
	return nil
}

// remembered repeats the last appends that were answered.
func (l *shortLife) remembered(s *Store) error {
	n := min(len(l.kept), lifeKeys/2-5)
	for _, k := range l.kept[len(l.kept)-n:] {
		res := make([]Result, 1)
		k.rec.Stream, _ = s.Create(k.name, "")
		if err := s.Append(context.Background(), []Record{k.rec}, res); err != nil || !res[0].Duplicate || res[0].Offset != k.res.Offset || res[0].Generation != k.res.Generation {
			return fmt.Errorf("%s: a repeat of what is at %+v: %+v %w", k.name, k.res, res[0], err)
		}
	}
	return nil
}

// compare tells whether all that was answered is there, and with all nothing else.
func (l *shortLife) compare(s *Store, all bool) error {
	for name, want := range l.want {
		st, ok := s.Stream(name)
		if !ok {
			return fmt.Errorf("%s is not there", name)
		}
		state := st.State()
		if state.Generation != l.gen[name] {
			if !all && state.Generation == l.gen[name]+1 && slices.ContainsFunc(l.pending, func(r Record) bool { return r.Reset && r.Stream.name == name }) {
				continue
			}
			return fmt.Errorf("%s: %+v, want generation %d", name, state, l.gen[name])
		}
		if state.Begin < l.begin[name] || state.Begin > l.most[name] {
			return fmt.Errorf("%s begins at %d, was trimmed to %d, asked for %d", name, state.Begin, l.begin[name], l.most[name])
		}
		got := make([]byte, state.Length-state.Begin)
		if _, err := st.ReadAt(state.Generation, got, state.Begin); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		n := int64(len(want))
		if state.Length < n || all && state.Length > n || !bytes.Equal(got[:n-state.Begin], want[state.Begin:]) {
			return fmt.Errorf("%s: %+v, want %d bytes, or others", name, state, n)
		}
	}
	return nil
}

// lives runs lives whose disk fails at the n-th call, for every step-th n.
func lives(t *testing.T, first, step int64, with func(d *brittleDisk, n int64)) {
	for n := first; ; n += step {
		rng := rand.New(rand.NewPCG(uint64(n), 6))
		d := &brittleDisk{mem: vfs.NewMem(1 << 40), rng: rng}
		with(d, n)
		l := newShortLife(d, uint64(n%7))
		err := l.live()
		if d.dark() {
			err = nil
		}
		left := d.left
		if left == nil {
			left = d.mem.CrashClone(rng)
		}
		if err == nil {
			err = l.check(left, rng)
		}
		if err != nil {
			t.Fatalf("call %d, failed %+v, cut at %+v: %v", n, d.first, d.lastOp, err)
		}
		if d.calls < n {
			if l.runs == 0 {
				t.Errorf("%d appends to runs", l.runs)
			}
			t.Logf("%d calls, %d appends to runs", d.calls, l.runs)
			return
		}
	}
}

// TestPowerCutAtEachCall: the power goes at each call of the file system.
func TestPowerCutAtEachCall(t *testing.T) {
	t.Parallel()
	step := int64(17)
	if thorough() {
		step = 1
	}
	lives(t, 1, step, func(d *brittleDisk, n int64) { d.cut = n })
}

// TestFailureThenPowerCut: each call of the file system fails once or thrice, done
// or not; the sender goes on, and then the power goes, soon or at the end.
func TestFailureThenPowerCut(t *testing.T) {
	t.Parallel()
	step := int64(41)
	if thorough() {
		step = 1
	}
	for i, fault := range []vfs.Fault{{Err: syscall.EIO}, {Err: syscall.EIO, After: true}, {Err: syscall.EIO, Partly: 700}} {
		for _, fails := range []int{1, 3} {
			for _, soon := range []bool{false, true} {
				name := fmt.Sprint([]string{"before", "after", "partly"}[i], fails, soon)
				t.Run(strings.ReplaceAll(name, " ", ""), func(t *testing.T) {
					t.Parallel()
					lives(t, 1+int64(i), step, func(d *brittleDisk, n int64) {
						d.fault, d.from, d.fails = &fault, n, fails
						if soon {
							d.cut = n + 1 + d.rng.Int64N(80)
						}
					})
				})
			}
		}
	}
}
