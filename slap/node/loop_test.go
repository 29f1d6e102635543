package node

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"syscall"
	"testing"
	"time"

	"weir/slap"
)

// TestPauses: the master is asked less and less often while it is away, and at
// the usual pace as soon as it is not.
func TestPauses(t *testing.T) {
	t.Parallel()
	away := fmt.Errorf("no answer: %w", slap.ErrUnreachable)
	pause := time.Minute
	for _, want := range []time.Duration{2 * time.Minute, 4 * time.Minute, 5 * time.Minute, 5 * time.Minute} {
		if pause = next(pause, time.Minute, away); pause != want {
			t.Errorf("%v, want %v", pause, want)
		}
	}
	for _, err := range []error{nil, errors.New("something else"), ErrRunning} {
		if got := next(pause, time.Minute, err); got != time.Minute {
			t.Errorf("after %v: %v", err, got)
		}
	}
	if got := next(time.Hour, time.Hour, away); got != time.Hour {
		t.Errorf("more often than usual: %v", got)
	}
}

// TestSpared: a partition that fails is tried after 1, 2, 4 minutes, to an
// hour, one whose promises fail to five minutes, and at once when the master
// changes it.
func TestSpared(t *testing.T) {
	t.Parallel()
	failed, promise := result{err: errors.New("it broke")}, result{err: errors.New("it is not kept"), promise: true}
	p := slap.Partition{Place: slap.Place{Partition: "part0"}, State: slap.Started, Timestamp: "1"}
	for _, c := range []struct {
		r    result
		want []int // minutes
	}{{failed, []int{1, 2, 4, 8, 16, 32, 60, 60}}, {promise, []int{1, 2, 4, 5, 5}}} {
		f, now := &failures{of: map[string]failure{}}, time.Unix(1e9, 0)
		for k, want := range c.want {
			f.note(p, c.r, now)
			pause := time.Duration(want) * time.Minute
			if !f.spare(p, now.Add(pause-15*time.Second)) || f.spare(p, now.Add(pause)) {
				t.Errorf("%v, failure %d: not spared for %d minutes", c.r.err, k, want)
			}
			now = now.Add(pause)
		}
		changed := p
		changed.Timestamp = "2"
		if f.spare(changed, now) {
			t.Error("spared, and the master has changed it")
		}
		f.note(p, result{err: slap.ErrUnreachable}, now)
		if f.spare(p, now) {
			t.Error("spared since the master was away")
		}
		f.note(p, c.r, now)
		if f.note(p, result{}, now); f.spare(p, now) {
			t.Error("spared after a success")
		}
	}
	var none *failures
	if none.note(p, failed, time.Now()); none.spare(p, time.Now()) {
		t.Error("a run by hand spares")
	}
}

// TestLoop: partitions are processed when the master changes them, services
// that ended are started again, also while the master is away; what runs goes
// on when the loop ends.
func TestLoop(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1, "echo x >> runs\n")
	h.put("part0", "etc/service/a", service("a"), 0o755)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	quick := 50 * time.Millisecond
	go func() {
		defer close(ended)
		h.Loop(ctx, Schedule{Instances: quick, Software: quick, Reports: quick, Samples: quick, Usage: time.Hour})
	}()
	defer func() { stop(); <-ended }()
	h.within("it is processed", func() bool { return len(h.pids("part0", "a")) == 1 })
	h.within("it succeeds", func() bool { return h.text("part0", timestampName) == "1" })
	h.fake.set(func() { h.fake.partitions[0].Timestamp = "2" })
	h.within("it is processed again", func() bool { return h.text("part0", "runs") == "x\nx\n" && h.text("part0", timestampName) == "2" })
	h.fake.set(func() { h.fake.status = 503 })
	pid, err := strconv.Atoi(h.pids("part0", "a")[0])
	h.must(err)
	h.must(syscall.Kill(pid, syscall.SIGKILL))
	h.within("it is started again without the master", func() bool { return len(h.pids("part0", "a")) == 2 })
	h.fake.set(func() { h.fake.status, h.fake.partitions[0].Timestamp = 0, "3" })
	h.within("it is processed when the master is back", func() bool { return h.text("part0", timestampName) == "3" })
	stop()
	<-ended
	if pids := h.pids("part0", "a"); len(pids) != 2 || !h.alive(pids[1]) {
		t.Errorf("after the end of the loop: %v", pids)
	}
}
