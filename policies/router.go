package policies

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"weir/catalog"
	"weir/streams"
	"weir/tags"
)

// maxRoutes bounds how many tags are remembered with their policy and stream.
const maxRoutes = 16 << 10

// A Router keeps batches. All methods are safe for concurrent use.
type Router struct {
	rules   []*rule
	names   map[string]*rule
	streams *streams.Store
	catalog *catalog.Store // may be nil
	routes  *lru.Cache[target, *route]
	now     func() time.Time
	log     *slog.Logger
	scratch sync.Pool
	dead    atomic.Pointer[streams.Stream] // of what no policy took
	tally   tally
}

// A rule is a policy at work.
type rule struct {
	Policy
	pattern *Pattern
	grammar *tags.Grammar // nil for none
	dedupe  []byte        // Dedupe, for keys
	dead    atomic.Pointer[streams.Stream]
	counts  counts
}

// A target is what a batch asks for: a policy by name, or empty, and a tag.
type target struct{ policy, tag string }

// A route is where batches of a target go. rule is nil where no policy takes
// the tag; stream is set once it is bound.
type route struct {
	rule    *rule
	name    string        // of the stream
	id      []byte        // the tag, for keys
	meaning *tags.Meaning // nil without a grammar
	// admitted is one more than the epoch of the catalog in which it took the
	// data.
	admitted atomic.Uint64
	stream   atomic.Pointer[streams.Stream]
}

// New checks the policies and makes a router.
func New(o Options) (*Router, error) {
	if len(o.Policies) == 0 {
		o.Policies = []Policy{Default()}
	}
	r := &Router{
		names: make(map[string]*rule), streams: o.Streams, catalog: o.Catalog,
		now: o.Now, log: cmp.Or(o.Log, slog.New(slog.DiscardHandler)),
	}
	if r.now == nil {
		r.now = time.Now
	}
	for _, p := range o.Policies {
		if err := r.addRule(p); err != nil {
			return nil, err
		}
	}
	r.scratch.New = func() any { return new(work) }
	var err error
	r.routes, err = lru.New[target, *route](maxRoutes)
	return r, err
}

func (r *Router) addRule(p Policy) error {
	bad := p.Validate()
	if keys := slices.Sorted(maps.Keys(bad)); len(keys) > 0 {
		return fmt.Errorf("policies: policy %q: %s: %w", p.Name, keys[0], bad[keys[0]])
	}
	if r.names[p.Name] != nil {
		return fmt.Errorf("policies: two policies are named %q: rename one", p.Name)
	}
	pattern, err := ParsePattern(p.Match)
	if err != nil {
		return err
	}
	p.Keep, p.Dedupe = cmp.Or(p.Keep, Verbatim), cmp.Or(p.Dedupe, DedupeChunk)
	ru := &rule{Policy: p, pattern: pattern, dedupe: []byte(p.Dedupe)}
	if p.Grammar != nil {
		if ru.grammar, err = p.Grammar.Compile(); err != nil {
			return err
		}
	}
	r.rules, r.names[p.Name] = append(r.rules, ru), ru
	return nil
}

// Policies lists the policies in order.
func (r *Router) Policies() []Policy {
	out := make([]Policy, len(r.rules))
	for i, ru := range r.rules {
		out[i] = ru.Policy
	}
	return out
}

// Policy gives a policy by name.
func (r *Router) Policy(name string) (Policy, bool) {
	if ru := r.names[name]; ru != nil {
		return ru.Policy, true
	}
	return Policy{}, false
}

// Route gives the policy that takes a tag.
func (r *Router) Route(tag string) (Policy, bool) {
	if checkTag(tag) != nil {
		return Policy{}, false
	}
	if rt, err := r.find(target{tag: tag}); err == nil {
		return rt.rule.Policy, true
	}
	return Policy{}, false
}

// find gives the route of a target, or ErrTag, ErrUnknownPolicy or ErrUnmatched.
// With an error of the policy's grammar it also gives the route, for the
// policy's dead letters.
func (r *Router) find(t target) (*route, error) {
	rt, ok := r.routes.Get(t)
	if !ok {
		if err := checkTag(t.tag); err != nil {
			return nil, err
		}
		tag := strings.Clone(t.tag) // the caller's bytes may be gone after Keep
		rt = &route{name: tag, id: []byte(tag), rule: r.names[t.policy]}
		if t.policy == "" {
			rt.rule = r.match(tag)
		} else if rt.rule == nil {
			return nil, r.unknown(t.policy)
		}
		name := ""
		if t.policy != "" {
			name = rt.rule.Name
		}
		if err := rt.read(tag); err != nil {
			return rt, err
		}
		r.routes.Add(target{policy: name, tag: tag}, rt)
	}
	if rt.rule == nil {
		return nil, r.unmatched(t.tag)
	}
	return rt, nil
}

// match gives the first rule whose pattern matches; nil when none does.
func (r *Router) match(tag string) *rule {
	for _, ru := range r.rules {
		if ru.pattern.Match(tag) {
			return ru
		}
	}
	return nil
}

// checkTag tells whether a tag can name a stream.
func checkTag(tag string) error {
	switch {
	case tag == "":
		return fmt.Errorf("%w: it is empty: name the stream that the data belongs to", ErrTag)
	case len(tag) > streams.MaxName:
		return fmt.Errorf("%w: %.40q… has %d bytes: use at most %d", ErrTag, tag, len(tag), streams.MaxName)
	case tag[0] == '_':
		return fmt.Errorf("%w: %q begins with _, which is kept for weir's own streams: use another name", ErrTag, short(tag))
	}
	return nil
}

func (r *Router) unknown(name string) error {
	return fmt.Errorf("%w %q: there are %s", ErrUnknownPolicy, short(name), r.list(func(p Policy) string { return p.Name }))
}

func (r *Router) unmatched(tag string) error {
	return fmt.Errorf("%w %q: the policies match %s: use such a tag, or add a policy",
		ErrUnmatched, short(tag), r.list(func(p Policy) string { return p.Name + " (" + p.Match + ")" }))
}

// list names the policies for an error, the first ten of them.
func (r *Router) list(f func(Policy) string) string {
	var names []string
	for i, ru := range r.rules {
		if i == 10 {
			names = append(names, fmt.Sprintf("and %d more", len(r.rules)-i))
			break
		}
		names = append(names, short(f(ru.Policy)))
	}
	return strings.Join(names, ", ")
}

// short cuts a text that a peer chose, for errors.
func short(s string) string {
	if len(s) <= 200 {
		return s
	}
	return s[:200] + "…"
}
