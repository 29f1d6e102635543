package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"sync"
	"time"

	"weir/internal/metrics"
	"weir/jobs"
	"weir/policies"
	"weir/streams"
)

// actionExpire gives up what of streams is beyond the retention of their policies.
const actionExpire = "expire"

// retains tells whether a policy limits what is kept.
func (s *Server) retains() bool {
	for _, p := range s.router.Policies() {
		if p.Retention != (streams.Limit{}) {
			return true
		}
	}
	return false
}

// leastLogAge keeps a short retention from folding all the time.
const leastLogAge = time.Minute

// logAge is how long what is appended may stay in the shared log, so that it
// can be given up in time: as with chunk files, an eighth of the least age.
func logAge(list []policies.Policy) (least time.Duration) {
	for _, p := range list {
		if age := max(p.Retention.Age/8, leastLogAge); p.Retention.Age > 0 && (least == 0 || age < least) {
			least = age
		}
	}
	return least
}

// A retained counts what was given up, by policy.
type retained struct {
	mu       sync.Mutex
	policies map[string]metrics.Retention
}

func (r *retained) stats() map[string]metrics.Retention {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.policies)
}

// change changes the counts of a policy.
func (r *retained) change(policy string, by func(*metrics.Retention)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.policies == nil {
		r.policies = map[string]metrics.Retention{}
	}
	one := r.policies[policy]
	by(&one)
	r.policies[policy] = one
}

// expireOrder is the payload of a job.
type expireOrder struct {
	DryRun bool `json:"dryRun"` // tells what would go
}

func readExpireOrder(payload string) (o expireOrder, err error) {
	if payload == "" {
		return o, nil
	}
	d := json.NewDecoder(strings.NewReader(payload))
	d.DisallowUnknownFields()
	if err := d.Decode(&o); err != nil {
		return o, fmt.Errorf(`the payload %q is not understood: leave it out, or write {"dryRun":true}: %w`, payload, err)
	}
	return o, nil
}

const (
	// expireTogether is how many streams are trimmed by one change of the manifest.
	expireTogether = 500
	// expireTold is how many streams a job lists as affected.
	expireTold = 1000
)

// expire gives up what of the target, of all streams without one, is beyond the
// retention of its policy, some streams at a time.
func (s *Server) expire(ctx context.Context, r *jobs.Run) (int, error) {
	order, err := readExpireOrder(r.Job.Payload)
	if err != nil {
		return 1, err
	}
	names, err := s.targets(r)
	if err != nil {
		return 1, err
	}
	e := &expiry{s: s, run: r, dry: order.DryRun, now: time.Now(), held: map[string]int64{}}
	for i, name := range names {
		if err := ctx.Err(); err != nil {
			return 1, context.Cause(ctx)
		}
		if err := e.look(name); err != nil { // the others need not wait for this one
			e.failed++
			r.Print(fmt.Sprintf("%s%s: %v", target, name, err))
		}
		if len(e.plans) < expireTogether && i < len(names)-1 {
			continue
		}
		if err := e.trim(ctx, 100*i/len(names)); err != nil {
			return 1, err
		}
	}
	if r.Job.Target == nil && !order.DryRun {
		for _, p := range s.router.Policies() {
			if p.Retention != (streams.Limit{}) {
				s.retained.change(p.Name, func(c *metrics.Retention) { c.Held = e.held[p.Name] })
			}
		}
	}
	return e.end()
}

// An expiry is one run of the action.
type expiry struct {
	s   *Server
	run *jobs.Run
	dry bool
	now time.Time

	plans   []expirePlan // not done yet
	limited int          // streams whose policy limits what is kept
	bytes   int64        // that went
	trimmed []jobs.Reference
	more    int              // streams beside those of trimmed
	failed  int              // streams that could not be looked at
	held    map[string]int64 // by policy
}

// An expirePlan is what of a stream goes.
type expirePlan struct {
	streams.Cut
	policy string
	begin  int64 // until now
}

// look plans what of a stream goes.
func (e *expiry) look(name string) error {
	st, ok := e.s.streams.Stream(name)
	if !ok || strings.HasPrefix(name, "_") { // weir's own are read from their first byte
		return nil
	}
	p, _ := e.s.router.Of(st)
	if p.Retention == (streams.Limit{}) || p.Keep == policies.Buckets || p.Keep == policies.Messages {
		return nil
	}
	e.limited++
	state := st.State()
	upto := state.Length
	if p.Array != nil {
		var err error
		if upto, err = e.s.arrays.Needs(name, state.Generation, *p.Array); err != nil {
			return err
		}
	}
	cut, held := st.Over(p.Retention, upto, e.now)
	if cut.Generation != state.Generation { // it was replaced meanwhile, and its array has read nothing of it
		return nil
	}
	if isLines(p) && cut.Before > state.Begin {
		at, err := lineStart(st, cut.Generation, cut.Before, min(upto, st.Folded()))
		if err != nil && !errors.Is(err, streams.ErrGeneration) {
			return err
		}
		cut.Before = max(at, state.Begin)
	}
	if held > 0 {
		e.held[p.Name] += held
		e.run.Print(fmt.Sprintf("%s%s: %d bytes stay, for its array is at byte %d", target, name, held, upto))
	}
	if cut.Before > state.Begin || cut.Seal {
		e.plans = append(e.plans, expirePlan{cut, p.Name, state.Begin})
	}
	return nil
}

// trim does what is planned.
func (e *expiry) trim(ctx context.Context, percent int) error {
	cuts := make([]streams.Cut, len(e.plans))
	for i, p := range e.plans {
		cuts[i] = p.Cut
	}
	if !e.dry && len(cuts) > 0 {
		if err := e.s.streams.Trim(ctx, cuts); err != nil {
			return err
		}
	}
	for _, p := range e.plans {
		e.count(p)
	}
	e.plans = e.plans[:0]
	return e.run.Update(jobs.Change{Progress: &percent, Affected: e.trimmed})
}

// count notes what became of a plan.
func (e *expiry) count(p expirePlan) {
	begin, what := p.Before, "would be"
	if !e.dry {
		state := p.Stream.State()
		if begin, what = state.Begin, "were"; state.Generation != p.Generation {
			return
		}
	}
	n := begin - p.begin
	if n <= 0 {
		return
	}
	name := target + p.Stream.Name()
	e.run.Print(fmt.Sprintf("%s: %d bytes %s given up; it begins at byte %d", name, n, what, begin))
	e.bytes += n
	if len(e.trimmed) == expireTold {
		e.more++
	} else {
		e.trimmed = append(e.trimmed, jobs.Reference{Href: name})
	}
	if !e.dry {
		e.s.retained.change(p.policy, func(c *metrics.Retention) { c.Trimmed += n })
	}
}

// end says what was done.
func (e *expiry) end() (int, error) {
	var held int64
	for _, n := range e.held {
		held += n
	}
	what := "given up"
	if e.dry {
		what = "to be given up"
	}
	if e.failed > 0 {
		return 2, fmt.Errorf("%d of %d streams could not be looked at, see the log; of the others %d bytes were %s", e.failed, e.limited, e.bytes, what)
	}
	return say(e.run, nil, "%d bytes of %d streams %s, of %d with a retention; %d bytes wait for arrays", e.bytes, len(e.trimmed)+e.more, what, e.limited, held)
}

// isLines tells whether what a policy keeps is read by lines.
func isLines(p policies.Policy) bool {
	return p.Keep == policies.Text || p.Array != nil && p.Array.Kind == "numbers"
}

// lineMost is how far the beginning of a line is looked for.
const lineMost = 8 << 20

// lineStart gives where the first line at or behind a byte begins, or 0 when
// none does before the end: a stream of lines begins with a whole one.
func lineStart(st *streams.Stream, generation uint64, from, end int64) (int64, error) {
	r, err := st.Reader(generation, from-1, min(end, from-1+lineMost))
	if err != nil {
		return 0, err
	}
	defer r.Close()
	buf := make([]byte, 64<<10)
	for at := from - 1; ; {
		n, err := r.Read(buf)
		if i := bytes.IndexByte(buf[:n], '\n'); i >= 0 {
			return at + int64(i) + 1, nil
		}
		if at += int64(n); err == io.EOF {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
	}
}
