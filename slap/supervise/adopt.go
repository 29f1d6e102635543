package supervise

import (
	"time"

	"weir/internal/proc"
)

// resume takes up a program where the last supervisor left it, and tells
// whether a process of it was adopted.
func (k *keeper) resume(r record) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if r.Boot != k.srv.boot {
		k.rec.Event, k.rec.Exit = r.Event, r.Exit // nothing runs since before the boot
		return false
	}
	k.rec = r
	defer k.publish()
	if r.Process == nil || r.Process.Ended {
		k.continueAsleep()
		return false
	}
	h, err := proc.Open(r.Process.ID)
	if err != nil {
		k.endedMeanwhile()
		return false
	}
	k.handle = h
	if err := k.makeOutput(); err != nil {
		k.rec.Error = err.Error()
	}
	k.watch(h, nil)
	switch {
	case r.State == Stopping:
		k.terminate()
	case r.Program != fingerprint(k.spec):
		// The group was changed, and the supervisor ended before it did so.
		k.set(Stopping)
		k.terminate()
	case r.State == Starting:
		k.executed()
	}
	return true
}

// continueAsleep goes on with what was under way while no process ran.
func (k *keeper) continueAsleep() {
	switch k.rec.State {
	case Backoff, Starting:
		k.after(time.Second, k.launch)
	case Stopping:
		if k.rec.Process == nil {
			k.stopped(true)
			return
		}
		k.clear(*k.rec.Process, leftGrace, k.stopped)
	}
}

// endedMeanwhile: the process ended while there was no supervisor.
func (k *keeper) endedMeanwhile() {
	k.rec.Process.Ended = true
	switch {
	case k.rec.State == Stopping:
		k.clear(*k.rec.Process, leftGrace, k.stopped)
	case !k.rec.Process.Released:
		// It may never have become the program: the start is done again.
		k.after(0, k.launch)
	default:
		k.rec.Exit = &Exit{}
		k.turn++
		k.ended(Exit{})
	}
}
