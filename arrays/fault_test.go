package arrays

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/vfs"
)

var errDisk = errors.New("the disk fails")

// faulty fails the calls that change files for which rule, given the number of
// the call, says so: half of the bytes are written, a rename is done and its
// answer lost.
func faulty(fs vfs.FS, rule func(n int64) bool) vfs.FS {
	var calls atomic.Int64
	return &vfs.Faulty{FS: fs, Rule: func(op vfs.Op) *vfs.Fault {
		switch op.Kind {
		case "Open", "ReadAt", "List", "Size":
			return nil
		}
		if !rule(calls.Add(1)) {
			return nil
		}
		return &vfs.Fault{Err: errDisk, After: op.Kind == "Rename", Partly: op.Size / 2}
	}}
}

// expected decodes all of a stream at once.
func expected(t testing.TB, spec Spec, data []byte) map[string][]byte {
	t.Helper()
	tab := &table{attrs: map[string]any{}, limit: whole}
	d, err := newDecoder(spec, nil, tab)
	if err != nil {
		t.Fatal(err)
	}
	d.decode(data, 0, tab)
	want := map[string][]byte{}
	for _, c := range tab.columns {
		want[c.name] = c.data
	}
	return want
}

// checkPrefix fails unless the published rows of a group are the first of what
// the stream means; it gives how many.
func checkPrefix(t testing.TB, s *Store, name string, want map[string][]byte) int64 {
	t.Helper()
	info, err := s.Info(name)
	if errors.Is(err, ErrNotFound) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	var rows int64
	for _, a := range info.Arrays {
		rows = a.Shape[0]
		got, err := s.Slice(name, a.Name, 0, rows, 1<<40)
		if err != nil {
			t.Fatal(err)
		}
		if got.Rows != rows {
			t.Fatalf("array %s has %d rows of %d", a.Name, got.Rows, rows)
		}
		if len(want[a.Name]) < len(got.Data) {
			t.Fatalf("array %s has %d bytes, the stream means %d", a.Name, len(got.Data), len(want[a.Name]))
		}
		for i, b := range got.Data {
			if b != want[a.Name][i] {
				t.Fatalf("array %s differs at byte %d of %d", a.Name, i, len(got.Data))
			}
		}
	}
	return rows
}

// kindsOf gives streams of all kinds, of some hundred rows.
func kindsOf(r *rand.Rand) (Spec, []byte) {
	switch r.IntN(3) {
	case 0:
		return Spec{Kind: kindNumbers}, append(someNumbers(r), someNumbers(r)...)
	case 1:
		return Spec{Kind: kindWAV}, someWAVs(r)
	}
	return Spec{Kind: kindMetrics}, append(someEntries(r), someEntries(r)...)
}

// trial runs a group's life on a file system that may fail, until all is
// decoded; open makes the next process's store after each failure.
type trial struct {
	t       *testing.T
	r       *rand.Rand
	spec    Spec
	data    []byte
	want    map[string][]byte
	f       *fakeStream
	refused map[string]Refusal
}

func newTrial(t *testing.T, seed uint64) *trial {
	r := rand.New(rand.NewPCG(seed, 5))
	spec, data := kindsOf(r)
	return &trial{t: t, r: r, spec: spec, data: data, want: expected(t, spec, data), f: &fakeStream{name: "s"}, refused: map[string]Refusal{}}
}

// options of a store of this trial: tiny chunks, so that many are sealed.
func (tr *trial) options(fs vfs.FS, boot string) Options {
	return Options{FS: fs, BootID: boot, ChunkBytes: 256, SyncEvery: time.Hour, Refuse: tr.refuse}
}

// refuse checks that a refusal told again is the same one.
func (tr *trial) refuse(_ context.Context, r Refusal) error {
	key := fmt.Sprint(r.Generation, r.Offset, r.Reason)
	if old, ok := tr.refused[key]; ok && (old.Length != r.Length || old.Detail != r.Detail) {
		tr.t.Errorf("refusal %+v was %+v before", r, old)
	}
	tr.refused[key] = r
	return nil
}

// live feeds and advances until everything is decoded or a call fails.
func (tr *trial) live(s *Store) error {
	for {
		if n := len(tr.data) - len(tr.f.data); n > 0 && tr.r.IntN(2) == 0 {
			tr.f.append(tr.data[len(tr.f.data) : len(tr.f.data)+min(n, 1+tr.r.IntN(400))])
		}
		if tr.r.IntN(8) == 0 {
			if err := s.sync(); err != nil {
				return err
			}
		}
		more, err := s.advance(context.Background(), nil, tr.f, tr.spec)
		if err != nil {
			return err
		}
		if !more && len(tr.f.data) == len(tr.data) {
			return nil
		}
	}
}

// finished checks that all is there.
func (tr *trial) finished(s *Store) {
	rows := checkPrefix(tr.t, s, "s", tr.want)
	for name, want := range tr.want {
		a, err := s.Slice("s", name, 0, 1<<40, 1<<40)
		if len(tr.data) > 0 && (err != nil || len(a.Data) != len(want)) {
			tr.t.Fatalf("array %s has %d bytes of %d, %d rows: %v", name, len(a.Data), len(want), rows, err)
		}
	}
}

// TestOneCallFails makes one call to the file system fail, each in turn: the
// step reports it, and the same store goes on afterwards.
func TestOneCallFails(t *testing.T) {
	t.Parallel()
	for seed := range uint64(150) {
		tr := newTrial(t, seed)
		at := int64(20 + tr.r.IntN(120))
		fs := faulty(vfs.NewMem(1<<40), func(n int64) bool { return n == at })
		s, err := Open("d", tr.options(fs, "b"))
		if err != nil {
			t.Fatal(err)
		}
		for err := tr.live(s); err != nil; err = tr.live(s) {
			if !errors.Is(err, errDisk) {
				t.Fatalf("seed %d: %v", seed, err)
			}
			checkPrefix(t, s, "s", tr.want)
		}
		tr.finished(s)
		s.Close()
	}
}

// TestKilledAnywhere ends the process at any call and starts the next one on
// what is there.
func TestKilledAnywhere(t *testing.T) {
	t.Parallel()
	for seed := range uint64(150) {
		tr := newTrial(t, seed)
		mem := vfs.NewMem(1 << 40)
		for life := 0; ; life++ {
			last := int64(20 + tr.r.IntN(150)*(1+life)) // a step may need many calls
			fs := faulty(mem, func(n int64) bool { return n > last })
			s, err := Open("d", tr.options(fs, "b"))
			if err != nil {
				continue
			}
			before := checkPrefix(t, s, "s", tr.want)
			err = tr.live(s)
			if err == nil {
				tr.finished(s)
			} else if after := checkPrefix(t, s, "s", tr.want); after < before {
				t.Errorf("seed %d: %d rows after %d", seed, after, before)
			}
			s.Close()
			if err == nil {
				break
			}
		}
	}
}

// TestPowerCut cuts the power between steps and starts the next machine on what
// the disk kept: the group goes back to what was synced.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		tr := newTrial(t, seed)
		mem := vfs.NewMem(1 << 40)
		for boot := 0; ; boot++ {
			cut := int64(20 + tr.r.IntN(300))
			fs := faulty(mem, func(n int64) bool { return boot < 6 && n > cut })
			s, err := Open("d", tr.options(fs, fmt.Sprint(boot)))
			if err == nil {
				checkPrefix(t, s, "s", tr.want)
				err = tr.live(s)
			}
			if err == nil {
				tr.finished(s)
				s.Close() // which may fail by now
				break
			}
			if boot > 20 {
				t.Fatalf("seed %d: nothing fails, but: %v", seed, err)
			}
			mem = mem.CrashClone(tr.r)
			if s != nil {
				s.Close()
			}
		}
	}
}
