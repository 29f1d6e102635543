package access

import (
	"slices"
	"sync"
	"time"
)

const (
	mostPending = 32              // checks that wait for their turn
	longestTurn = 5 * time.Second // that a check waits for it
)

// A queue lets one check of a hash through at a time. Those of addresses that
// have not failed come first, and take the place of others when it is full.
type queue struct {
	mu    sync.Mutex
	taken bool
	now   *place // whose check runs; nil while the queue rests
	list  []*place
}

// A place is that of a check in the queue. No source has two.
type place struct {
	who   source
	fresh bool       // the address has not failed, and has no place before this
	turn  chan error // gets what became of the waiting, once
}

// enter waits for a turn, which leave ends, or is a Wait of ErrBusy.
func (q *queue) enter(who source, fresh bool) error {
	p := q.join(&place{who: who, fresh: fresh, turn: make(chan error, 1)})
	if p == nil {
		return &Wait{ErrBusy, busyWait}
	}
	late := time.NewTimer(longestTurn)
	defer late.Stop()
	select {
	case err := <-p.turn:
		return err
	case <-late.C:
	}
	q.mu.Lock()
	q.drop(p) // nothing where its turn has come by now
	q.mu.Unlock()
	return <-p.turn
}

// join gives a place at the end of the queue, or nil.
func (q *queue) join(p *place) *place {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, other := range append(slices.Clone(q.list), q.now) {
		switch {
		case other == nil:
		case other.who == p.who:
			return nil
		case other.who.from == p.who.from:
			p.fresh = false
		}
	}
	if !q.taken {
		q.taken, q.now = true, p
		p.turn <- nil
		return p
	}
	if len(q.list) >= mostPending {
		i := slices.IndexFunc(q.list, func(other *place) bool { return !other.fresh })
		if i < 0 || !p.fresh {
			return nil
		}
		q.drop(q.list[i])
	}
	q.list = append(q.list, p)
	return p
}

// drop ends the waiting of a place, where it still waits.
func (q *queue) drop(p *place) {
	if i := slices.Index(q.list, p); i >= 0 {
		q.list = slices.Delete(q.list, i, i+1)
		p.turn <- &Wait{ErrBusy, busyWait}
	}
}

// leave ends a turn. The next one begins after a rest.
func (q *queue) leave(rest time.Duration) {
	q.mu.Lock()
	q.now = nil
	q.mu.Unlock()
	if rest > 0 {
		time.AfterFunc(rest, q.next)
		return
	}
	q.next()
}

// next gives the turn to the first fresh place, or to the first.
func (q *queue) next() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.list) == 0 {
		q.taken = false
		return
	}
	i := max(0, slices.IndexFunc(q.list, func(p *place) bool { return p.fresh }))
	q.now = q.list[i]
	q.list = slices.Delete(q.list, i, i+1)
	q.now.turn <- nil
}
