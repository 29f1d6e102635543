package e2e

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestFullDisk fills the disk under load: senders are held, nothing that was
// acknowledged is lost, readiness says why, and when there is room again the
// data flows without a hand.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("not root: cannot mount a small file system")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=640m"); err != nil {
		t.Skipf("cannot mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	w := startIn(t, filepath.Join(dir, "data"), acceptance()...)
	s := &sender{tag: "raw.full", window: 8, frame: bulkPiece}
	posts := &sender{tag: "raw.full-posts", window: 1, frame: rawPiece(3), post: "raw"}
	stopping := make(chan struct{})
	done := make(chan struct{}, 2)
	for _, s := range []*sender{s, posts} {
		go func() { s.run(w.Forward, w.url(""), stopping); done <- struct{}{} }()
	}
	w.await("some is acknowledged", func() bool { return s.count() > 10 && posts.count() > 10 })

	ballast := filepath.Join(dir, "ballast")
	fill(t, ballast)
	// What was laid down before may still take some; then both senders are held.
	a, b, since := -1, -1, time.Now()
	w.await("the senders are held", func() bool {
		if s.count() != a || posts.count() != b {
			a, b, since = s.count(), posts.count(), time.Now()
		}
		return time.Since(since) > time.Second
	})
	w.await("/ready says that there is no space", func() bool {
		a := w.do("GET", "/ready", nil)
		return a.Status != http.StatusOK && bytes.Contains(a.Body, []byte("space"))
	})
	if got := w.status("/streams/raw.full"); got != http.StatusOK {
		t.Errorf("reading with a full disk: status %d", got)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	w.await("data flows again", func() bool { return s.count() > a+5 && posts.count() > b+5 })
	w.await("weir is ready again", func() bool { return w.status("/ready") == http.StatusOK })
	close(stopping)
	for range 2 {
		select {
		case <-done:
		case <-time.After(patience):
			t.Fatalf("not everything was acknowledged: %v, %v", s.refusal, posts.refusal)
		}
	}
	w.kill()
	w.up()
	for _, s := range []*sender{s, posts} {
		if got := w.stream(s.tag); !bytes.Equal(got, s.kept) {
			t.Errorf("stream %s has %d bytes, %d were acknowledged", s.tag, len(got), len(s.kept))
		}
	}
}

func (s *sender) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acked
}

// bulkPiece is half a mebibyte, so that the log needs room soon.
func bulkPiece(n int) piece {
	b := encode(entry{1_700_000_000, uint32(n), map[string]any{"bulk": noise(uint64(n), 1<<19)}})
	return piece{entries: b, kept: b}
}

// fill writes a file until the file system has no room.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1<<20)
	for {
		if _, err := f.Write(b); err != nil {
			return
		}
	}
}

// TestSecondProcess: a folder that a process has is refused to a second one.
func TestSecondProcess(t *testing.T) {
	t.Parallel()
	w := start(t)
	out, err := runWeir(t, "", "serve", "--data", w.data, "--http", "127.0.0.1:0", "--forward", "127.0.0.1:0")
	if err == nil || !bytes.Contains(out, []byte(w.data)) {
		t.Errorf("a second process in one folder: %v\n%s", err, out)
	}
	w.put("raw.still-there", []byte("x"))
}
