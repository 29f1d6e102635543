package forward

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"
)

// Options of a Server. All but Handler may be left out.
type Options struct {
	Handler Handler
	Log     *slog.Logger     // default discards
	Now     func() time.Time // default time.Now

	// Tag takes the place of every tag; TagPrefix and a dot go before it.
	Tag, TagPrefix string
	// AddressKey and HostnameKey name fields in which each record gets its
	// sender's address and host name, in place of what it had there.
	AddressKey, HostnameKey string
	// Resolve finds the host name of an address for HostnameKey; default asks
	// the system's resolver. Where it fails the address stands for the name.
	Resolve func(ctx context.Context, addr string) (string, error)
	// AnyRecord takes records that are no maps for entries, too.
	AnyRecord bool
	// RefuseInvalid refuses a message with a bad part as a whole, instead of
	// keeping the good ones and handing the bad ones over as Message.Bad.
	RefuseInvalid bool

	// Check says how much of the messages of a tag is looked at before they
	// are kept; nil is CheckEntries for all.
	Check func(tag []byte) CheckLevel

	// MaxMessage bounds one message on the wire, MaxInflated what comes out
	// of its decompression; defaults 64 MiB and 256 MiB. WarnMessage is the
	// size from which a message is logged; 0 is never.
	MaxMessage, MaxInflated, WarnMessage int64
	// MaxBytes bounds what all connections hold in memory together, but for
	// 4 KiB each and one message that is ahead of the others, which may take
	// MaxMessage and MaxInflated; default 256 MiB. Connections that need more
	// wait.
	MaxBytes int64
	// MaxConnections bounds the open connections, default 8192. More wait to
	// be accepted.
	MaxConnections int

	// HandshakeTimeout is the time from accept to the end of TLS and
	// handshake, default 10 s.
	HandshakeTimeout time.Duration
	// IdleTimeout closes a connection on which nothing comes; 0 is never.
	IdleTimeout time.Duration
	// StallTimeout closes a connection that has not sent the rest of a message
	// in this time, and a second more for each 16 KiB that came; default 1 min.
	StallTimeout time.Duration
	// WriteTimeout closes a connection that does not take its acks, default 30 s.
	WriteTimeout time.Duration
	// Linger is how long a peer may take to close its side after the server
	// closed its own, default 1 s.
	Linger time.Duration
	// DenyKeepalive closes a connection after its first messages.
	DenyKeepalive bool

	// Security asks for the handshake; nil does not.
	Security *Security

	tag, prefix []byte
}

// withDefaults fills what was left out.
func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Resolve == nil {
		o.Resolve = resolve
	}
	o.MaxMessage = cmp.Or(o.MaxMessage, 64<<20)
	o.MaxInflated = cmp.Or(o.MaxInflated, 256<<20)
	o.MaxBytes = cmp.Or(o.MaxBytes, 256<<20)
	o.MaxConnections = cmp.Or(o.MaxConnections, 8192)
	o.HandshakeTimeout = cmp.Or(o.HandshakeTimeout, 10*time.Second)
	o.StallTimeout = cmp.Or(o.StallTimeout, time.Minute)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, 30*time.Second)
	o.Linger = cmp.Or(o.Linger, time.Second)
	o.tag = []byte(o.Tag)
	if o.TagPrefix != "" {
		o.prefix = []byte(o.TagPrefix + ".")
	}
	return o
}

// resolve asks the system for the first name of an address.
func resolve(ctx context.Context, addr string) (string, error) {
	names, err := net.DefaultResolver.LookupAddr(ctx, addr)
	if err != nil {
		return "", err
	}
	return names[0], nil
}

// Validate says what is wrong with the options. The keys are fluentd's names
// of the settings where it has one, else the fields' names in snake case,
// with a dot and an index on the way to a nested one.
func (o Options) Validate() map[string]error {
	bad := map[string]error{}
	if o.Handler == nil {
		bad["handler"] = errors.New("is missing")
	}
	const small = 1 << 10
	for _, n := range []struct {
		name       string
		value, min int64
	}{
		{"chunk_size_limit", o.MaxMessage, small},
		{"chunk_size_warn_limit", o.WarnMessage, 0},
		{"decompression_size_limit", o.MaxInflated, small},
		{"max_bytes", o.MaxBytes, 1 << 20},
		{"max_connections", int64(o.MaxConnections), 1},
		{"handshake_timeout", int64(o.HandshakeTimeout), 0},
		{"idle_timeout", int64(o.IdleTimeout), 0},
		{"stall_timeout", int64(o.StallTimeout), 0},
		{"write_timeout", int64(o.WriteTimeout), 0},
		{"linger_timeout", int64(o.Linger), 0},
	} {
		if n.value != 0 && n.value < n.min || n.value < 0 {
			bad[n.name] = fmt.Errorf("%d is too small; the least is %d", n.value, n.min)
		}
	}
	if o.WarnMessage > 0 && o.MaxMessage > 0 && o.WarnMessage > o.MaxMessage {
		bad["chunk_size_warn_limit"] = errors.New("is above chunk_size_limit")
	}
	if o.Check != nil && (o.AddressKey != "" || o.HostnameKey != "") {
		bad["check"] = errors.New("cannot be set with source_address_key or source_hostname_key, which need the entries")
	}
	if o.Security != nil {
		for k, err := range o.Security.validate() {
			bad["security."+k] = err
		}
	}
	return bad
}
