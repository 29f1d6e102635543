package policies

import (
	"encoding/binary"
	"errors"
	"fmt"

	"weir/forward"
	"weir/streams"
)

// A refusal is a part of a batch that is not usable.
type refusal struct {
	reason, detail string
	data           []byte
	records        int
}

// extracted is what a policy keeps of a batch, and what it cannot use.
type extracted struct {
	data    []byte
	body    *streams.Staged // instead of data
	records int
	bad     []refusal
	seen    int // entries that were looked at before, of a large body
}

// extract takes from a batch what the policy keeps. Data is either part of
// the batch or of the work's buffer. The error is ErrTooLarge or ErrData.
func (ru *rule) extract(w *work, b *Batch) (extracted, error) {
	if n := size(b); ru.MaxBytes > 0 && n > ru.MaxBytes {
		return extracted{}, fmt.Errorf("%w: %d bytes, policy %q takes %d: send smaller chunks, or raise its max_bytes",
			ErrTooLarge, n, ru.Name, ru.MaxBytes)
	}
	if b.Body != nil {
		return ru.extractBody(w, b)
	}
	asIs := extracted{data: b.Entries, records: b.Records}
	if ru.Check == CheckEnvelope && len(b.Entries) > 0 {
		if !b.Framed {
			asIs.data = w.frame(b.Tag, b.Entries)
		}
		return asIs, nil
	}
	if !b.Raw {
		if ru.Policy.Keep == Verbatim {
			return asIs, nil
		}
		return ru.take(w, b.Entries, 0), nil
	}
	if ru.unseen() {
		return asIs, nil
	}
	n, _, err := forward.Check(b.Entries)
	switch {
	case err == nil && ru.Policy.Keep == Verbatim:
		asIs.records = n
		return asIs, nil
	case err == nil:
		return ru.take(w, b.Entries, 0), nil
	case ru.mustBeEntries(b.Entries[0]):
		return extracted{}, ru.noEntries(err)
	}
	return asIs, nil
}

// unseen tells whether a raw body is kept without a look at it.
func (ru *rule) unseen() bool {
	return ru.Policy.Keep == Verbatim && (ru.Array == nil || ru.Array.Kind != kindMetrics)
}

// noEntries refuses a raw body that had to be entries.
func (ru *rule) noEntries(err error) error {
	return fmt.Errorf("%w: policy %q takes msgpack entries [time, record] back to back: %w", ErrData, ru.Name, err)
}

// mustBeEntries tells whether a raw body that is not whole entries is broken,
// rather than the text or bytes themselves. No text begins with the byte that
// begins most entries; other bytes may.
func (ru *rule) mustBeEntries(first byte) bool {
	const pair = 0x92
	switch ru.Policy.Keep {
	case Bytes:
		return false
	case Text:
		return first == pair
	}
	return true
}

// take gives what the policy keeps of entries that follow some that were seen.
func (ru *rule) take(w *work, entries []byte, seen int) extracted {
	if ru.Policy.Keep == Buckets || ru.Policy.Keep == Messages {
		return ru.collect(w, entries, seen)
	}
	return ru.decode(w, entries, seen)
}

// decode takes the text or bytes of each entry. The only entry of a batch is
// not copied when it is kept as it is.
func (ru *rule) decode(w *work, entries []byte, seen int) (out extracted) {
	out.seen = seen
	start := len(w.text)
	var alone []byte
	walk(entries, &out, func(e forward.Entry, only bool) (err error) {
		if only {
			if alone, err = ru.whole(e.Record); err == nil && alone != nil {
				return nil
			}
		}
		w.text, err = ru.appendRecord(w.text, e.Record)
		return err
	})
	if alone != nil {
		out.data = alone
		return out
	}
	out.data = w.text[start:len(w.text):len(w.text)]
	return out
}

// walk gives take each entry, and whether it is the only one, and counts those
// that it takes; the others are refused.
func walk(entries []byte, out *extracted, take func(e forward.Entry, only bool) error) {
	alone := out.seen == 0
	for ; len(entries) > 0; out.seen++ {
		i := out.seen
		e, rest, err := forward.Next(entries)
		if len(rest) == len(entries) {
			out.refuse("bad-entry", fmt.Sprintf("entry %d: %v", i, err), entries)
			return
		}
		entries = rest
		if err != nil {
			out.refuse("bad-entry", fmt.Sprintf("entry %d: %v", i, err), e.Raw)
			continue
		}
		if isMarker(e.Time) {
			out.refuse(reasonMarker, "a group marker of Fluent Bit, no event", e.Raw)
			continue
		}
		if err := take(e, alone && i == 0 && len(rest) == 0); err != nil {
			out.refuse(fieldReason(err), fmt.Sprintf("entry %d: %v", i, err), e.Raw)
			continue
		}
		out.records++
	}
}

// refuse adds a part; parts of one reason go together.
func (x *extracted) refuse(reason, detail string, data []byte) {
	for i := range x.bad {
		if b := &x.bad[i]; b.reason == reason {
			b.data = append(b.data, data...)
			b.records++
			return
		}
	}
	own := data[:len(data):len(data)] // more is appended to a copy
	x.bad = append(x.bad, refusal{reason, detail, own, 1})
}

// isMarker tells whether a time is that of Fluent Bit's group markers: second
// 2^32-1 begins a group, 2^32-2 ends it.
func isMarker(t []byte) bool {
	if len(t) != 10 || t[0] != 0xd7 || t[1] != 0 {
		return false
	}
	return binary.BigEndian.Uint32(t[2:]) >= 0xfffffffe && binary.BigEndian.Uint32(t[6:]) == 0
}

// refusedParts are the parts of a batch that its listener could not use.
func refusedParts(b *Batch) []refusal {
	if len(b.Refused) == 0 {
		return nil
	}
	out := make([]refusal, len(b.Refused))
	for i, p := range b.Refused {
		out[i] = refusal{reason: p.Reason, detail: p.Detail, data: p.Data, records: 1}
	}
	return out
}

var (
	errNoField = errors.New("no field to keep")
	errValue   = errors.New("value is no text")
)

func fieldReason(err error) string {
	if errors.Is(err, errNoField) {
		return "no-field"
	}
	return "bad-value"
}
