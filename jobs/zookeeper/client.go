package zookeeper

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"weir/jobs"
)

// Options of a Client. Hosts must be set.
type Options struct {
	Hosts []string // HOST or HOST:PORT
	// Timeout is the session's; the server brings it between 2 and 20 of its
	// ticks. Default 30 s.
	Timeout time.Duration
	Log     *slog.Logger // default discards
}

// A Client is a process's part in an ensemble: one session at a time, which
// all its workers share. It implements jobs.Queue and jobs.Elector. All
// methods are safe for concurrent use.
type Client struct {
	o      Options
	ctx    context.Context
	cancel context.CancelFunc
	ended  chan struct{}

	mu      sync.Mutex
	now     *session
	changed chan struct{} // closed when now is replaced
	losses  int
}

var _ jobs.Queue = (*Client)(nil)
var _ jobs.Elector = (*Client)(nil)

// Open starts a client; the ensemble need not be there yet.
func Open(o Options) (*Client, error) {
	if len(o.Hosts) == 0 {
		return nil, errors.New("zookeeper: open: name at least one host")
	}
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c := &Client{o: o, ended: make(chan struct{}), changed: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	go c.keep()
	return c, nil
}

// keep holds one session after another.
func (c *Client) keep() {
	defer close(c.ended)
	for c.ctx.Err() == nil {
		s, err := connect(c.ctx, c.o)
		if err != nil {
			if c.ctx.Err() == nil {
				c.o.Log.Warn("no session with ZooKeeper; it is tried again", "error", err)
			}
			select {
			case <-time.After(time.Second):
			case <-c.ctx.Done():
			}
			continue
		}
		following := make(chan struct{})
		go func() { defer close(following); s.locks.follow(c.o.Log) }()
		c.set(s)
		select {
		case <-s.Done():
			c.o.Log.Warn("the session with ZooKeeper is lost; what it held is given up", "error", s.Err())
			c.mu.Lock()
			c.losses++
			c.mu.Unlock()
			c.set(nil)
		case <-c.ctx.Done():
			s.Close() // says farewell: its locks are free at once
		}
		<-following
	}
}

func (c *Client) set(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = s
	close(c.changed)
	c.changed = make(chan struct{})
}

// session waits for one that lives.
func (c *Client) session(ctx context.Context) (*session, error) {
	for {
		c.mu.Lock()
		s, changed := c.now, c.changed
		c.mu.Unlock()
		if s != nil && s.Err() == nil {
			return s, nil
		}
		select {
		case <-changed:
		case <-time.After(10 * time.Millisecond): // a session that was lost just now
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-c.ctx.Done():
			return nil, jobs.ErrClosed
		}
	}
}

// Close frees what the client holds, at once where the ensemble is reached.
func (c *Client) Close() error {
	c.cancel()
	<-c.ended
	return nil
}

// Losses counts the sessions that were lost.
func (c *Client) Losses() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.losses
}
