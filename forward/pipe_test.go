package forward

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// A halfPipe is one end of a connection in memory, of which each side closes
// its own direction. A write is seen as one read.
type halfPipe struct {
	in, out net.Conn
	remote  net.Addr
}

// newPipe makes both ends.
func newPipe() (client, server *halfPipe) {
	a, b := net.Pipe()
	c, d := net.Pipe()
	at := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5}
	return &halfPipe{c, a, at}, &halfPipe{b, d, at}
}

func (p *halfPipe) Read(b []byte) (int, error)         { return p.in.Read(b) }
func (p *halfPipe) Write(b []byte) (int, error)        { return p.out.Write(b) }
func (p *halfPipe) CloseWrite() error                  { return p.out.Close() }
func (p *halfPipe) Close() error                       { return errors.Join(p.in.Close(), p.out.Close()) }
func (p *halfPipe) LocalAddr() net.Addr                { return p.remote }
func (p *halfPipe) RemoteAddr() net.Addr               { return p.remote }
func (p *halfPipe) SetReadDeadline(t time.Time) error  { return p.in.SetReadDeadline(t) }
func (p *halfPipe) SetWriteDeadline(t time.Time) error { return p.out.SetWriteDeadline(t) }
func (p *halfPipe) SetDeadline(t time.Time) error {
	return errors.Join(p.SetReadDeadline(t), p.SetWriteDeadline(t))
}

// A talk is a client's connection in memory that remembers each write of the
// server.
type talk struct {
	t    testing.TB
	pipe *halfPipe

	mu     sync.Mutex
	cond   *sync.Cond
	writes [][]byte
	over   bool
}

// connect opens a connection to a server, without a listener.
func connect(t testing.TB, s *Server) *talk {
	t.Helper()
	client, server := newPipe()
	s.slots <- struct{}{}
	s.start(server)
	k := &talk{t: t, pipe: client}
	k.cond = sync.NewCond(&k.mu)
	go k.listen()
	client.SetWriteDeadline(time.Now().Add(2 * time.Minute))
	t.Cleanup(func() { client.Close() })
	return k
}

// listen remembers what the server writes.
func (k *talk) listen() {
	b := make([]byte, 64<<10)
	for {
		n, err := k.pipe.Read(b)
		k.mu.Lock()
		if n > 0 {
			k.writes = append(k.writes, append([]byte(nil), b[:n]...))
		}
		k.over = err != nil
		k.cond.Broadcast()
		k.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// send writes b in pieces of a size, 0 for one piece. It is no error when the
// server closes its connection meanwhile.
func (k *talk) send(b []byte, piece int) {
	k.t.Helper()
	if piece == 0 {
		piece = max(len(b), 1)
	}
	for len(b) > 0 {
		n := min(piece, len(b))
		if _, err := k.pipe.Write(b[:n]); err != nil {
			if !errors.Is(err, io.ErrClosedPipe) {
				k.t.Errorf("send: %v", err)
			}
			return
		}
		b = b[n:]
	}
}

// heard gives all that the server has said, once that is n bytes or its side
// is closed.
func (k *talk) heard(n int) []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	for {
		var all []byte
		for _, w := range k.writes {
			all = append(all, w...)
		}
		if len(all) >= n || k.over {
			return all
		}
		k.cond.Wait()
	}
}

// finish closes the client's side and gives all that the server said.
func (k *talk) finish() []byte {
	k.pipe.CloseWrite()
	return k.heard(1 << 30)
}
