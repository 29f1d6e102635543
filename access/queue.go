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
// Among equals users take turns, and the places of one with many are taken by
// others: a flood under one name, or under names that there are not, keeps
// nobody else outside.
type queue struct {
	mu    sync.Mutex
	taken bool
	now   *place // whose check runs; nil while the queue rests
	list  []*place
	turns uint64           // that there were
	last  map[*user]uint64 // turn of each user; nil for those that there are not
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
		q.begin(p)
		return p
	}
	if len(q.list) >= mostPending {
		victim := q.victim(p)
		if victim == nil {
			return nil
		}
		q.drop(victim)
	}
	q.list = append(q.list, p)
	return p
}

// victim is who gives a place in a full queue to p: one whose address has
// failed, or the last of the user with the most places; nil is nobody.
func (q *queue) victim(p *place) *place {
	if !p.fresh {
		return nil
	}
	count := map[*user]int{p.who.user: 1}
	var most *place
	for _, other := range q.list {
		if !other.fresh {
			return other
		}
		u := other.who.user
		if count[u]++; most == nil || count[u] >= count[most.who.user] {
			most = other
		}
	}
	if most == nil || count[most.who.user] <= count[p.who.user] {
		return nil
	}
	return most
}

// begin gives p the turn.
func (q *queue) begin(p *place) {
	q.taken, q.now = true, p
	if q.last == nil {
		q.last = map[*user]uint64{}
	}
	q.turns++
	q.last[p.who.user] = q.turns
	p.turn <- nil
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

// next gives the turn to a fresh place if there is one, to that of the user
// whose last turn is longest ago.
func (q *queue) next() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.list) == 0 {
		q.taken = false
		return
	}
	best := 0
	for i, p := range q.list {
		b := q.list[best]
		if p.fresh && !b.fresh || p.fresh == b.fresh && q.last[p.who.user] < q.last[b.who.user] {
			best = i
		}
	}
	p := q.list[best]
	q.list = slices.Delete(q.list, best, best+1)
	q.begin(p)
}
