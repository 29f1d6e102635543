package httpapi

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// counters count answers by route and class of status.
// The map is complete from the start; a request that could not be read has no
// route.
type counters map[*route]*[6]atomic.Int64

func newCounters() counters {
	c := counters{nil: new([6]atomic.Int64)}
	for _, r := range allRoutes() {
		c[r] = new([6]atomic.Int64)
	}
	return c
}

func (c counters) answer(r *route, status int) {
	c[r][min(max(status/100, 0), 5)].Add(1)
}

// byRoute gives the answers of each class by the route's name; "" is no route.
func (c counters) byRoute() map[string][6]int64 {
	all := make(map[string][6]int64, len(c))
	for r, classes := range c {
		var n [6]int64
		for i := range classes {
			n[i] = classes[i].Load()
		}
		if r == nil {
			all[""] = n
		} else {
			all[r.name] = n
		}
	}
	return all
}

// refusals count requests that lost data, by reason, and keep the log short.
type refusals struct {
	mu sync.Mutex
	n  map[string]int64
	// told is when a reason was last logged, and silent how often it came since.
	told   map[string]time.Time
	silent map[string]int64
}

func (r *refusals) add(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n == nil {
		r.n = map[string]int64{}
	}
	r.n[reason]++
}

// logEvery is how often one reason is logged at most.
const logEvery = 10 * time.Second

// tell says whether to log a reason now, and how often it came unlogged.
func (r *refusals) tell(reason string, now time.Time) (silent int64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.told == nil {
		r.told, r.silent = map[string]time.Time{}, map[string]int64{}
	}
	if now.Sub(r.told[reason]) < logEvery {
		r.silent[reason]++
		return 0, false
	}
	silent = r.silent[reason]
	r.told[reason], r.silent[reason] = now, 0
	return silent, true
}

func (r *refusals) all() map[string]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.n)
}

// Stats counts since New.
type Stats struct {
	// Refused counts requests that brought data and were refused before they
	// came to a policy, by reason.
	Refused map[string]int64
	// Answers by route ("ingest", "upload", "stream", …) and class of status
	// (2 for 2xx); requests that could not be read have the route "".
	Answers map[string][6]int64
	// Connections open now, and those refused because there were too many.
	Connections, Rejected int64
	// BodyBytes are the bytes of bodies in memory now.
	BodyBytes int64
}

// Stats gives the counters.
func (s *Server) Stats() Stats {
	return Stats{
		Refused:     s.refusals.all(),
		Answers:     s.count.byRoute(),
		Connections: int64(s.http.GetOpenConnectionsCount()),
		Rejected:    int64(s.http.GetRejectedConnectionsCount()),
		BodyBytes:   s.budget.used(),
	}
}
