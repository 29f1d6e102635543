package arrays

import (
	"encoding/json"
	"fmt"
)

// A decoder turns the bytes of one stream into rows of one table.
//
// It is deterministic, and how the bytes are cut into calls makes no
// difference: what it needs to know of earlier bytes is in its state and in
// the table's columns.
type decoder interface {
	// decode takes whole records from the front of p, which begins at offset
	// off of the stream, and gives the number of bytes that it is done with.
	// It stops early when the table is full. Given maxRecord bytes or more and
	// room in the table, it takes at least one.
	decode(p []byte, off int64, t *table) int
	// lost says that the bytes where decode stopped are gone for ever: the
	// next ones may be from the middle of anything.
	lost()
	// state is what a new decoder needs to go on, as JSON.
	state() any
}

// maxRecord is the size from which on no record waits for its end: it is
// refused. A step reads more than this at once.
const maxRecord = 4 << 20

// newDecoder makes the decoder of a spec; state is nil at the beginning of a
// stream.
func newDecoder(s Spec, state json.RawMessage, t *table) (decoder, error) {
	var d interface {
		decoder
		begin(t *table)
		resume(t *table) error
	}
	switch s.Kind {
	case kindNumbers:
		d = &numbers{}
	case kindWAV:
		d = &wav{}
	case kindMetrics:
		d = &metrics{spec: s}
	default:
		return nil, fmt.Errorf("arrays: unknown kind %q", s.Kind)
	}
	if state == nil {
		d.begin(t)
		return d, nil
	}
	if err := json.Unmarshal(state, d.state()); err != nil {
		return nil, fmt.Errorf("arrays: state of decoder %s: %w", s.Kind, err)
	}
	return d, d.resume(t)
}
