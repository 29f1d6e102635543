package ledger

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
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
