package policies

import (
	"maps"
	"math/bits"
	"sync"
	"sync/atomic"
)

const (
	maxReasons   = 256 // different reasons that are counted
	maxUnmatched = 256 // tags without a policy that are counted
)

// counts are the counters of one policy.
type counts struct{ batches, records, bytes, duplicates, dead atomic.Int64 }

func (c *counts) add(records, bytes int64, duplicate bool) {
	c.batches.Add(1)
	if duplicate {
		c.duplicates.Add(1)
		return
	}
	c.records.Add(records)
	c.bytes.Add(bytes)
}

// A tally counts what was refused.
type tally struct {
	mu        sync.Mutex
	refused   map[string]Count
	unmatched frequent // by tag
	told      frequent // by reason
}

// CountRefused counts what a listener refused before it came to a batch.
func (r *Router) CountRefused(reason string, records, bytes int64) {
	r.countRefused(reason, records, bytes, nil)
}

// countRefused counts, and logs when the bytes have doubled: where from, when
// that is known.
func (r *Router) countRefused(reason string, records, bytes int64, d *Dead) {
	t := &r.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.refused == nil {
		t.refused = make(map[string]Count)
	}
	if _, ok := t.refused[reason]; !ok && len(t.refused) >= maxReasons {
		reason = "other"
	}
	c := t.refused[reason]
	if before := c.Bytes; bits.Len64(uint64(before)) != bits.Len64(uint64(before+bytes)) {
		about := []any{"reason", reason, "records", c.Records + records, "bytes", before + bytes}
		if d != nil {
			about = append(about, "policy", d.Policy, "tag", short(d.Tag), "peer", d.Peer, "detail", short(d.Detail))
		}
		r.log.Warn("data refused", about...)
	}
	c.Records += records
	c.Bytes += bytes
	t.refused[reason] = c
}

// countDead counts a dead letter.
func (r *Router) countDead(c claim) {
	r.countRefused(c.reason, c.records, c.bytes, c.dead)
	if c.rule != nil {
		c.rule.counts.dead.Add(1)
	}
}

// Stats gives the counters.
func (r *Router) Stats() Stats {
	s := Stats{Policies: make(map[string]PolicyStats, len(r.rules)), Refused: map[string]Count{}}
	for _, ru := range r.rules {
		c := &ru.counts
		s.Policies[ru.Name] = PolicyStats{
			Batches: c.batches.Load(), Records: c.records.Load(), Bytes: c.bytes.Load(),
			Duplicates: c.duplicates.Load(), Dead: c.dead.Load(),
		}
	}
	r.tally.mu.Lock()
	maps.Copy(s.Refused, r.tally.refused)
	r.tally.mu.Unlock()
	s.Unmatched = r.tally.unmatched.list()
	return s
}

// frequent counts names in bounded memory by the space-saving rule: a new
// name takes the place, and the count, of the rarest. A count is too high by
// at most that of the rarest name; the most frequent are always there.
type frequent struct {
	mu     sync.Mutex
	counts map[string]int64
}

// add counts a name, and tells whether its count is a power of two now.
func (f *frequent) add(name string) (n int64, power bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.counts == nil {
		f.counts = make(map[string]int64)
	}
	n, ok := f.counts[name]
	if !ok && len(f.counts) >= maxUnmatched {
		rarest := ""
		for k, c := range f.counts {
			if rarest == "" || c < n {
				rarest, n = k, c
			}
		}
		delete(f.counts, rarest)
	}
	f.counts[name] = n + 1
	return n + 1, bits.OnesCount64(uint64(n+1)) == 1
}

func (f *frequent) list() map[string]int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.counts)
}
