package forward

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

const (
	smallBuffer = 4 << 10   // what an idle connection holds
	readBuffer  = 256 << 10 // what an active one holds, and more only for one message
	busyBuffer  = 1 << 20   // what one holds that fills it, while there is memory to spare
	// idleBuffer is how long a buffer is held after the last bytes.
	idleBuffer = 250 * time.Millisecond
	// maxStrays is how many values in a row may be no messages.
	maxStrays = 8
)

// A conn is one connection. It reads, decodes all whole messages that are in
// its buffer, has them kept, acknowledges them in one write, and only then
// reads on.
type conn struct {
	s     *Server
	nc    net.Conn
	peer  Peer
	lease lease
	dec   decoder

	buf    []byte
	r, w   int // buf[r:w] is not yet decoded
	scan   scanner
	cut    bool // scan has begun at r
	need   uint64
	since  time.Time // when what is at r began to wait for its rest
	acks   []byte
	strays int    // values in a row that are no messages
	guess  string // what they look like
	quick  quickAck
	eof    bool
	busy   bool // the last read filled the buffer
	json   bool // the connection speaks JSON
	text   jsonScanner
	begun  bool // its first byte has been seen
}

// newConn makes a connection that is served once serve is called.
func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{s: s, nc: nc, peer: Peer{Addr: nc.RemoteAddr()}, lease: lease{budget: &s.budget}}
	c.dec = decoder{o: &s.o, count: &s.count, inflate: s.inflaters.inflate}
	c.dec.arena.lease, c.dec.arena.done = &c.lease, s.ctx.Done()
	c.quick = newQuickAck(nc)
	return c
}

// serve runs the connection to its end.
func (c *conn) serve() {
	defer func() { c.lease.give(c.lease.held) }()
	c.quick.set()
	c.buf = make([]byte, smallBuffer)
	err := c.admit()
	if err == nil {
		c.dec.fields = senderFields(c.s.ctx, &c.s.o, c.peer.Addr)
		err = c.loop()
	}
	c.strayed()
	c.report(err)
	c.close()
}

// loop handles messages until the connection is to be closed; the error says
// why, nil when nobody is to blame. Messages may have come with the PING.
func (c *conn) loop() error {
	for begun := c.w > c.r; ; begun = false {
		if !begun {
			if err := c.fill(); err != nil {
				return ignoreEnd(err)
			}
		}
		for more := true; more; {
			var bad error
			more, bad = c.decode()
			kept := len(c.dec.msgs)
			if err := c.keep(); err != nil {
				return err
			}
			if bad != nil || kept > 0 && c.s.o.DenyKeepalive && !more {
				return bad
			}
		}
		c.compact()
	}
}

// ignoreEnd drops the errors with which a connection may end in order.
func ignoreEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, errDrained) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// decode makes messages of the whole frames in the buffer. It stops early,
// with more, when the batch is large enough. The error ends the connection
// after the messages before it.
func (c *conn) decode() (more bool, err error) {
	c.dec.reset()
	for c.r < c.w {
		if c.dec.full() {
			return true, nil
		}
		n, err := c.frame(c.buf[c.r:c.w])
		if err != nil {
			c.s.count.refuse(reasonOf(err), c.w-c.r)
			return false, err
		}
		if n == 0 {
			return false, nil
		}
		c.r += n
		c.cut = false
	}
	return false, nil
}

// frame takes the value that begins b, and gives its length, 0 when it is not
// all there.
func (c *conn) frame(b []byte) (n int, err error) {
	if !c.begun {
		c.begun = true
		c.json = c.s.o.Security == nil && (b[0] == '[' || b[0] == '{')
	}
	if c.json {
		return c.jsonFrame(b)
	}
	if c.cut {
		if st := c.rescan(b); st != whole {
			return 0, c.partial(b, st)
		}
	}
	if KindOf(b) != KindArray {
		return c.stray(b)
	}
	f := &c.dec.frame
	n, st := f.parse(b, c.s.o.AnyRecord)
	if st != whole {
		return 0, c.partial(b, st)
	}
	if f.fault != "" {
		c.s.count.refuse("no-message", n)
		c.warn("no-message", "ignored a value that is no message", "detail", f.fault)
		return n, nil
	}
	if err := c.size(uint64(n)); err != nil {
		return 0, err
	}
	c.strayed()
	c.large(n)
	return n, c.dec.add(f, b[:n:n])
}

// rescan goes on looking for the end of the value that begins b.
func (c *conn) rescan(b []byte) (st status) {
	c.need, st = c.scan.run(b)
	return st
}

// partial judges what there is of a value that is not whole.
func (c *conn) partial(b []byte, st status) error {
	if st == short {
		if !c.cut {
			c.cut = true
			c.scan.start()
			st = c.rescan(b)
		}
		if st != invalid {
			return c.size(c.need)
		}
	}
	if st == deep {
		return &refusal{reason: "too-deep", detail: fmt.Sprintf("containers nest deeper than %d", MaxDepth), bytes: len(b)}
	}
	return &refusal{reason: "garbage", detail: "not msgpack", bytes: len(b)}
}

// size refuses a message that is too large, also one that will be.
func (c *conn) size(n uint64) error {
	if n > uint64(c.s.o.MaxMessage) {
		return &refusal{reason: "too-large", bytes: int(min(n, 1<<40)),
			detail: fmt.Sprintf("message exceeds chunk_size_limit of %d bytes", c.s.o.MaxMessage)}
	}
	return nil
}

// large warns of a message that is larger than most.
func (c *conn) large(n int) {
	if w := c.s.o.WarnMessage; w > 0 && int64(n) >= w {
		c.warn("large", "message is larger than chunk_size_warn_limit", "bytes", n, "limit", w)
	}
}

// stray skips a value that is no array: nil in silence, others up to
// maxStrays in a row. The beginning of TLS is none of them: what follows it may
// read as half a message, for whose rest the client would wait in vain.
func (c *conn) stray(b []byte) (n int, err error) {
	n, st := skip(b, 0, 1, 0)
	if st != whole {
		return 0, c.partial(b, st)
	}
	if b[0] == 0xc0 {
		return n, nil
	}
	if c.strays == 0 {
		c.guess = guess(b)
	}
	if c.strays++; c.strays > maxStrays || c.guess == looksTLS {
		c.strays = 0
		return 0, &refusal{reason: "garbage", detail: c.guess, bytes: len(b)}
	}
	c.s.count.refuse("no-message", n)
	return n, nil
}

// strayed logs, once they are over, that values were skipped.
func (c *conn) strayed() {
	if c.strays > 0 {
		c.warn("no-message", "ignored values that are no messages", "values", c.strays, "detail", c.guess)
	}
	c.strays = 0
}

// keep hands the batch over and acknowledges what was kept of it.
func (c *conn) keep() error {
	msgs := c.dec.msgs
	if len(msgs) == 0 {
		return nil
	}
	n, err := c.s.o.Handler.Keep(c.s.ctx, &c.peer, msgs)
	n = min(max(n, 0), len(msgs))
	if n < len(msgs) && err == nil {
		err = errors.New("the handler gave no reason")
	}
	c.s.count.keep(msgs[:n])
	if werr := c.acknowledge(msgs[:n]); werr != nil && err == nil {
		return werr
	}
	if err != nil {
		var bytes int
		for i := range msgs[n:] {
			c.s.count.refuse("not-kept", msgs[n+i].Size)
			bytes += msgs[n+i].Size
		}
		return &refusal{reason: "not-kept", detail: err.Error(), bytes: bytes, tag: msgs[min(n, len(msgs)-1)].Tag}
	}
	return nil
}

// acknowledge sends the acks that messages ask for, in one write.
func (c *conn) acknowledge(msgs []Message) error {
	c.acks = c.acks[:0]
	n := int64(0)
	for i := range msgs {
		if msgs[i].ack != nil {
			c.acks = c.appendAck(c.acks, msgs[i].ack)
			n++
		}
	}
	if n == 0 {
		return nil
	}
	if err := c.write(c.acks); err != nil {
		return fmt.Errorf("forward: send acks: %w", err)
	}
	c.s.count.acks.Add(n)
	c.quick.set()
	return nil
}

// appendAck appends {"ack": id} in the encoding of the connection.
func (c *conn) appendAck(b, id []byte) []byte {
	if c.json {
		return append(append(append(b, `{"ack":`...), id...), '}')
	}
	return append(append(b, "\x81\xa3ack"...), id...)
}

// write sends bytes within the write time-out.
func (c *conn) write(b []byte) error {
	c.nc.SetWriteDeadline(time.Now().Add(c.s.o.WriteTimeout))
	_, err := c.nc.Write(b)
	return err
}

// warn logs about this connection.
func (c *conn) warn(topic, msg string, args ...any) {
	args = append(args, "peer", c.peer.Addr.String())
	if c.peer.Hostname != "" {
		args = append(args, "hostname", c.peer.Hostname)
	}
	c.s.log.warn(topic, msg, args...)
}

// report logs why a connection ends, when somebody should know.
func (c *conn) report(err error) {
	var r *refusal
	var h *handshakeError
	switch {
	case err == nil:
	case errors.As(err, &h):
		c.deny(h)
	case errors.As(err, &r):
		c.warn(r.reason, "refused", "reason", r.reason, "error", r)
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.warn("timeout", "closed a connection that timed out", "error", err)
	default:
		c.s.o.Log.Debug("forward: connection ended", "peer", c.peer.Addr.String(), "error", err)
	}
}

// reasonOf gives the key under which a refusal is counted.
func reasonOf(err error) string {
	var r *refusal
	if errors.As(err, &r) {
		return r.reason
	}
	return "gone"
}
