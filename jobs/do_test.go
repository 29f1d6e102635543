package jobs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestDo: a job that was woken is waited for.
func TestDo(t *testing.T) {
	t.Parallel()
	e := New(Options{Retry: time.Millisecond})
	t.Cleanup(func() { e.Close(context.Background()) })
	limit, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	steps := 0
	if err := e.Define(Action{Name: "a", Run: func(_ context.Context, target string) (bool, error) {
		if target == "bad" {
			return false, errors.New("boom")
		}
		steps++
		return steps < 3, nil
	}}); err != nil {
		t.Fatal(err)
	}
	if err := e.Do(limit, "a", "x"); err != nil || steps != 3 {
		t.Errorf("%d steps, %v", steps, err)
	}
	if err := e.Do(limit, "a", "bad"); err == nil || !strings.Contains(err.Error(), "boom") {
		t.Errorf("a failure: %v", err)
	}
	if err := e.Do(limit, "none", "x"); err == nil {
		t.Error("an action that is not there was done")
	}
	ctx, stop := context.WithCancel(limit)
	stop()
	if err := e.Do(ctx, "a", "y"); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestDoOfAQuickJob: a job that has come to its end before who woke it looks at
// it again is not waited for in vain.
func TestDoOfAQuickJob(t *testing.T) {
	t.Parallel()
	e := New(Options{})
	t.Cleanup(func() { e.Close(context.Background()) })
	define(t, e, func(context.Context, string) (bool, error) { return false, nil })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for i := range 300 {
		if err := e.Do(ctx, "transform", fmt.Sprint(i)); err != nil {
			t.Fatalf("job %d: %v", i, err)
		}
	}
}

// TestDoSeesItsWake: a step that began before the wake may not have seen what
// it is about; the next one has.
func TestDoSeesItsWake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New(Options{})
		ends := make(chan struct{})
		define(t, e, func(context.Context, string) (bool, error) { <-ends; return false, nil })
		e.Wake("transform", "a")
		time.Sleep(10 * time.Millisecond) // the step runs, for so long that the next one rests first
		done := make(chan error, 1)
		go func() { done <- e.Do(t.Context(), "transform", "a") }()
		synctest.Wait()
		ends <- struct{}{}
		time.Sleep(time.Second)
		select {
		case err := <-done:
			t.Errorf("done, %v, with a step that began before", err)
			done <- err
		default:
		}
		close(ends)
		if err := <-done; err != nil {
			t.Error(err)
		}
		e.Close(context.Background())
	})
}

// TestDoAndCancel: a cancel ends the waiting for what was woken before it, and
// not for what is woken after it, also when that has to rest first.
func TestDoAndCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New(Options{})
		runs := 0
		define(t, e, func(ctx context.Context, _ string) (bool, error) {
			if runs++; runs > 1 {
				return false, nil
			}
			time.Sleep(time.Millisecond) // so that it has to rest
			<-ctx.Done()
			return false, ctx.Err()
		})
		first := make(chan error, 1)
		go func() { first <- e.Do(t.Context(), "transform", "a") }()
		time.Sleep(2 * time.Millisecond)
		if _, err := e.Cancel(id("transform", "a")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := e.Do(t.Context(), "transform", "a"); err != nil || runs != 2 {
			t.Errorf("woken after a cancel: %v, %d runs", err, runs)
		}
		if err := <-first; !errors.Is(err, errCanceled) {
			t.Errorf("cancelled: %v", err)
		}
		e.Close(context.Background())
		if err := e.Do(t.Context(), "transform", "a"); !errors.Is(err, ErrClosed) {
			t.Errorf("after the end of the engine: %v", err)
		}
	})
}
