package httpapi

import (
	"context"
	"sync"

	"weir/streams"
)

// A watch tells those who wait that a stream grew. It follows the store only
// while somebody waits.
type watch struct {
	store *streams.Store

	mu      sync.Mutex
	waiters map[*streams.Stream]map[chan struct{}]struct{}
	n       int
	changes *streams.Changes // nil while nobody waits
}

func newWatch(s *streams.Store) *watch {
	return &watch{store: s, waiters: map[*streams.Stream]map[chan struct{}]struct{}{}}
}

// join gives a channel that holds a token when the stream grew since the last
// one was taken, and what ends that. What came before join is not told.
func (w *watch) join(st *streams.Stream) (grew <-chan struct{}, leave func()) {
	c := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.changes == nil {
		w.changes = w.store.Changes()
		go w.follow(w.changes)
	}
	if w.waiters[st] == nil {
		w.waiters[st] = map[chan struct{}]struct{}{}
	}
	w.waiters[st][c] = struct{}{}
	w.n++
	return c, func() { w.leave(st, c) }
}

func (w *watch) leave(st *streams.Stream, c chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.waiters[st], c)
	if len(w.waiters[st]) == 0 {
		delete(w.waiters, st)
	}
	if w.n--; w.n == 0 {
		w.changes.Close()
		w.changes = nil
	}
}

// follow hands on what grew until nobody waits, or the store is closed.
func (w *watch) follow(changes *streams.Changes) {
	for {
		grown, err := changes.Next(context.Background())
		if err != nil {
			return
		}
		w.mu.Lock()
		for _, st := range grown {
			for c := range w.waiters[st] {
				select {
				case c <- struct{}{}:
				default:
				}
			}
		}
		w.mu.Unlock()
	}
}

// waiting is how many wait.
func (w *watch) waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.n
}
