package zk

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// A conn is one connection within a session. Requests are answered in the order
// in which they were sent.
type conn struct {
	net.Conn
	in *bufio.Reader

	mu      sync.Mutex
	xid     int32
	asked   []*request // sent, not answered
	out     []byte     // to be written
	spare   []byte
	writing bool
	watches map[string]chan struct{} // by path; closed when the node may be another
	ended   bool
}

// A request waits for its answer.
type request struct {
	xid    int32
	sent   time.Time
	proves bool        // its answer says that the session lives
	answer chan answer // of one; nil when nobody waits
}

// An answer is the body of one, or why there is none.
type answer struct {
	body []byte
	err  error
}

const (
	// answerTime is how long a server may take to answer a new connection. One
	// that starts takes connections that it never answers.
	answerTime = 5 * time.Second
	// maxAnswer is the largest answer: a listing of more than a million nodes.
	maxAnswer   = 64 << 20
	readBuffer  = 64 << 10
	passwordLen = 16
	// The answer to a connection: version, timeout in ms, session, password.
	leastGreeting = 4 + 4 + 8 + 4
	mostGreeting  = 1 << 10
)

// A greeting is what a server answers to a new connection.
type greeting struct {
	timeout  time.Duration
	id       int64
	password []byte
}

// dial connects to a member, within the session or, when its id is 0, to a new
// one. The context's end ends the attempt.
func (s *Session) dial(ctx context.Context, host string, zxid int64, timeout time.Duration) (*conn, greeting, error) {
	nc, err := s.reach(ctx, "tcp", host)
	if err != nil {
		return nil, greeting{}, fmt.Errorf("zk: connect: %w", err)
	}
	c := newConn(nc)
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	g, err := c.greet(zxid, timeout, s.id, s.password)
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		nc.Close()
		return nil, g, fmt.Errorf("zk: connect to %s: %w", host, err)
	}
	return c, g, nil
}

func newConn(nc net.Conn) *conn {
	return &conn{Conn: nc, in: bufio.NewReaderSize(nc, readBuffer), watches: map[string]chan struct{}{}}
}

func (c *conn) greet(zxid int64, timeout time.Duration, id int64, password []byte) (g greeting, err error) {
	if err := c.SetDeadline(time.Now().Add(answerTime)); err != nil {
		return g, err
	}
	if len(password) == 0 {
		password = make([]byte, passwordLen)
	}
	b := appendLong(appendInt(make([]byte, 4, 64), 0), zxid)
	b = appendBytes(appendLong(appendInt(b, int32(timeout.Milliseconds())), id), password)
	b = appendBool(b, false) // not to a server that may only read
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	if _, err := c.Write(b); err != nil {
		return g, err
	}
	body, err := c.frame(leastGreeting, mostGreeting)
	if err != nil {
		return g, err
	}
	d := decoder{b: body}
	d.int()
	g.timeout = time.Duration(d.int()) * time.Millisecond
	g.id, g.password = d.long(), d.bytes()
	if d.err != nil {
		return g, d.err
	}
	return g, c.SetDeadline(time.Time{})
}

// frame reads one: its length and what follows.
func (c *conn) frame(least, most int) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < uint32(least) || n > uint32(most) {
		return nil, fmt.Errorf("%s sends %d bytes, which no ZooKeeper does", c.RemoteAddr(), n)
	}
	if n <= readBuffer {
		body := make([]byte, n)
		_, err := io.ReadFull(c.in, body)
		return body, err
	}
	// Memory grows with what arrives, not with what is announced.
	var body bytes.Buffer
	if _, err := io.CopyN(&body, c.in, int64(n)); err != nil {
		return nil, err
	}
	return body.Bytes(), nil
}

// send asks, and gives the request that waits; nil when the connection has
// ended, so that nothing was sent. Nobody waits for the answer of opSync.
func (c *conn) send(op int32, watch string, fill func([]byte) []byte) (r *request, changed <-chan struct{}) {
	r = &request{sent: time.Now(), proves: leads(op)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return nil, nil
	}
	c.xid = max(1, c.xid+1)
	r.xid = c.xid
	if op != opSync {
		r.answer = make(chan answer, 1)
	}
	if watch != "" {
		changed = c.watch(watch)
	}
	begin := len(c.out)
	c.out = appendInt(appendInt(append(c.out, 0, 0, 0, 0), r.xid), op)
	if fill != nil {
		c.out = fill(c.out)
	}
	binary.BigEndian.PutUint32(c.out[begin:], uint32(len(c.out)-begin-4))
	c.asked = append(c.asked, r)
	c.flush()
	return r, changed
}

// flush writes what waits, unless somebody does so already and will take this
// along. The caller holds mu, which is free meanwhile.
func (c *conn) flush() {
	if c.writing {
		return
	}
	c.writing = true
	for len(c.out) > 0 && !c.ended {
		batch := c.out
		c.out, c.spare = c.spare[:0], nil
		c.mu.Unlock()
		err := c.SetWriteDeadline(time.Now().Add(answerTime))
		if err == nil {
			_, err = c.Write(batch)
		}
		c.mu.Lock()
		c.spare = batch
		if err != nil {
			c.Close() // the reader ends what waits
			break
		}
	}
	c.writing = false
}

// watch gives the channel that is closed when a node changes or the connection
// ends. The caller holds mu.
func (c *conn) watch(path string) <-chan struct{} {
	w := c.watches[path]
	if w == nil {
		w = make(chan struct{})
		c.watches[path] = w
	}
	return w
}

// serve hands answers out until the connection ends. heard is told what an
// answer proves: that the session lived when its request was sent; the zero
// time for one that proves nothing.
func (c *conn) serve(heard func(sent time.Time, zxid int64)) error {
	const head = 4 + 8 + 4
	for {
		body, err := c.frame(head, maxAnswer)
		if err != nil {
			return err
		}
		d := decoder{b: body}
		xid, zxid, code := d.int(), d.long(), d.int()
		if xid == xidEvent {
			if err := c.event(&d); err != nil {
				return err
			}
			continue
		}
		r, err := c.answered(xid)
		if err != nil {
			return err
		}
		if code == codeMoved || code == codeExpired {
			r.end(answer{err: kindOf(code)})
			return fmt.Errorf("zk: the server ends the connection with error %d", code)
		}
		if r.proves {
			heard(r.sent, zxid)
		} else {
			heard(time.Time{}, zxid)
		}
		r.end(answer{d.b, kindOf(code)})
	}
}

func (r *request) end(a answer) {
	if r.answer != nil {
		r.answer <- a
	}
}

// answered takes the request that an answer is for.
func (c *conn) answered(xid int32) (*request, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.asked) == 0 || c.asked[0].xid != xid {
		return nil, fmt.Errorf("zk: an answer to request %d, for which nobody waits now", xid)
	}
	r := c.asked[0]
	c.asked[0] = nil
	if c.asked = c.asked[1:]; len(c.asked) == 0 {
		c.asked = nil
	}
	return r, nil
}

// event ends a watch.
func (c *conn) event(d *decoder) error {
	d.int() // its type
	d.int() // the session's state
	path := d.text()
	if d.err != nil {
		return d.err // no watch may be missed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.watches[path]; w != nil {
		delete(c.watches, path)
		close(w)
	}
	return nil
}

// stuck tells whether the oldest request has waited for longer than a time.
func (c *conn) stuck(d time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.asked) > 0 && time.Since(c.asked[0].sent) > d
}

// end ends the connection: who waits learns that there is no answer, and who
// watches looks again.
func (c *conn) end() {
	c.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	for _, r := range c.asked {
		r.end(answer{err: ErrUnanswered})
	}
	c.asked, c.out = nil, nil
	for path, w := range c.watches {
		delete(c.watches, path)
		close(w)
	}
}
