package e2e

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// TestKill kills the process again and again under load from senders of every
// kind that repeat what was not acknowledged: all that was acknowledged is
// there, nothing twice, and the arrays are what was sent. WEIR_KILL_ROUNDS
// asks for more rounds than the test does of itself.
func TestKill(t *testing.T) {
	t.Parallel()
	rounds := 22
	if n, err := strconv.Atoi(os.Getenv("WEIR_KILL_ROUNDS")); err == nil {
		rounds = n
	}
	w := start(t, smallParts(t)...)
	l := newLoad(t, w)
	var longest time.Duration
	for i := range rounds {
		time.Sleep(time.Duration(150+rand.IntN(450)) * time.Millisecond)
		if i%4 == 3 { // also while it recovers
			w.kill()
			w.begin()
			time.Sleep(time.Duration(rand.IntN(40)) * time.Millisecond)
		}
		w.kill()
		began := time.Now()
		w.up()
		longest = max(longest, time.Since(began))
	}
	w.await("the log is folded", func() bool {
		folded, err := filepath.Glob(filepath.Join(w.data, "streams", "chunks", "raw.load.*", "*"))
		return err == nil && len(folded) > 0
	})
	l.finish()
	l.compare()
	t.Logf("the longest restart took %v", longest)
	w.kill()
	w.up()
	l.compare()
}

// smallParts are the acceptance policies with a log of small segments, which
// is folded all the time, and small chunks.
func smallParts(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile(acceptance()[1])
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "small.yaml")
	small := "streams: {segment_bytes: 2MiB, live_segments: 1, large_bytes: 256KiB, chunk_bytes: 1MiB}\narrays: {chunk_bytes: 64KiB}\n"
	if err := os.WriteFile(file, append([]byte(small), b...), 0o644); err != nil {
		t.Fatal(err)
	}
	return []string{"--config", file}
}

// TestDrain stops the process under load: it ends in time with status 0, and
// nothing that was acknowledged is missing afterwards, nor is anything twice.
func TestDrain(t *testing.T) {
	t.Parallel()
	w := start(t, acceptance()...)
	l := newLoad(t, w)
	for range 4 {
		time.Sleep(300 * time.Millisecond)
		if took := w.stop(); took > time.Minute {
			t.Errorf("the drain took %v", took)
		}
		w.up()
	}
	l.finish()
	l.compare()
}
