package e2e

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestKill kills the process again and again under load from senders of every
// kind that repeat what was not acknowledged: all that was acknowledged is
// there, nothing twice, and the arrays are what was sent.
func TestKill(t *testing.T) {
	t.Parallel()
	const rounds = 22
	w := start(t, acceptance()...)
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
	l.finish()
	l.compare()
	t.Logf("the longest restart took %v", longest)
	w.kill()
	w.up()
	l.compare()
}

// TestDrain stops the process under load: it ends in time with status 0, and
// nothing that was acknowledged is missing afterwards, nor is anything twice.
func TestDrain(t *testing.T) {
	t.Parallel()
	w := start(t, acceptance()...)
	l := newLoad(t, w)
	for range 4 {
		time.Sleep(300 * time.Millisecond)
		if took := w.stop(); took > 15*time.Second {
			t.Errorf("the drain took %v", took)
		}
		w.up()
	}
	l.finish()
	l.compare()
}
