package supervise

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestEnsureDying: a supervisor that answers no more and still has the lock is
// waited for; one that cannot start for another reason is not tried again.
func TestEnsureDying(t *testing.T) {
	t.Parallel()
	dir, tries := t.TempDir(), filepath.Join(t.TempDir(), "tries")
	count := func() int {
		b, _ := os.ReadFile(tries)
		return strings.Count(string(b), "x")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	// A try may be the last thing that is done before the lock is let go.
	command := []string{"/bin/sh", "-c", `echo x >> "$0"; exec "$1" serve "$2" plain`, tries, os.Args[0], dir}
	if _, err := Ensure(ctx, dir, append(command[:2:2], `echo x >> "$0"; exit 1`, tries)...); err == nil || count() != 1 {
		t.Errorf("%v after %d tries", err, count())
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.FcntlFlock(lock.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		t.Fatal(err)
	}
	released := make(chan struct{})
	go func() {
		defer close(released)
		for count() < 3 && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		lock.Close()
	}()
	c, err := Ensure(ctx, dir, command...)
	<-released
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	for held(dir) && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	if count() < 3 {
		t.Errorf("%d tries", count())
	}
}
