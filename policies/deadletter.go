package policies

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/tinylib/msgp/msgp"

	"weir/streams"
)

// deadName begins the names of the dead letter streams, and is their label.
const deadName = "_dead"

// DeadLetter keeps bytes that could not be used, once for each ID, in the
// stream "_dead.POLICY" as one msgpack entry [time, {reason, detail, policy,
// tag, peer, stream, generation, offset, length, data}].
func (r *Router) DeadLetter(ctx context.Context, d Dead) error {
	ru := r.names[d.Policy]
	st, err := r.deadStream(ru)
	if err != nil {
		return err
	}
	rec := streams.Record{Stream: st, Data: d.appendTo(nil, r.now())}
	if len(d.ID) > 0 {
		rec.Key = streams.KeyOf([]byte("dead letter"), []byte(d.Policy), d.ID)
	}
	var res [1]streams.Result
	if err := r.streams.Append(ctx, []streams.Record{rec}, res[:]); err != nil {
		return fmt.Errorf("policies: append to stream %q: %w", st.Name(), err)
	}
	if !res[0].Duplicate {
		r.countDead(claim{rule: ru, reason: d.Reason, records: 1, bytes: int64(len(d.Data)), dead: &d})
	}
	return nil
}

// bury adds the dead letters of a batch to the work.
func (r *Router) bury(w *work, i int, b *Batch, k *Kept, ru *rule, id []byte, parts []refusal) {
	if len(parts) == 0 {
		return
	}
	st, err := r.deadStream(ru)
	if err != nil {
		k.Err = err
		return
	}
	for n, p := range parts {
		r.tell(p.reason, p.detail, b)
		d := Dead{Tag: b.Tag, Peer: b.Peer, Reason: p.reason, Detail: p.detail, Data: p.data}
		if ru != nil {
			d.Policy = ru.Name
		}
		rec := streams.Record{Stream: st, Data: d.appendTo(nil, r.now())}
		if len(id) > 0 {
			key := [][]byte{[]byte("dead part"), []byte(b.Policy), []byte(b.Tag), id, []byte(p.reason), strconv.AppendInt(nil, int64(n), 10)}
			if ru != nil && ru.Dedupe == DedupeContent { // id is of the entries alone
				key = append(key, p.data)
			}
			rec.Key = streams.KeyOf(key...)
		}
		w.add(rec, claim{batch: i, rule: ru, records: int64(p.records), reason: p.reason, bytes: int64(len(p.data)), dead: &d})
	}
}

// deadStream gives the dead letter stream of a rule, or of what no policy took.
func (r *Router) deadStream(ru *rule) (*streams.Stream, error) {
	at, name := &r.dead, deadName
	if ru != nil {
		at, name = &ru.dead, deadName+"."+ru.Name
	}
	return r.deadAt(at, name)
}

func (r *Router) deadAt(at *atomic.Pointer[streams.Stream], name string) (*streams.Stream, error) {
	if st := at.Load(); st != nil {
		return st, nil
	}
	st, err := r.streams.Create(name, deadName)
	if err != nil {
		return nil, fmt.Errorf("policies: make stream %q: %w", name, err)
	}
	at.Store(st)
	return st, nil
}

// appendTo appends the letter as docs/format/dead-letter.md draws it.
func (d Dead) appendTo(dst []byte, now time.Time) []byte {
	dst = append(dst, 0x92, 0xd7, 0x00)
	dst = binary.BigEndian.AppendUint32(dst, uint32(now.Unix()))
	dst = binary.BigEndian.AppendUint32(dst, uint32(now.Nanosecond()))
	dst = msgp.AppendMapHeader(dst, 10)
	for _, f := range [...]struct{ key, value string }{
		{"reason", d.Reason}, {"detail", d.Detail}, {"policy", d.Policy},
		{"tag", d.Tag}, {"peer", d.Peer}, {"stream", d.Stream},
	} {
		dst = msgp.AppendString(msgp.AppendString(dst, f.key), f.value)
	}
	dst = msgp.AppendUint64(msgp.AppendString(dst, "generation"), d.Generation)
	dst = msgp.AppendInt64(msgp.AppendString(dst, "offset"), d.Offset)
	dst = msgp.AppendInt64(msgp.AppendString(dst, "length"), d.Length)
	return msgp.AppendBytes(msgp.AppendString(dst, "data"), d.Data)
}
