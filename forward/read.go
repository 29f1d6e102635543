package forward

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// leastRate, in bytes a second, is what a peer must send of a message on
// average once StallTimeout is over, so that none holds memory for nothing.
const leastRate = 16 << 10

// errDrained: everything that had arrived before a shutdown is read.
var errDrained = errors.New("forward: drained")

// fill reads once, into a buffer that has room.
func (c *conn) fill() error {
	if c.eof {
		return io.EOF
	}
	if c.w == len(c.buf) && !c.enlarge() {
		return errGone
	}
	if c.busy {
		c.widen()
	}
	for {
		wait, patience := c.patience()
		c.nc.SetReadDeadline(wait)
		draining := c.s.draining.Load()
		if draining && time.Now().After(c.s.until) {
			return errDrained
		}
		began := time.Now()
		if draining {
			c.nc.SetReadDeadline(began.Add(c.s.quiet))
		}
		n, err := c.nc.Read(c.buf[c.w:])
		c.w += n
		c.busy = c.w == len(c.buf)
		if n > 0 {
			c.eof = errors.Is(err, io.EOF)
			return nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		switch {
		case draining && time.Since(began) < 2*c.s.quiet:
			return errDrained
		case draining: // held up until the deadline was over, we may not have looked
		case c.s.draining.Load():
		case patience == "buffer":
			c.shrink()
		default:
			return fmt.Errorf("forward: nothing came for %s: %w", patience, err)
		}
	}
}

// patience gives the moment at which waiting for bytes ends, zero for never,
// and the setting that says so.
func (c *conn) patience() (until time.Time, setting string) {
	o := &c.s.o
	switch {
	case c.w > c.r:
		if c.since.IsZero() {
			c.since = time.Now()
		}
		earned := time.Duration(c.w-c.r) * time.Second / leastRate
		return c.since.Add(o.StallTimeout + earned), "stall_timeout"
	case len(c.buf) > smallBuffer || cap(c.dec.arena.buf) > 0:
		return time.Now().Add(idleBuffer), "buffer"
	case o.IdleTimeout > 0:
		return time.Now().Add(o.IdleTimeout), "idle_timeout"
	}
	return time.Time{}, ""
}

// compact moves what is left to the start of the buffer.
func (c *conn) compact() {
	if c.r > 0 {
		copy(c.buf, c.buf[c.r:c.w])
		c.w -= c.r
		c.r = 0
		c.since = time.Time{}
	}
}

// enlarge makes room in a full buffer: to the common size, then by doubling,
// for a message that needs it, as its bytes come.
func (c *conn) enlarge() bool {
	size := max(readBuffer, 2*len(c.buf))
	if need := int(min(c.need, uint64(c.s.o.MaxMessage))); c.cut && need > len(c.buf) && need < size {
		size = max(readBuffer, need+smallBuffer)
	}
	if !c.lease.take(int64(size), c.s.ctx.Done()) {
		return false
	}
	c.move(size)
	return true
}

// widen makes the buffer of a connection larger whose reads fill it, while
// there is memory to spare: what is read at once is kept with one sync.
func (c *conn) widen() {
	size := readBuffer
	if len(c.buf) >= readBuffer {
		size = busyBuffer
	}
	if len(c.buf) < size && c.lease.spare(int64(size)) {
		c.move(size)
	}
}

// move takes a new buffer, which the lease has already, into use.
func (c *conn) move(size int) {
	old := c.buf
	c.buf = make([]byte, size)
	copy(c.buf, old[:c.w])
	c.release(old)
}

// shrink gives back the buffer of a connection that is idle.
func (c *conn) shrink() {
	c.dec.reset()
	c.dec.arena.reset(0)
	c.dec.msgs, c.acks = nil, nil
	if len(c.buf) > smallBuffer {
		c.release(c.buf)
		c.buf = make([]byte, smallBuffer)
	}
}

// release gives back the memory of a buffer.
func (c *conn) release(b []byte) {
	if len(b) > smallBuffer {
		c.lease.give(int64(len(b)))
	}
}

// close ends the connection in order: our side first, so that the last acks
// arrive, or why a handshake of TLS failed; then, when the peer has closed its
// side or its time is over, the rest.
func (c *conn) close() {
	if c.eof {
		return
	}
	nc := c.nc
	if !closeWrite(nc) {
		return
	}
	if t, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = t.NetConn()
		closeWrite(nc)
	}
	nc.SetReadDeadline(time.Now().Add(c.s.o.Linger))
	for {
		if _, err := nc.Read(c.buf); err != nil {
			return
		}
	}
}

// closeWrite closes our side; of a TLS connection without a handshake there is
// nothing to close but what is below it. False when nothing can be closed.
func closeWrite(nc net.Conn) bool {
	w, ok := nc.(interface{ CloseWrite() error })
	if !ok {
		return false
	}
	_, secure := nc.(interface{ NetConn() net.Conn })
	return w.CloseWrite() == nil || secure
}
