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
	modes
)

// String gives the mode's name in lower case.
func (m Mode) String() string {
	return [...]string{"message", "forward", "packed", "compressed", ""}[min(m, modes)]
}

// A Handler keeps messages.
//
// Keep returns when messages are durable: the first n of them are, and err
// says why the next is not. The server acknowledges those n, in order, and
// closes the connection when err is not nil. Messages and all they point to
// are valid only until Keep returns. Keep is called by many connections at
// once; for one connection calls do not overlap and keep its order. The
// context ends when the server gives up waiting for a shutdown.
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
	// EventTime, a float, or [time, metadata]. Next takes them apart.
	Entries []byte
	Records int // entries in Entries
	// Envelope is the frame, when Options.Check left the message in it:
	// Entries is nil then, and Records is what the sender says.
	Envelope []byte
	// Chunk is the content of the option's chunk id, or the raw value of one
	// that is no text; nil when no acknowledgement is wanted.
	Chunk []byte
	// Signal is fluent_signal: 0 logs; else Entries holds the payload of
	// metrics (1) or traces (2) and is no sequence of entries.
	Signal int
	Size   int // bytes on the wire
	// Bad are parts of the message that are no entries, in order. A handler
	// that returns nil for the message has kept them, too.
	Bad []Bad

	ack []byte // the chunk id as the ack echoes it, in the request's encoding
}

// A Bad is a part of a message that cannot be used.
type Bad struct {
	Reason string // one of the Bad… words
	Detail string
	Data   []byte
}

// The reasons of a Bad.
const (
	BadTag     = "bad-tag"     // a tag that is no text; Data is the frame
	BadTime    = "bad-time"    // an entry whose time is none
	BadRecord  = "bad-record"  // an entry whose record is no map
	BadEntry   = "bad-entry"   // values that are no [time, record]
	BadPayload = "bad-payload" // what follows the last whole value of a payload
)
