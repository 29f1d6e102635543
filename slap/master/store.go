package master

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"weir/internal/ledger"
	"weir/streams"
)

// StateStream is the stream of the master's records. It holds what instances
// are told, which may be secret.
const StateStream = "_slap"

// format is the version in the first record of a generation.
const format = 1

// A record is one line of the stream.
type record struct {
	Format int `json:"format,omitempty"` // in a snapshot
	change
}

// A state is the durable model.
type state struct {
	stream *streams.Stream
	store  *streams.Store
	log    *slog.Logger
	now    func() time.Time

	write   sync.Mutex // one transaction at a time; before read
	pending *pending   // whose outcome is not known
	grown   int64      // bytes since the snapshot
	base    int64      // bytes of the snapshot

	read sync.RWMutex // guards model
	m    *model
}

// A pending record was handed to the store, which could not tell its outcome.
type pending struct {
	rec    streams.Record
	change *change
}

// openState reads the model from the store, or begins one.
func openState(store *streams.Store, log *slog.Logger, now func() time.Time) (*state, error) {
	stream, err := store.Create(StateStream, "")
	if err != nil {
		return nil, fmt.Errorf("slap: open state: %w", err)
	}
	s := &state{stream: stream, store: store, log: log, now: now, m: newModel()}
	at := stream.State()
	if at.Length == 0 {
		return s, nil
	}
	r, err := stream.Reader(at.Generation, 0, at.Length)
	if err != nil {
		return nil, fmt.Errorf("slap: open state: %w", err)
	}
	defer r.Close()
	if err := s.replay(r); err != nil {
		return nil, fmt.Errorf("slap: open state: %w; restore the data folder from a backup", err)
	}
	return s, nil
}

// replay applies the records of a generation.
func (s *state) replay(r io.Reader) error {
	return ledger.Records(r, func(rec *record, n, length int) error {
		if err := ledger.CheckFormat(n, rec.Format, format); err != nil {
			return err
		}
		s.m.apply(&rec.change)
		if n == 0 {
			s.base = int64(length)
		} else {
			s.grown += int64(length)
		}
		return nil
	})
}

// view runs a reader on the model.
func (s *state) view(read func(*tx)) {
	s.read.RLock()
	defer s.read.RUnlock()
	read(&tx{m: s.m, now: s.now().Unix()})
}

// update runs a transaction. When it returns nil, what the transaction wrote
// is durable; when it returns an error, nothing is, or, with
// streams.ErrUnknown, it is not known yet and decided before the next one.
func (s *state) update(ctx context.Context, run func(*tx) error) error {
	s.write.Lock()
	defer s.write.Unlock()
	if err := s.settle(ctx); err != nil {
		return err
	}
	t := &tx{m: s.m, now: s.now().Unix()} // no other goroutine writes the model
	if err := run(t); err != nil {
		return err
	}
	c := t.change()
	if c == nil {
		return nil
	}
	return s.commit(ctx, c)
}

// settle learns the outcome of a record that is not known.
func (s *state) settle(ctx context.Context) error {
	if s.pending == nil {
		return nil
	}
	res := make([]streams.Result, 1)
	if err := s.append(ctx, s.pending.rec, res); errors.Is(err, streams.ErrUnknown) || ctx.Err() != nil {
		return err
	} else if err == nil {
		s.publish(s.pending.change)
	}
	s.pending = nil
	return nil
}

func (s *state) append(ctx context.Context, rec streams.Record, res []streams.Result) error {
	err := s.store.Append(ctx, []streams.Record{rec}, res)
	if err == nil {
		err = res[0].Err
	}
	if err != nil {
		return fmt.Errorf("slap: keep a change: %w", err)
	}
	return nil
}

// commit makes a change durable and visible. Once it has begun, the end of
// the request that asked for it does not stop it.
func (s *state) commit(ctx context.Context, c *change) error {
	first := s.stream.State().Length == 0
	if first {
		all := newModel()
		all.apply(s.m.all())
		all.apply(c)
		c = all.all()
	}
	rec, err := s.record(c, first)
	if err != nil {
		return err
	}
	err = s.append(context.WithoutCancel(ctx), rec, make([]streams.Result, 1))
	if errors.Is(err, streams.ErrUnknown) {
		s.pending = &pending{rec, c}
	}
	if err != nil {
		return err
	}
	s.publish(c)
	s.grown += int64(len(rec.Data))
	s.compact(context.WithoutCancel(ctx))
	return nil
}

// record makes the line of a change, with a key by which the store knows it.
func (s *state) record(c *change, snapshot bool) (streams.Record, error) {
	r := record{change: *c}
	if snapshot {
		r.Format = format
	}
	line, err := json.Marshal(r)
	if err != nil {
		return streams.Record{}, fmt.Errorf("slap: keep a change: %w", err)
	}
	rec := streams.Record{Stream: s.stream, Data: append(line, '\n')}
	rand.Read(rec.Key[:]) // never fails
	return rec, nil
}

func (s *state) publish(c *change) {
	s.read.Lock()
	defer s.read.Unlock()
	s.m.apply(c)
}

// compactFrom is the least number of bytes behind a snapshot that a new one
// replaces; it also has to be four times the snapshot.
const compactFrom = 1 << 20

// compact replaces the stream by a snapshot when the records behind the last
// one have grown. Failing is no harm: the records are there.
func (s *state) compact(ctx context.Context) {
	if s.grown < max(compactFrom, 4*s.base) {
		return
	}
	c := s.m.all()
	rec, err := s.record(c, true)
	if err == nil {
		rec.Reset = true
		err = s.append(ctx, rec, make([]streams.Result, 1))
	}
	if errors.Is(err, streams.ErrUnknown) {
		s.pending = &pending{rec, c} // putting all rows again changes nothing
	}
	if err != nil {
		s.log.Warn("slap: snapshot", "error", err)
		s.grown = 0 // tried again when as much has come
		return
	}
	s.base, s.grown = int64(len(rec.Data)), 0
}
