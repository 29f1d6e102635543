package lake

import (
	"encoding/json"
	"errors"
	"fmt"

	"weir/internal/ledger"
	"weir/streams"
)

// Names of the lake's streams.
const (
	stateStream = "_lake"  // records
	filePrefix  = "_lake." // and a number: a file's bytes
)

// format is the version in the first record of a generation.
const format = 1

// replay reads the state.
func (l *Lake) replay() error {
	at := l.stream.State()
	if at.Length == 0 {
		return nil
	}
	r, err := l.stream.Reader(at.Generation, 0, at.Length)
	if err != nil {
		return err
	}
	defer r.Close()
	return ledger.Records(r, func(rec *record, n, length int) error {
		if err := ledger.CheckFormat(n, rec.Format, format); err != nil {
			return err
		}
		l.m.apply(rec)
		if n == 0 {
			l.base = int64(length)
		} else {
			l.grown += int64(length)
		}
		return nil
	})
}

// update computes a change and makes it durable, and then visible. One runs at
// a time. When it returns an error, nothing has changed. A nil change is none.
func (l *Lake) update(compute func(m *model) (*record, error)) error {
	l.write.Lock()
	defer l.write.Unlock()
	if l.broken != nil {
		return l.broken
	}
	c, err := compute(l.m) // nobody else writes it
	if err != nil || c == nil {
		return err
	}
	kept := c
	if l.stream.State().Length == 0 {
		first := newModel()
		first.apply(l.m.all())
		first.apply(c)
		kept = first.all()
	}
	n, err := l.append(kept, false)
	if err != nil {
		return err
	}
	l.read.Lock()
	l.m.apply(c)
	l.read.Unlock()
	l.grown += n
	l.compact()
	return nil
}

// view runs a reader on the model.
func (l *Lake) view(read func(m *model)) {
	l.read.RLock()
	defer l.read.RUnlock()
	read(l.m)
}

// append makes a record durable, or says that nothing of it was kept. What is
// in memory has to be what is on disk, so an unknown outcome is asked for
// until it is known, or the lake closes, which then changes nothing more.
func (l *Lake) append(r *record, reset bool) (int64, error) {
	line, err := json.Marshal(r)
	if err != nil {
		return 0, fmt.Errorf("lake: keep a change: %w", err)
	}
	rec := streams.Record{Stream: l.stream, Data: append(line, '\n'), Reset: reset}
	if err := ledger.Append(l.ctx, l.o.Streams, rec); err != nil {
		err = fmt.Errorf("lake: keep a change: %w", err)
		if errors.Is(err, streams.ErrUnknown) {
			l.broken = err
		}
		return 0, err
	}
	return int64(len(rec.Data)), nil
}

// compactFrom is the least number of bytes behind a snapshot that a new one
// replaces; it also has to be four times the snapshot.
const compactFrom = 1 << 20

// compact replaces the records by a snapshot when they have grown. Failing is
// no harm: the records are there.
func (l *Lake) compact() {
	if l.grown < max(compactFrom, 4*l.base) {
		return
	}
	n, err := l.append(l.m.all(), true)
	if err != nil {
		l.o.Log.Warn("the lake's state could not be shortened", "stream", stateStream, "error", err)
		l.grown = 0 // tried again when as much has come
		return
	}
	l.base, l.grown = n, 0
}
