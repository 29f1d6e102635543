package catalog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"weir/internal/ledger"
	"weir/streams"
)

// Options of a Store. Streams must be set.
type Options struct {
	Streams *streams.Store
	// Started hears of streams whose ingestion takes up its work again, before
	// the change is answered.
	Started func(streams []string)
	Now     func() time.Time // default time.Now
	Log     *slog.Logger     // default discards
}

// A Store keeps the catalog durably: each change is an event in a stream, and
// is answered when it is on disk. All methods are safe for concurrent use.
type Store struct {
	o        Options
	stream   *streams.Stream
	epoch    atomic.Uint64
	ctx      context.Context
	stop     context.CancelFunc
	in       *ledger.Changes[tx]
	most     limits
	snapshot int64 // the length, in bytes, of the last one

	mu    sync.RWMutex // guards what is durable
	state state
}

// A state is all resources. They are replaced, never changed.
type state struct {
	supplies   map[string]*Supply
	products   map[string]*Product
	ingestions map[string]*Ingestion // by id
	live       map[string]string     // ids by reference
	byStream   map[string][]string   // ids of ingestions with a line for it
	bySupply   map[string][]string   // ids
}

// Open replays the catalog of a stream store.
func Open(o Options) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Store{o: o, most: usual, in: ledger.NewChanges[tx](ErrClosed), state: state{
		supplies: map[string]*Supply{}, products: map[string]*Product{}, ingestions: map[string]*Ingestion{},
		live: map[string]string{}, byStream: map[string][]string{}, bySupply: map[string][]string{}}}
	var err error
	if s.stream, err = o.Streams.Create(StreamName, ""); err != nil {
		return nil, fmt.Errorf("catalog: open: %w", err)
	}
	if err := replay(s.stream, o.Log, s.state.apply); err != nil {
		return nil, err
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	go s.in.Commit(s.ctx, s.commit)
	return s, nil
}

// Close ends the store; changes under way are made durable or refused. The
// stream store stays open.
func (s *Store) Close() error {
	if s.in.Close() {
		s.stop()
	}
	s.in.Wait()
	return nil
}

// Epoch grows when what may be taken changes: an answer of Admit holds as long
// as it is the same.
func (s *Store) Epoch() uint64 { return s.epoch.Load() }

// apply makes an event part of the state.
func (t *state) apply(e event) {
	switch {
	case e.Grown != nil:
		t.grow(e.Grown)
	case e.Supply != nil:
		t.supplies[e.Supply.Reference] = e.Supply
	case e.Product != nil:
		t.products[e.Product.Reference] = e.Product
	case e.Ingestion != nil:
		i := e.Ingestion
		before := t.ingestions[i.ID]
		t.ingestions[i.ID] = i
		if before == nil {
			t.bySupply[i.Supply] = append(t.bySupply[i.Supply], i.ID)
			before = new(Ingestion)
		}
		fresh := i.Lines
		if extends(fresh, before.Lines) || slices.Equal(fresh, before.Lines) {
			fresh = fresh[len(before.Lines):]
		}
		t.place(i.ID, fresh)
		if i.live() {
			t.live[i.Reference] = i.ID
		} else if t.live[i.Reference] == i.ID {
			delete(t.live, i.Reference)
		}
	}
}

// update makes a change durable. apply runs alone; it must not change the tx
// when it fails.
func (s *Store) update(apply func(*tx) error) error { return s.in.Do(apply) }

// commit computes changes one after another, makes them durable with one
// append, and only then shows them.
func (s *Store) commit(list []*ledger.Change[tx]) {
	t := s.newTx()
	ledger.Compute(list, t)
	var err error
	events := t.events() // what changed twice is there once
	if len(events) > 0 {
		err = s.write(events, false)
	}
	if err != nil {
		err = fmt.Errorf("catalog: keep a change: %w", err)
	} else {
		s.mu.Lock()
		for _, e := range events {
			s.state.apply(e)
		}
		s.mu.Unlock()
		if t.turns {
			s.epoch.Add(1)
		}
		if len(t.started) > 0 && s.o.Started != nil {
			s.o.Started(t.started)
		}
	}
	ledger.Answer(list, err)
	if err != nil {
		return
	}
	if ledger.MostlyHistory(s.stream.State().Length, s.snapshot) {
		s.compact()
	}
}

// compact puts a snapshot in place of the journal's history.
func (s *Store) compact() {
	events := eventsOf(s.state.supplies, s.state.products, s.state.ingestions)
	if err := s.write(events, true); err != nil && !errors.Is(err, streams.ErrClosed) {
		s.o.Log.Error("the catalog's journal could not be shortened", "stream", StreamName, "error", err)
	}
	s.snapshot = s.stream.State().Length
}

// page gives the values of up to limit keys after a key, in order.
func page[T any](s *Store, all map[string]*T, after string, limit int) []T {
	s.mu.RLock()
	defer s.mu.RUnlock()
	keys := make([]string, 0, len(all))
	for k := range all {
		if k > after {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, strings.Compare)
	list := make([]T, 0, min(limit, len(keys)))
	for _, k := range keys[:min(limit, len(keys))] {
		list = append(list, *all[k])
	}
	return list
}

func single[T any](s *Store, all map[string]*T, kind, key string) (T, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if v := all[key]; v != nil {
		return *v, nil
	}
	var none T
	return none, fmt.Errorf("catalog: %s %q %w", kind, key, ErrNotFound)
}

// Supplies lists supplies by reference.
func (s *Store) Supplies(after string, limit int) []Supply {
	return page(s, s.state.supplies, after, limit)
}

// Supply gives a supply, or ErrNotFound.
func (s *Store) Supply(reference string) (Supply, error) {
	return single(s, s.state.supplies, "data supply", reference)
}

// Products lists products by reference.
func (s *Store) Products(after string, limit int) []Product {
	return page(s, s.state.products, after, limit)
}

// Product gives a product, or ErrNotFound.
func (s *Store) Product(reference string) (Product, error) {
	return single(s, s.state.products, "data product", reference)
}

// Ingestions lists ingestions by id.
func (s *Store) Ingestions(after string, limit int) []Ingestion {
	return page(s, s.state.ingestions, after, limit)
}

// Ingestion gives an ingestion, or ErrNotFound.
func (s *Store) Ingestion(id string) (Ingestion, error) {
	return single(s, s.state.ingestions, "data ingestion", id)
}

// Runs tells whether what follows from a stream, such as an array, may go on:
// of a stream with ingestions one of them must be started.
func (s *Store) Runs(stream string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	ids := s.state.byStream[stream]
	for _, id := range ids {
		if s.state.ingestions[id].State == Started {
			return true
		}
	}
	return len(ids) == 0
}
