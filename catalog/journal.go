package catalog

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"weir/internal/ledger"
	"weir/streams"
)

// StreamName is the stream that holds the catalog.
const StreamName = "_catalog"

// An event is one line of the journal: a resource, new or changed, whole, or
// what came to one.
type event struct {
	Supply    *Supply    `json:"supply,omitempty"`
	Product   *Product   `json:"product,omitempty"`
	Ingestion *Ingestion `json:"ingestion,omitempty"`
	Grown     *grown     `json:"grown,omitempty"`
}

// eventsOf gives an event for each resource, in order of the keys. The order
// means nothing: of a reference at most one ingestion is live after all of them.
func eventsOf(supplies map[string]*Supply, products map[string]*Product, ingestions map[string]*Ingestion) (events []event) {
	for _, r := range slices.Sorted(maps.Keys(supplies)) {
		events = append(events, event{Supply: supplies[r]})
	}
	for _, r := range slices.Sorted(maps.Keys(products)) {
		events = append(events, event{Product: products[r]})
	}
	for _, id := range slices.Sorted(maps.Keys(ingestions)) {
		events = append(events, event{Ingestion: ingestions[id]})
	}
	return events
}

// events gives those of a commit. Of a resource that only grew there is
// what came to it: to write an ingestion anew for each of its lines would take
// time and space with the square of their number.
func (t *tx) events() []event {
	events := eventsOf(t.supplies, t.products, t.ingestions)
	for n, e := range events {
		switch {
		case e.Supply != nil:
			if g := supplyGrowth(t.before.supplies[e.Supply.Reference], e.Supply); g != nil {
				events[n] = event{Grown: g}
			}
		case e.Ingestion != nil:
			if g := ingestionGrowth(t.before.ingestions[e.Ingestion.ID], e.Ingestion); g != nil {
				events[n] = event{Grown: g}
			}
		}
	}
	return events
}

// replay gives the events of a stream in order.
func replay(st *streams.Stream, log *slog.Logger, each func(event)) error {
	bad := func(line []byte, err error) {
		log.Error("a line of the catalog cannot be read and is left out", "stream", StreamName,
			"line", string(line[:min(len(line), 200)]), "error", err)
	}
	if err := ledger.Events(st, each, bad); err != nil {
		return fmt.Errorf("catalog: %w", err)
	}
	return nil
}

// write makes events durable, or says that none of them was kept. With reset
// they take the place of all before.
func (s *Store) write(events []event, reset bool) error {
	var lines bytes.Buffer
	for _, e := range events {
		ledger.Line(&lines, e)
	}
	return ledger.Append(s.ctx, s.o.Streams, streams.Record{Stream: s.stream, Data: lines.Bytes(), Reset: reset})
}
