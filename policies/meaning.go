package policies

import (
	"fmt"

	"weir/catalog"
)

// read takes the tag apart, where the policy has a grammar.
func (rt *route) read(tag string) error {
	if rt.rule == nil || rt.rule.grammar == nil {
		return nil
	}
	m, err := rt.rule.grammar.Read(tag)
	if err != nil {
		return fmt.Errorf("%w for policy %q: %w", ErrTag, rt.rule.Name, err)
	}
	if err := checkTag(m.Stream); err != nil {
		return err
	}
	rt.name, rt.meaning = m.Stream, &m
	return nil
}

// arrival is what the catalog is asked.
func (rt *route) arrival() catalog.Arrival {
	m := rt.meaning
	return catalog.Arrival{Supply: m.Supply, Product: m.Product, Ingestion: m.Ingestion,
		Stream: rt.name, Policy: rt.rule.Name, Unknown: rt.rule.Unknown}
}

// admit asks the catalog whether data of the route is taken: once, and again
// when the catalog changes.
func (r *Router) admit(rt *route) error {
	if r.catalog == nil || rt.meaning == nil {
		return nil
	}
	epoch := r.catalog.Epoch() + 1
	if rt.admitted.Load() == epoch {
		return nil
	}
	if err := r.catalog.Admit(rt.arrival()); err != nil {
		return fmt.Errorf("policies: tag of policy %q: %w", rt.rule.Name, err)
	}
	rt.admitted.Store(epoch)
	return nil
}

// Announce makes the supply, product and ingestion that data of a tag will need,
// as far as its policy makes them by itself; the errors are those of Keep.
func (r *Router) Announce(tag string) error {
	rt, err := r.find(target{tag: tag})
	if err != nil {
		return err
	}
	return r.admit(rt)
}

// wouldAdmit is admit, and changes nothing.
func (r *Router) wouldAdmit(rt *route) error {
	if r.catalog == nil || rt.meaning == nil {
		return nil
	}
	return r.catalog.WouldAdmit(rt.arrival())
}

// Takes tells whether data of a tag would be taken: nil, or the error that
// Keep would give. policy is a name, or empty to route.
func (r *Router) Takes(policy, tag string) error {
	rt, err := r.find(target{policy: policy, tag: tag})
	if err != nil {
		return err
	}
	if err := r.wouldAdmit(rt); err != nil {
		return err
	}
	return r.ownedNow(rt)
}
