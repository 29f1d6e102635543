package sender

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/fluent/fluent-logger-golang/fluent"
)

// Options of a Sender. Only Address must be given.
type Options struct {
	Network string // tcp, the default, or unix
	Address string // HOST:PORT, or the path of a Unix socket
	// TLS is the client's side of it; nil speaks plainly.
	TLS *tls.Config
	// SharedKey asks for the handshake: nothing is sent to a server that does
	// not ask for it, or does not know the key. User and Password go with it
	// when the server asks for them; Hostname is what the sender calls itself,
	// which must not be the server's own name.
	SharedKey, User, Password, Hostname string
	// Timeout bounds making a connection with all its handshakes, sending an
	// event, and waiting for its ack, each by itself; default 30 s.
	Timeout time.Duration
	// Attempts is how often one event is sent until it is acknowledged, under
	// the same chunk id, default 3; Pause, default 500 ms, is between them.
	Attempts int
	Pause    time.Duration
}

// A Sender sends to one server. It is for one goroutine.
type Sender struct {
	o    Options
	conn *conn // nil between connections
}

// Dial connects, handshakes included, so that what would keep everything from
// arriving is told before anything is sent.
func Dial(ctx context.Context, o Options) (*Sender, error) {
	o.Network = cmp.Or(o.Network, "tcp")
	o.Timeout = cmp.Or(o.Timeout, 30*time.Second)
	o.Attempts = cmp.Or(o.Attempts, 3)
	o.Pause = cmp.Or(o.Pause, 500*time.Millisecond)
	s := &Sender{o: o}
	err := s.connect(ctx)
	switch {
	case ctx.Err() != nil:
		s.Close()
		return nil, ctx.Err()
	case err != nil:
		return nil, err
	}
	return s, nil
}

// Close ends the connection.
func (s *Sender) Close() error {
	c := s.conn
	s.conn = nil
	if c == nil {
		return nil
	}
	return c.nc.Close()
}

// Send returns nil once the server has acknowledged the event. After a break it
// sends the event again, on another connection; an error tells of the last
// attempt, and that no ack came, not that nothing arrived.
func (s *Sender) Send(ctx context.Context, tag string, at time.Time, record map[string]any) error {
	id := chunkID()
	m := fluent.MessageExt{Tag: tag, Time: fluent.EventTime(at), Record: record, Option: map[string]string{"chunk": id}}
	b, err := m.MarshalMsg(nil)
	if err != nil {
		return fmt.Errorf("pack the record: %w", err)
	}
	for attempt := 1; ; attempt++ {
		old := s.conn != nil && s.conn.acked > 0
		err := s.attempt(ctx, b, id)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case old && errors.Is(err, ErrClosed):
			attempt-- // the server may close a connection between two events
			continue
		case isFinal(err) || attempt == s.o.Attempts:
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(s.o.Pause):
		}
	}
}

// attempt sends a message once, and drops the connection unless it can be used
// again.
func (s *Sender) attempt(ctx context.Context, message []byte, id string) error {
	if s.conn == nil {
		if err := s.connect(ctx); err != nil {
			return err
		}
	}
	err := s.conn.within(ctx, time.Now().Add(s.o.Timeout), func() error { return s.conn.exchange(message, id) })
	if err != nil || !s.conn.keepalive {
		s.Close()
	}
	return err
}

// connect makes the connection with what comes before the first message.
func (s *Sender) connect(ctx context.Context) error {
	until := time.Now().Add(s.o.Timeout)
	d := net.Dialer{Deadline: until}
	nc, err := d.DialContext(ctx, s.o.Network, s.o.Address)
	if err != nil {
		return err
	}
	c := &conn{nc: nc, timeout: s.o.Timeout, keepalive: true}
	if err := c.within(ctx, until, func() error { return c.open(&s.o) }); err != nil {
		c.nc.Close()
		return fmt.Errorf("connect to %s: %w", s.o.Address, err)
	}
	s.conn = c
	return nil
}

// chunkID makes a new one: 16 random bytes in base64, as other senders do.
func chunkID() string {
	var b [16]byte
	rand.Read(b[:])
	return base64.StdEncoding.EncodeToString(b[:])
}
