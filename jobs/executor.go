package jobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"
)

// API is the job resource as an executor needs it. A Store is one, and so is
// the client of a server.
type API interface {
	Get(ctx context.Context, id string) (Job, error) // ErrNotFound
	// Edit gives the whole job; ErrConflict says that the job is not the
	// executor's any more, ErrInvalid that the change is none.
	Edit(ctx context.Context, id string, c Change) (Job, error)
}

// ExecutorOptions of an Executor. Queue, API and Actions must be set.
type ExecutorOptions struct {
	Name    string
	Threads int // jobs at the same time; default 1
	Queue   Taker
	API     API
	// Actions finds an action by its name.
	Actions func(name string) (Work, bool)
	// Pull says that jobs of mode pull are run, too: they come from no queue.
	Pull bool
	// Timeout bounds an attempt, and Timeouts one at an action that is named
	// there; 0 is no bound.
	Timeout  time.Duration
	Timeouts map[string]time.Duration
	// Grace is how long running jobs may go on after a stop; default 2 min.
	Grace time.Duration
	// Attempts is how often a job may be begun before it FAILS; default 10.
	Attempts int
	// Poll is how often a running job is looked at for a stop; default 5 s.
	Poll time.Duration
	// Pause is for how long a job that had to be released is left alone, at
	// first; it doubles up to MaxPause. Defaults 1 s and 2 min.
	Pause, MaxPause time.Duration
	Log             *slog.Logger // default discards
}

// An Executor takes jobs from a queue and runs their actions.
type Executor struct {
	o       ExecutorOptions
	live    atomic.Int64 // threads that work
	done    atomic.Int64
	threads []thread

	mu     sync.Mutex
	pauses map[string]time.Duration // by job
}

// A thread runs one job at a time.
type thread struct {
	mu    sync.Mutex
	job   string
	since time.Time
}

// NewExecutor makes an executor.
func NewExecutor(o ExecutorOptions) *Executor {
	o.Threads = max(o.Threads, 1)
	orDefault(&o.Grace, 2*time.Minute)
	orDefault(&o.Poll, 5*time.Second)
	orDefault(&o.Pause, time.Second)
	orDefault(&o.MaxPause, 2*time.Minute)
	if o.Attempts <= 0 {
		o.Attempts = 10
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	x := &Executor{o: o, threads: make([]thread, o.Threads), pauses: map[string]time.Duration{}}
	for i := range x.threads {
		x.threads[i].since = time.Now()
	}
	return x
}

func orDefault(d *time.Duration, value time.Duration) {
	if *d <= 0 {
		*d = value
	}
}

// Run works until the context ends; then it takes no more, lets what runs go
// on for the grace, and releases what has not ended by then.
func (x *Executor) Run(ctx context.Context) {
	work, cancel := context.WithCancel(context.Background())
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(x.o.Grace, cancel) })
	defer stop()
	var all sync.WaitGroup
	for i := range x.threads {
		all.Go(func() { x.thread(ctx, work, &x.threads[i]) })
	}
	all.Wait()
}

// thread takes one job after another. No error ends it but the end of ctx or
// of the queue.
func (x *Executor) thread(ctx, work context.Context, t *thread) {
	x.live.Add(1)
	defer x.live.Add(-1)
	for ctx.Err() == nil {
		l, err := x.o.Queue.Take(ctx)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, ErrClosed) {
				return
			}
			x.o.Log.Error("no job can be taken; it is tried again", "error", err)
			sleep(ctx, x.o.Pause)
			continue
		}
		t.set(l.ID())
		pprof.Do(work, pprof.Labels("job", l.ID()), func(work context.Context) { x.attend(work, l) })
		t.set("")
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func (t *thread) set(job string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.job, t.since = job, time.Now()
}

// Status tells what the executor does.
func (x *Executor) Status() ExecutorStatus {
	s := ExecutorStatus{Name: x.o.Name, Threads: x.o.Threads, Done: x.done.Load(), Running: []string{}}
	for i := range x.threads {
		t := &x.threads[i]
		t.mu.Lock()
		if t.job != "" {
			s.Running = append(s.Running, t.job)
		}
		t.mu.Unlock()
	}
	return s
}

// Describe writes what each thread does.
func (x *Executor) Describe(w io.Writer) {
	for i := range x.threads {
		t := &x.threads[i]
		t.mu.Lock()
		what := "waits"
		if t.job != "" {
			what = "runs " + t.job
		}
		fmt.Fprintf(w, "thread %d of %s %s since %s\n", i, x.o.Name, what, stamp(t.since))
		t.mu.Unlock()
	}
}

// Stacks writes what each thread does, and the stacks of the process; those of
// a job bear its id as a label.
func (x *Executor) Stacks(w io.Writer) {
	x.Describe(w)
	Stacks(w)
}

// Stacks writes the stacks of the process; those of a job bear its id as a
// label.
func Stacks(w io.Writer) { pprof.Lookup("goroutine").WriteTo(w, 1) }

// attend brings a job that was taken to where its entry is consumed or released.
func (x *Executor) attend(work context.Context, l Lock) {
	// Nothing may be written for the job once the lock is lost.
	ctx, cancel := context.WithCancelCause(work)
	defer cancel(nil)
	go func() {
		select {
		case <-l.Lost():
			cancel(ErrLost)
		case <-ctx.Done():
		}
	}()
	err := x.handle(ctx, l.ID())
	switch {
	case err == nil:
		x.forget(l.ID())
		x.done.Add(1)
		x.end(l, "consume", func(ctx context.Context) error { return l.Consume(ctx) })
	case errors.Is(context.Cause(ctx), ErrLost) || errors.Is(err, ErrLost):
		x.o.Log.Warn("a job is given up: its lock is lost", "job", l.ID())
		x.end(l, "release", func(ctx context.Context) error { return l.Release(ctx, 0) })
	default:
		pause := x.pause(l.ID())
		if work.Err() != nil {
			pause = 0 // for others
		}
		x.o.Log.Warn("a job is released", "job", l.ID(), "pause", pause, "error", err)
		x.end(l, "release", func(ctx context.Context) error { return l.Release(ctx, pause) })
	}
}

// end consumes or releases, again until it is done or the lock is lost.
func (x *Executor) end(l Lock, what string, f func(context.Context) error) {
	const tries = 30
	for i := range tries {
		err := f(context.Background())
		if err == nil || errors.Is(err, ErrLost) || errors.Is(err, ErrClosed) {
			return
		}
		x.o.Log.Warn("a lock could not be ended; it is tried again", "job", l.ID(), "operation", what, "error", err)
		time.Sleep(min(x.o.Pause, time.Duration(i+1)*100*time.Millisecond))
	}
}

// pause gives for how long a job is left alone now.
func (x *Executor) pause(id string) time.Duration {
	x.mu.Lock()
	defer x.mu.Unlock()
	d := min(max(2*x.pauses[id], x.o.Pause), x.o.MaxPause)
	x.pauses[id] = d
	return d
}

func (x *Executor) forget(id string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.pauses, id)
}

// Version is that of the actions' contract; jobs of an older one fail, those of
// a later one are left to others.
const Version = 2

// RunOne runs one job that comes from no queue, and tells whether it is settled:
// ended, or somebody else's. It gives up, ErrLost, when lost is closed.
func (x *Executor) RunOne(ctx context.Context, id string, lost <-chan struct{}) error {
	t := &x.threads[0]
	t.set(id)
	defer t.set("")
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-lost:
			cancel(ErrLost)
		case <-ctx.Done():
		}
	}()
	err := x.handle(ctx, id)
	if errors.Is(err, ErrConflict) {
		return fmt.Errorf("%s was begun by another: %w", id, err)
	}
	return err
}

// ghostWait is how long an entry without a job waits for it: other servers put
// the entry first.
const ghostWait = 2 * time.Second

// handle runs a job; nil says that its entry is to be consumed.
func (x *Executor) handle(ctx context.Context, id string) error {
	if !jobID.MatchString(id) || len(id) > maxText {
		x.o.Log.Error("an entry of the queue names no job and is removed", "entry", fmt.Sprintf("%.100q", id))
		return nil
	}
	j, err := x.o.API.Get(ctx, id)
	if errors.Is(err, ErrNotFound) && !x.o.Pull {
		sleep(ctx, ghostWait)
		if j, err = x.o.API.Get(ctx, id); errors.Is(err, ErrNotFound) {
			x.o.Log.Warn("an entry of the queue has no job and is removed", "job", id)
			return nil
		}
	}
	if err != nil {
		return err
	}
	if j.State.Final() || j.State == Stopped {
		return nil
	}
	if j.Mode == ModePull && !x.o.Pull {
		return nil // it left the queue when its first attempt failed
	}
	if x.o.Pull && j.State == Running {
		return fmt.Errorf("%w: %s runs already, by %s", ErrConflict, id, j.Executor)
	}
	if j.Version != 0 && j.Version < Version {
		return x.fail(ctx, j, fmt.Sprintf("Job v%d is not supported by Job engine v%d", j.Version, Version))
	}
	if j.Version > Version {
		return fmt.Errorf("%s is of version %d; this engine's is %d: it is left to a later one", id, j.Version, Version)
	}
	work, ok := x.o.Actions(j.Action)
	if !ok {
		return x.fail(ctx, j, "Not implemented action: "+j.Action)
	}
	if j.Attempt >= x.o.Attempts {
		return x.fail(ctx, j, fmt.Sprintf("given up after %d attempts, none of which came to its end", j.Attempt))
	}
	again := j.Attempt > 0 || j.State == Running // SlipStream's server counts no attempts
	attempt := j.Attempt
	if j, err = x.o.API.Edit(ctx, id, Change{State: Running, Attempt: &attempt, Executor: x.o.Name}); err != nil {
		return err
	}
	return x.run(ctx, j, again, work)
}

// fail ends a job that cannot be run.
func (x *Executor) fail(ctx context.Context, j Job, why string) error {
	code := 1
	return x.finish(ctx, j, Change{State: Failed, StatusMessage: &why, ReturnCode: &code})
}

// errStopped cancels the work of a job that was stopped or cancelled.
var errStopped = errors.New("the job was stopped")

// run does the work and stores how it ended.
func (x *Executor) run(ctx context.Context, j Job, again bool, work Work) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limited, bound := ctx, x.timeout(j.Action)
	if bound > 0 {
		var end context.CancelFunc
		limited, end = context.WithTimeout(ctx, bound)
		defer end()
	}
	watching, unwatch := context.WithCancel(ctx)
	defer unwatch()
	go x.watch(watching, j.ID, cancel)
	out := newRunLog(x.o.API, j, x.o.Log)
	r := &Run{Job: j, Again: again, Print: out.Print, Update: func(c Change) error {
		if limited.Err() != nil {
			return context.Cause(limited)
		}
		c.Attempt = &j.Attempt
		_, err := x.o.API.Edit(limited, j.ID, c)
		if err != nil && !errors.Is(err, ErrInvalid) {
			cancel(err)
		}
		return err
	}}
	code, err := protect(limited, r, work)
	out.Close()
	unwatch() // the final state that is stored now is no stop
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errStopped):
		return x.stopped(j)
	case cause != nil:
		return cause // lost, stopping, or the API is away: somebody begins it again
	case limited.Err() != nil:
		err, code = fmt.Errorf("action %s took longer than %v", j.Action, bound), 1
	}
	c := Change{State: Success, ReturnCode: &code}
	if err != nil || code != 0 {
		c.State = Failed
		if code == 0 {
			code = 1
		}
	}
	if err != nil {
		text := err.Error()
		c.StatusMessage = &text
	}
	if c.State == Failed && j.Mode == ModeMixed {
		text := "Re-running job in pull mode after failed first attempt"
		if err != nil {
			text += ": " + err.Error()
		}
		c = Change{State: Queued, Mode: ModePull, StatusMessage: &text}
	}
	return x.finish(ctx, j, c)
}

// timeout gives how long an attempt at an action may take; 0 is no bound.
func (x *Executor) timeout(action string) time.Duration {
	if own, ok := x.o.Timeouts[action]; ok {
		return own
	}
	return x.o.Timeout
}

// stopped ends a job that was stopped while it ran; one that was cancelled has
// its final state.
func (x *Executor) stopped(j Job) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	now, err := x.o.API.Get(ctx, j.ID)
	if errors.Is(err, ErrNotFound) || err == nil && (now.State.Final() || now.State == Stopped) {
		return nil
	}
	return errors.Join(err, errStopped)
}

// finish stores a job's final state; a job that has one, or is gone, is done with.
func (x *Executor) finish(ctx context.Context, j Job, c Change) error {
	c.Attempt = &j.Attempt
	_, err := x.o.API.Edit(ctx, j.ID, c)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if errors.Is(err, ErrConflict) {
		if now, e := x.o.API.Get(ctx, j.ID); e == nil && now.State.Final() {
			return nil
		}
	}
	return err
}

// protect makes a panic an error of this job alone.
func protect(ctx context.Context, r *Run, work Work) (code int, err error) {
	defer func() {
		if p := recover(); p != nil {
			code, err = 1, fmt.Errorf("action %s panicked: %v\n%s", r.Job.Action, p, debug.Stack())
		}
	}()
	return work(ctx, r)
}

// watch cancels the work when somebody stops, cancels or deletes the job.
func (x *Executor) watch(ctx context.Context, id string, cancel context.CancelCauseFunc) {
	for {
		x.awaitChange(ctx, id)
		if ctx.Err() != nil {
			return
		}
		j, err := x.o.API.Get(ctx, id)
		ended := errors.Is(err, ErrNotFound) || err == nil && (j.State.Final() || j.State == Stopped)
		if ended && ctx.Err() == nil {
			cancel(errStopped)
			return
		}
	}
}

// awaitChange waits until a job may have changed.
func (x *Executor) awaitChange(ctx context.Context, id string) {
	var changed <-chan struct{}
	if w, ok := x.o.API.(interface {
		Watch(string) (<-chan struct{}, func())
	}); ok {
		c, stop := w.Watch(id)
		defer stop()
		changed = c
	}
	select {
	case <-changed:
	case <-time.After(x.o.Poll):
	case <-ctx.Done():
	}
}
