package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"sync"
	"time"
)

// An Action is a kind of work.
type Action struct {
	Name string
	// Run does one bounded step for a target. again says that another step
	// would find work. What it did must be recorded by itself: a step that is
	// interrupted is run again.
	Run func(ctx context.Context, target string) (again bool, err error)
}

// Options of an Engine. The zero value is useful.
type Options struct {
	// Workers is how many jobs run at the same time; default 4. At most half of
	// them run steps of bursts that go on, so that a job that is woken finds one.
	Workers int
	// Pause is the longest time between two bursts of one job, so that a target
	// that changes all the time is not worked on for every change; default 50 ms.
	// After a short burst it is shorter.
	Pause time.Duration
	// Retry is the first pause after a failure; it doubles up to MaxRetry.
	// Defaults 200 ms and 30 s.
	Retry, MaxRetry time.Duration
	Log             *slog.Logger // default discards
}

// An Engine runs jobs. Its methods are safe for concurrent use.
type Engine struct {
	o      Options
	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu      sync.Mutex
	work    *sync.Cond
	actions map[string]*Action
	tasks   map[string]*task // by job id
	turns   turns
	late    int64
	closed  bool
}

// A task is one job; the engine's lock guards it.
type task struct {
	id               string
	action           *Action
	target           string
	state            State
	message          string
	created, updated time.Time
	ended            time.Time     // of the last burst
	busy             time.Duration // how long its steps took together
	due              time.Time     // when it was woken, until it runs
	queued, running  bool
	woken            bool                    // while it ran
	failed           bool                    // the last time
	followed         bool                    // it is run by who decides when
	cancel           context.CancelCauseFunc // of the step that runs
	runs, failures   int64
	retry            time.Duration
	timer            *time.Timer
	log              []Line // the last taskLines
	lines            int64  // that there were
	wakes, seen      int64  // how often it was woken, and how often before its last step began
	served           int64  // how many wakes were seen by a burst that has come to its end
	cancels          int64
	failure          string // why a step failed last
}

// taskLines is how many lines the log of a derived job has.
const taskLines = 50

// tell adds a line to the task's log.
func (t *task) tell(text string) {
	if len(t.log) == taskLines {
		t.log = append(t.log[:0], t.log[1:]...)
	}
	t.log = append(t.log, Line{Number: t.lines, Time: stamp(time.Now()), Attempt: int(t.runs), Text: cut(text, maxLogLine)})
	t.lines++
}

// New starts an engine.
func New(o Options) *Engine {
	o.Workers = cmp.Or(o.Workers, 4)
	o.Pause = cmp.Or(o.Pause, 50*time.Millisecond)
	o.Retry = cmp.Or(o.Retry, 200*time.Millisecond)
	o.MaxRetry = cmp.Or(o.MaxRetry, 30*time.Second)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	e := &Engine{o: o, actions: map[string]*Action{}, tasks: map[string]*task{}, turns: turns{most: max(1, o.Workers/2)}}
	e.work = sync.NewCond(&e.mu)
	e.ctx, e.cancel = context.WithCancel(context.Background())
	for range o.Workers {
		e.done.Go(e.worker)
	}
	return e
}

// Define makes an action known. Its name must be new.
func (e *Engine) Define(a Action) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.actions[a.Name]; ok || a.Name == "" || a.Run == nil {
		return fmt.Errorf("jobs: define action %q: it has no name or no function, or is defined already", a.Name)
	}
	e.actions[a.Name] = &a
	return nil
}

// Wake queues the action for the target, unless it is queued already.
func (e *Engine) Wake(action, target string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, err := e.rouse(action, target)
	return err
}

// rouse wakes the task of an action and a target. The caller holds mu.
func (e *Engine) rouse(action, target string) (*task, error) {
	a, ok := e.actions[action]
	if !ok {
		return nil, fmt.Errorf("jobs: wake %q: there is no such action", action)
	}
	t := e.task(a, target)
	t.wakes++
	if t.due.IsZero() {
		t.due = time.Now()
	}
	e.wake(t)
	return t, nil
}

// wake queues a task now, or when its pause is over.
func (e *Engine) wake(t *task) {
	switch {
	case e.closed, t.queued, t.timer != nil: // what is due is not hurried
	case t.running:
		t.woken = true
	default:
		if left := t.pause(e.o.Pause) - time.Since(t.ended); left > 0 && !t.ended.IsZero() {
			e.later(t, left)
			return
		}
		e.enqueue(t, false)
	}
}

// later queues a task after a while.
func (e *Engine) later(t *task, d time.Duration) {
	var timer *time.Timer
	timer = time.AfterFunc(d, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if t.timer != timer { // cancelled
			return
		}
		t.timer = nil
		if !e.closed && !t.queued && !t.running {
			e.enqueue(t, false)
		}
	})
	t.timer = timer
}

// enqueue lets a task have its turn; on says that its burst goes on.
func (e *Engine) enqueue(t *task, on bool) {
	t.queued = true
	if t.state != Failed {
		t.set(Queued, "")
	}
	e.turns.add(t, on)
	e.work.Signal()
}

// Follow runs what somebody else decided to do now as the job of an action on a
// target: it is seen in the list, with its outcome, and takes no worker.
func (e *Engine) Follow(action, target string, f func() error) error {
	e.mu.Lock()
	t := e.task(&Action{Name: action}, target)
	t.running, t.followed = true, true
	t.set(Running, "")
	e.mu.Unlock()
	var err error
	pprof.Do(e.ctx, pprof.Labels("job", t.id, "action", action, "target", target), func(context.Context) { err = f() })
	e.mu.Lock()
	defer e.mu.Unlock()
	t.running = false
	t.runs++
	if err != nil {
		t.failures++
		t.failed = true
		t.set(Failed, err.Error())
		t.tell("FAILED: " + err.Error())
		return err
	}
	t.succeed()
	return nil
}

// succeed notes that a task came to its end; not each time of thousands a
// minute is worth a line.
func (t *task) succeed() {
	if t.failed || t.lines == 0 {
		t.tell("SUCCESS")
	}
	t.failed = false
	t.set(Success, "")
}

// task gives the one of an action and a target, a new one if need be.
func (e *Engine) task(a *Action, target string) *task {
	key := id(a.Name, target)
	t, ok := e.tasks[key]
	if !ok {
		now := time.Now()
		t = &task{id: key, action: a, target: target, state: Queued, created: now, updated: now}
		e.tasks[key] = t
	}
	return t
}

// Do wakes a job and waits until a burst that saw the wake has come to its end,
// or a step failed.
func (e *Engine) Do(ctx context.Context, action, target string) error {
	// What is compared later is read with the wake: the job may have come to its
	// end when the lock is free again.
	e.mu.Lock()
	t, err := e.rouse(action, target)
	if err != nil {
		e.mu.Unlock()
		return err
	}
	mine, failures, cancels := t.wakes, t.failures, t.cancels
	e.mu.Unlock()
	for {
		e.mu.Lock()
		failed, message := t.failures > failures, t.failure
		served, canceled, closed := t.served >= mine, t.cancels > cancels, e.closed
		e.mu.Unlock()
		switch {
		case served:
			return nil
		case canceled:
			return fmt.Errorf("%s of %s: %w", action, target, errCanceled)
		case failed:
			return fmt.Errorf("%s of %s: %s", action, target, message)
		case closed:
			return fmt.Errorf("%s of %s: %w", action, target, ErrClosed)
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (t *task) set(s State, message string) {
	t.state, t.message, t.updated = s, message, time.Now()
}

// worker runs tasks, one step at a time so that none keeps the others waiting.
func (e *Engine) worker() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for {
		t, on := e.turns.next()
		for ; t == nil && !e.closed; t, on = e.turns.next() {
			e.work.Wait()
		}
		if e.closed {
			return
		}
		e.begin(t, on)
		ctx, cancel := context.WithCancelCause(e.ctx)
		t.cancel = cancel
		began := time.Now()
		e.mu.Unlock()

		var again bool
		var err error
		pprof.Do(ctx, pprof.Labels("job", t.id, "action", t.action.Name, "target", t.target), func(ctx context.Context) { again, err = e.step(ctx, t) })

		e.mu.Lock()
		t.busy += time.Since(began)
		e.turns.done(on)
		e.finish(t, again, err, errors.Is(context.Cause(ctx), errCanceled))
		cancel(nil)
	}
}

// tooLate is the promise that a wake is kept by.
const tooLate = 100 * time.Millisecond

// begin notes that a task's turn has come.
func (e *Engine) begin(t *task, on bool) {
	if !t.due.IsZero() && time.Since(t.due) > tooLate {
		e.late++
	}
	if t.due = (time.Time{}); !on {
		t.busy = 0
	}
	t.queued, t.running, t.woken = false, true, false
	t.seen = t.wakes
	t.set(Running, "")
}

// step runs the action once; a panic is a failure of this job alone.
func (e *Engine) step(ctx context.Context, t *task) (again bool, err error) {
	defer func() {
		if r := recover(); r != nil {
			e.o.Log.Error("job panicked", "action", t.action.Name, "target", t.target, "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return t.action.Run(ctx, t.target)
}

// finish decides what follows a step.
func (e *Engine) finish(t *task, again bool, err error, canceled bool) {
	t.running, t.cancel = false, nil
	t.runs++
	switch {
	case e.closed:
	case canceled:
		t.giveUp()
		if t.woken { // since it was cancelled
			e.wake(t)
		}
	case err != nil:
		e.fail(t, err)
	case again:
		t.retry = 0
		e.enqueue(t, true)
	default:
		t.retry, t.ended, t.served = 0, time.Now(), t.seen
		t.succeed()
		if t.woken {
			e.wake(t)
		}
	}
}

func (e *Engine) fail(t *task, err error) {
	t.failures++
	t.failed, t.failure = true, err.Error()
	t.set(Failed, t.failure)
	t.tell("FAILED: " + err.Error())
	if t.retry == 0 {
		e.o.Log.Error("job failed; it will be tried again", "action", t.action.Name, "target", t.target, "error", err)
	}
	t.retry = min(max(2*t.retry, e.o.Retry), e.o.MaxRetry)
	e.later(t, t.retry)
}

// List shows all jobs, by target and action.
func (e *Engine) List() []Job {
	e.mu.Lock()
	out := make([]Job, 0, len(e.tasks))
	for _, t := range e.tasks {
		out = append(out, t.resource())
	}
	e.mu.Unlock()
	slices.SortFunc(out, func(a, b Job) int {
		return cmp.Or(cmp.Compare(a.Target.Href, b.Target.Href), cmp.Compare(a.Action, b.Action))
	})
	return out
}

// Get shows one job by its id, "job/UUID".
func (e *Engine) Get(id string) (Job, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t, ok := e.tasks[id]
	if !ok {
		return Job{}, false
	}
	return t.resource(), true
}

// Logs gives the log of a job: its failures, and that it came to its end again.
func (e *Engine) Logs(id string, from int64) (Log, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t, ok := e.tasks[id]
	if !ok {
		return Log{}, false
	}
	out := Log{ID: id, Cut: t.lines - int64(len(t.log)), Lines: []Line{}}
	skip := max(0, min(from-out.Cut, int64(len(t.log))))
	out.Lines = append(out.Lines, t.log[skip:]...)
	return out, true
}

// Describe writes which jobs run.
func (e *Engine) Describe(w io.Writer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, t := range e.tasks {
		if t.running {
			fmt.Fprintf(w, "%s %s of %s runs since %s\n", t.id, t.action.Name, t.target, stamp(t.updated))
		}
	}
}

// Stats counts jobs now, and steps since New.
type Stats struct {
	Queued, Running, Failed int64
	Steps, Failures         int64
	Late                    int64 // steps that began more than 100 ms after their wake
}

// Stats gives the counters.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := Stats{Late: e.late}
	for _, t := range e.tasks {
		switch t.state {
		case Queued:
			s.Queued++
		case Running:
			s.Running++
		case Failed:
			s.Failed++
		}
		s.Steps += t.runs
		s.Failures += t.failures
	}
	return s
}

// Idle tells whether no job is queued, waiting or running.
func (e *Engine) Idle() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, t := range e.tasks {
		if t.queued || t.running || t.timer != nil {
			return false
		}
	}
	return true
}

// Close lets the running steps end, or cancels them when the context ends,
// and takes no more.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	e.closed = true
	e.work.Broadcast()
	for _, t := range e.tasks {
		if t.timer != nil {
			t.timer.Stop()
		}
	}
	e.mu.Unlock()
	ended := make(chan struct{})
	go func() { e.done.Wait(); close(ended) }()
	defer e.cancel()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		e.cancel()
		<-ended
		return fmt.Errorf("jobs: close: %w; running steps were interrupted and go on after the next start", ctx.Err())
	}
}
