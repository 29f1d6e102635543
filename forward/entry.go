package forward

import (
	"errors"
	"fmt"
)

// Errors of a walk over entries.
var (
	// ErrShort: the bytes end inside a value.
	ErrShort = errors.New("forward: the bytes end inside a value")
	// ErrSyntax: a byte begins no msgpack value.
	ErrSyntax = errors.New("forward: not msgpack")
	// ErrDepth: containers nest deeper than MaxDepth.
	ErrDepth = errors.New("forward: nested too deep")
	// ErrNoEntry: a value is whole, but no [time, record].
	ErrNoEntry = errors.New("forward: not a [time, record] pair")
	// ErrTime: an entry's time is neither integer, float, EventTime nor [time, metadata].
	ErrTime = errors.New("forward: not a time")
)

// A Kind is a family of msgpack values.
type Kind uint8

// The kinds of values that tell records apart.
const (
	KindOther Kind = iota
	KindMap
	KindString
	KindBinary
	KindArray
)

// KindOf gives the kind of the value that begins b.
func KindOf(b []byte) Kind {
	if len(b) == 0 {
		return KindOther
	}
	switch c := b[0]; {
	case c&0xf0 == 0x80 || c == 0xde || c == 0xdf:
		return KindMap
	case c&0xe0 == 0xa0 || c >= 0xd9 && c <= 0xdb:
		return KindString
	case c >= 0xc4 && c <= 0xc6:
		return KindBinary
	case c&0xf0 == 0x90 || c == 0xdc || c == 0xdd:
		return KindArray
	}
	return KindOther
}

// An Entry is one event, as raw msgpack values.
type Entry struct {
	Raw    []byte // the whole entry, head included
	Time   []byte // for UnixNano; of [time, metadata] the time alone
	Meta   []byte // the metadata map; nil when there is none
	Record []byte
}

// Next gives the first entry of b, and what follows it. When the first value
// of b is whole but no entry, err wraps ErrNoEntry or ErrTime, e has only
// Raw, and rest goes on after it; any other error ends the walk: rest is b.
func Next(b []byte) (e Entry, rest []byte, err error) {
	end, st := skip(b, 0, 1, 0)
	if st != whole {
		return Entry{}, b, st.error(end)
	}
	e.Raw = b[:end:end]
	err = e.split()
	return e, b[end:], err
}

// Check walks entries back to back and counts them. When it does not reach
// the end, off is where the value begins that is no entry, and err says why,
// as Next does.
func Check(b []byte) (entries, off int, err error) {
	for off < len(b) {
		end, ok := step(b, off, true)
		if !ok {
			_, rest, err := Next(b[off:])
			if err != nil {
				return entries, off, fmt.Errorf("entry %d at byte %d: %w", entries, off, err)
			}
			end = len(b) - len(rest)
		}
		entries++
		off = end
	}
	return entries, off, nil
}

// step goes over the entry at b[p] when it is an ordinary one, whole and well
// formed, with a record that is a map unless anyRecord is set. Where it gives
// false, nothing is known.
func step(b []byte, p int, anyRecord bool) (end int, ok bool) {
	if len(b)-p < 12 || b[p] != 0x92 {
		return p, false
	}
	p++
	meta := b[p] == 0x92
	if meta {
		p++
	}
	switch c := b[p]; {
	case c == 0xd7:
		if b[p+1] != 0 || b[p+2] == 0xff { // seconds from 4,278,190,080 on are looked at elsewhere
			return p, false
		}
		p += 10
	case c == 0xce || c == 0xd2:
		p += 5
	case c < 0x80:
		p++
	default:
		return p, false
	}
	st := whole
	if meta {
		if p >= len(b) || KindOf(b[p:]) != KindMap {
			return p, false
		}
		if p, st = skip(b, p, 1, 2); st != whole {
			return p, false
		}
	}
	if p >= len(b) || !anyRecord && KindOf(b[p:]) != KindMap {
		return p, false
	}
	p, st = skip(b, p, 1, 1)
	return p, st == whole
}

// split finds the parts of e.Raw, which is one whole value.
func (e *Entry) split() error {
	n, p, ok := arrayHead(e.Raw)
	if !ok || n < 2 {
		return ErrNoEntry
	}
	end, _ := skip(e.Raw, p, 1, 0)
	t, meta := splitTime(e.Raw[p:end:end])
	if !isTime(t) {
		return ErrTime
	}
	stop, _ := skip(e.Raw, end, 1, 0)
	e.Time, e.Meta, e.Record = t, meta, e.Raw[end:stop:stop]
	return nil
}

// splitTime parts [time, metadata]; a time of any other form is left alone.
func splitTime(t []byte) (time, meta []byte) {
	n, p, ok := arrayHead(t)
	if !ok || n != 2 {
		return t, nil
	}
	end, _ := skip(t, p, 1, 0)
	if KindOf(t[end:]) != KindMap {
		return t, nil
	}
	return t[p:end:end], t[end:]
}

// arrayHead reads the head of an array: the number of its values, and where
// they begin.
func arrayHead(b []byte) (n uint64, p int, ok bool) {
	if KindOf(b) != KindArray {
		return 0, 0, false
	}
	size, n, st := measure(b, 0, leads[b[0]])
	return n, int(size), st == whole
}

// error says how a walk ended that stopped at an offset.
func (s status) error(off int) error {
	err := ErrSyntax
	switch s {
	case whole:
		return nil
	case short:
		err = ErrShort
	case deep:
		err = ErrDepth
	}
	return fmt.Errorf("byte %d: %w", off, err)
}
