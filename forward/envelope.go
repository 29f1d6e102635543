package forward

import (
	"errors"
	"fmt"
)

// A CheckLevel says how much of a message is looked at before it is kept.
type CheckLevel uint8

const (
	// CheckEntries unpacks a message and checks each entry.
	CheckEntries CheckLevel = iota
	// CheckEnvelope takes the frame apart only as far as its tag and option
	// go; payloads are neither inflated nor checked. The frame is handed over
	// as it came, for an Opener to unpack later.
	CheckEnvelope
)

// envelope leaves a message in its frame. A message of one entry is checked
// nevertheless, for its time may be that of its arrival, and becomes a frame
// of Forward mode.
func (d *decoder) envelope(f *frame, m *Message, raw, tag []byte) error {
	if m.Mode != ModeMessage {
		m.Envelope = raw
		m.Records = int(min(max(f.option.size, 0), int64(len(raw))<<10))
		if name, _ := text(f.option.compressed); m.Mode == ModePacked && len(name) > 0 && string(name) != "text" {
			m.Mode = ModeCompressed
		}
		return nil
	}
	_, err := d.single(f, m, raw, tag, false)
	entry := m.Entries
	if m.Entries = nil; err != nil || m.Records == 0 {
		return err
	}
	d.arena.begin()
	if !d.arena.add(0x92) || !d.arena.add(f.tag...) || !d.arena.add(0x91) || !d.arena.add(entry...) {
		return errGone
	}
	m.Envelope = d.arena.take()
	return nil
}

// An Opener unpacks frames that were kept as Message.Envelope, by the rules
// by which a server would have. It is not safe for concurrent use.
type Opener struct{ dec decoder }

// NewOpener makes one. Of the options only AnyRecord, RefuseInvalid,
// MaxInflated, Tag and TagPrefix count; no handler is needed.
func NewOpener(o Options) *Opener {
	o = o.withDefaults()
	o.Check, o.AddressKey, o.HostnameKey = nil, "", ""
	return &Opener{decoder{
		o: &o, count: &counters{}, inflate: newInflaters(1).inflate, borrowed: true,
		arena: arena{lease: &lease{budget: &budget{max: o.MaxInflated + o.MaxMessage + minArena}}},
	}}
}

// Next unpacks the first frame of b, frames back to back, and gives what
// follows it. The message is valid until the next call, and points into b.
// When the frame is whole but cannot be used, rest goes on after it and err
// says why; when b holds no whole frame, rest is b and err wraps ErrShort,
// ErrSyntax or ErrDepth.
func (o *Opener) Next(b []byte) (m Message, rest []byte, err error) {
	o.dec.msgs = o.dec.msgs[:0]
	o.dec.arena.reset(keepArena)
	f := &o.dec.frame
	n, st := f.parse(b, o.dec.o.AnyRecord)
	if len(b) > 0 && KindOf(b) != KindArray {
		n, st = skip(b, 0, 1, 0)
		f.fault = "no array"
	}
	if st != whole {
		return Message{}, b, fmt.Errorf("forward: open a frame: %w", st.error(n))
	}
	rest = b[n:]
	if f.fault != "" {
		return Message{}, rest, errors.New("forward: open a frame: " + f.fault)
	}
	if err := o.dec.add(f, b[:n:n]); err != nil {
		return Message{}, rest, fmt.Errorf("forward: open a frame: %w", err)
	}
	return o.dec.msgs[0], rest, nil
}
