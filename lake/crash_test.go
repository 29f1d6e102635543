package lake

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/internal/vfs"
	"weir/streams"
)

// A step is one call of a client, and what the set has after it.
type step struct {
	reference, data string
	remove          bool
	after           map[string]string // content by reference
}

// script is a client's life with a lake: a file whole, one in parts, one that
// replaces another, one that is removed.
func script() []step {
	long := strings.Repeat("0123456789", 9000)
	steps := []step{
		{reference: "s/set/a/csv/END//", data: "one"},
		{reference: "s/set/p/fif/001//", data: long},
		{reference: "s/set/p/fif/002//", data: "middle"},
		{reference: "s/set/a/csv/END/3/" + md5Of("two"), data: "two"},
		{reference: fmt.Sprintf("s/set/p/fif/EOF/%d/%s", len(long)+9, md5Of(long+"middleend")), data: "end"},
		{reference: "set/a/csv", remove: true},
		{reference: "s/set/p/fif/001//", data: "new"},
		{reference: "s/set/p/fif/EOF//", data: "er"},
		{reference: "s/set/a/csv/END//", data: "three"},
	}
	now := map[string]string{}
	for i, c := range []map[string]string{
		{"set/a/csv": "one"}, nil, nil, {"set/a/csv": "two"}, {"set/p/fif": long + "middleend"}, {"set/a/csv": ""}, nil, {"set/p/fif": "newer"}, {"set/a/csv": "three"},
	} {
		maps.Copy(now, c)
		maps.DeleteFunc(now, func(_, v string) bool { return v == "" })
		steps[i].after = maps.Clone(now)
	}
	return steps
}

// do runs a step as a client does, who repeats it until it is done.
func (w *world) do(s step) error {
	if s.remove {
		return w.lake.Remove(s.reference)
	}
	_, err := w.push(s.reference, s.data)
	return err
}

// contents reads all that a set lists.
func (w *world) contents() map[string]string {
	all := map[string]string{}
	for _, f := range w.lake.List("set", 0, 0) {
		all[f.Reference] = w.content("set", f.Reference)
	}
	return all
}

// TestPowerCut: wherever the power goes, the set has what it had before the
// call or what it has after it, and the client goes on from there.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	total := cutAt(t, -1)
	if total < 50 {
		t.Fatalf("the script has %d operations", total)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for at := 0; at < total; at += 1 + r.IntN(3) {
		cutAt(t, at)
	}
}

// cutAt runs the script until an operation of the disk, takes what the disk
// has then, and goes on with it. It gives the number of operations.
func cutAt(t *testing.T, at int) int {
	t.Helper()
	var mu sync.Mutex
	n := 0
	mem := vfs.NewMem(1 << 28)
	var left *vfs.Mem
	fs := &vfs.Faulty{FS: mem, Rule: func(op vfs.Op) *vfs.Fault {
		mu.Lock()
		defer mu.Unlock()
		if op.Kind == "ReadAt" || op.Kind == "Open" || op.Kind == "Size" || op.Kind == "List" {
			return nil
		}
		if n++; n-1 == at {
			left = mem.CrashClone(rand.New(rand.NewPCG(uint64(at), 3)))
		}
		if left != nil {
			return &vfs.Fault{Err: syscall.EIO}
		}
		return nil
	}}
	w := &world{t: t}
	w.now.Store(1_800_000_000_000)
	steps := script()
	done := w.until(fs, steps, 0)
	if at < 0 {
		if done != len(steps) {
			t.Fatalf("without a cut %d steps of %d were done", done, len(steps))
		}
		return n
	}
	if left == nil {
		return n
	}
	w.fs = left
	w.open()
	defer w.close()
	got := w.contents()
	before, after := map[string]string{}, map[string]string{}
	if done > 0 {
		before = steps[done-1].after
	}
	if done < len(steps) {
		after = steps[done].after
	}
	if !maps.Equal(got, before) && !maps.Equal(got, after) {
		t.Fatalf("cut at %d, after %d steps: the set has %v", at, done, slices.Sorted(maps.Keys(got)))
	}
	for i := done; i < len(steps); i++ {
		if err := w.do(steps[i]); err != nil {
			t.Fatalf("cut at %d: step %d again: %v", at, i, err)
		}
		if got := w.contents(); !maps.Equal(got, steps[i].after) {
			t.Fatalf("cut at %d: after step %d the set has %v", at, i, slices.Sorted(maps.Keys(got)))
		}
	}
	w.tidy(at)
	return n
}

// until runs steps until one fails, and gives how many were done.
func (w *world) until(fs vfs.FS, steps []step, done int) int {
	w.fs = fs
	var err error
	if w.store, err = streams.Open("data", streams.Options{FS: fs, SegmentBytes: 1 << 20, LargeBytes: 64 << 10, MinFree: 1}); err != nil {
		return done
	}
	defer w.store.Close()
	if w.lake, err = Open(Options{Streams: w.store, Now: func() time.Time { return time.UnixMilli(w.now.Add(1)) }}); err != nil {
		return done
	}
	defer w.lake.stop() // what is unknown stays so
	for ; done < len(steps); done++ {
		ended := time.AfterFunc(50*time.Millisecond, w.lake.stop)
		err := w.do(steps[done])
		ended.Stop()
		if err != nil {
			return done
		}
	}
	return done
}

// tidy: after the next start no stream has bytes that no file has.
func (w *world) tidy(at int) {
	w.t.Helper()
	w.again()
	for _, name := range w.store.Names(filePrefix, "", 100) {
		st, ok := w.store.Stream(name)
		f := w.lake.m.files[name]
		switch {
		case !ok || f == nil && st.State().Length == 0:
		case f == nil:
			w.t.Fatalf("cut at %d: %s has %d bytes that no file has", at, name, st.State().Length)
		case f.Size() != st.State().Length:
			w.t.Fatalf("cut at %d: %s has %d bytes, its file %d", at, name, st.State().Length, f.Size())
		}
	}
}
