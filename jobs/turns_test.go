package jobs

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestShortBurstsPauseLittle: a burst of 1 ms is followed by 9 ms of rest and
// not by the 50 that a long one is.
func TestShortBurstsPauseLittle(t *testing.T) {
	for _, c := range []struct{ step, rest time.Duration }{{time.Millisecond, 9 * time.Millisecond}, {20 * time.Millisecond, 50 * time.Millisecond}} {
		synctest.Test(t, func(t *testing.T) {
			e := New(Options{})
			var began []time.Time
			define(t, e, func(context.Context, string) (bool, error) {
				began = append(began, time.Now())
				time.Sleep(c.step)
				return false, nil
			})
			e.Wake("transform", "a")
			time.Sleep(c.step + time.Millisecond/2) // just ended
			e.Wake("transform", "a")
			time.Sleep(time.Second)
			synctest.Wait()
			if len(began) != 2 || began[1].Sub(began[0]) != c.step+c.rest {
				t.Errorf("steps of %v began at %v, want %v between them", c.step, began, c.step+c.rest)
			}
			e.Close(context.Background())
		})
	}
}

// TestAWakeFindsAWorker: large inputs, whose bursts go on and on, keep no small
// one waiting, and small ones that come all the time do not hold them up.
func TestAWakeFindsAWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New(Options{})
		var large, small atomic.Int64
		define(t, e, func(_ context.Context, target string) (bool, error) {
			if target[0] == 'L' {
				time.Sleep(300 * time.Millisecond)
				return large.Add(1) < 100, nil
			}
			time.Sleep(20 * time.Millisecond)
			small.Add(1)
			return false, nil
		})
		for _, name := range []string{"L1", "L2", "L3", "L4", "L5", "L6"} {
			e.Wake("transform", name)
		}
		time.Sleep(time.Second) // all have begun
		before := e.Stats().Late
		for range 100 {
			for _, name := range []string{"a", "b", "c"} {
				e.Wake("transform", name)
			}
			time.Sleep(71 * time.Millisecond)
		}
		if s := e.Stats(); s.Late != before || small.Load() < 250 {
			t.Errorf("%d of %d small steps began late", s.Late-before, small.Load())
		}
		if n := large.Load(); n < 30 {
			t.Errorf("%d steps of the large ones meanwhile", n)
		}
		e.Close(context.Background())
	})
}

// TestLate: a step that begins more than 100 ms after its wake is counted.
func TestLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New(Options{Workers: 1})
		define(t, e, func(context.Context, string) (bool, error) {
			time.Sleep(101 * time.Millisecond)
			return false, nil
		})
		e.Wake("transform", "a")
		e.Wake("transform", "b")
		time.Sleep(time.Second)
		if s := e.Stats(); s.Late != 1 || s.Steps != 2 {
			t.Errorf("%+v, want one late step of two", s)
		}
		e.Close(context.Background())
	})
}

// TestCancelOfDerived: what is cancelled ends or does not begin, is not tried
// again, and begins anew when it is woken.
func TestCancelOfDerived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New(Options{Workers: 1})
		steps := map[string]int{}
		define(t, e, func(ctx context.Context, target string) (bool, error) {
			steps[target]++
			switch target {
			case "bad":
				return false, errors.New("boom")
			case "quick":
				return false, nil
			case "endless":
				time.Sleep(time.Millisecond)
				return true, nil
			}
			<-ctx.Done()
			return false, ctx.Err()
		})
		cancel := func(target string) State {
			t.Helper()
			if _, err := e.Cancel(id("transform", target)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			j, _ := e.Get(id("transform", target))
			return j.State
		}
		e.Wake("transform", "stuck")
		e.Wake("transform", "quick") // waits for the only worker
		synctest.Wait()
		e.Wake("transform", "stuck") // is forgotten by the cancel
		if s := cancel("quick"); s != Canceled || steps["quick"] != 0 {
			t.Errorf("what waits is %s after a cancel, %d steps", s, steps["quick"])
		}
		if s := cancel("stuck"); s != Canceled || steps["stuck"] != 1 {
			t.Errorf("what runs is %s after a cancel, %d steps", s, steps["stuck"])
		}
		e.Wake("transform", "bad")
		synctest.Wait()
		if s := cancel("bad"); s != Canceled {
			t.Errorf("what failed is %s after a cancel", s)
		}
		e.Wake("transform", "endless")
		time.Sleep(10 * time.Millisecond)
		if s := cancel("endless"); s == Success {
			t.Errorf("what goes on is %s after a cancel", s)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		was := steps["endless"]
		time.Sleep(time.Minute)
		synctest.Wait()
		if steps["bad"] != 1 || steps["quick"] != 0 || steps["endless"] != was || !e.Idle() {
			t.Errorf("steps after the cancels: %v, idle %v", steps, e.Idle())
		}
		e.Wake("transform", "quick")
		time.Sleep(time.Second)
		synctest.Wait()
		if j, _ := e.Get(id("transform", "quick")); j.State != Success || steps["quick"] != 1 {
			t.Errorf("woken again it is %s", j.State)
		}
		if s := cancel("quick"); s != Success {
			t.Errorf("what has ended is %s after a cancel", s)
		}
		if _, err := e.Cancel("job/none"); !errors.Is(err, ErrNotFound) {
			t.Errorf("a cancel of no job: %v", err)
		}
		e.Follow("fold", "streams", func() error {
			if _, err := e.Cancel(id("fold", "streams")); !errors.Is(err, ErrConflict) {
				t.Errorf("a cancel of what its owner runs: %v", err)
			}
			return nil
		})
		e.Close(context.Background())
	})
}
