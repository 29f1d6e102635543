package server

import (
	"context"
	"sync"

	"weir/forward"
	"weir/policies"
)

// keeper hands the messages of the forward protocol to the policies. Its
// return value is the acknowledgement.
type keeper struct {
	router *policies.Router
	pool   sync.Pool // of *batches
}

// batches is what one call of Keep needs.
type batches struct {
	in  []policies.Batch
	out []policies.Kept
}

func newKeeper(r *policies.Router) *keeper {
	return &keeper{router: r, pool: sync.Pool{New: func() any { return new(batches) }}}
}

// Keep returns how many of the messages, from the first on, are durable.
func (k *keeper) Keep(ctx context.Context, peer *forward.Peer, msgs []forward.Message) (int, error) {
	b := k.pool.Get().(*batches)
	defer k.put(b)
	from := peer.Addr.String()
	for i := range msgs {
		b.in = append(b.in, batch(&msgs[i], from, b.in))
		b.in[i].Claim = peer.Hostname
	}
	if cap(b.out) < len(msgs) {
		b.out = make([]policies.Kept, len(msgs))
	}
	b.out = b.out[:len(msgs)]
	k.router.Keep(ctx, b.in, b.out, true)
	for i := range b.out {
		if err := b.out[i].Err; err != nil {
			return i, err
		}
	}
	return len(msgs), nil
}

// put gives a call's memory back, without what it points to.
func (k *keeper) put(b *batches) {
	clear(b.in)
	clear(b.out)
	b.in = b.in[:0]
	k.pool.Put(b)
}

// batch is the policies' form of a message. Metrics and traces are no
// entries: no policy takes them, so they are kept as dead letters, whole.
func batch(m *forward.Message, from string, before []policies.Batch) policies.Batch {
	b := policies.Batch{Tag: tagOf(m.Tag, before), Entries: m.Entries, Records: m.Records, ID: m.Chunk, Peer: from}
	if m.Envelope != nil {
		b.Entries, b.Framed = m.Envelope, true
	}
	if m.Signal != 0 {
		b.Entries, b.Records = nil, 0
		b.Refused = append(b.Refused, policies.Refused{Reason: "signal", Detail: signal(m.Signal), Data: m.Entries})
	}
	for _, bad := range m.Bad {
		b.Refused = append(b.Refused, policies.Refused{Reason: bad.Reason, Detail: bad.Detail, Data: bad.Data})
	}
	return b
}

// tagOf makes a string of a tag, or reuses the one of the message before.
func tagOf(tag []byte, before []policies.Batch) string {
	if n := len(before); n > 0 && before[n-1].Tag == string(tag) {
		return before[n-1].Tag
	}
	return string(tag)
}

func signal(s int) string {
	switch s {
	case 1:
		return "metrics of Fluent Bit are no log entries; send logs, or metrics as records"
	case 2:
		return "traces of Fluent Bit are no log entries; send logs"
	}
	return "the message carries a signal that is no log"
}
