package supervise

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"weir/internal/proc"
)

// How long things take that supervisord has no setting for.
const (
	leftGrace = 2 * time.Second // for what a process left behind, after TERM
	quick     = 10 * time.Second
	maxPause  = time.Minute // before a service that keeps exiting is started again
)

// A keeper is one program and its state. What it does not do at once goes on
// in goroutines and timers, which say of which turn they are, or of which
// process; a new one makes them void.
type keeper struct {
	srv   *server
	group string
	name  string
	slot  string
	now   atomic.Pointer[Status] // what is told to others

	mu      sync.Mutex
	spec    Program
	rec     record
	turn    int
	handle  *proc.Handle // of the process, while it runs
	out     *output
	again   bool // start when stopped
	held    bool // while its settings change: a start waits until it is let go
	closed  bool // it is started no more
	ending  bool // what is left of a process is being ended
	quick   int  // exits in a row soon after the start
	changed chan struct{}
}

func (s *server) keeper(group string, p Program) *keeper {
	k := &keeper{srv: s, group: group, name: p.Name, slot: slot(group, p.Name), spec: p, changed: make(chan struct{})}
	k.rec = record{Group: group, Name: p.Name, State: Stopped, Boot: s.boot}
	k.publish()
	return k
}

// status gives the program as it is now.
func (k *keeper) status() Status { return *k.now.Load() }

// publish tells others the state. The caller holds mu.
func (k *keeper) publish() {
	st := Status{Group: k.group, Name: k.name, State: k.rec.State, Since: k.rec.Since, Exit: k.rec.Exit, Error: k.rec.Error, Log: k.spec.Log}
	if p := k.rec.Process; p != nil && !p.Ended {
		st.PID = p.PID
		if st.State.Runs() {
			st.Since = p.Started
		}
	}
	k.now.Store(&st)
	close(k.changed)
	k.changed = make(chan struct{})
}

// set enters a state and keeps it. A record that cannot be written is older
// than the truth, which the next supervisor finds out by looking at the
// process.
func (k *keeper) set(s State) {
	k.rec.State, k.rec.Since = s, time.Now()
	k.keep()
	k.publish()
}

func (k *keeper) keep() {
	if err := k.srv.store.save(k.rec); err != nil {
		k.srv.log.Error("supervise: a state was not written down", "group", k.group, "program", k.name, "state", k.rec.State, "error", err)
	}
}

// start starts the program if it does not run.
func (k *keeper) start() {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.closed || !k.held && (k.rec.State == Starting || k.rec.State == Running):
	case k.held || k.rec.State == Stopping:
		k.again = true
		k.publish()
	default:
		k.rec.Tries, k.quick = 0, 0
		k.launch()
	}
}

// launch makes a process, after what the last one left behind has ended.
func (k *keeper) launch() {
	k.turn++
	k.ending = false // an end of the turn before may not have said so, and now cannot
	k.again, k.rec.Error = false, ""
	p := k.rec.Process
	if p == nil || len(p.family().members()) == 0 {
		k.rec.State = Starting
		k.spawn()
		return
	}
	k.set(Starting)
	k.clear(*p, leftGrace, func(gone bool) {
		if gone {
			k.spawn()
			return
		}
		k.failed(errors.New("what its last process left behind cannot be killed"))
	})
}

// clear ends a family and goes on, if the turn is the same then.
func (k *keeper) clear(p process, grace time.Duration, then func(gone bool)) {
	turn := k.turn
	k.ending = true
	go func() {
		gone := p.family().end(grace)
		k.mu.Lock()
		defer k.mu.Unlock()
		if turn == k.turn {
			k.ending = false
			then(gone)
		}
	}()
}

// after does something later, if the turn is the same then.
func (k *keeper) after(d time.Duration, do func()) {
	turn := k.turn
	time.AfterFunc(max(d, 0), func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if turn == k.turn {
			do()
		}
	})
}

// failed is a start that came to nothing.
func (k *keeper) failed(err error) {
	if err != nil {
		k.rec.Error = err.Error()
	}
	k.rec.Tries++
	if k.rec.Tries > k.spec.StartRetries {
		k.srv.log.Warn("supervise: gave up", "group", k.group, "program", k.name, "error", k.rec.Error)
		k.note(Fatal)
		k.set(Fatal)
		return
	}
	k.set(Backoff)
	k.after(time.Duration(k.rec.Tries)*time.Second, k.launch)
}

// executed: the process has become the program.
func (k *keeper) executed() {
	k.rec.Process.Released = true
	left := time.Duration(k.spec.StartSeconds)*time.Second - time.Since(k.rec.Process.Started)
	if k.rec.State != Starting {
		return
	}
	if k.spec.StartSeconds == 0 || left <= 0 {
		k.set(Running)
		return
	}
	k.keep()
	k.after(left, func() {
		if k.rec.State == Starting {
			k.rec.Tries = 0
			k.set(Running)
		}
	})
}

// exited: the process has ended.
func (k *keeper) exited(e Exit) {
	k.handle.Close()
	k.handle = nil
	k.rec.Process.Ended, k.rec.Exit = true, &e
	switch {
	case k.rec.State == Stopping:
		k.clear(*k.rec.Process, k.spec.stopTime(), k.stopped)
		k.publish()
	case k.rec.State == Starting:
		k.turn++
		k.failed(nil)
	default:
		k.turn++
		k.ended(e)
	}
}

// ended: a program that was RUNNING has exited by itself.
func (k *keeper) ended(e Exit) {
	k.srv.log.Info("supervise: exited", "group", k.group, "program", k.name, "exit", e.String())
	k.note(Exited)
	k.set(Exited)
	if k.spec.Restart != Always && (k.spec.Restart != Unexpected || k.spec.expected(e)) {
		return
	}
	if time.Since(k.rec.Process.Started) > quick {
		k.quick = 0
		k.launch()
		return
	}
	pause := min(time.Second<<min(k.quick, 10)>>1, maxPause)
	k.quick++
	k.set(Backoff)
	k.after(pause, k.launch)
}

// note keeps the event of a watched program.
func (k *keeper) note(s State) {
	if !k.spec.Watch {
		return
	}
	e := Event{Seq: k.srv.nextSeq(), Group: k.group, Name: k.name, State: s, Error: k.rec.Error, First: time.Now()}
	if k.rec.Exit != nil {
		e.Exit = *k.rec.Exit
	}
	if old := k.rec.Event; old != nil {
		e.First, e.Count = old.First, old.Count
	}
	e.Last, e.Count = time.Now(), e.Count+1
	k.rec.Event = &e
	go k.srv.announce()
}

// event gives what is not taken yet, or nil.
func (k *keeper) event() *Event {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.rec.Event
}

func (k *keeper) taken(seq uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.rec.Event != nil && k.rec.Event.Seq <= seq {
		k.rec.Event = nil
		k.keep()
	}
}

// hold stops the program, and nothing starts it until it is let go, reset or
// closed: a start in between would make a process that the change then loses.
func (k *keeper) hold() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held = true
	k.end()
}

// letGo ends a hold; who asked for a start meanwhile gets it.
func (k *keeper) letGo() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held = false
	if k.again && k.rec.State != Stopping {
		k.rec.Tries, k.quick = 0, 0
		k.launch()
	}
}

// stop stops the program, and what it left behind.
func (k *keeper) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.end()
}

// end is stop for who holds mu.
func (k *keeper) end() {
	k.again = false
	switch k.rec.State {
	case Stopping:
		return
	case Exited, Fatal, Stopped:
		k.stopLeft()
		return
	}
	k.turn++
	k.ending = false
	if k.handle == nil { // no process yet, or not any more
		k.set(Stopping)
		if k.rec.Process == nil {
			k.stopped(true)
			return
		}
		k.clear(*k.rec.Process, leftGrace, k.stopped)
		return
	}
	k.set(Stopping)
	k.terminate()
}

// stopLeft ends what a process left behind that has exited; the state stays.
func (k *keeper) stopLeft() {
	p := k.rec.Process
	if p == nil || len(p.family().members()) == 0 {
		return
	}
	k.turn++
	k.clear(*p, k.spec.stopTime(), func(bool) { k.publish() })
	k.publish()
}

// terminate sends the signal, and kills when it is not heeded.
func (k *keeper) terminate() {
	if err := k.handle.SignalGroup(k.spec.stopSignal()); err != nil && !errors.Is(err, proc.ErrGone) {
		k.srv.log.Warn("supervise: stop signal", "group", k.group, "program", k.name, "error", err)
	}
	_ = k.handle.Signal(syscall.SIGCONT) // one that is stopped could not heed it
	k.after(k.spec.stopTime(), k.kill)
}

// kill kills the process and all that came of it, again and again while it is
// there: a process may be in the kernel for long.
func (k *keeper) kill() {
	if k.handle == nil {
		return
	}
	k.srv.log.Warn("supervise: killed, as it did not stop", "group", k.group, "program", k.name)
	family, handle := k.rec.Process.family(), k.handle
	go func() {
		family.kill()
		_ = handle.Signal(syscall.SIGKILL)
	}()
	k.after(5*time.Second, k.kill)
}

// stopped: nothing of the program runs.
func (k *keeper) stopped(gone bool) {
	if !gone {
		k.rec.Error = "not all of its processes can be killed"
		k.set(Unknown)
		return
	}
	k.turn++
	k.rec.Process = nil
	k.set(Stopped)
	if k.again && !k.held {
		k.rec.Tries, k.quick = 0, 0
		k.launch()
	}
}

// signal sends a signal to the process.
func (k *keeper) signal(s syscall.Signal) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.handle == nil || k.handle.Signal(s) != nil {
		return ErrNotRunning
	}
	return nil
}

// lasts tells whether the state stays as it is, but for starts that wait. What
// ran, and exits again and again, is as it will be: it may be RUNNING for so
// short a time that nobody sees it.
func (k *keeper) lasts() bool {
	switch k.rec.State {
	case Starting, Stopping:
		return false
	case Backoff:
		return !k.ending && k.quick > 0
	}
	return !k.ending
}

// settled waits until the program is in a state that lasts, and no start waits.
func (k *keeper) settled(ctx context.Context) {
	k.wait(ctx, func() bool { return k.lasts() && !k.again })
}

// down waits until a program that is held is in a state that lasts.
func (k *keeper) down(ctx context.Context) { k.wait(ctx, k.lasts) }

// wait waits until something is true, which it asks with mu held.
func (k *keeper) wait(ctx context.Context, so func() bool) {
	for {
		k.mu.Lock()
		changed, is := k.changed, so()
		k.mu.Unlock()
		if is {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// folders are the cgroups of the last process.
func (k *keeper) folders() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.rec.Process == nil {
		return nil
	}
	return slices.Clone(k.rec.Process.Folders)
}

// left counts the processes that the last one left behind.
func (k *keeper) left() int {
	k.mu.Lock()
	p := k.rec.Process
	if p == nil || !p.Ended {
		k.mu.Unlock()
		return 0
	}
	f := p.family()
	k.mu.Unlock()
	return len(f.members())
}

// close lets go of what a stopped program has; it is started no more.
func (k *keeper) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.turn++
	k.again, k.closed = false, true
	if k.out != nil {
		k.out.close()
	}
	k.publish()
}
