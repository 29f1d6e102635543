package streams

import (
	"context"
	"sync"
)

// A Changes is a set of streams that grew since the last Next.
type Changes struct {
	store *Store
	mu    sync.Mutex
	grown map[*Stream]struct{}
	ready chan struct{} // holds one token while grown is not empty or all is over
	over  bool
}

// Changes begins to tell which streams grow. Close it when done.
func (s *Store) Changes() *Changes {
	c := &Changes{store: s, grown: map[*Stream]struct{}{}, ready: make(chan struct{}, 1)}
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	if s.watch.closed {
		c.end()
		return c
	}
	if s.watch.set == nil {
		s.watch.set = map[*Changes]struct{}{}
	}
	s.watch.set[c] = struct{}{}
	return c
}

type watchers struct {
	mu     sync.Mutex
	set    map[*Changes]struct{}
	closed bool
}

func (w *watchers) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for c := range w.set {
		c.end()
	}
}

// changed tells the watchers of a commit.
func (s *Store) changed(b *batch) {
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	for c := range s.watch.set {
		c.add(b)
	}
}

func (c *Changes) add(b *batch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range b.recs {
		c.grown[b.recs[i].st] = struct{}{}
	}
	c.signal()
}

func (c *Changes) signal() {
	select {
	case c.ready <- struct{}{}:
	default:
	}
}

// Next waits until a stream grew and gives all that did, each once. It gives
// ErrClosed after Close of the store or of c.
func (c *Changes) Next(ctx context.Context) ([]*Stream, error) {
	for {
		if err := drain(ctx, c.ready); err != nil {
			return nil, err
		}
		if list, err := c.takeAll(); err != nil || len(list) > 0 {
			return list, err
		}
	}
}

func (c *Changes) takeAll() ([]*Stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]*Stream, 0, len(c.grown))
	for st := range c.grown {
		list = append(list, st)
	}
	clear(c.grown)
	if c.over {
		c.signal()
		if len(list) == 0 {
			return nil, ErrClosed
		}
	}
	return list, nil
}

func (c *Changes) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	c.signal()
}

// Close ends the watch.
func (c *Changes) Close() {
	c.store.watch.mu.Lock()
	delete(c.store.watch.set, c)
	c.store.watch.mu.Unlock()
	c.end()
}
