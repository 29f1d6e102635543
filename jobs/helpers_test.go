package jobs

import (
	"bytes"
	"context"
	"log/slog"
	"testing"
	"time"
)

var discard = slog.New(slog.DiscardHandler)

// patience is how long a test waits for what must happen: in vain on a machine
// that is broken, not on one that is slow.
const patience = 2 * time.Minute

// hear waits for what comes from a channel, or for its end, and tells in vain
// what all others wait for.
func hear[T any](t testing.TB, what string, c <-chan T, most time.Duration) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(most):
		var all bytes.Buffer
		Stacks(&all)
		t.Fatalf("%s: nothing in %v\n%s", what, most, &all)
	}
	return v
}

// takeSoon takes what is there.
func takeSoon(q Taker) (Lock, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return q.Take(ctx)
}

// awaitTrue waits until ok.
func awaitTrue(t testing.TB, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come true")
		}
	}
}
