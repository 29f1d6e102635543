package forward

import (
	"bytes"
	"context"
	"net"
	"time"

	"github.com/tinylib/msgp/msgp"
)

// resolveTimeout bounds the search for a peer's host name.
const resolveTimeout = 2 * time.Second

// A field is set in each record: a key and its value, packed, and the key's
// text.
type field struct {
	name   string
	packed []byte
}

// newField packs a field of text.
func newField(name, value string) field {
	return field{name, msgp.AppendString(msgp.AppendString(nil, name), value)}
}

// senderFields gives what the options ask for about a sender.
func senderFields(ctx context.Context, o *Options, a net.Addr) (f []field) {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		host = a.String()
	}
	if o.AddressKey != "" {
		f = append(f, newField(o.AddressKey, host))
	}
	if o.HostnameKey != "" {
		ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
		defer cancel()
		name, err := o.Resolve(ctx, host)
		if err != nil {
			name = host
		}
		f = append(f, newField(o.HostnameKey, name))
	}
	return f
}

// annotate sets the sender's fields in every record of a message, in place of
// what the record has under their names.
func (d *decoder) annotate(m *Message) error {
	if len(d.fields) == 0 || m.Signal != 0 {
		return nil
	}
	d.arena.begin()
	for rest := m.Entries; len(rest) > 0; {
		e, next, err := Next(rest)
		if err != nil {
			return err // not reached: entries are well formed
		}
		rest = next
		if !d.annotated(&e) {
			return errGone
		}
	}
	m.Entries = d.arena.take()
	return nil
}

// annotated appends an entry with the fields set.
func (d *decoder) annotated(e *Entry) bool {
	if KindOf(e.Record) != KindMap {
		return d.arena.add(e.Raw...)
	}
	head, values, _ := measure(e.Record, 0, leads[e.Record[0]])
	pairs, n := e.Record[head:], int(values/2)+len(d.fields)
	for p := 0; p < len(pairs); {
		if d.isField(pairs[p:]) {
			n--
		}
		p, _ = skip(pairs, p, 2, 0)
	}
	before := e.Raw[:cap(e.Raw)-cap(e.Record)]
	if !d.arena.add(before...) || !d.arena.add(msgp.AppendMapHeader(nil, uint32(n))...) {
		return false
	}
	for p := 0; p < len(pairs); {
		end, _ := skip(pairs, p, 2, 0)
		if !d.isField(pairs[p:]) && !d.arena.add(pairs[p:end]...) {
			return false
		}
		p = end
	}
	for _, f := range d.fields {
		if !d.arena.add(f.packed...) {
			return false
		}
	}
	return true
}

// isField tells whether the pair that begins b has the name of a field.
func (d *decoder) isField(b []byte) bool {
	end, _ := skip(b, 0, 1, 0)
	key, ok := text(b[:end])
	for _, f := range d.fields {
		if ok && bytes.Equal(key, []byte(f.name)) {
			return true
		}
	}
	return false
}
