package jobs

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func define(t *testing.T, e *Engine, run func(context.Context, string) (bool, error)) {
	t.Helper()
	if err := e.Define(Action{Name: "transform", Run: run}); err != nil {
		t.Fatal(err)
	}
}

func TestWakeRunsAtOnceAndNeverTwiceAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New(Options{Workers: 4})
		var running, runs, most atomic.Int64
		define(t, e, func(context.Context, string) (bool, error) {
			most.Store(max(most.Load(), running.Add(1)))
			time.Sleep(10 * time.Millisecond)
			running.Add(-1)
			runs.Add(1)
			return false, nil
		})
		start := time.Now()
		for range 100 {
			e.Wake("transform", "streams/a")
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		if most.Load() != 1 {
			t.Errorf("%d runs at the same time, want 1", most.Load())
		}
		time.Sleep(time.Second)
		// 100 wakes in 100 ms: at once, and then once each 50 ms pause.
		if n := runs.Load(); n < 2 || n > 4 {
			t.Errorf("%d runs for 100 wakes in %v, want 2 to 4", n, time.Since(start))
		}
		if !e.Idle() {
			t.Error("engine is not idle after the last run")
		}
		e.Close(context.Background())
	})
}

func TestAWakeDuringARunIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New(Options{})
		var seen, data atomic.Int64
		define(t, e, func(context.Context, string) (bool, error) {
			v := data.Load()
			time.Sleep(5 * time.Millisecond)
			seen.Store(v)
			return false, nil
		})
		data.Store(1)
		e.Wake("transform", "a")
		time.Sleep(time.Millisecond)
		data.Store(2) // after the run looked
		e.Wake("transform", "a")
		time.Sleep(time.Second)
		if seen.Load() != 2 {
			t.Errorf("the last run saw %d, want 2", seen.Load())
		}
		e.Close(context.Background())
	})
}

func TestAgainIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New(Options{Workers: 1})
		var order []string
		left := map[string]int{"a": 3, "b": 3}
		gate := make(chan struct{})
		define(t, e, func(_ context.Context, target string) (bool, error) {
			<-gate
			order = append(order, target)
			left[target]--
			return left[target] > 0, nil
		})
		e.Wake("transform", "a")
		e.Wake("transform", "b")
		close(gate)
		synctest.Wait()
		if got := strings.Join(order, ""); got != "ababab" {
			t.Errorf("order %q, want ababab", got)
		}
		e.Close(context.Background())
	})
}

func TestFailureIsShownAndTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New(Options{})
		var tries atomic.Int64
		define(t, e, func(context.Context, string) (bool, error) {
			if n := tries.Add(1); n == 2 {
				panic("boom")
			} else if n < 4 {
				return false, errors.New("disk is full")
			}
			return false, nil
		})
		e.Wake("transform", "streams/a")
		synctest.Wait()
		j := e.List()[0]
		if j.State != Failed || j.StatusMessage != "disk is full" || *j.ReturnCode != 1 {
			t.Errorf("after a failure: %+v", j)
		}
		e.Wake("transform", "streams/a") // does not hurry the retry
		synctest.Wait()
		if tries.Load() != 1 {
			t.Errorf("%d tries before the pause was over", tries.Load())
		}
		time.Sleep(300 * time.Millisecond)
		if j, _ := e.Get(j.ID); j.StatusMessage != "panic: boom" {
			t.Errorf("after a panic: %+v", j)
		}
		time.Sleep(time.Minute)
		j, _ = e.Get(j.ID)
		if j.State != Success || tries.Load() != 4 || j.Progress != 100 {
			t.Errorf("after %d tries: %+v", tries.Load(), j)
		}
		if s := e.Stats(); s.Failures != 3 || s.Steps != 4 || s.Failed != 0 {
			t.Errorf("stats %+v", s)
		}
		e.Close(context.Background())
	})
}

func TestCloseWaitsForAStepAndCancelsALongOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New(Options{})
		define(t, e, func(ctx context.Context, _ string) (bool, error) {
			<-ctx.Done()
			return true, ctx.Err()
		})
		e.Wake("transform", "a")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := e.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("close: %v, want the deadline", err)
		}
		e.Wake("transform", "a")
		synctest.Wait()
		if j := e.List()[0]; j.Runs != 1 {
			t.Errorf("%d runs, want none after close", j.Runs-1)
		}
	})
}

func TestNamesAreChecked(t *testing.T) {
	t.Parallel()
	e := New(Options{})
	defer e.Close(context.Background())
	run := func(context.Context, string) (bool, error) { return false, nil }
	for _, a := range []Action{{Name: "", Run: run}, {Name: "x"}} {
		if e.Define(a) == nil {
			t.Errorf("action %q was taken", a.Name)
		}
	}
	define(t, e, run)
	if e.Define(Action{Name: "transform", Run: run}) == nil {
		t.Error("an action was defined twice")
	}
	if e.Wake("unknown", "a") == nil {
		t.Error("an unknown action was woken")
	}
	if _, ok := e.Get("job/none"); ok {
		t.Error("a job that does not exist was shown")
	}
}

func TestIDIsAStableUUID(t *testing.T) {
	t.Parallel()
	const want = "job/"
	a, b := id("transform", "streams/a"), id("transform", "streams/b")
	if !strings.HasPrefix(a, want) || len(a) != len(want)+36 || a == b || a != id("transform", "streams/a") {
		t.Errorf("ids %q and %q", a, b)
	}
}

// TestFollow: work that somebody else schedules is seen, with its outcome.
func TestFollow(t *testing.T) {
	t.Parallel()
	e := New(Options{})
	t.Cleanup(func() { e.Close(context.Background()) })
	during := func(want State) func() error {
		return func() error {
			if l := e.List(); len(l) != 1 || l[0].State != Running || l[0].Action != "fold" || l[0].Target.Href != "streams" {
				t.Errorf("while it runs: %+v", l)
			}
			if want == Failed {
				return errors.New("no space")
			}
			return nil
		}
	}
	for i, want := range []State{Success, Failed, Success} {
		err := e.Follow("fold", "streams", during(want))
		if j := e.List()[0]; j.State != want || (err != nil) != (want == Failed) || j.Runs != int64(i+1) {
			t.Errorf("run %d: %+v, %v", i, j, err)
		}
	}
	l, _ := e.Logs(e.List()[0].ID, 0)
	if len(l.Lines) != 3 || l.Lines[1].Text != "FAILED: no space" || l.Lines[2].Text != "SUCCESS" {
		t.Errorf("the log: %+v", l.Lines)
	}
}
