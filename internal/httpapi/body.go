package httpapi

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// errTruncated: the connection ended, or the chunked coding broke, before the
// end of the body. Nothing of it is kept.
var errTruncated = errors.New("the body ended early; nothing of it was kept")

// minRate is the least average speed, in bytes a second, of a body that
// occupies memory while it comes.
const minRate = 4 << 10

// A body reads a request's body. Every wait in it is bounded, and an early end
// is an error.
type body struct {
	src     io.Reader // nil when there is none
	conn    sender
	length  int64 // as announced; -1 when it is not
	got     int64
	ended   bool
	err     error // of the client or its connection; not of a decoder
	stall   time.Duration
	minRate int64 // bytes a second; 0 is no bound
	begun   time.Time
	moved   time.Time // when the deadline was last moved
}

// A sender is the connection that a body comes from.
type sender interface {
	SetReadDeadline(time.Time) error
	// ended tells whether the connection came to its end. The chunked coding
	// shows an early end as a proper one.
	ended() bool
}

func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.ended || b.src == nil {
		return 0, io.EOF
	}
	if err := b.moveDeadline(); err != nil {
		b.err = err
		return 0, err
	}
	n, err := b.src.Read(p)
	b.got += int64(n)
	switch {
	case b.length >= 0 && b.got >= b.length:
		b.ended = true
		return n, io.EOF
	case err == nil:
		return n, nil
	case err == io.EOF && b.length < 0 && !b.conn.ended():
		b.ended = true
		return n, io.EOF
	case isTimeout(err):
		b.err = err
	default:
		b.err = fmt.Errorf("%w: %w", errTruncated, err)
	}
	return n, b.err
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}

// moveDeadline gives the client the stall time for its next bytes, and with a
// least rate no more than its bytes so far have earned.
func (b *body) moveDeadline() error {
	now := time.Now()
	if b.begun.IsZero() {
		b.begun = now
	}
	if now.Sub(b.moved) < b.stall/64 {
		return nil
	}
	b.moved = now
	deadline := now.Add(b.stall)
	if b.minRate > 0 {
		earned := b.begun.Add(b.stall + time.Duration(b.got/b.minRate)*time.Second)
		if earned.Before(deadline) {
			deadline = earned
		}
	}
	return b.conn.SetReadDeadline(deadline)
}

// drainBytes is how much of an unread body is worth reading to keep the
// connection.
const drainBytes = 64 << 10

// drain reads the rest of a small body, so that the connection can be used
// again; it says whether the body came to its end.
func (b *body) drain() bool {
	if b.ended || b.src == nil {
		return true
	}
	if b.err != nil || b.length-b.got > drainBytes {
		return false
	}
	b.stall = min(b.stall, time.Second)
	b.moved = time.Time{}
	_, err := io.Copy(io.Discard, io.LimitReader(b, drainBytes))
	return err == nil && b.ended
}
