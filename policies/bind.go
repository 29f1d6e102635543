package policies

import (
	"errors"
	"fmt"

	"weir/streams"
)

// Target gives the stream for an upload of raw bytes to a name, made when it
// is missing: ErrTag, ErrUnmatched or ErrConflict where it cannot be.
func (r *Router) Target(name string) (*streams.Stream, Policy, error) {
	rt, err := r.find(target{tag: name})
	if err != nil {
		return nil, Policy{}, err
	}
	if rt.name != name {
		return nil, Policy{}, fmt.Errorf("%w: policy %q keeps the tag %q in the stream %q: upload to that", ErrTag, rt.rule.Name, short(name), rt.name)
	}
	if p := rt.rule.Policy; p.Check == CheckEnvelope {
		return nil, Policy{}, fmt.Errorf("%w: policy %q keeps frames of the forward protocol (check: envelope), no files: use another name", ErrData, p.Name)
	}
	if p := rt.rule.Policy; p.Keep == Buckets || p.Keep == Messages {
		return nil, Policy{}, fmt.Errorf("%w: policy %q keeps %s, no files: ingest records, or use another name", ErrData, p.Name, p.Keep)
	}
	st, err := r.bind(rt)
	if err != nil {
		return nil, Policy{}, err
	}
	return st, rt.rule.Policy, nil
}

// Of gives the policy that a stream was made by, or that its name routes to
// where that policy is no more.
func (r *Router) Of(st *streams.Stream) (Policy, bool) {
	if p, ok := r.Policy(st.Label()); ok {
		return p, true
	}
	return r.Route(st.Name())
}

// bind gives the stream of a route and makes it when it is missing. A stream
// keeps the policy that made it: its bytes mean what that policy says.
func (r *Router) bind(rt *route) (*streams.Stream, error) {
	if err := r.admit(rt); err != nil {
		return nil, err
	}
	if st := rt.stream.Load(); st != nil {
		return st, nil
	}
	st, err := r.streams.Create(rt.name, rt.rule.Name)
	if errors.Is(err, streams.ErrName) {
		return nil, fmt.Errorf("%w: %w", ErrTag, err)
	}
	if err != nil {
		return nil, fmt.Errorf("policies: make stream %q: %w", rt.name, err)
	}
	if err := r.owned(rt, st); err != nil {
		return nil, err
	}
	rt.stream.Store(st)
	return st, nil
}

// owned is ErrConflict where a stream belongs to another policy than its route's.
func (r *Router) owned(rt *route, st *streams.Stream) error {
	owner := st.Label()
	if owner == rt.rule.Name || r.inherits(rt.rule, owner) {
		return nil
	}
	return fmt.Errorf("%w: stream %q was made by policy %q and policy %q cannot add to it: use another tag, or change the order or the patterns of the policies",
		ErrConflict, short(rt.name), owner, rt.rule.Name)
}

// inherits tells whether a rule goes on with streams of an owner that is not
// configured: those of nobody, and those of the default policy where the bytes
// mean the same.
func (r *Router) inherits(ru *rule, owner string) bool {
	if r.names[owner] != nil {
		return false
	}
	return owner == "" || owner == Default().Name && ru.Policy.Keep == Default().Keep
}

// Claims gives the policies from which a batch for a named policy would take a
// tag: those that would take it by their pattern, or the name of the stream
// that would be made. None where the stream is there: it has its policy.
func (r *Router) Claims(policy, tag string) []string {
	rt, err := r.find(target{policy: policy, tag: tag})
	if err != nil {
		return nil // nothing is made of it
	}
	if _, there := r.streams.Stream(rt.name); there {
		return nil
	}
	var others []string
	for _, name := range []string{tag, rt.name} {
		if ru := r.match(name); ru != nil && ru != rt.rule {
			others = append(others, ru.Name)
		}
	}
	return others
}
