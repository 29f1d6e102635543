package sender

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/fluent/fluent-logger-golang/fluent"
	"github.com/tinylib/msgp/msgp"
)

const (
	// maxAnswer bounds what a server may say at once.
	maxAnswer = 4 << 10
	// lastWords is how long a server that does not take a message is heard.
	lastWords = time.Second
)

// A conn is one connection.
type conn struct {
	nc        net.Conn
	timeout   time.Duration // of an ack
	buf       []byte        // what came and is not used yet
	acked     int
	keepalive bool // the server takes more than one message
}

// within runs a part of a connection's life, which ends with the context or at
// a moment.
func (c *conn) within(ctx context.Context, until time.Time, part func() error) error {
	c.nc.SetDeadline(until)
	nc := c.nc
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	return part()
}

// open does what comes before the first message.
func (c *conn) open(o *Options) error {
	if o.TLS != nil {
		config := o.TLS.Clone()
		if config.ServerName == "" {
			config.ServerName, _, _ = net.SplitHostPort(o.Address)
		}
		t := tls.Client(c.nc, config)
		if err := t.Handshake(); err != nil {
			return fmt.Errorf("TLS: %w", meaning(err))
		}
		c.nc = t
	}
	if o.SharedKey == "" {
		return nil
	}
	return c.handshake(o)
}

// exchange sends a message and waits for its ack.
func (c *conn) exchange(message []byte, id string) error {
	if _, err := c.nc.Write(message); err != nil {
		// Why it was not taken may have come before.
		c.nc.SetReadDeadline(time.Now().Add(lastWords))
		if why := c.ack(id); isFinal(why) {
			return why
		}
		return fmt.Errorf("send: %w", meaning(err))
	}
	c.nc.SetReadDeadline(time.Now().Add(c.timeout))
	if err := c.ack(id); err != nil {
		return err
	}
	c.acked++
	return nil
}

// ack reads the ack of a message.
func (c *conn) ack(id string) error {
	b, err := c.value()
	if err != nil {
		return fmt.Errorf("wait for the ack: %w", err)
	}
	if msgp.NextType(b) == msgp.ArrayType {
		if word, _, _ := head(b); word == "HELO" {
			return ErrSecured
		}
	}
	var a fluent.AckResp
	if _, err := a.UnmarshalMsg(b); err != nil {
		return fmt.Errorf("%w: its ack is %.40q", ErrProtocol, b)
	}
	if a.Ack != id {
		return fmt.Errorf("the ack is %.40q, for the chunk %q", a.Ack, id)
	}
	return nil
}

// value reads one msgpack value. It is valid until the next.
func (c *conn) value() ([]byte, error) {
	for {
		rest, err := msgp.Skip(c.buf)
		switch {
		case len(c.buf) > 0 && err == nil:
			v := c.buf[:len(c.buf)-len(rest)]
			c.buf = rest
			return v, c.stray(v)
		case len(c.buf) > 0 && !errors.Is(err, msgp.ErrShortBytes), len(c.buf) >= maxAnswer:
			return nil, fmt.Errorf("%w: it says %.40q", ErrProtocol, c.buf)
		}
		more := make([]byte, maxAnswer)
		n, err := c.nc.Read(more)
		c.buf = append(c.buf, more[:n]...)
		if n > 0 {
			continue
		}
		if errors.Is(err, io.EOF) && len(c.buf) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return nil, meaning(err)
	}
}

// stray tells what a value is that is neither an array nor a map.
func (c *conn) stray(v []byte) error {
	const alert = 0x15 // the first byte of an alert of TLS, and the integer 21
	switch k := msgp.NextType(v); {
	case k == msgp.ArrayType, k == msgp.MapType:
		return nil
	case v[0] == alert && len(c.buf) > 0 && c.buf[0] == 3:
		return ErrTLS
	}
	return fmt.Errorf("%w: it says %.40q", ErrProtocol, append(v[:len(v):len(v)], c.buf...))
}
