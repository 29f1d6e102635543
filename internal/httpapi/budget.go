package httpapi

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// A budget is a number of bytes that bodies share, first come, first served.
type budget struct {
	mu      sync.Mutex
	size    int64
	free    int64
	waiters list.List // of *waiter
}

type waiter struct {
	n     int64
	ready chan struct{}
}

func newBudget(n int64) *budget { return &budget{size: n, free: n} }

// take waits until n bytes are free, at most for the given time. It gives an
// error of context.DeadlineExceeded or context.Canceled and takes nothing then.
func (b *budget) take(ctx context.Context, n int64, wait time.Duration) error {
	b.mu.Lock()
	if b.free >= n && b.waiters.Len() == 0 {
		b.free -= n
		b.mu.Unlock()
		return nil
	}
	w := &waiter{n: n, ready: make(chan struct{})}
	place := b.waiters.PushBack(w)
	b.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
		return b.leave(place, ctx.Err())
	}
}

// spare takes n bytes when half of all are free after that, without waiting.
func (b *budget) spare(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiters.Len() > 0 || b.free-n < b.size/2 {
		return false
	}
	b.free -= n
	return true
}

// leave gives up a place in the queue, unless its turn came meanwhile.
func (b *budget) leave(place *list.Element, err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-place.Value.(*waiter).ready:
		return nil
	default:
		b.waiters.Remove(place)
		b.wake()
		return err
	}
}

// give returns n bytes.
func (b *budget) give(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += n
	b.wake()
}

func (b *budget) wake() {
	for front := b.waiters.Front(); front != nil; front = b.waiters.Front() {
		w := front.Value.(*waiter)
		if w.n > b.free {
			return
		}
		b.free -= w.n
		b.waiters.Remove(front)
		close(w.ready)
	}
}

// used is the number of bytes taken now.
func (b *budget) used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.size - b.free
}
