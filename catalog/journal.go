package catalog

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"time"

	"weir/streams"
)

// StreamName is the stream that holds the catalog.
const StreamName = "_catalog"

// An event is one line of the journal: a resource, new or changed, whole.
type event struct {
	Supply    *Supply    `json:"supply,omitempty"`
	Product   *Product   `json:"product,omitempty"`
	Ingestion *Ingestion `json:"ingestion,omitempty"`
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

// lines writes events as the journal has them.
func lines(events []event) []byte {
	var b bytes.Buffer
	for _, e := range events {
		line, err := json.Marshal(e)
		if err != nil {
			panic("catalog: encode: " + err.Error()) // texts and times alone
		}
		b.Write(line)
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// replay gives the events of a stream in order.
func replay(st *streams.Stream, log *slog.Logger, each func(event)) error {
	state := st.State()
	if state.Length == 0 {
		return nil
	}
	r, err := st.Reader(state.Generation, 0, state.Length)
	if err != nil {
		return fmt.Errorf("catalog: replay: %w", err)
	}
	defer r.Close()
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := in.ReadBytes('\n')
		var e event
		if len(line) > 0 {
			if bad := json.Unmarshal(line, &e); bad != nil {
				log.Error("a line of the catalog cannot be read and is left out", "stream", StreamName,
					"line", string(line[:min(len(line), 200)]), "error", bad)
			} else {
				each(e)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("catalog: replay of stream %s: %w", StreamName, err)
		}
	}
}

// Pauses between tries to learn the outcome of an append.
const (
	firstPause = 10 * time.Millisecond
	lastPause  = time.Second
)

// write makes events durable, or says that none of them was kept. With reset
// they take the place of all before.
func (s *Store) write(events []event, reset bool) error {
	var key streams.Key
	rand.Read(key[:]) // never fails
	rec := []streams.Record{{Stream: s.stream, Data: lines(events), Key: key, Reset: reset}}
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := s.o.Streams.Append(context.Background(), rec, make([]streams.Result, 1))
		if !errors.Is(err, streams.ErrUnknown) {
			return err
		}
		select { // memory must be what the disk is: ask until that is known
		case <-time.After(pause):
		case <-s.ctx.Done():
			return err
		}
	}
}
