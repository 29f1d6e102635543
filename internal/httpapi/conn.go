package httpapi

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A listener gives its connections a bound on every wait in the middle of a
// request and an end that lets the client read its answer.
type listener struct {
	net.Listener
	stall  time.Duration
	failed func(net.Addr, error) // a client's TLS handshake
	closed sync.Once
}

// Close closes the listener; once is enough, and more do no harm.
func (l *listener) Close() (err error) {
	l.closed.Do(func() { err = l.Listener.Close() })
	return err
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	secure, _ := c.(*tls.Conn)
	return &conn{Conn: c, stall: l.stall, secure: secure, failed: l.failed}, nil
}

// A conn is one client's connection.
type conn struct {
	net.Conn
	stall  time.Duration
	secure *tls.Conn // before its handshake; else nil
	failed func(net.Addr, error)
	linger atomic.Bool  // part of a body was left unread
	eof    atomic.Bool  // the client sends no more
	heard  atomic.Bool  // the client sent something
	got    atomic.Int64 // bytes from the client since the last answer
}

func (c *conn) Read(p []byte) (int, error) {
	if c.secure != nil {
		if err := c.handshake(); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Read(p)
	if n > 0 && !c.heard.Load() {
		c.heard.Store(true)
	}
	c.got.Add(int64(n))
	if err == io.EOF {
		c.eof.Store(true)
	}
	return n, err
}

func (c *conn) ended() bool { return c.eof.Load() }

// writePiece is how much is written under one deadline.
const writePiece = 256 << 10

// Write writes p; each piece of it has the stall time to leave.
func (c *conn) Write(p []byte) (int, error) {
	var done int
	for {
		piece := p[done:min(done+writePiece, len(p))]
		if err := c.SetWriteDeadline(time.Now().Add(c.stall)); err != nil {
			return done, err
		}
		n, err := c.Conn.Write(piece)
		done += n
		if err != nil || done == len(p) {
			return done, err
		}
	}
}

// ReadFrom lets the kernel copy from a file, piece by piece.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	tcp, ok := c.Conn.(*net.TCPConn)
	file, size := fileOf(r)
	if !ok || file == nil {
		return io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{r})
	}
	var done int64
	for done < size {
		if err := c.SetWriteDeadline(time.Now().Add(c.stall)); err != nil {
			return done, err
		}
		n, err := tcp.ReadFrom(&io.LimitedReader{R: file, N: min(size-done, 4*writePiece)})
		done += n
		if limited, ok := r.(*io.LimitedReader); ok {
			limited.N -= n
		}
		if err != nil || n == 0 {
			return done, err
		}
	}
	return done, nil
}

// fileOf gives the file that r reads, if it is one, and how much of it.
func fileOf(r io.Reader) (*os.File, int64) {
	size := int64(1<<63 - 1)
	if limited, ok := r.(*io.LimitedReader); ok {
		r, size = limited.R, limited.N
	}
	file, _ := r.(*os.File)
	return file, size
}

// lingerTime bounds how long the rest of a refused body is swallowed.
const lingerTime = 2 * time.Second

// Close ends the connection. Closing while the client still sends would reset
// the connection and take the answer from the client's hands, so the rest of
// a refused body is swallowed first, for a moment.
func (c *conn) Close() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && c.linger.Load() && half.CloseWrite() == nil {
		if c.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
			_, _ = io.Copy(io.Discard, c.Conn) // its end is that of the connection
		}
	}
	return c.Conn.Close()
}
