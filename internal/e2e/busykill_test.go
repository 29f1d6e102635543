package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestKillBusy kills the process while commits write to chunk files themselves,
// which they do for streams that much comes for: all that was acknowledged is
// there, once, before and after the log is folded. No fold happens before the
// end, so each chunk file is one of a run of commits.
func TestKillBusy(t *testing.T) {
	t.Parallel()
	args := busyParts(t, 50)
	w := start(t, args...)
	l := &load{t: t, w: w, stopping: make(chan struct{})}
	for i := range 3 {
		s := &sender{tag: fmt.Sprintf("raw.busy.%d", i), window: 6, frame: busyPiece(i)}
		l.senders = append(l.senders, s)
		l.wg.Go(func() { s.run(w.Forward, w.url(""), l.stopping) })
	}
	for i := range 6 {
		before := runBytes(t, w)
		w.await("commits write to chunk files", func() bool { return runBytes(t, w) >= before+4<<20 })
		time.Sleep(time.Duration(rand.IntN(50)) * time.Millisecond)
		w.kill()
		if i%3 == 2 { // also while it recovers
			w.begin()
			time.Sleep(time.Duration(rand.IntN(40)) * time.Millisecond)
			w.kill()
		}
		w.up()
	}
	l.finish()
	l.compareBusy()
	w.kill()
	w.args = busyParts(t, 1)
	w.up()
	l.compareBusy()
	w.stop()
	if out, err := exec.Command(program, "fsck", w.data, "--deep").CombinedOutput(); err != nil {
		t.Errorf("fsck: %v\n%s", err, out)
	}
	w.up()
	l.compareBusy()
}

// compareBusy holds every acknowledged byte against the streams.
func (l *load) compareBusy() {
	l.t.Helper()
	for _, s := range l.senders {
		got := l.w.stream(s.tag)
		if s.acked == 0 || !bytes.Equal(got, s.kept) {
			l.t.Errorf("stream %s has %d bytes, %d were acknowledged", s.tag, len(got), len(s.kept))
		}
	}
	l.t.Log(l.String())
}

// busyParts are the acceptance policies with small files and so many segments
// of the log before one is folded.
func busyParts(t *testing.T, live int) []string {
	t.Helper()
	b, err := os.ReadFile(acceptance()[1])
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "busy.yaml")
	parts := fmt.Sprintf("streams: {segment_bytes: 8MiB, live_segments: %d, chunk_bytes: 8MiB}\n", live)
	if err := os.WriteFile(file, append([]byte(parts), b...), 0o644); err != nil {
		t.Fatal(err)
	}
	return []string{"--config", file}
}

// runBytes is how many bytes the chunk files of the busy streams have.
func runBytes(t *testing.T, w *weir) (n int64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(w.data, "streams", "chunks", "raw.busy.*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if info, err := os.Stat(name); err == nil {
			n += info.Size()
		}
	}
	return n
}

// busyPiece gives pieces of which one is much for a commit, and not so much
// that it gets a file of its own.
func busyPiece(who int) func(int) piece {
	return func(n int) piece {
		r := rand.New(rand.NewPCG(uint64(who), uint64(n)))
		text := make([]byte, 280<<10+r.IntN(300<<10))
		for i := range text {
			text[i] = 'a' + byte(i*(n%23+1)>>3%26)
		}
		b := encodeSorted([]entry{{1_700_000_000, uint32(n), map[string]any{"sender": who, "seq": n, "i": 0, "text": string(text)}}})
		return piece{entries: b, kept: b}
	}
}
