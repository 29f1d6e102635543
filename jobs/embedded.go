package jobs

import (
	"container/heap"
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"
)

// An Embedded queue is the one in a Store: entries are durable, locks are the
// process's own and end with it.
type Embedded struct {
	store  *Store
	folder string // of its entries' paths

	mu      sync.Mutex
	entries map[string]string // id by path
	taken   map[string]bool
	lent    map[string]*time.Timer // taken by an executor that was lent them before this process began
	free    pathHeap               // paths that can be taken, and some that are gone
	change  chan struct{}          // closed when there is more to take
	waiting int
	closed  bool
}

func newEmbedded(s *Store, folder string) *Embedded {
	return &Embedded{store: s, folder: folder, entries: map[string]string{}, lent: map[string]*time.Timer{}, taken: map[string]bool{}, change: make(chan struct{})}
}

// pathHeap gives the least path first: priority, then number.
type pathHeap []string

func (h pathHeap) Len() int           { return len(h) }
func (h pathHeap) Less(i, j int) bool { return h[i] < h[j] }
func (h pathHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *pathHeap) Push(x any)        { *h = append(*h, x.(string)) }
func (h *pathHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

// add makes an entry known that is durable.
func (q *Embedded) add(path, id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.entries[path] = id
	q.offer(path)
}

// offer lets a path be taken. The caller holds mu.
func (q *Embedded) offer(path string) {
	heap.Push(&q.free, path)
	if q.waiting > 0 {
		close(q.change)
		q.change, q.waiting = make(chan struct{}), 0
	}
}

// remove forgets an entry that was consumed durably.
func (q *Embedded) remove(path string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.entries, path)
	delete(q.taken, path)
	delete(q.lent, path)
}

// hold keeps an entry for the executor that it was lent to before this process
// began, for as long as that may go on with it.
func (q *Embedded) hold(path string, lease time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.taken[path] = true
	q.lent[path] = time.AfterFunc(lease, func() {
		q.mu.Lock()
		_, still := q.lent[path]
		delete(q.lent, path)
		q.mu.Unlock()
		if still {
			q.untake(path)
		}
	})
}

// adopt gives an entry that is held to its executor.
func (q *Embedded) adopt(path, id string) (Lock, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	timer, held := q.lent[path]
	if !held || q.entries[path] != id {
		return nil, false
	}
	timer.Stop()
	delete(q.lent, path)
	return &embeddedLock{q: q, path: path, id: id}, true
}

// idle tells whether an entry is there and nobody's.
func (q *Embedded) idle(path string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	_, ok := q.entries[path]
	return ok && !q.taken[path]
}

func (q *Embedded) all() map[string]string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return maps.Clone(q.entries)
}

func (q *Embedded) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	close(q.change)
	q.change, q.waiting = make(chan struct{}), 0
}

// Put implements Queue.
func (q *Embedded) Put(_ context.Context, id string, priority int) (string, error) {
	var path string
	err := q.store.update(func(t *tx) error {
		path = t.enqueue(q, id, priority)
		return nil
	})
	return path, err
}

// Entries implements Queue.
func (q *Embedded) Entries(context.Context) (map[string]string, error) { return q.all(), nil }

// Holds implements Queue.
func (q *Embedded) Holds(_ context.Context, path string) (bool, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	_, ok := q.entries[path]
	return ok, nil
}

// Take implements Queue.
func (q *Embedded) Take(ctx context.Context) (Lock, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("jobs: take: %w", err)
		}
		l, change, err := q.try()
		if l != nil || err != nil {
			return l, err
		}
		select {
		case <-change:
		case <-ctx.Done():
		}
	}
}

// try locks the first free entry, or gives the channel that tells of another.
func (q *Embedded) try() (Lock, <-chan struct{}, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, nil, ErrClosed
	}
	for len(q.free) > 0 {
		path := heap.Pop(&q.free).(string)
		if id, ok := q.entries[path]; ok && !q.taken[path] {
			q.taken[path] = true
			return &embeddedLock{q: q, path: path, id: id}, nil, nil
		}
	}
	q.waiting++
	return nil, q.change, nil
}

// Counts gives the number of entries, of those that are taken, and of entries
// by priority.
func (q *Embedded) Counts() (entries, taken int, byPriority map[int]int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	byPriority = map[int]int{}
	for path := range q.entries {
		byPriority[priorityOf(path)]++
	}
	return len(q.entries), len(q.taken), byPriority
}

type embeddedLock struct {
	q        *Embedded
	path, id string
	mu       sync.Mutex
	over     bool
}

func (l *embeddedLock) Path() string          { return l.path }
func (l *embeddedLock) ID() string            { return strings.Clone(l.id) }
func (l *embeddedLock) Lost() <-chan struct{} { return nil } // the process's own

// Consume implements Lock.
func (l *embeddedLock) Consume(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return ErrLost
	}
	err := l.q.store.update(func(t *tx) error {
		t.consume(l.path)
		return nil
	})
	l.over = err == nil
	return err
}

// Release implements Lock.
func (l *embeddedLock) Release(_ context.Context, pause time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return ErrLost
	}
	l.over = true
	if pause <= 0 {
		l.q.untake(l.path)
	} else {
		time.AfterFunc(pause, func() { l.q.untake(l.path) })
	}
	return nil
}

// untake offers an entry that was taken.
func (q *Embedded) untake(path string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.taken, path)
	q.offer(path)
}

// Lead implements Elector: the process that holds the store leads.
func (q *Embedded) Lead(ctx context.Context, _, _ string) (Term, error) {
	return embeddedTerm{}, ctx.Err()
}

type embeddedTerm struct{}

func (embeddedTerm) Lost() <-chan struct{}        { return nil }
func (embeddedTerm) Resign(context.Context) error { return nil }
