package buckets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"weir/streams"
)

// ErrNotFound: the stream has no such bucket.
var ErrNotFound = errors.New("buckets: not found")

// A Store reads buckets, and ends them. It is safe for concurrent use.
type Store struct {
	streams *streams.Store
	now     func() time.Time
	indexes *lru.Cache[string, *index] // by stream
}

// mostIndexes bounds the streams whose index is in memory; one that is gone is
// read again when it is asked for.
const mostIndexes = 256

// New makes a store of the buckets in streams; now is the time of a deletion,
// nil is time.Now.
func New(s *streams.Store, now func() time.Time) *Store {
	if now == nil {
		now = time.Now
	}
	indexes, err := lru.New[string, *index](mostIndexes)
	if err != nil {
		panic("buckets: " + err.Error()) // only for a size below one
	}
	return &Store{streams: s, now: now, indexes: indexes}
}

// open gives the index of a stream, locked and up to date. Messages have an
// index of their own each.
func (s *Store) open(st *streams.Stream, messages bool) (*index, error) {
	x, ok := s.indexes.Get(st.Name())
	if !ok {
		x = &index{own: messages}
		if before, found, _ := s.indexes.PeekOrAdd(st.Name(), x); found {
			x = before
		}
	}
	x.mu.Lock()
	if err := x.follow(st); err != nil {
		x.mu.Unlock()
		return nil, err
	}
	return x, nil
}

// A Value is a bucket's value, to be read.
type Value struct {
	Item
	Generation uint64
	Offset     int64 // of the value's bytes in the stream
}

// Open gives a reader of the value.
func (v Value) Open(st *streams.Stream) (io.ReadCloser, error) {
	return st.Reader(v.Generation, v.Offset, v.Offset+v.Size)
}

// ByKey gives the newest value of a key, or ErrNotFound.
func (s *Store) ByKey(st *streams.Stream, messages bool, key string) (Value, error) {
	x, err := s.open(st, messages)
	if err != nil {
		return Value{}, err
	}
	defer x.mu.Unlock()
	i := x.newest(key)
	if i < 0 {
		return Value{}, fmt.Errorf("%w: stream %q has no bucket with the key %q", ErrNotFound, st.Name(), key)
	}
	return x.value(i), nil
}

// ByIndex gives the value that an index stands for, or ErrNotFound.
func (s *Store) ByIndex(st *streams.Stream, messages bool, i int) (Value, error) {
	x, err := s.open(st, messages)
	if err != nil {
		return Value{}, err
	}
	defer x.mu.Unlock()
	if i < 0 || i >= len(x.places) || x.places[i].deleted {
		return Value{}, fmt.Errorf("%w: stream %q has no bucket %d; %d came so far", ErrNotFound, st.Name(), i, len(x.places))
	}
	return x.value(i), nil
}

func (x *index) value(i int) Value {
	return Value{Item: x.item(i), Generation: x.generation, Offset: x.current(i).offset}
}

// A Range says which buckets a list has.
type Range struct {
	ByKey      bool   // in the order of keys, each once; else of indices
	Start      int    // the first index
	Stop       int    // the index after the last one
	FirstKey   string // with ByKey
	BeforeKey  string // with ByKey; "" is no bound
	Limit      int
	IsMessages bool // each index has a value of its own
}

// A List is a part of a stream's buckets.
type List struct {
	Keys    int // different keys of the stream
	Buckets int // indices of the stream that are not deleted
	Items   []Item
}

// List gives buckets of a stream.
func (s *Store) List(st *streams.Stream, r Range) (List, error) {
	x, err := s.open(st, r.IsMessages)
	if err != nil {
		return List{}, err
	}
	defer x.mu.Unlock()
	l := List{Keys: len(x.keys)}
	for _, all := range x.keys {
		l.Buckets += len(all)
	}
	if r.ByKey {
		l.Items = x.byKey(r.FirstKey, r.BeforeKey, r.Limit)
	} else {
		l.Items = x.byIndex(r.Start, r.Stop, r.Limit)
	}
	return l, nil
}

// Delete ends a key with all its indices, durably, or gives ErrNotFound.
func (s *Store) Delete(ctx context.Context, st *streams.Stream, messages bool, key string) error {
	if _, err := s.ByKey(st, messages, key); err != nil {
		return err
	}
	rec := []streams.Record{{Stream: st, Data: appendDeleted(nil, s.now(), key)}}
	if err := s.streams.Append(ctx, rec, make([]streams.Result, 1)); err != nil {
		return fmt.Errorf("buckets: delete %q of stream %q: %w", key, st.Name(), err)
	}
	return nil
}
