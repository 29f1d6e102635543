package streams

import (
	"slices"
	"sort"
	"sync"
	"sync/atomic"
)

// Stats counts since Open.
type Stats struct {
	Streams, Records, Bytes, Duplicates, Refused int64
	Commits                                      int64
	CommitSeconds                                Histogram // one write and fdatasync
	FoldedBytes, TrimmedBytes, Segments          int64
	Keys                                         int64
	Failed                                       string // why appends fail now; empty when they do not
	FoldFailed                                   string // why the log is not moved to chunk files and grows; empty when it is
	Free                                         int64  // bytes free on the disk
	Recovery                                     Recovery
}

// A Recovery is what Open found.
type Recovery struct {
	Clean            bool // the last Close was orderly
	Records, Bytes   int64
	CutBytes         int64    // of a commit that was never acknowledged
	QuarantinedFiles []string // damaged parts, set aside
}

// A Histogram counts values in buckets; Bounds[i] is the upper bound of
// Counts[i], and the last of Counts, which has no bound, counts the rest.
type Histogram struct {
	Bounds []float64
	Counts []int64
	Sum    float64
}

type counters struct {
	records, bytes, commits, folded, trimmed atomic.Int64
}

// A timing is a histogram of seconds.
type timing struct {
	mu  sync.Mutex
	n   [len(timingBounds) + 1]int64
	sum float64
}

// timingBounds are the upper bounds of the buckets; the last bucket has none.
var timingBounds = [...]float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

func (t *timing) observe(v float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n[sort.SearchFloat64s(timingBounds[:], v)]++
	t.sum += v
}

func (t *timing) histogram() Histogram {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Histogram{Bounds: slices.Clone(timingBounds[:]), Counts: slices.Clone(t.n[:]), Sum: t.sum}
}

// Stats gives the counters.
func (s *Store) Stats() Stats {
	s.refreshFree()
	_, segments := s.log.counts()
	st := Stats{
		Streams: s.names.len(), Records: s.count.records.Load(), Bytes: s.count.bytes.Load(),
		Commits: s.count.commits.Load(), CommitSeconds: s.timing.histogram(),
		FoldedBytes: s.count.folded.Load(), TrimmedBytes: s.count.trimmed.Load(), Segments: int64(segments), Free: s.free.Load(),
	}
	if why := s.foldFailed.Load(); why != nil {
		st.FoldFailed = *why
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Duplicates, st.Refused, st.Keys = s.duplicates, s.refused, int64(s.keys.len())
	st.Recovery = s.recovery
	st.Recovery.QuarantinedFiles = slices.Clone(s.recovery.QuarantinedFiles)
	if s.failed != nil {
		st.Failed = s.failed.Error()
	} else if err := s.refusal(); err != nil {
		st.Failed = err.Error()
	}
	return st
}

// A notifier wakes all who wait.
type notifier struct {
	mu sync.Mutex
	ch chan struct{}
}

func (n *notifier) wait() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch == nil {
		n.ch = make(chan struct{})
	}
	return n.ch
}

func (n *notifier) notify() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch != nil {
		close(n.ch)
		n.ch = nil
	}
}
