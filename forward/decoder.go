package forward

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

const (
	// maxBad is how many bad parts of a message are told apart; what follows
	// the last is one more part.
	maxBad = 128
	// softArena is the size of the arena at which a batch ends.
	softArena = 1 << 20
	// keepArena is the largest block that stays with a connection for its next batch.
	keepArena = 4 << 20
)

// A refusal is input that ends its connection, unacknowledged.
type refusal struct {
	reason string // a key of Stats.Refused
	detail string
	tag    []byte
	bytes  int
}

// Error says what was refused.
func (r *refusal) Error() string {
	if r.tag != nil {
		return fmt.Sprintf("%s: %s (tag %q, %d bytes)", r.reason, r.detail, r.tag, r.bytes)
	}
	return fmt.Sprintf("%s: %s (%d bytes)", r.reason, r.detail, r.bytes)
}

// errGone: the connection ended while it waited for memory.
var errGone = errors.New("forward: connection ended")

// A decoder turns frames into messages, which point into the frames and into
// its arena.
type decoder struct {
	o       *Options
	count   *counters
	inflate func(dst *arena, src []byte, method string, limit int64) error
	fields  []field // of the sender, set in each record
	// borrowed: frames belong to somebody else and are not written to.
	borrowed bool
	frame    frame // the one that is being decoded
	msgs     []Message
	arena    arena
	asked    []byte     // the tag that Options.Check was asked for last
	answer   CheckLevel // and what it said
	known    bool       // that was in this batch
}

// reset forgets the messages of the last batch.
func (d *decoder) reset() {
	clear(d.msgs)
	d.msgs = d.msgs[:0]
	d.known = false
	d.arena.reset(keepArena)
}

// full tells that the batch is to be kept before more is decoded.
func (d *decoder) full() bool { return len(d.arena.buf) >= softArena || len(d.msgs) >= 4096 }

// add makes a message of a frame, whose bytes are raw. It may write to raw.
func (d *decoder) add(f *frame, raw []byte) error {
	d.msgs = append(d.msgs, Message{Mode: f.mode, Size: len(raw), Signal: f.option.signal})
	m := &d.msgs[len(d.msgs)-1]
	err := d.fill(m, f, raw)
	if err != nil {
		d.msgs = d.msgs[:len(d.msgs)-1]
	}
	return err
}

// fill makes m of a frame.
func (d *decoder) fill(m *Message, f *frame, raw []byte) (err error) {
	if f.option.chunk != nil {
		m.ack, m.Chunk = f.option.chunk, f.option.chunk
		if c, ok := text(f.option.chunk); ok {
			m.Chunk = c
		}
	}
	tag, ok := text(f.tag)
	switch {
	case !ok:
		m.Tag, m.Signal = d.tag(nil), 0
		m.Bad = []Bad{{BadTag, "the tag is no text", raw}}
		return nil
	case d.o.Check != nil && d.level(tag) == CheckEnvelope:
		m.Tag = d.tag(tag)
		return d.envelope(f, m, raw, tag)
	case m.Mode == ModeMessage:
		tag, err = d.single(f, m, raw, tag, !d.borrowed)
	default:
		err = d.body(f, m, raw, tag)
	}
	if err != nil {
		return err
	}
	m.Tag = d.tag(tag)
	if d.o.RefuseInvalid && len(m.Bad) > 0 {
		return &refusal{"invalid", m.Bad[0].Reason + ": " + m.Bad[0].Detail, tag, len(raw)}
	}
	if s := f.option.size; s >= 0 && m.Signal == 0 && s != int64(m.Records+len(m.Bad)) {
		d.count.mismatched.Add(1)
	}
	return d.annotate(m)
}

// level is how much of the messages of a tag is to be checked. It asks once
// for messages of one tag that follow each other.
func (d *decoder) level(tag []byte) CheckLevel {
	if !d.known || !bytes.Equal(tag, d.asked) {
		d.asked, d.known = append(d.asked[:0], tag...), true
		d.answer = d.o.Check(d.tag(tag))
	}
	return d.answer
}

// tag applies the settings to a tag.
func (d *decoder) tag(t []byte) []byte {
	if d.o.Tag != "" {
		t = d.o.tag
	}
	if d.o.TagPrefix == "" {
		return t
	}
	d.arena.begin()
	if !d.arena.add(d.o.prefix...) || !d.arena.add(t...) {
		return t
	}
	return d.arena.take()
}

// single makes the entry of a message that carries one, in place where it
// may: time and record stand together already, and the tag before them moves
// by a byte so that the entry's head has room. It gives the tag's new place.
func (d *decoder) single(f *frame, m *Message, raw, tag []byte, inPlace bool) ([]byte, error) {
	body := f.body
	end, _ := skip(body, 0, 1, 0)
	now := isZero(body[:end])
	if !now && f.option.metadata == nil && inPlace {
		at := f.at - 1
		copy(raw[at-len(tag):], tag)
		raw[at] = 0x92
		tag, entry := raw[at-len(tag):at:at], raw[at:at+1+len(body)]
		if isTime(body[:end]) && !isMarker(body[:end]) && KindOf(body[end:]) == KindMap {
			m.Entries, m.Records = entry, 1 // parse went over it already
			return tag, nil
		}
		return tag, d.entries(m, entry)
	}
	d.arena.begin()
	ok := d.arena.add(0x92)
	if f.option.metadata != nil {
		ok = ok && d.arena.add(0x92)
	}
	if now {
		ok = ok && d.arena.grow(10)
		d.arena.buf = appendTime(d.arena.buf, d.o.Now())
	} else {
		ok = ok && d.arena.add(body[:end]...)
	}
	if !ok || !d.arena.add(f.option.metadata...) || !d.arena.add(body[end:]...) {
		return nil, errGone
	}
	return tag, d.entries(m, d.arena.take())
}

// isZero tells whether the time of a message says that it is to be that of
// its arrival: 0, nil, or an EventTime of no seconds.
func isZero(t []byte) bool {
	if e := eventTime(t); e != nil {
		return binary.BigEndian.Uint32(e) == 0
	}
	n, ok := integer(t)
	return t[0] == 0xc0 || ok && n == 0
}

// appendTime appends a time as an EventTime.
func appendTime(b []byte, t time.Time) []byte {
	b = append(b, 0xd7, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(t.Unix()))
	return binary.BigEndian.AppendUint32(b, uint32(t.Nanosecond()))
}

// body unpacks the entries of the other modes.
func (d *decoder) body(f *frame, m *Message, raw, tag []byte) error {
	body := f.body
	if m.Mode == ModePacked {
		method, err := compression(f.option.compressed, body)
		if err != nil {
			return &refusal{"bad-compression", err.Error(), tag, len(raw)}
		}
		if method != "" {
			m.Mode = ModeCompressed
			if body, err = d.inflated(body, method); err != nil {
				return inflateRefusal(err, tag, len(raw))
			}
		}
	}
	if m.Signal != 0 {
		m.Entries = body
		return nil
	}
	if f.regular {
		m.Entries, m.Records = body, f.entries
		return nil
	}
	return d.entries(m, body)
}

// inflated decompresses a payload into the arena.
func (d *decoder) inflated(b []byte, method string) ([]byte, error) {
	if len(b) == 0 {
		return b, nil
	}
	d.arena.begin()
	if err := d.inflate(&d.arena, b, method, d.o.MaxInflated); err != nil {
		d.arena.drop()
		return nil, err
	}
	d.count.inflated.Add(int64(d.arena.size()))
	return d.arena.take(), nil
}

// inflateRefusal says why a payload was not inflated.
func inflateRefusal(err error, tag []byte, size int) error {
	switch {
	case errors.Is(err, errGone):
		return err
	case errors.Is(err, errInflated):
		return &refusal{"inflated-too-large", err.Error(), tag, size}
	}
	return &refusal{"bad-compression", err.Error(), tag, size}
}

// entries takes entries over as they are, or sorts them.
func (d *decoder) entries(m *Message, b []byte) error {
	p := 0
	for p < len(b) {
		end, ok := step(b, p, d.o.AnyRecord)
		if !ok {
			return d.sort(m, b, p)
		}
		p = end
		m.Records++
	}
	m.Entries = b
	return nil
}
