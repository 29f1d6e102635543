package catalog

import (
	"reflect"
	"slices"
	"time"
)

// A grown is what came to the end of a resource's list: lines of an ingestion,
// by its id, or products of a supply, by its reference.
type grown struct {
	Ingestion string    `json:"ingestion,omitempty"`
	Lines     []Line    `json:"lines,omitempty"`
	Supply    string    `json:"supply,omitempty"`
	Products  []string  `json:"products,omitempty"`
	Modified  time.Time `json:"modified"`
}

// supplyGrowth gives what made a supply what it is now; nil where more changed
// than that products came.
func supplyGrowth(before, now *Supply) *grown {
	if before == nil || !extends(now.Products, before.Products) {
		return nil
	}
	rest := *now
	rest.Products, rest.Modified = before.Products, before.Modified
	if !reflect.DeepEqual(rest, *before) {
		return nil
	}
	return &grown{Supply: now.Reference, Products: now.Products[len(before.Products):], Modified: now.Modified}
}

// ingestionGrowth is supplyGrowth for the lines of an ingestion.
func ingestionGrowth(before, now *Ingestion) *grown {
	if before == nil || !extends(now.Lines, before.Lines) {
		return nil
	}
	rest := *now
	rest.Lines, rest.Modified = before.Lines, before.Modified
	if !reflect.DeepEqual(rest, *before) {
		return nil
	}
	return &grown{Ingestion: now.ID, Lines: now.Lines[len(before.Lines):], Modified: now.Modified}
}

func extends[T comparable](now, before []T) bool {
	return len(now) > len(before) && slices.Equal(now[:len(before)], before)
}

// grow makes what came part of the state. The lists of resources that somebody
// holds stay as they are: what is appended is behind their end.
func (t *state) grow(g *grown) {
	if s := t.supplies[g.Supply]; s != nil {
		now := *s
		now.Products, now.Modified = append(s.Products, g.Products...), g.Modified
		t.supplies[g.Supply] = &now
	}
	if i := t.ingestions[g.Ingestion]; i != nil {
		now := *i
		now.Lines, now.Modified = append(i.Lines, g.Lines...), g.Modified
		t.ingestions[g.Ingestion] = &now
		t.place(now.ID, g.Lines)
	}
}

// place notes which ingestion has lines for which streams.
func (t *state) place(id string, lines []Line) {
	for _, l := range lines {
		if !slices.Contains(t.byStream[l.Stream], id) {
			t.byStream[l.Stream] = append(t.byStream[l.Stream], id)
		}
	}
}
