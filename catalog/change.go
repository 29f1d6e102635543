package catalog

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// Kinds of resources.
const (
	KindSupply    = "supplies"
	KindProduct   = "products"
	KindIngestion = "ingestions"
)

// maxReference bounds a reference, in bytes.
const maxReference = 512

// Define makes a supply, or gives one that there is new products and texts;
// its state stays then, but that a request brings back a deleted one. An empty
// State is validated.
func (s *Store) Define(v Supply) (Supply, error) {
	if v.State == "" {
		v.State = Validated
	}
	if err := v.Validate(); err != nil {
		return Supply{}, err
	}
	v.Products = slices.Clone(v.Products)
	if v.Products == nil {
		v.Products = []string{}
	}
	err := s.update(func(t *tx) error {
		old := t.supply(v.Reference)
		if old == nil || old.State == Deleted && v.Origin == FromRequest {
			t.newSupply(v)
			t.follow(v)
			t.turns = true
			return nil
		}
		same := slices.Equal(old.Products, v.Products) && old.Title == v.Title &&
			old.Source == v.Source && old.Destination == v.Destination && old.Project == v.Project
		if same {
			return nil
		}
		v.State, v.Created = old.State, old.Created
		t.putSupply(v)
		t.newProducts(v.Products, v.Origin)
		t.turns = true
		return nil
	})
	if err != nil {
		return Supply{}, err
	}
	return s.Supply(v.Reference)
}

// Validate says what is wrong with a supply that somebody defines: ErrInvalid.
// An empty State is validated.
func (v Supply) Validate() error {
	for what, reference := range map[string][]string{"reference": {v.Reference}, "product": v.Products} {
		for _, r := range reference {
			if r == "" || len(r) > maxReference || !utf8.ValidString(r) || strings.ContainsFunc(r, func(c rune) bool { return c < ' ' || c == 0x7f }) {
				return fmt.Errorf("%w: the %s %q must be a text in UTF-8 of 1 to %d bytes without control characters", ErrInvalid, what, short(r), maxReference)
			}
		}
	}
	if v.State != "" && supplySteps[v.State] == nil {
		return fmt.Errorf("%w: the state %q of the supply %q: write %s, %s, %s or %s", ErrInvalid, short(v.State), short(v.Reference), Draft, Validated, Default, Invalidated)
	}
	return nil
}

// Act takes a resource of a kind to another state: validate, default,
// invalidate, delete; plan, confirm, start, stop, deliver, cancel. It is
// ErrNotFound, or ErrConflict where the resource's state has no such step.
func (s *Store) Act(kind, key, action string) error {
	return s.update(func(t *tx) error {
		switch kind {
		case KindSupply:
			return t.actSupply(key, action)
		case KindProduct:
			return t.actProduct(key, action)
		case KindIngestion:
			return t.actIngestion(key, action)
		}
		return fmt.Errorf("catalog: %s %w", kind, ErrNotFound)
	})
}

// step gives the state after an action, or ErrConflict with those that are
// possible.
func step(steps map[string]map[string]string, what, state, action string) (string, error) {
	if to := steps[state][action]; to != "" {
		return to, nil
	}
	possible := "nothing"
	if list := slices.Sorted(maps.Keys(steps[state])); len(list) > 0 {
		possible = strings.Join(list, ", ")
	}
	return "", fmt.Errorf("%w: %s is %s and cannot %q: possible is %s", ErrConflict, what, state, short(action), possible)
}

func (t *tx) actSupply(reference, action string) error {
	old := t.supply(reference)
	if old == nil {
		return fmt.Errorf("catalog: data supply %q %w", short(reference), ErrNotFound)
	}
	to, err := step(supplySteps, "the data supply "+old.Reference, old.State, action)
	if err != nil {
		return err
	}
	v := *old
	v.State = to
	t.putSupply(v)
	t.follow(v)
	t.turns = true
	return nil
}

// follow stops a supply's ingestions when it goes, and starts those again when
// it is back.
func (t *tx) follow(v Supply) {
	for _, id := range t.ofSupply(v.Reference) {
		i := *t.ingestion(id)
		switch {
		case v.State == Invalidated && i.State == Started:
			i.State, i.Held = Stopped, true
		case v.State == Validated && i.State == Stopped && i.Held:
			i.State, i.Held = Started, false
			t.wake(i)
		default:
			continue
		}
		t.putIngestion(i)
	}
}

func (t *tx) actProduct(reference, action string) error {
	old := t.product(reference)
	if old == nil {
		return fmt.Errorf("catalog: data product %q %w", short(reference), ErrNotFound)
	}
	to, err := step(productSteps, "the data product "+old.Reference, old.State, action)
	if err != nil {
		return err
	}
	v := *old
	v.State = to
	t.putProduct(v)
	t.turns = true
	return nil
}

func (t *tx) actIngestion(id, action string) error {
	old := t.ingestion(id)
	if old == nil {
		return fmt.Errorf("catalog: data ingestion %q %w", short(id), ErrNotFound)
	}
	to, err := step(ingestionSteps, "the data ingestion "+old.ID, old.State, action)
	if err != nil {
		return err
	}
	if c := t.current(old.Reference); to == Started && c != nil && c.ID != id {
		return fmt.Errorf("%w: the data ingestion %s stands for %q now: deliver it first", ErrConflict, c.ID, short(old.Reference))
	}
	v := *old
	v.State, v.Held = to, false
	if to == Started {
		t.wake(v)
	}
	t.putIngestion(v)
	t.turns = true
	return nil
}

// wake notes the streams of an ingestion that starts.
func (t *tx) wake(i Ingestion) {
	for _, l := range i.Lines {
		t.started = append(t.started, l.Stream)
	}
}
