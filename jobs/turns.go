package jobs

import (
	"errors"
	"fmt"
	"time"
)

// turns say which task of an Engine is next. A task that was woken comes
// before one whose burst goes on, so that a large input keeps no small one
// waiting; yet every few turns it is the other way round, so that both go on.
type turns struct {
	woken, on []*task
	most      int // steps of bursts that go on, at the same time
	running   int // of them
	count     int
}

// fair is how many turns there are to one at which a burst that goes on is
// preferred.
const fair = 4

func (q *turns) add(t *task, on bool) {
	if on {
		q.on = append(q.on, t)
	} else {
		q.woken = append(q.woken, t)
	}
}

// next gives the task whose turn it is, nil when there is none now; on says
// that its burst goes on, and that done must be called after the step.
func (q *turns) next() (t *task, on bool) {
	q.on, q.woken = skip(q.on), skip(q.woken)
	mayGoOn := len(q.on) > 0 && q.running < q.most
	switch {
	case mayGoOn && (len(q.woken) == 0 || q.count%fair == fair-1):
		q.running++
		on = true
		t, q.on = first(q.on)
	case len(q.woken) > 0:
		t, q.woken = first(q.woken)
	default:
		return nil, false
	}
	q.count++
	t.queued = false
	return t, on
}

func (q *turns) done(on bool) {
	if on {
		q.running--
	}
}

// skip leaves out tasks at the front that were cancelled.
func skip(list []*task) []*task {
	for len(list) > 0 && !list[0].queued {
		_, list = first(list)
	}
	return list
}

func first(list []*task) (t *task, others []*task) {
	t, list[0] = list[0], nil
	return t, list[1:]
}

// rest is for how many times its burst a task pauses, the Pause at most: a
// tenth of one worker's time is what a target that changes all the time costs.
const rest = 9

// pause gives how long a task pauses after its last burst.
func (t *task) pause(most time.Duration) time.Duration { return min(most, rest*t.busy) }

// errCanceled ends a derived job that somebody cancelled.
var errCanceled = errors.New("it was cancelled")

// Cancel gives a derived job up until it is woken again: the step that runs is
// told, what waits is forgotten, a failure is not tried again. A job that has
// ended stays what it is, and one that its owner runs goes on: ErrConflict.
func (e *Engine) Cancel(id string) (Job, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t, ok := e.tasks[id]
	switch {
	case !ok:
		return Job{}, fmt.Errorf("%s %w", id, ErrNotFound)
	case t.followed && t.running:
		return Job{}, fmt.Errorf("%w: %s is a step of work that cannot do without it, and ends by itself", ErrConflict, id)
	case t.running:
		t.cancels++
		t.woken, t.due = false, time.Time{}
		t.cancel(errCanceled)
	case t.queued || t.timer != nil:
		t.cancels++
		t.giveUp()
	}
	return t.resource(), nil
}

// giveUp makes a task that does not run a cancelled one. The caller holds the
// engine's lock.
func (t *task) giveUp() {
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
	t.queued, t.failed, t.retry, t.due = false, false, 0, time.Time{}
	t.ended = time.Now()
	t.set(Canceled, "")
	t.tell("CANCELED")
}
