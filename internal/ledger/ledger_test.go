package ledger

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"weir/internal/vfs"
	"weir/streams"
)

var (
	errClosed = errors.New("closed")
	errFull   = errors.New("disk full")
	errWrong  = errors.New("wrong")
)

// TestChanges: what waits is computed in its order and kept at once; who asked
// is told what became of the whole, or of his own change.
func TestChanges(t *testing.T) {
	t.Parallel()
	c := NewChanges[[]int](errClosed)
	ctx, stop := context.WithCancel(context.Background())
	var kept []int
	var failed error
	go c.Commit(ctx, func(list []*Change[[]int]) {
		var sum []int
		Compute(list, &sum)
		if failed == nil {
			kept = append(kept, sum...)
		}
		Answer(list, failed)
	})
	add := func(n int) error { return c.Do(func(s *[]int) error { *s = append(*s, n); return nil }) }
	var all sync.WaitGroup
	for n := range 100 {
		all.Go(func() {
			if err := add(n); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if slices.Sort(kept); len(kept) != 100 || kept[0] != 0 || kept[99] != 99 {
		t.Errorf("kept: %v", kept)
	}
	if err := c.Do(func(*[]int) error { return errWrong }); !errors.Is(err, errWrong) {
		t.Errorf("a change that cannot be computed: %v", err)
	}
	failed = errFull // the committer rests: all were answered
	if err := add(1); !errors.Is(err, errFull) {
		t.Errorf("a change that cannot be kept: %v", err)
	}
	if err := c.Do(func(*[]int) error { return errWrong }); !errors.Is(err, errWrong) {
		t.Errorf("a change that can be neither computed nor kept: %v", err)
	}
	if !c.Close() || c.Close() {
		t.Error("Close does not tell the first from the second")
	}
	if err := add(2); !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v", err)
	}
	stop()
	c.Wait()
	if len(kept) != 100 {
		t.Errorf("kept: %v", kept)
	}
}

// TestLastChanges: a change that waits when the committer is told to end is
// still answered.
func TestLastChanges(t *testing.T) {
	t.Parallel()
	c := NewChanges[int](errClosed)
	ctx, stop := context.WithCancel(context.Background())
	busy, free := make(chan struct{}), make(chan struct{})
	go c.Commit(ctx, func(list []*Change[int]) {
		n := 0
		Compute(list, &n)
		Answer(list, nil)
	})
	answers := make(chan error, 2)
	go func() { answers <- c.Do(func(*int) error { close(busy); <-free; return nil }) }()
	<-busy
	go func() { answers <- c.Do(func(*int) error { return nil }) }()
	for waiting := 0; waiting == 0; {
		c.mu.Lock()
		waiting = len(c.list)
		c.mu.Unlock()
	}
	c.Close()
	stop()
	close(free)
	for range 2 {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	c.Wait()
}

func TestRecords(t *testing.T) {
	t.Parallel()
	type record struct {
		Format int `json:"format,omitempty"`
		N      int `json:"n"`
	}
	for _, c := range []struct {
		text, err string
		sum       int
	}{
		{"", "", 0},
		{`{"format":1,"n":1}` + "\n" + `{"n":2}` + "\n", "", 3},
		{`{"n":1}` + "\n", "record 0: format 0, this weir reads 1", 0},
		{`{"format":2,"n":1}` + "\n", "record 0: format 2, this weir reads 1", 0},
		{`{"format":1,"n":1}` + "\n" + `{"n":2,"m":3}` + "\n", `record 1: json: unknown field "m"`, 1},
		{`{"format":1,"n":1}` + "\n" + `{"n":2}`, "record 1: EOF", 1},
		{"no\n", "record 0: invalid character", 0},
	} {
		sum, bytes := 0, 0
		err := Records(strings.NewReader(c.text), func(r *record, n, length int) error {
			if err := CheckFormat(n, r.Format, 1); err != nil {
				return err
			}
			sum, bytes = sum+r.N, bytes+length
			return nil
		})
		if c.err == "" && (err != nil || bytes != len(c.text)) || c.err != "" && (err == nil || !strings.HasPrefix(err.Error(), c.err)) {
			t.Errorf("%q: %v after %d bytes, want %q", c.text, err, bytes, c.err)
		}
		if sum != c.sum {
			t.Errorf("%q: the sum is %d, want %d", c.text, sum, c.sum)
		}
	}
}

func TestLatest(t *testing.T) {
	t.Parallel()
	one, two := 1, 2
	kept := map[string]*int{"same": &one, "changed": &one, "dropped": &one}
	changed := map[string]*int{"changed": &two, "dropped": nil, "new": &two}
	for key, want := range map[string]*int{"same": &one, "changed": &two, "dropped": nil, "new": &two, "none": nil} {
		if got := Latest(changed, kept, key); got != want {
			t.Errorf("%s: %v, want %v", key, got, want)
		}
	}
	if Latest(nil, kept, "same") != &one {
		t.Error("a change of nothing hides what is kept")
	}
}

// TestAppendOfUnknownOutcome: a disk whose sync fails once leaves an append
// unknown; it is asked for until it is known, and is then there once.
func TestAppendOfUnknownOutcome(t *testing.T) {
	t.Parallel()
	var failing atomic.Int32
	disk := &vfs.Faulty{FS: vfs.NewMem(64 << 20), Rule: func(op vfs.Op) *vfs.Fault {
		if op.Kind == "Datasync" && failing.Add(-1) >= 0 {
			return &vfs.Fault{Err: syscall.EIO}
		}
		return nil
	}}
	store, st := openStream(t, disk)
	type event struct {
		N int `json:"n"`
	}
	add := func(n int) error {
		var b bytes.Buffer
		Line(&b, event{n})
		return Append(t.Context(), store, streams.Record{Stream: st, Data: b.Bytes()})
	}
	if err := add(1); err != nil {
		t.Fatal(err)
	}
	failing.Store(1)
	kept := []event{{1}}
	if err := add(2); err == nil {
		kept = append(kept, event{2})
	} else if errors.Is(err, streams.ErrUnknown) {
		t.Errorf("the outcome is left unknown: %v", err)
	}
	if failing.Load() >= 0 {
		t.Error("no sync failed")
	}
	if err := Append(t.Context(), store, streams.Record{Stream: st, Data: []byte("no event\n")}); err != nil {
		t.Fatal(err)
	}
	var got []event
	var bad []string
	err := Events(st, func(e event) { got = append(got, e) }, func(line []byte, _ error) { bad = append(bad, string(line)) })
	if err != nil || !slices.Equal(got, kept) || !slices.Equal(bad, []string{"no event\n"}) {
		t.Errorf("%v, %q, %v; want %v", got, bad, err, kept)
	}
}

func openStream(t *testing.T, disk vfs.FS) (*streams.Store, *streams.Stream) {
	t.Helper()
	store, err := streams.Open("data", streams.Options{FS: disk, SegmentBytes: 64 << 10, LiveSegments: 1, LargeBytes: 4 << 10, ChunkBytes: 16 << 10, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	st, err := store.Create("_state", "")
	if err != nil {
		t.Fatal(err)
	}
	return store, st
}
