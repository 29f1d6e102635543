package node

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"weir/slap"
)

// A Schedule says how often Loop does what; zero values are the defaults.
type Schedule struct {
	Instances time.Duration // default 1 min
	Software  time.Duration // default 1 min
	Reports   time.Duration // default 5 min
	Samples   time.Duration // of what partitions use; default 1 min
	Usage     time.Duration // that etc/report tells; default a day
}

// Loop builds releases, processes partitions, reports and collects until the
// context ends. When the master is away it asks less and less often, to every five
// minutes; a partition that fails is tried again after a minute, then less and
// less often, to every hour, unless the master changes it.
func (n *Node) Loop(ctx context.Context, s Schedule) {
	failures := &failures{of: map[string]failure{}}
	var all sync.WaitGroup
	all.Go(func() {
		n.repeat(ctx, "software", or(s.Software, time.Minute), func(ctx context.Context) (Outcome, error) { return n.Software(ctx, SoftwareRun{}) })
	})
	all.Go(func() {
		n.repeat(ctx, "instance", or(s.Instances, time.Minute), func(ctx context.Context) (Outcome, error) {
			return n.Instance(ctx, Run{failures: failures})
		})
	})
	all.Go(func() {
		n.repeat(ctx, "report", or(s.Reports, 5*time.Minute), func(ctx context.Context) (Outcome, error) {
			return n.Report(ctx, Run{usageEvery: or(s.Usage, 24*time.Hour)})
		})
	})
	all.Go(func() {
		n.repeat(ctx, "collect", or(s.Samples, time.Minute), func(ctx context.Context) (Outcome, error) { return Outcome{}, n.Collect(ctx) })
	})
	all.Wait()
}

func or(d, fallback time.Duration) time.Duration {
	if d == 0 {
		return fallback
	}
	return d
}

// repeat does one thing again and again, under the lock of its command.
func (n *Node) repeat(ctx context.Context, what string, every time.Duration, do func(context.Context) (Outcome, error)) {
	pause := every
	for first := true; ctx.Err() == nil; first = false {
		if !first && !n.await(ctx, pause, what == "instance") {
			return
		}
		lock, err := n.Lock(what, "")
		if err == nil {
			var o Outcome
			o, err = do(ctx)
			lock.Release()
			if o.Offline {
				err = slap.ErrUnreachable
			}
			n.tellOutcome(what, o)
		}
		if err != nil && ctx.Err() == nil {
			n.log.Error(what, "error", err)
		}
		pause = next(pause, every, err)
	}
}

// next is the pause after a run: twice the last one while the master is away,
// to five minutes.
func next(pause, every time.Duration, err error) time.Duration {
	if !isOffline(err) {
		return every
	}
	return min(2*pause, max(every, 5*time.Minute))
}

func (n *Node) tellOutcome(what string, o Outcome) {
	if o.Done == 0 && len(o.Failed)+len(o.Promises) == 0 {
		return
	}
	n.log.Info(what+" done", "worked", o.Done, "failed", len(o.Failed), "promises", len(o.Promises))
}

// await sleeps by a tenth more or less, or, where that may be cut short, until
// the watchdog has told the master something.
func (n *Node) await(ctx context.Context, pause time.Duration, wakes bool) bool {
	pause = pause*9/10 + rand.N(pause/5+1)
	begun := n.now()
	for end := begun.Add(pause); ; {
		left := end.Sub(n.now())
		if left <= 0 {
			return ctx.Err() == nil
		}
		if !sleep(ctx, min(left, time.Second)) {
			return false
		}
		if !wakes {
			continue
		}
		if info, err := os.Stat(n.wakeName()); err == nil && info.ModTime().After(begun) {
			return true
		}
	}
}

// failures remember which partitions fail, so that one which cannot succeed
// does not cost its buildout every minute. A nil one remembers nothing.
type failures struct {
	mu sync.Mutex
	of map[string]failure
}

type failure struct {
	timestamp, state string
	times            int
	next             time.Time
}

// spare tells whether a partition failed a short while ago, and the master
// has not changed it since.
func (f *failures) spare(p slap.Partition, now time.Time) bool {
	if f == nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	v, ok := f.of[p.Place.Partition]
	return ok && v.timestamp == p.Timestamp && v.state == p.State && now.Before(v.next)
}

func (f *failures) note(p slap.Partition, r result, now time.Time) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.of[p.Place.Partition]
	if r.err == nil || isOffline(r.err) || errors.Is(r.err, context.Canceled) {
		delete(f.of, p.Place.Partition)
		return
	}
	if v.timestamp != p.Timestamp || v.state != p.State {
		v = failure{timestamp: p.Timestamp, state: p.State}
	}
	v.times++
	longest := time.Hour
	if r.promise {
		longest = 5 * time.Minute // it may be kept by itself
	}
	v.next = now.Add(min(time.Minute<<min(v.times-1, 10), longest) - 10*time.Second)
	f.of[p.Place.Partition] = v
}
