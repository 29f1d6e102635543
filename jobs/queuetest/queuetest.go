// Package queuetest tells what every queue of jobs must do.
package queuetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"weir/jobs"
)

// Run tries an implementation. open gives an empty queue; what it holds on to
// it ends with t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) jobs.Queue) {
	for _, c := range []struct {
		name string
		try  func(t *testing.T, q jobs.Queue)
	}{
		{"order", order},
		{"one taker", oneTaker},
		{"waiting", waiting},
		{"release", release},
		{"pause", pause},
		{"end of a lock", endOfALock},
		{"entries", entries},
		{"context", contextEnds},
		{"model", model},
	} {
		t.Run(c.name, func(t *testing.T) { c.try(t, open(t)) })
	}
}

// A Crasher is a queue whose process can end as by kill -9, or whose session can
// expire. What its locks held is free in the queue that Crash gives, which goes
// on with the entries, and the old locks do nothing.
type Crasher interface {
	jobs.Queue
	Crash(t testing.TB) jobs.Queue
}

// patience is how long a test waits for what must happen: in vain on a machine
// that is broken, not on one that is slow.
const patience = 2 * time.Minute

func put(t testing.TB, q jobs.Queue, id string, priority int) string {
	t.Helper()
	path, err := q.Put(t.Context(), id, priority)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func take(t testing.TB, q jobs.Queue) jobs.Lock {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	l, err := q.Take(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func consume(t testing.TB, l jobs.Lock) {
	t.Helper()
	if err := l.Consume(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// nothing checks that there is nothing to take.
func nothing(t testing.TB, q jobs.Queue, while time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), while)
	defer cancel()
	if l, err := q.Take(ctx); err == nil {
		t.Errorf("took %s of %s, want nothing", l.Path(), l.ID())
	} else if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("take: %v", err)
	}
}

func order(t *testing.T, q jobs.Queue) {
	var got []string
	want := []string{"job/4", "job/1", "job/3", "job/2", "job/0"}
	// A queue may list its entries now and then, every ten seconds at least.
	for _, wait := range []time.Duration{time.Second, 15 * time.Second} {
		for i, priority := range []int{999, 5, 100, 5, 0} {
			path := put(t, q, fmt.Sprint("job/", i), priority)
			if want := fmt.Sprintf("/job/entries/entry-%03d-", priority); len(path) != len(want)+10 || path[:len(want)] != want {
				t.Errorf("the path is %s, want %s and ten digits", path, want)
			}
		}
		time.Sleep(wait)
		got = nil
		for range 5 {
			l := take(t, q)
			got = append(got, l.ID())
			consume(t, l)
		}
		if slices.Equal(got, want) {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the order is %v, want %v", got, want)
	}
	nothing(t, q, 50*time.Millisecond)
}

func oneTaker(t *testing.T, q jobs.Queue) {
	const n = 200
	for i := range n {
		put(t, q, fmt.Sprint("job/", i), 100)
	}
	var mu sync.Mutex
	seen := map[string]int{}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for {
				l, err := q.Take(ctx)
				if err != nil {
					return
				}
				mu.Lock()
				seen[l.ID()]++
				last := len(seen) == n
				mu.Unlock()
				if err := l.Consume(t.Context()); err != nil {
					t.Errorf("consume: %v", err)
				}
				if last { // but who takes one twice may be about to
					time.AfterFunc(500*time.Millisecond, cancel)
				}
			}
		})
	}
	all.Wait()
	for i := range n {
		if c := seen[fmt.Sprint("job/", i)]; c != 1 {
			t.Errorf("job/%d was taken %d times", i, c)
		}
	}
}

func waiting(t *testing.T, q jobs.Queue) {
	got := make(chan jobs.Lock, 3)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for range 3 {
		all.Go(func() {
			if l, err := q.Take(ctx); err == nil {
				got <- l
			} else if ctx.Err() == nil {
				t.Errorf("take: %v", err)
			}
		})
	}
	for i := range 3 {
		time.Sleep(20 * time.Millisecond)
		put(t, q, fmt.Sprint("job/", i), 100)
		select {
		case l := <-got:
			consume(t, l)
		case <-time.After(patience):
			t.Fatal("a waiting taker got nothing")
		}
	}
}

func release(t *testing.T, q jobs.Queue) {
	put(t, q, "job/a", 100)
	first := take(t, q)
	nothing(t, q, 50*time.Millisecond)
	if err := first.Release(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	second := take(t, q)
	if second.Path() != first.Path() || second.ID() != "job/a" {
		t.Errorf("took %s of %s, want the released entry", second.Path(), second.ID())
	}
	for _, err := range []error{first.Consume(t.Context()), first.Release(t.Context(), 0)} {
		if !errors.Is(err, jobs.ErrLost) {
			t.Errorf("the old lock still does something: %v", err)
		}
	}
	consume(t, second)
}

func pause(t *testing.T, q jobs.Queue) {
	put(t, q, "job/a", 100)
	l := take(t, q)
	const rest = 3 * time.Second
	began := time.Now()
	if err := l.Release(t.Context(), rest); err != nil {
		t.Fatal(err)
	}
	put(t, q, "job/b", 200)
	other := take(t, q)
	if other.ID() != "job/b" {
		t.Errorf("took %s during the pause of job/a", other.ID())
	}
	consume(t, other)
	l = take(t, q)
	if took := time.Since(began); took < rest || l.ID() != "job/a" {
		t.Errorf("took %s after %v, want job/a after its pause", l.ID(), took)
	}
	consume(t, l)
}

func endOfALock(t *testing.T, q jobs.Queue) {
	path := put(t, q, "job/a", 100)
	l := take(t, q)
	select {
	case <-l.Lost():
		t.Error("a lock is lost at once")
	default:
	}
	if ok, err := q.Holds(t.Context(), path); err != nil || !ok {
		t.Errorf("a taken entry is not there: %v, %v", ok, err)
	}
	consume(t, l)
	if ok, err := q.Holds(t.Context(), path); err != nil || ok {
		t.Errorf("a consumed entry is there: %v, %v", ok, err)
	}
	if err := l.Consume(t.Context()); !errors.Is(err, jobs.ErrLost) {
		t.Errorf("a second consume: %v", err)
	}
}

func entries(t *testing.T, q jobs.Queue) {
	a, b := put(t, q, "job/a", 1), put(t, q, "job/b", 2)
	l := take(t, q)
	got, err := q.Entries(t.Context())
	if err != nil || len(got) != 2 || got[a] != "job/a" || got[b] != "job/b" {
		t.Errorf("the entries are %v, %v", got, err)
	}
	consume(t, l)
	if got, _ = q.Entries(t.Context()); len(got) != 1 || got[b] != "job/b" {
		t.Errorf("after one was consumed: %v", got)
	}
	consume(t, take(t, q))
}

func contextEnds(t *testing.T, q jobs.Queue) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	put(t, q, "job/a", 100)
	if _, err := q.Take(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("take: %v", err)
	} else if err == nil {
		t.Error("took an entry after the context's end")
	}
	consume(t, take(t, q))
}

// model compares random steps with what a queue is: entries by priority, some
// of them taken; a crash frees those.
func model(t *testing.T, q jobs.Queue) {
	n, steps := 0, 7
	if _, ok := q.(Crasher); ok {
		steps = 8
	}
	rapid.Check(t, func(r *rapid.T) {
		free, held := map[string]string{}, []jobs.Lock{}
		for range rapid.IntRange(1, 15).Draw(r, "steps") {
			switch step := rapid.IntRange(0, steps).Draw(r, "step"); {
			case step == 8:
				q = crash(t, r, q.(Crasher), held)
				for _, l := range held {
					free[l.Path()] = l.ID()
				}
				held = nil
			case step%4 == 0:
				n++
				id := fmt.Sprint("job/", n)
				free[put(t, q, id, rapid.IntRange(0, 3).Draw(r, "priority"))] = id
			case step%4 == 1 && len(free) > 0:
				l := take(t, q)
				if free[l.Path()] != l.ID() {
					r.Errorf("took %s of %s, which is not free", l.Path(), l.ID())
				}
				delete(free, l.Path())
				held = append(held, l)
			case len(held) > 0:
				i := rapid.IntRange(0, len(held)-1).Draw(r, "which")
				l := held[i]
				held = slices.Delete(held, i, i+1)
				if step%4 == 2 {
					consume(t, l)
				} else {
					if err := l.Release(t.Context(), 0); err != nil {
						r.Fatal(err)
					}
					free[l.Path()] = l.ID()
				}
			}
		}
		for _, l := range held {
			consume(t, l)
		}
		for len(free) > 0 {
			l := take(t, q)
			if _, ok := free[l.Path()]; !ok {
				r.Fatalf("took %s at the end, which is not free", l.Path())
			}
			delete(free, l.Path())
			consume(t, l)
		}
		if left, err := q.Entries(t.Context()); err != nil || len(left) != 0 {
			r.Errorf("left are %v, %v", left, err)
		}
	})
}

// crash ends the process, or its session, and tries what it held: a consume is
// refused, and a release, whatever its answer, frees nothing that is another's.
func crash(t *testing.T, r *rapid.T, q Crasher, held []jobs.Lock) jobs.Queue {
	next := q.Crash(t)
	for _, l := range held {
		if err := l.Consume(t.Context()); !errors.Is(err, jobs.ErrLost) && !errors.Is(err, jobs.ErrClosed) {
			r.Errorf("a lock of before the crash still does something: %v", err)
		}
		l.Release(t.Context(), 0)
	}
	return next
}
