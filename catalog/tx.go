package catalog

import (
	"fmt"
	"slices"
	"time"

	"weir/internal/ledger"
)

// A tx is the state as the changes of one commit make it.
type tx struct {
	now        time.Time
	before     *state
	most       limits
	supplies   map[string]*Supply
	products   map[string]*Product
	ingestions map[string]*Ingestion
	live       map[string]string
	turns      bool     // what may be taken changes
	started    []string // streams
}

func (s *Store) newTx() *tx {
	return &tx{now: s.o.Now().UTC(), before: &s.state, most: s.most, supplies: map[string]*Supply{}, products: map[string]*Product{},
		ingestions: map[string]*Ingestion{}, live: map[string]string{}}
}

func (t *tx) supply(reference string) *Supply {
	return ledger.Latest(t.supplies, t.before.supplies, reference)
}

func (t *tx) product(reference string) *Product {
	return ledger.Latest(t.products, t.before.products, reference)
}

func (t *tx) ingestion(id string) *Ingestion {
	return ledger.Latest(t.ingestions, t.before.ingestions, id)
}

// current gives the live ingestion of a reference; nil where there is none.
func (t *tx) current(reference string) *Ingestion {
	id, ok := t.live[reference]
	if !ok {
		id = t.before.live[reference]
	}
	if id == "" {
		return nil
	}
	return t.ingestion(id)
}

func (t *tx) putSupply(v Supply) {
	v.Modified = t.now
	t.supplies[v.Reference] = &v
}

func (t *tx) putProduct(v Product) {
	v.Modified = t.now
	t.products[v.Reference] = &v
}

func (t *tx) putIngestion(v Ingestion) {
	v.Modified = t.now
	t.ingestions[v.ID] = &v
	if v.live() {
		t.live[v.Reference] = v.ID
	} else if c := t.current(v.Reference); c != nil && c.ID == v.ID {
		t.live[v.Reference] = ""
	}
}

// newSupply makes a supply and those of its products that there are not.
func (t *tx) newSupply(v Supply) {
	v.Created = t.now
	t.putSupply(v)
	t.newProducts(v.Products, v.Origin)
}

func (t *tx) newProducts(references []string, origin string) {
	for _, r := range references {
		if r != AnyProduct && t.product(r) == nil {
			t.putProduct(Product{Reference: r, State: Validated, Origin: origin, Created: t.now})
		}
	}
}

// newID gives the id of a new ingestion of today.
func (t *tx) newID(reference string) string {
	id := t.now.Format("20060102-") + reference
	for n := 2; t.ingestion(id) != nil; n++ {
		id = fmt.Sprintf("%s%s-%d", t.now.Format("20060102-"), reference, n)
	}
	return id
}

// ofSupply gives the ids of a supply's ingestions, those of this commit too.
func (t *tx) ofSupply(reference string) []string {
	ids := slices.Clone(t.before.bySupply[reference])
	for id, i := range t.ingestions {
		if i.Supply == reference && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}
