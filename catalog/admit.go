package catalog

import (
	"fmt"
	"slices"
	"strings"
)

// An Arrival is data of a tag that wants to be taken.
type Arrival struct {
	Supply, Product, Ingestion string // references that the tag names
	Stream, Policy             string // where the data would go
	// Unknown lets supplies and products be made that there are not.
	Unknown bool
}

// Admit finds the ingestion that takes the data, or makes it from its supply.
// It is ErrUnknownSupply, ErrUnknownProduct or ErrState where nothing takes
// it, and ErrFull where tags have made too much. As in Wendelin an ingestion that was stopped goes on to take data, and
// a supply that was invalidated makes no new one.
func (s *Store) Admit(a Arrival) error {
	s.mu.RLock()
	known := s.state.takes(a)
	s.mu.RUnlock()
	if known {
		return nil
	}
	return s.update(func(t *tx) error { return t.admit(a) })
}

// takes tells whether the data is the supply's own ingestion's, of a line that
// is there.
func (t *state) takes(a Arrival) bool {
	i, p := t.ingestions[t.live[a.Ingestion]], t.products[a.Product]
	return i != nil && i.takes() && i.Supply == a.Supply && i.has(a.Product, a.Stream) && p != nil && p.State == Validated
}

func (t *tx) admit(a Arrival) error {
	supply, err := t.supplyOf(a)
	if err != nil {
		return err
	}
	if err := t.checkProduct(a, supply); err != nil {
		return err
	}
	i := t.current(a.Ingestion)
	own := i != nil && i.Supply == a.Supply // else the supply's state counts
	switch {
	case i != nil && !i.takes():
		return fmt.Errorf("%w: the data ingestion %s is %s: start it", ErrState, i.ID, i.State)
	case !own && supply != nil && supply.State == Deleted:
		return fmt.Errorf("%w: the data supply %q is deleted: define it again (PUT /api/supplies/%s)", ErrState, short(a.Supply), short(a.Supply))
	case !own && supply != nil && supply.State != Validated && supply.State != Default:
		return fmt.Errorf("%w: the data supply %q is %s: validate it", ErrState, a.Supply, supply.State)
	}
	if err := t.room(a, supply, i); err != nil {
		return err
	}
	// From here on nothing fails.
	if supply == nil {
		t.newSupply(Supply{Reference: a.Supply, State: Validated, Products: []string{a.Product}, Origin: FromTag})
		supply = t.supply(a.Supply)
	} else if !supplies(supply, a.Product) {
		grown := *supply
		grown.Products = append(slices.Clone(supply.Products), a.Product)
		t.putSupply(grown)
	}
	t.newProducts([]string{a.Product}, FromTag)
	if i == nil {
		i = &Ingestion{ID: t.newID(a.Ingestion), Reference: a.Ingestion, Supply: a.Supply, State: Started, Created: t.now,
			Source: supply.Source, Destination: supply.Destination, Project: supply.Project}
		if supply.State == Default {
			i.State = Draft
		}
	}
	if !i.has(a.Product, a.Stream) {
		grown := *i
		grown.Lines = append(slices.Clone(i.Lines), Line{Product: a.Product, Stream: a.Stream, Policy: a.Policy, Created: t.now})
		t.putIngestion(grown)
	}
	return nil
}

// supplyOf gives the supply; nil is one to be made.
func (t *tx) supplyOf(a Arrival) (*Supply, error) {
	supply := t.supply(a.Supply)
	if supply == nil && !a.Unknown {
		return nil, fmt.Errorf("%w %q: define it (PUT /api/supplies/%s, or supplies in the configuration), or let the policy %q take unknown ones",
			ErrUnknownSupply, short(a.Supply), short(a.Supply), a.Policy)
	}
	return supply, nil
}

// checkProduct tells whether data of the product may come from the supply.
func (t *tx) checkProduct(a Arrival, supply *Supply) error {
	if p := t.product(a.Product); p != nil && p.State != Validated {
		return fmt.Errorf("%w: the data product %q is %s: validate it", ErrState, short(a.Product), p.State)
	}
	if supply == nil || supplies(supply, a.Product) || a.Unknown {
		return nil
	}
	return fmt.Errorf("%w %q of the supply %q, which has %s: add it, or let the policy %q take unknown ones",
		ErrUnknownProduct, short(a.Product), short(a.Supply), listed(supply.Products), a.Policy)
}

func supplies(s *Supply, product string) bool {
	return slices.Contains(s.Products, product) || slices.Contains(s.Products, AnyProduct)
}

// listed names a few products for an error.
func listed(products []string) string {
	if len(products) == 0 {
		return "none"
	}
	if len(products) > 10 {
		return strings.Join(products[:10], ", ") + " and more"
	}
	return strings.Join(products, ", ")
}

// short cuts a text that a peer chose, for errors.
func short(s string) string {
	if len(s) <= 200 {
		return s
	}
	return s[:200] + "…"
}

// WouldAdmit tells what Admit would say, and changes nothing.
func (s *Store) WouldAdmit(a Arrival) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.state.takes(a) {
		return nil
	}
	return s.newTx().admit(a)
}
