package jobs

import (
	"log/slog"
	"testing"
	"time"
)

var discard = slog.New(slog.DiscardHandler)

// awaitTrue waits until ok.
func awaitTrue(t testing.TB, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come true")
		}
	}
}
