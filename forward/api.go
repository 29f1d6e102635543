package forward

import (
	"context"
	"net"
)

// A Mode is a carrier mode of the protocol.
type Mode uint8

// The carrier modes.
const (
	ModeMessage Mode = iota
	ModeForward
	ModePacked
	ModeCompressed
)

// A Handler keeps messages.
//
// Keep returns when messages are durable: the first n of them are, and err
// says why the next is not. The server acknowledges those n, in order, and
// closes the connection when err is not nil. Messages and all they point to
// are valid only until Keep returns. Keep is called by many connections at
// once; for one connection calls do not overlap and keep its order.
type Handler interface {
	Keep(ctx context.Context, peer *Peer, msgs []Message) (n int, err error)
}

// A Peer is who sent a message.
type Peer struct {
	Addr     net.Addr
	Hostname string // as the peer claimed it in the handshake
	User     string // as it was authenticated; empty is none
}

// A Message is one request of the protocol.
type Message struct {
	Tag  []byte
	Mode Mode
	// Entries are well-formed msgpack values [time, record] back to back,
	// decompressed, as the sender encoded them. A time may be an integer, an
	// EventTime, a float, or [time, metadata].
	Entries []byte
	Records int // entries in Entries
	// Chunk is the content of the option's chunk id; nil when no
	// acknowledgement is wanted.
	Chunk []byte
	// Signal is fluent_signal: 0 logs; else Entries holds the payload of
	// metrics (1) or traces (2) and is no sequence of entries.
	Signal int
	Size   int // bytes on the wire
	// Bad are parts of the message that are no entries, in order. A handler
	// that returns nil for the message has kept them, too.
	Bad []Bad
}

// A Bad is a part of a message that cannot be used.
type Bad struct {
	Reason string // a stable word, such as "bad-record"
	Detail string
	Data   []byte
}
