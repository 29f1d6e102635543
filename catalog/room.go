package catalog

import "fmt"

// Limits bound what tags make, so that a sender whose tags are all different
// fills neither memory nor the journal.
type limits struct {
	each  int // supplies, products, and ingestions that are live
	lines int // of an ingestion, and products of a supply, which an event repeats
}

var usual = limits{each: 100_000, lines: 4096}

// room is ErrFull where the data needs one more of what tags have made too
// much. What a commit changes counts as new, so that it ends a little early.
func (t *tx) room(a Arrival, s *Supply, i *Ingestion) error {
	full := func(before, now int) bool { return before+now >= t.most.each }
	const look = "%w: there are %d %s: look whether the tags of policy %q are what they should be, "
	switch {
	case s == nil && full(len(t.before.supplies), len(t.supplies)):
		return fmt.Errorf(look+"and define the data supply %q if it is (PUT /api/supplies/%s)", ErrFull, t.most.each, "data supplies", a.Policy, short(a.Supply), short(a.Supply))
	case t.product(a.Product) == nil && full(len(t.before.products), len(t.products)):
		return fmt.Errorf(look+"and define a data supply with the product %q if it is", ErrFull, t.most.each, "data products", a.Policy, short(a.Product))
	case i == nil && full(len(t.before.live), len(t.live)):
		return fmt.Errorf(look+"and deliver ingestions that have ended", ErrFull, t.most.each, "data ingestions", a.Policy)
	case s != nil && !supplies(s, a.Product) && len(s.Products) >= t.most.lines:
		return fmt.Errorf("%w: the data supply %q has %d products: define it with the product \"*\", which is any", ErrFull, short(a.Supply), len(s.Products))
	case i != nil && !i.has(a.Product, a.Stream) && len(i.Lines) >= t.most.lines:
		return fmt.Errorf("%w: the data ingestion %s has %d lines: deliver it, and a new one begins", ErrFull, short(i.ID), len(i.Lines))
	}
	return nil
}
