package zookeeper

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// A guard lets a client library connect for one session only. The library
// makes a new session when the old one expired, and sends requests on it that
// were meant for the old one: such a request could delete a lock that is
// somebody else's by then. The guard reads the server's answer to each
// connection first and shuts it when the session is another.
type guard struct {
	mu      sync.Mutex
	session uint64        // 0 before the first answer
	timeout time.Duration // as negotiated
	conn    net.Conn
	shut    bool
	lost    func() // called once when the session is gone
}

var errGone = errors.New("zookeeper: the session is gone")

// dial is the library's Dialer.
func (g *guard) dial(network, address string, timeout time.Duration) (net.Conn, error) {
	c, err := net.DialTimeout(network, address, timeout)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		c.Close()
		return nil, errGone
	}
	g.conn = c
	return &guardedConn{Conn: c, guard: g}, nil
}

// close cuts the connection and lets no other be made.
func (g *guard) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = true
	if g.conn != nil {
		g.conn.Close()
	}
}

// negotiated is the session's timeout; 0 before there is a session.
func (g *guard) negotiated() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.timeout
}

// admit looks at the server's answer to a connection.
func (g *guard) admit(session uint64, timeout time.Duration) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.shut:
		return errGone
	case g.session == 0 && session != 0:
		g.session, g.timeout = session, timeout
		return nil
	case g.session == session && session != 0:
		return nil
	}
	g.shut = true
	go g.lost()
	return fmt.Errorf("%w: the server answers with session %x, not %x", errGone, session, g.session)
}

// A guardedConn reads the first frame, the answer to the connection, by itself.
type guardedConn struct {
	net.Conn
	guard *guard
	once  sync.Once
	first bytes.Buffer
	err   error
}

// The answer: length, protocol version, timeout in ms, session, password.
const (
	answerLeast = 16
	answerMost  = 1 << 10
)

func (c *guardedConn) Read(p []byte) (int, error) {
	c.once.Do(func() { c.err = c.readAnswer() })
	if c.err != nil {
		return 0, c.err
	}
	if c.first.Len() > 0 {
		return c.first.Read(p)
	}
	return c.Conn.Read(p)
}

// answerTime is how long a server may take to answer a connection. The library
// would wait for seven times the session's timeout: a server that starts takes
// connections that it never answers.
const answerTime = 5 * time.Second

func (c *guardedConn) readAnswer() error {
	if err := c.Conn.SetReadDeadline(time.Now().Add(answerTime)); err != nil {
		return err
	}
	defer c.Conn.SetReadDeadline(time.Time{})
	var head [4]byte
	if _, err := io.ReadFull(c.Conn, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < answerLeast || n > answerMost {
		return fmt.Errorf("zookeeper: %s answers with %d bytes: it is no ZooKeeper", c.RemoteAddr(), n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(c.Conn, body); err != nil {
		return err
	}
	timeout := time.Duration(int32(binary.BigEndian.Uint32(body[4:]))) * time.Millisecond
	if err := c.guard.admit(binary.BigEndian.Uint64(body[8:]), timeout); err != nil {
		return err
	}
	c.first.Write(head[:])
	c.first.Write(body)
	return nil
}
