package forward

import (
	"runtime/debug"
	"sync"
)

// A budget bounds the bytes that all connections hold. Who wants more than
// is left waits until others give back. One lease at a time may go beyond
// the budget, so that connections which each hold half a message never wait
// for one another for ever.
//
// What is given back is memory only once the collector has been there. When an
// eighth of the budget is waiting for that, the next who wants memory runs it.
type budget struct {
	mu         sync.Mutex
	max        int64
	used       int64 // held by leases
	garbage    int64 // given back since the collector was run
	collecting bool
	beyond     *lease        // the lease that may exceed max
	changed    chan struct{} // closed when something was given back; nil when nobody waits
}

// A lease is what one connection holds of a budget.
type lease struct {
	*budget
	held int64
}

// take adds n bytes to the lease, and waits for them until done is closed:
// it gives false then.
func (l *lease) take(n int64, done <-chan struct{}) bool {
	l.mu.Lock()
	for !l.free(n) {
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		l.mu.Unlock()
		select {
		case <-changed:
		case <-done:
			return false
		}
		l.mu.Lock()
	}
	l.used += n
	l.held += n
	l.mu.Unlock()
	return true
}

// free tells whether the lease may have n bytes now. The caller holds mu.
func (l *lease) free(n int64) bool {
	l.collect()
	switch {
	case l.collecting:
		return false
	case l.used+n <= l.max || l.beyond == l:
		return true
	case l.beyond == nil:
		l.beyond = l
		return true
	}
	return false
}

// collect makes memory of what was given back, when that is much. The caller
// holds mu, which is let go meanwhile.
func (b *budget) collect() {
	if b.collecting || b.garbage < b.max/8 || b.garbage == 0 {
		return
	}
	n := b.garbage
	b.collecting = true
	b.mu.Unlock()
	debug.FreeOSMemory()
	b.mu.Lock()
	b.collecting = false
	b.garbage -= n
	b.notify()
}

// spare adds n bytes to the lease when half of the budget is free after that.
func (l *lease) spare(n int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.collect()
	if l.used+n > l.max/2 || l.collecting {
		return false
	}
	l.used += n
	l.held += n
	return true
}

// give returns n bytes.
func (l *lease) give(n int64) {
	if n == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used -= n
	l.held -= n
	l.garbage += n
	if l.beyond == l && (l.used <= l.max || l.held == 0) {
		l.beyond = nil
	}
	l.notify()
}

// notify wakes all who wait. The caller holds mu.
func (b *budget) notify() {
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

// ahead tells whether this lease is the one that may exceed the budget: what
// it waits for must not depend on a lease that waits for memory.
func (l *lease) ahead() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.beyond == l
}
