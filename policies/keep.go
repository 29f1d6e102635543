package policies

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"weir/streams"
)

// work is what one call of Keep needs; it is used again.
type work struct {
	recs   []streams.Record
	res    []streams.Result
	claims []claim           // one for each of recs
	text   []byte            // of the batches that are not kept as they came
	asked  target            // of the batch before
	route  *route            // where that goes; nil when nowhere
	made   []*streams.Staged // of large bodies
}

// maxIdle is the largest buffer that is kept for the next call.
const maxIdle = 1 << 20

// A claim says what a record of an append is.
type claim struct {
	batch   int
	rule    *rule // nil for what no policy took
	records int64
	reason  string // of a dead letter; empty for the batch's own data
	bytes   int64  // refused, without the envelope
	dead    *Dead  // what the log tells of a dead letter
}

// Keep stores batches with one commit and writes what became of b[i] to
// kept[i]; it returns when all of it is durable or has an Err. With accepted
// an unmatched tag, or data that the policy cannot use, goes to the dead
// letters, for senders that cannot be told; without, it is an Err and nothing
// is kept of that batch.
func (r *Router) Keep(ctx context.Context, b []Batch, kept []Kept, accepted bool) {
	w := r.scratch.Get().(*work)
	for i := range b {
		kept[i] = Kept{}
		r.prepare(w, i, &b[i], &kept[i], accepted)
	}
	r.commit(ctx, w, kept)
	for _, made := range w.made {
		made.Discard()
	}
	w.reset()
	r.scratch.Put(w)
}

func (w *work) reset() {
	clear(w.recs)
	clear(w.res)
	clear(w.claims)
	w.recs, w.res, w.claims, w.text = w.recs[:0], w.res[:0], w.claims[:0], w.text[:0]
	w.asked, w.route = target{}, nil
	clear(w.made)
	w.made = w.made[:0]
	if cap(w.text) > maxIdle {
		w.text = nil
	}
}

// prepare adds the records of one batch to the work, or sets its Err.
func (r *Router) prepare(w *work, i int, b *Batch, k *Kept, accepted bool) {
	rt, err := w.find(r, target{policy: b.Policy, tag: b.Tag})
	var ru *rule
	if rt != nil {
		ru = rt.rule
		k.Policy = ru.Name
	}
	var out extracted
	if err == nil {
		out, err = ru.extract(w, b)
	}
	if err == nil && !accepted {
		err = firstRefused(ru, b, out)
	}
	if err == nil && (len(out.data) > 0 || out.body != nil) {
		k.Stream, err = r.bind(rt)
	}
	if err != nil {
		r.refuse(w, i, b, k, ru, err, accepted)
		return
	}
	id := identity(ru, b)
	if k.Stream != nil {
		rec := streams.Record{Stream: k.Stream, Data: out.data, Body: out.body}
		if len(id) > 0 {
			rec.Key = streams.KeyOf(ru.dedupe, rt.id, id)
		}
		w.add(rec, claim{batch: i, rule: ru, records: int64(out.records)})
	}
	r.bury(w, i, b, k, ru, id, append(out.bad, refusedParts(b)...))
}

// find is Router.find, which is not asked again for batches of one target that
// follow each other.
func (w *work) find(r *Router, t target) (*route, error) {
	if w.route != nil && w.asked == t {
		return w.route, nil
	}
	rt, err := r.find(t)
	if err == nil {
		w.asked, w.route = t, rt
	}
	return rt, err
}

func (w *work) add(rec streams.Record, c claim) {
	w.recs, w.claims = append(w.recs, rec), append(w.claims, c)
}

// refuse gives a whole batch to the dead letters, or back to the sender where
// it can be told. What is no fault of the data is always told.
func (r *Router) refuse(w *work, i int, b *Batch, k *Kept, ru *rule, err error, accepted bool) {
	reason := reasonOf(err)
	if errors.Is(err, ErrUnmatched) {
		r.tally.unmatched.add(short(b.Tag))
	}
	if !accepted || reason == "" {
		k.Err, k.Stream = err, nil
		if reason == "" {
			reason = failureOf(err)
		}
		r.CountRefused(reason, int64(b.Records), size(b))
		r.tell(reason, err.Error(), b)
		return
	}
	k.Stream = nil
	whole := refusal{reason: reason, detail: err.Error(), data: b.Entries, records: b.Records}
	r.bury(w, i, b, k, ru, identity(ru, b), append([]refusal{whole}, refusedParts(b)...))
}

// commit appends the work and says what became of it.
func (r *Router) commit(ctx context.Context, w *work, kept []Kept) {
	if len(w.recs) == 0 {
		return
	}
	w.res = append(w.res, make([]streams.Result, len(w.recs))...)
	err := r.streams.Append(ctx, w.recs, w.res)
	failed := false
	for j := range w.res {
		failed = failed || w.res[j].Err != nil
	}
	for j, c := range w.claims {
		if err != nil && !failed {
			w.res[j].Err = err
		}
		r.settle(&kept[c.batch], c, w.recs[j], w.res[j])
	}
}

// tell logs a refusal, the more rarely the more there are of its reason.
func (r *Router) tell(reason, detail string, b *Batch) {
	if n, now := r.tally.told.add(reason); now {
		args := []any{"reason", reason, "times", n, "tag", short(b.Tag), "peer", b.Peer}
		if b.Claim != "" {
			args = append(args, "hostname", b.Claim)
		}
		r.log.Warn("data refused", append(args, "detail", detail)...)
	}
}

// settle writes the outcome of one record.
func (r *Router) settle(k *Kept, c claim, rec streams.Record, res streams.Result) {
	n := int64(len(rec.Data))
	if rec.Body != nil {
		n = rec.Body.Length()
	}
	if res.Err != nil {
		k.Err = errors.Join(k.Err, fmt.Errorf("policies: append to stream %q: %w", rec.Stream.Name(), res.Err))
		r.CountRefused(failureOf(res.Err), c.records, n)
		return
	}
	if c.reason != "" {
		k.Dead++
		if k.Stream == nil {
			k.Duplicate = res.Duplicate
		}
		if !res.Duplicate {
			r.countDead(c)
		}
		return
	}
	k.Generation, k.Offset, k.Length, k.Duplicate = res.Generation, res.Offset, n, res.Duplicate
	c.rule.counts.add(c.records, n, res.Duplicate)
}

// identity is what tells a batch that came before from a new one; nil where
// nothing does.
func identity(ru *rule, b *Batch) []byte {
	if ru == nil || ru.Dedupe != DedupeContent {
		return b.ID
	}
	if b.Body != nil {
		sum := b.Body.SHA256()
		return sum[:]
	}
	sum := sha256.Sum256(b.Entries)
	return sum[:]
}

// firstRefused is the error for a sender that can be told of a part that is
// not usable.
func firstRefused(ru *rule, b *Batch, out extracted) error {
	for _, bad := range append(out.bad, refusedParts(b)...) {
		if bad.reason != reasonMarker {
			return fmt.Errorf("%w for policy %q: %s", ErrData, ru.Name, bad.detail)
		}
	}
	return nil
}

// size is the number of bytes that a batch brought.
func size(b *Batch) int64 {
	n := int64(len(b.Entries))
	if b.Body != nil {
		n = b.Body.Length()
	}
	for _, p := range b.Refused {
		n += int64(len(p.Data))
	}
	return n
}
