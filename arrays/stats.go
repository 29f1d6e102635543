package arrays

import (
	"maps"
	"sync"
)

// Stats counts since Open.
type Stats struct {
	Groups          int64 // that are there now
	Rows            int64
	Bytes           int64 // of streams that were decoded
	Commits         int64
	Refused         int64            // parts of streams that could not be used
	RefusedByReason map[string]int64 // by Refusal.Reason

	CacheBytes, CacheHits, CacheMisses int64
}

// Stats gives the counters.
func (s *Store) Stats() Stats {
	st := s.stats.get()
	st.CacheBytes, st.CacheHits, st.CacheMisses = s.cache.stats()
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Groups = int64(len(s.names))
	return st
}

// counters are the Stats of commits.
type counters struct {
	mu sync.Mutex
	st Stats
}

// add counts a commit.
func (c *counters) add(rows, bytes int64, refused map[string]int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.st.Rows += rows
	c.st.Bytes += bytes
	c.st.Commits++
	for reason, n := range refused {
		if c.st.RefusedByReason == nil {
			c.st.RefusedByReason = map[string]int64{}
		}
		c.st.RefusedByReason[reason] += n
		c.st.Refused += n
	}
}

func (c *counters) get() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.st
	st.RefusedByReason = maps.Clone(st.RefusedByReason)
	return st
}
