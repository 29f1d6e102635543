package jobs

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A handing queue gives what a test puts into it; what is released comes again.
type handing struct{ entries chan string }

func (q handing) Take(ctx context.Context) (Lock, error) {
	select {
	case path := <-q.entries:
		return &handedLock{q: q, path: path}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type handedLock struct {
	q    handing
	path string
}

func (l *handedLock) Path() string                  { return l.path }
func (l *handedLock) ID() string                    { return "job/" + l.path }
func (l *handedLock) Lost() <-chan struct{}         { return nil }
func (l *handedLock) Consume(context.Context) error { return nil }
func (l *handedLock) Release(context.Context, time.Duration) error {
	l.q.entries <- l.path
	return nil
}

// TestATakeAskedForAgain: while the first of two takes with one token still
// waits, since the gateway does not see that its connection broke, the second
// alone is lent something: what nobody heard of would be nobody's to end.
func TestATakeAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := handing{make(chan string, 2)}
		l := NewLender(LenderOptions{Queue: q, Lease: time.Hour})
		id, _, err := l.Open(t.Context(), ExecutorStatus{Name: "edge"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		type answer struct {
			lock Lock
			err  error
		}
		ask := func(wait time.Duration) chan answer {
			out := make(chan answer, 1)
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), wait)
				defer cancel()
				lock, err := l.Take(ctx, id, "token")
				out <- answer{lock, err}
			}()
			synctest.Wait()
			return out
		}
		broken, asked := ask(5*time.Second), ask(5*time.Second)
		q.entries <- "one"
		if a := <-asked; a.err != nil || a.lock.Path() != "one" {
			t.Errorf("the second take gives %+v", a)
		}
		if a := <-broken; !errors.Is(a.err, context.Canceled) {
			t.Errorf("the first take gives %+v", a)
		}
		if a := <-ask(time.Second); a.err != nil || a.lock.Path() != "one" {
			t.Errorf("asked for once more it is lent %+v", a)
		}
		if err := l.Consume(t.Context(), id, "one"); err != nil {
			t.Error(err)
		}
		broken, asked = ask(2*time.Second), ask(time.Second) // the queue is empty
		for _, c := range []chan answer{broken, asked} {
			if a := <-c; a.err == nil {
				t.Errorf("lent of nothing: %+v", a)
			}
		}
		q.entries <- "two"
		if a := <-ask(time.Second); a.err != nil || a.lock.Path() != "two" {
			t.Errorf("after takes in vain: %+v", a)
		}
		l.Close(id)
		if path := <-q.entries; path != "two" {
			t.Errorf("%s is free at the session's end", path)
		}
	})
}
