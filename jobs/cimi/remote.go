package cimi

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"weir/jobs"
)

// RemoteOptions of a Remote. Client and Status must be set.
type RemoteOptions struct {
	Client *Client
	// Status is what the heart-beats tell.
	Status func() jobs.ExecutorStatus
	Log    *slog.Logger // default discards
}

// A Remote is an executor's session with a gateway: heart-beats by which it is
// seen, and the entries that it borrows from the gateway's queue. When the
// gateway is not heard for two thirds of the lease, what was borrowed is given
// up, before the gateway can have given it to another. A gateway that begins
// anew meanwhile leaves it to who had it.
type Remote struct {
	o      RemoteOptions
	ctx    context.Context
	cancel context.CancelFunc
	ended  chan struct{}
	kick   chan struct{} // holds a token when the session is known to be over

	mu      sync.Mutex
	id      string        // "" has no session
	over    chan struct{} // closed when the session is
	changed chan struct{} // closed when id changes
	locks   map[string]*remoteLock
	expiry  *time.Timer
	lease   time.Duration
}

// NewRemote starts a session; the gateway need not be there yet.
func NewRemote(o RemoteOptions) *Remote {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r := &Remote{o: o, ended: make(chan struct{}), kick: make(chan struct{}, 1), changed: make(chan struct{}), locks: map[string]*remoteLock{}}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	go r.keep()
	return r
}

// Bounds of the pause between heart-beats, and of the wait for an answer.
const (
	leastBeat = 50 * time.Millisecond
	mostBeat  = 5 * time.Second
	beatTime  = 5 * time.Second
)

// keep sends heart-beats, and begins a new session when there is none.
func (r *Remote) keep() {
	defer close(r.ended)
	for r.ctx.Err() == nil {
		pause := time.Second
		r.mu.Lock()
		id := r.id
		r.mu.Unlock()
		began := time.Now()
		var err error
		if id == "" {
			err = r.open(began)
		} else {
			err = r.beat(id, began)
		}
		switch {
		case errors.Is(err, jobs.ErrNotFound) && id != "":
			r.forget()
			pause = 0
		case errors.Is(err, jobs.ErrNotFound): // a server of SlipStream's
			r.o.Log.Debug("the server does not know executors", "error", err)
			pause = time.Minute
		case err != nil && r.ctx.Err() == nil:
			r.o.Log.Warn("the gateway is not reached", "error", err)
		case err == nil:
			pause = min(max(r.leaseNow()/8, leastBeat), mostBeat)
		}
		select {
		case <-time.After(pause):
		case <-r.kick:
		case <-r.ctx.Done():
		}
	}
}

func (r *Remote) leaseNow() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lease
}

// open begins a session, and asks for what the last one had.
func (r *Remote) open(began time.Time) error {
	r.mu.Lock()
	o := openExecutor{ExecutorStatus: r.o.Status()}
	for path, l := range r.locks {
		o.Holds = append(o.Holds, jobs.Hold{Path: path, ID: l.id})
	}
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(r.ctx, beatTime)
	defer cancel()
	var opened openedExecutor
	if err := r.o.Client.do(ctx, http.MethodPost, "executor", "application/json", encode(o), &opened); err != nil {
		return err
	}
	if opened.ID == "" || opened.Lease <= 0 {
		return fmt.Errorf("cimi: the server opens session %q with a lease of %d ms", opened.ID, opened.Lease)
	}
	kept := map[string]bool{}
	for _, path := range opened.Kept {
		kept[path] = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for path, l := range r.locks {
		if !kept[path] {
			r.lose(path, l)
		}
	}
	r.over = make(chan struct{})
	r.id, r.lease = opened.ID, time.Duration(opened.Lease)*time.Millisecond
	close(r.changed)
	r.changed = make(chan struct{})
	r.extend(began)
	return nil
}

// extend lets the lease go from began on. The caller holds mu.
func (r *Remote) extend(began time.Time) {
	if r.expiry != nil {
		r.expiry.Stop()
	}
	id := r.id
	r.expiry = time.AfterFunc(max(0, time.Until(began.Add(r.lease*2/3))), func() { r.expire(id) })
}

// expire gives up what was borrowed in a session that was not heard.
func (r *Remote) expire(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.id != id && r.id != "" {
		return
	}
	r.leave()
	for path, l := range r.locks {
		r.lose(path, l)
	}
}

// lose tells a lock's owner. The caller holds mu.
func (r *Remote) lose(path string, l *remoteLock) {
	delete(r.locks, path)
	close(l.lost)
}

// forget leaves a session that the gateway does not know, with its locks,
// which the next one asks for.
func (r *Remote) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leave()
}

// leave notes that there is no session. The caller holds mu.
func (r *Remote) leave() {
	if r.id != "" {
		r.id = ""
		close(r.over)
	}
}

func (r *Remote) beat(id string, began time.Time) error {
	ctx, cancel := context.WithTimeout(r.ctx, beatTime)
	defer cancel()
	if err := r.o.Client.do(ctx, http.MethodPut, id, "application/json", encode(r.o.Status()), nil); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.id == id {
		r.extend(began)
	}
	return nil
}

// Close ends the session: what it has is free at once.
func (r *Remote) Close() error {
	r.cancel()
	<-r.ended
	r.mu.Lock()
	id := r.id
	r.mu.Unlock()
	r.expire(id)
	if id == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), beatTime)
	defer cancel()
	return r.o.Client.do(ctx, http.MethodDelete, id, "", nil, nil)
}

// session waits for one.
func (r *Remote) session(ctx context.Context) (string, error) {
	for {
		r.mu.Lock()
		id, changed := r.id, r.changed
		r.mu.Unlock()
		if id != "" {
			return id, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", ctx.Err()
		case <-r.ctx.Done():
			return "", jobs.ErrClosed
		}
	}
}

// Take implements jobs.Taker.
func (r *Remote) Take(ctx context.Context) (jobs.Lock, error) {
	for {
		id, err := r.session(ctx)
		if err != nil {
			return nil, fmt.Errorf("cimi: take: %w", err)
		}
		l, err := r.take(ctx, id)
		if l != nil {
			return l, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("cimi: take: %w", ctx.Err())
		}
		if err != nil && !errors.Is(err, jobs.ErrNotFound) {
			return nil, err
		}
	}
}

// take asks in one session until there is an entry, or an error that says that
// there will be none. The token makes what was lent without being heard of known.
func (r *Remote) take(ctx context.Context, id string) (jobs.Lock, error) {
	token := rand.Text()
	body := encode(entryRequest{Token: token, Wait: maxWait.Milliseconds()})
	for {
		var e entryAnswer
		began := time.Now()
		err := r.o.Client.do(ctx, http.MethodPost, id+"/take", "application/json", body, &e)
		switch {
		case ctx.Err() != nil || r.ctx.Err() != nil:
			r.giveUp(id, token)
			return nil, context.Canceled
		case errors.Is(err, jobs.ErrNotFound):
			r.replace(id)
			return nil, err
		case err != nil:
			r.o.Log.Warn("no entry can be borrowed; it is tried again", "error", err)
			sleep(ctx, max(0, time.Second-time.Since(began)))
			continue
		case e.Path == "":
			continue
		}
		l := &remoteLock{r: r, path: e.Path, id: e.ID, lost: make(chan struct{})}
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.id != id {
			return nil, jobs.ErrNotFound // the session ended meanwhile, and the lock with it
		}
		r.locks[e.Path] = l
		return l, nil
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// Hold gives the lock of a job of mode pull, which has no entry: it is lost with
// the session, and is nobody's to consume.
func (r *Remote) Hold(ctx context.Context, id string) (jobs.Lock, error) {
	if _, err := r.session(ctx); err != nil {
		return nil, fmt.Errorf("cimi: hold %s: %w", id, err)
	}
	l := &remoteLock{r: r, path: jobs.PullPrefix + id, id: id, lost: make(chan struct{})}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.locks[l.path] = l
	return l, nil
}

// replace makes a session that the gateway does not know be replaced now.
func (r *Remote) replace(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.id == id {
		r.leave()
		select {
		case r.kick <- struct{}{}:
		default:
		}
	}
}

// giveUp says that nobody waits for a take any more.
func (r *Remote) giveUp(id, token string) {
	ctx, cancel := context.WithTimeout(context.Background(), beatTime)
	defer cancel()
	if err := r.o.Client.do(ctx, http.MethodPost, id+"/giveup", "application/json", encode(entryRequest{Token: token}), nil); err != nil {
		r.o.Log.Debug("a take could not be given up; what it was lent is free when the session ends", "error", err)
	}
}

// A remoteLock is a borrowed entry.
type remoteLock struct {
	r        *Remote
	path, id string
	lost     chan struct{}
}

func (l *remoteLock) Path() string          { return l.path }
func (l *remoteLock) ID() string            { return l.id }
func (l *remoteLock) Lost() <-chan struct{} { return l.lost }

// Consume implements jobs.Lock.
func (l *remoteLock) Consume(ctx context.Context) error {
	return l.end(ctx, "consume", entryRequest{Path: l.path})
}

// Release implements jobs.Lock.
func (l *remoteLock) Release(ctx context.Context, pause time.Duration) error {
	return l.end(ctx, "release", entryRequest{Path: l.path, Pause: pause.Milliseconds()})
}

// end ends the lock in the session that has it now.
func (l *remoteLock) end(ctx context.Context, what string, e entryRequest) error {
	l.r.mu.Lock()
	id, mine := l.r.id, l.r.locks[l.path] == l
	l.r.mu.Unlock()
	if !mine {
		return jobs.ErrLost
	}
	if id == "" {
		return fmt.Errorf("cimi: %s %s: there is no session now", what, l.path)
	}
	ctx, cancel := context.WithTimeout(ctx, beatTime)
	defer cancel()
	err := l.r.o.Client.do(ctx, http.MethodPost, id+"/"+what, "application/json", encode(e), nil)
	switch {
	case errors.Is(err, jobs.ErrNotFound):
		l.r.replace(id)
		return fmt.Errorf("cimi: %s %s: the session is over: %v", what, l.path, err)
	case err != nil && !errors.Is(err, jobs.ErrConflict):
		return err
	}
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	if l.r.locks[l.path] == l {
		delete(l.r.locks, l.path)
	}
	if err != nil {
		return fmt.Errorf("%w: %v", jobs.ErrLost, err)
	}
	return nil
}
