package forward

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// ErrClosed is what Serve returns once the server is shut down.
var ErrClosed = errors.New("forward: server is shut down")

// A Server takes connections from listeners and hands their messages to its
// handler. Its methods are safe for concurrent use.
type Server struct {
	o         Options
	count     counters
	log       limitedLog
	budget    budget
	inflaters inflaters
	slots     chan struct{}  // one for each open connection
	random    func(b []byte) // fills b for a handshake

	ctx    context.Context // ends when a shutdown gives up
	cancel context.CancelFunc

	stopping atomic.Bool   // no listener is taken any more
	draining atomic.Bool   // connections read what has arrived, and end
	drained  chan struct{} // closed when draining begins
	quiet    time.Duration // drainQuiet, or longer in tests
	until    time.Time     // when draining stops to read; set before draining

	mu        sync.Mutex
	listeners map[closer]struct{}
	conns     map[*conn]struct{}
	accepting sync.WaitGroup // calls of Serve
	done      sync.WaitGroup // connections
}

type closer interface{ Close() error }

// NewServer checks the options; the error names each field that is wrong.
func NewServer(o Options) (*Server, error) {
	if bad := o.Validate(); len(bad) > 0 {
		errs := make([]error, 0, len(bad))
		for k, err := range bad {
			errs = append(errs, fmt.Errorf("forward: option %s: %w", k, err))
		}
		slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
		return nil, errors.Join(errs...)
	}
	o = o.withDefaults()
	s := &Server{
		o: o, log: limitedLog{log: o.Log, now: o.Now},
		inflaters: newInflaters(runtime.GOMAXPROCS(0)),
		random:    func(b []byte) { rand.Read(b) },
		slots:     make(chan struct{}, o.MaxConnections),
		quiet:     drainQuiet,
		drained:   make(chan struct{}),
		listeners: map[closer]struct{}{}, conns: map[*conn]struct{}{},
	}
	s.budget.max = o.MaxBytes
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Serve accepts connections until the listener fails or the server is shut
// down, when it returns ErrClosed. It closes the listener. A TLS listener's
// connections make their handshake here, within Options.HandshakeTimeout.
func (s *Server) Serve(l net.Listener) error {
	if !s.track(l, &s.accepting) {
		return ErrClosed
	}
	defer s.accepting.Done()
	defer s.untrack(l)
	for pause := time.Duration(0); ; {
		nc, err := l.Accept()
		if err == nil {
			pause = 0
			if !s.admit(nc) {
				return ErrClosed
			}
			continue
		}
		if s.stopping.Load() {
			return ErrClosed
		}
		if !isTemporary(err) {
			return fmt.Errorf("forward: accept on %s: %w", l.Addr(), err)
		}
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		s.log.warn("accept", "cannot accept a connection; trying again", "listener", l.Addr().String(), "error", err)
		select {
		case <-time.After(pause):
		case <-s.drained:
			return ErrClosed
		}
	}
}

// isTemporary tells whether accepting may work again, as when the process has
// too many open files.
func isTemporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

// track remembers what Shutdown must close, and counts it in busy if that is
// given; false when Shutdown already began.
func (s *Server) track(l closer, busy *sync.WaitGroup) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping.Load() {
		l.Close()
		return false
	}
	if busy != nil {
		busy.Add(1)
	}
	s.listeners[l] = struct{}{}
	return true
}

// untrack closes and forgets.
func (s *Server) untrack(l closer) {
	l.Close()
	s.mu.Lock()
	delete(s.listeners, l)
	s.mu.Unlock()
}

// admit serves a connection once there is a slot for it; false when the
// server is shut down before that.
func (s *Server) admit(nc net.Conn) bool {
	select {
	case s.slots <- struct{}{}:
		s.start(nc)
		return true
	case <-s.drained:
		nc.Close()
		return false
	}
}

// start serves a connection, which has a slot.
func (s *Server) start(nc net.Conn) {
	c := newConn(s, nc)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		nc.Close()
		<-s.slots
		return
	}
	s.conns[c] = struct{}{}
	s.done.Add(1)
	s.count.open.Add(1)
	s.count.accepted.Add(1)
	go func() {
		defer s.end(c)
		c.serve()
	}()
}

// end forgets a connection.
func (s *Server) end(c *conn) {
	c.nc.Close()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.count.open.Add(-1)
	<-s.slots
	s.done.Done()
}

// drainQuiet is how long a listener or a connection must be silent during a
// shutdown to be taken for read to its end, and drainMost how long a peer that
// goes on sending is heard.
const (
	drainQuiet = 20 * time.Millisecond
	drainMost  = time.Second
)

// Shutdown stops accepting, lets each connection read what has arrived, keep
// it and send its acks, and closes it in order. When ctx ends before that,
// handlers are told to give up, connections are closed as they are, without
// acks for what is not kept, and the error is the context's.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopAccepting(ctx)
	s.mu.Lock()
	if !s.draining.Load() {
		s.until = time.Now().Add(drainMost)
		s.draining.Store(true)
		close(s.drained)
	}
	for l := range s.listeners {
		l.Close()
	}
	// Not at once: a client of TLS 1.3 sends as soon as it has our part of the
	// handshake, while we still wait for the end of its own.
	for c := range s.conns {
		c.nc.SetReadDeadline(time.Now().Add(s.quiet))
	}
	s.mu.Unlock()

	defer s.cancel()
	finished := ended(&s.done)
	select {
	case <-finished:
		return nil
	case <-ctx.Done():
	}
	s.cancel()
	s.mu.Lock()
	for c := range s.conns {
		c.nc.Close()
	}
	s.mu.Unlock()
	<-finished
	return ctx.Err()
}

// stopAccepting takes the connections that the kernel has already accepted:
// their senders, if they want no acks, think that what they sent has arrived.
// A TLS listener, which has no deadline, is closed at once: before we answer
// its clients they have sent nothing.
func (s *Server) stopAccepting(ctx context.Context) {
	s.mu.Lock()
	s.stopping.Store(true)
	for l := range s.listeners {
		if d, ok := l.(interface{ SetDeadline(time.Time) error }); ok {
			d.SetDeadline(time.Now().Add(s.quiet))
		} else {
			l.Close()
		}
	}
	s.mu.Unlock()
	select {
	case <-ended(&s.accepting):
	case <-time.After(2 * s.quiet): // a connection waits for its slot
	case <-ctx.Done():
	}
}

// ended gives a channel that is closed when a group is done.
func ended(g *sync.WaitGroup) <-chan struct{} {
	c := make(chan struct{})
	go func() { g.Wait(); close(c) }()
	return c
}
