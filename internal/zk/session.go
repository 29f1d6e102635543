package zk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// Options of a Session. Hosts and Timeout must be set.
type Options struct {
	Hosts   []string      // HOST:PORT, or HOST with the default port 2181
	Timeout time.Duration // asked for; the ensemble brings it within its bounds
	Log     *slog.Logger  // default discards
	reach   reach         // default TCP
}

// A reach connects to an address.
type reach func(ctx context.Context, network, address string) (net.Conn, error)

// A Session is one with an ensemble. All methods are safe for concurrent use.
type Session struct {
	hosts    []string
	reach    reach
	log      *slog.Logger
	ctx      context.Context // ends with the session
	end      context.CancelCauseFunc
	timeout  time.Duration
	id       int64
	password []byte

	mu      sync.Mutex
	conn    *conn         // nil while there is none
	changed chan struct{} // closed when conn changes
	zxid    int64         // of the last change that was seen
	heard   time.Time     // the session lived then
	lease   *time.Timer
}

// Open begins a session with the first member that answers; it fails when none
// does.
func Open(ctx context.Context, o Options) (*Session, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.reach == nil {
		o.reach = (&net.Dialer{Timeout: answerTime}).DialContext
	}
	s := &Session{log: o.Log, reach: o.reach, changed: make(chan struct{})}
	for _, h := range o.Hosts {
		if _, _, err := net.SplitHostPort(h); err != nil {
			h = net.JoinHostPort(h, "2181")
		}
		s.hosts = append(s.hosts, h)
	}
	rand.Shuffle(len(s.hosts), func(i, j int) { s.hosts[i], s.hosts[j] = s.hosts[j], s.hosts[i] })
	failed := errors.New("zk: open: no host is named")
	for _, host := range s.hosts {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		began := time.Now()
		c, g, err := s.dial(ctx, host, 0, o.Timeout)
		if err == nil && g.timeout <= 0 {
			c.Close()
			err = fmt.Errorf("zk: %s gives no session", host)
		}
		if err != nil {
			failed = err
			continue
		}
		s.ctx, s.end = context.WithCancelCause(context.Background())
		s.id, s.password, s.timeout, s.conn = g.id, g.password, g.timeout, c
		s.heard = began
		s.lease = time.AfterFunc(s.left(), s.expire)
		go s.keep(c)
		go s.ping()
		return s, nil
	}
	return nil, failed
}

// Done is closed when the session is over.
func (s *Session) Done() <-chan struct{} { return s.ctx.Done() }

// Err says why the session is over; nil while it lives.
func (s *Session) Err() error { return context.Cause(s.ctx) }

// Timeout is the session's, as the ensemble gave it.
func (s *Session) Timeout() time.Duration { return s.timeout }

// End gives the session up without a farewell: the ensemble keeps what it held
// until its timeout is over.
func (s *Session) End(cause error) { s.end(fmt.Errorf("%w: %w", ErrOver, cause)) }

// Close ends the session; what it held is free at once where the ensemble is
// reached.
func (s *Session) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout/3)
	defer cancel()
	s.ask(ctx, opClose, "", nil)
	s.End(errors.New("closed"))
}

// left is for how long the session is safe. The caller holds mu, or is alone.
func (s *Session) left() time.Duration { return time.Until(s.heard.Add(s.timeout * 2 / 3)) }

// expire ends the session when it was not heard in time.
func (s *Session) expire() {
	s.mu.Lock()
	left := s.left()
	if left > 0 {
		s.lease.Reset(left)
	}
	s.mu.Unlock()
	if left <= 0 {
		s.End(ErrLease)
	}
}

// hear notes that the session lived at a time.
func (s *Session) hear(at time.Time, zxid int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at.After(s.heard) {
		s.heard = at
	}
	s.zxid = max(s.zxid, zxid)
}

// keep serves one connection after another until the session is over.
func (s *Session) keep(c *conn) {
	for ; c != nil; c = s.again() {
		s.serve(c)
		s.pause(leastPause) // a member that greets and hangs up
	}
	s.lease.Stop()
}

// serve serves a connection until it, or the session, ends.
func (s *Session) serve(c *conn) {
	stop := context.AfterFunc(s.ctx, func() { c.Close() })
	err := c.serve(s.hear)
	stop()
	s.set(nil)
	c.end()
	if s.ctx.Err() == nil {
		s.log.Debug("a connection with ZooKeeper ended", "member", c.RemoteAddr(), "error", err)
	}
}

func (s *Session) set(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn = c
	close(s.changed)
	s.changed = make(chan struct{})
}

// Bounds of the pause between two rounds over the members.
const (
	leastPause = 20 * time.Millisecond
	mostPause  = time.Second
)

// again connects within the session; nil says that it is over.
func (s *Session) again() *conn {
	for i, pause := 1, leastPause; s.ctx.Err() == nil; i++ {
		host := s.hosts[i%len(s.hosts)]
		s.mu.Lock()
		zxid := s.zxid
		s.mu.Unlock()
		began := time.Now()
		c, g, err := s.dial(s.ctx, host, zxid, s.timeout)
		switch {
		case err == nil && (g.timeout <= 0 || g.id != s.id):
			c.Close()
			s.End(fmt.Errorf("%s answers with session %x, not %x", host, g.id, s.id))
		case err == nil:
			s.hear(began, 0)
			s.set(c)
			return c
		case i%len(s.hosts) == 0:
			s.pause(pause)
			pause = min(2*pause, mostPause, s.timeout/8)
		}
	}
	return nil
}

func (s *Session) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-s.ctx.Done():
	}
}

// ping asks now and then, so that the session lives, and leaves a connection
// that does not answer. It asks for what a member has to ask the leader for.
func (s *Session) ping() {
	tick := time.NewTicker(max(s.timeout/8, 20*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return
		}
		s.mu.Lock()
		c := s.conn
		s.mu.Unlock()
		switch {
		case c == nil:
		case c.stuck(s.timeout / 3):
			s.log.Debug("a member of ZooKeeper does not answer", "member", c.RemoteAddr())
			c.Close()
		default:
			c.send(opSync, "", func(b []byte) []byte { return appendText(b, "/") })
		}
	}
}
