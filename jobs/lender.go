package jobs

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// An ExecutorStatus is what an executor says of itself.
type ExecutorStatus struct {
	ID      string   `json:"id,omitempty"` // executor/…; the lender's
	Name    string   `json:"name"`
	Queue   string   `json:"queue"`   // zookeeper, api, or embedded: the gateway's own
	Version string   `json:"version"` // of its program
	Threads int      `json:"threads"`
	Running []string `json:"running"` // ids of jobs
	Done    int64    `json:"done"`    // jobs whose entry it consumed
	Started string   `json:"started,omitempty"`
	Seen    string   `json:"seen,omitempty"` // its last heart-beat
}

// A Hold is an entry that an executor has, whose session the lender forgot.
type Hold struct {
	Path string `json:"path"`
	ID   string `json:"id"` // of the job
}

// LenderOptions of a Lender. Queue must be set.
type LenderOptions struct {
	Queue Taker
	// Get reads the job of a hold, and Lease is for how long a session lives
	// after a heart-beat; default 30 s.
	Get   func(ctx context.Context, id string) (Job, error)
	Lease time.Duration
	Log   *slog.Logger // default discards
}

// A Lender knows the executors in other processes by their heart-beats, and
// lends them entries of a queue that is in this one. An executor that is not
// heard within its lease loses what it has: it must have ended its work before.
type Lender struct {
	o        LenderOptions
	mu       sync.Mutex
	sessions map[string]*borrower
	leaders  map[string]string // the session that leads an action's distribution
	lost     int64
}

// A borrower is an executor's session.
type borrower struct {
	status ExecutorStatus
	timer  *time.Timer
	ctx    context.Context
	end    context.CancelCauseFunc
	locks  map[string]Lock   // by path
	asked  map[string]*asked // by the token of a take
}

// asked is a take whose answer may not have arrived.
type asked struct {
	lock   Lock
	cancel context.CancelFunc
}

// LocalPrefix begins the names of executors in the gateway's own process,
// which end with it.
const LocalPrefix = "weir/"

// NewLender makes a lender.
func NewLender(o LenderOptions) *Lender {
	orDefault(&o.Lease, 30*time.Second)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Lender{o: o, sessions: map[string]*borrower{}, leaders: map[string]string{}}
}

// Lease tells for how long a session lives after a heart-beat.
func (l *Lender) Lease() time.Duration { return l.o.Lease }

// adopter is a queue that knows which entries were lent before it was opened.
type adopter interface {
	adopt(path, id string) (Lock, bool)
}

// Open begins a session. Of the holds of one that was forgotten, since this
// process began anew, it gives those that the executor keeps.
func (l *Lender) Open(ctx context.Context, s ExecutorStatus, holds []Hold) (id string, kept []string, err error) {
	if s.Name == "" || len(s.Name) > maxText || strings.HasPrefix(s.Name, LocalPrefix) {
		return "", nil, invalid("the executor's name is %.40q: give it one that does not begin with %s", s.Name, LocalPrefix)
	}
	b := &borrower{status: s, locks: map[string]Lock{}, asked: map[string]*asked{}}
	b.status.ID = "executor/" + strings.ToLower(rand.Text())
	now := stamp(time.Now())
	b.status.Started, b.status.Seen = now, now
	b.ctx, b.end = context.WithCancelCause(context.Background())
	q, _ := l.o.Queue.(adopter)
	for _, h := range holds {
		j, err := l.o.Get(ctx, h.ID)
		if err != nil || j.State != Running || j.Executor != s.Name {
			continue
		}
		if strings.HasPrefix(h.Path, PullPrefix) && j.Mode == ModePull {
			kept = append(kept, h.Path)
			continue
		}
		if q == nil {
			continue
		}
		if lock, ok := q.adopt(h.Path, h.ID); ok {
			b.locks[h.Path] = lock
			kept = append(kept, h.Path)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sessions[b.status.ID] = b
	b.timer = time.AfterFunc(l.o.Lease, func() {
		l.o.Log.Warn("an executor is not heard any more; what it had is free", "executor", s.Name, "lease", l.o.Lease)
		l.close(b.status.ID, true)
	})
	return b.status.ID, kept, nil
}

// session finds a borrower; ErrNotFound says that the session is over.
func (l *Lender) session(id string) (*borrower, error) {
	if b := l.sessions[id]; b != nil {
		return b, nil
	}
	return nil, fmt.Errorf("%s %w: it was not heard in time, or the gateway began anew", id, ErrNotFound)
}

// Beat keeps a session alive.
func (l *Lender) Beat(id string, s ExecutorStatus) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, err := l.session(id)
	if err != nil {
		return err
	}
	b.timer.Reset(l.o.Lease)
	b.status.Running, b.status.Done, b.status.Threads, b.status.Seen = s.Running, s.Done, s.Threads, stamp(time.Now())
	return nil
}

// Close ends a session; what it had is free.
func (l *Lender) Close(id string) { l.close(id, false) }

func (l *Lender) close(id string, lost bool) {
	l.mu.Lock()
	b := l.sessions[id]
	if b == nil {
		l.mu.Unlock()
		return
	}
	delete(l.sessions, id)
	maps.DeleteFunc(l.leaders, func(_, leader string) bool { return leader == id })
	if lost {
		l.lost++
	}
	b.timer.Stop()
	b.end(ErrLost)
	locks := slices.Collect(maps.Values(b.locks))
	l.mu.Unlock()
	for _, lock := range locks {
		lock.Release(context.Background(), 0)
	}
}

// Take lends an entry, and waits for one until ctx ends. A take that is asked
// for again by the same token, since its answer did not arrive, gives the same
// entry.
func (l *Lender) Take(ctx context.Context, id, token string) (Lock, error) {
	l.mu.Lock()
	b, err := l.session(id)
	if err != nil {
		l.mu.Unlock()
		return nil, err
	}
	if a := b.asked[token]; a != nil && a.lock != nil {
		l.mu.Unlock()
		return a.lock, nil
	} else if a != nil {
		a.cancel() // nobody hears what it would be lent
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.ctx, cancel)()
	mine := &asked{cancel: cancel}
	b.asked[token] = mine
	l.mu.Unlock()

	lock, err := l.o.Queue.Take(ctx)

	l.mu.Lock()
	defer l.mu.Unlock()
	wanted := b.asked[token] == mine
	switch {
	case err != nil:
		if wanted {
			delete(b.asked, token)
		}
		if b.ctx.Err() != nil {
			_, err = l.session(id)
		}
		return nil, err
	case b.ctx.Err() != nil || !wanted: // over, given up, or asked for again
		return nil, errors.Join(ErrLost, lock.Release(context.Background(), 0))
	}
	mine.lock = lock
	b.locks[lock.Path()] = lock
	return lock, nil
}

// Lead tells whether a session leads an action's distribution: the first that
// asked, until it resigns or is over.
func (l *Lender) Lead(id, action string) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.session(id); err != nil {
		return false, err
	}
	if l.leaders[action] == "" {
		l.leaders[action] = id
	}
	return l.leaders[action] == id, nil
}

// Resign ends it.
func (l *Lender) Resign(id, action string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leaders[action] == id {
		delete(l.leaders, action)
	}
	return nil
}

// Heard tells whether an executor of that name has a session.
func (l *Lender) Heard(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.sessions {
		if b.status.Name == name {
			return true
		}
	}
	return false
}

// GiveUp says that nobody waits for the answer of a take.
func (l *Lender) GiveUp(id, token string) error {
	l.mu.Lock()
	b, err := l.session(id)
	if err != nil {
		l.mu.Unlock()
		return err
	}
	a := b.asked[token]
	delete(b.asked, token)
	l.mu.Unlock()
	if a == nil {
		return nil
	}
	a.cancel()
	if a.lock != nil {
		return l.Release(context.Background(), id, a.lock.Path(), 0)
	}
	return nil
}

// Consume removes an entry that a session has; ErrLost says that it has it not.
func (l *Lender) Consume(ctx context.Context, id, path string) error {
	return l.finish(id, path, func(lock Lock) error { return lock.Consume(ctx) })
}

// Release frees an entry that a session has.
func (l *Lender) Release(ctx context.Context, id, path string, pause time.Duration) error {
	return l.finish(id, path, func(lock Lock) error { return lock.Release(ctx, pause) })
}

func (l *Lender) finish(id, path string, f func(Lock) error) error {
	l.mu.Lock()
	b, err := l.session(id)
	var lock Lock
	if err == nil {
		if lock = b.locks[path]; lock == nil {
			err = fmt.Errorf("%s of %s: %w", path, id, ErrLost)
		}
	}
	l.mu.Unlock()
	if err != nil {
		return err
	}
	if err = f(lock); err != nil && !errors.Is(err, ErrLost) {
		return err // it may be tried again
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(b.locks, path)
	for token, a := range b.asked {
		if a.lock == lock {
			delete(b.asked, token)
		}
	}
	return err
}

// List gives the executors that are heard, by name, and how many were lost.
func (l *Lender) List() (list []ExecutorStatus, lost int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	list = []ExecutorStatus{}
	for _, b := range l.sessions {
		list = append(list, b.status)
	}
	slices.SortFunc(list, func(a, b ExecutorStatus) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return list, l.lost
}
