package ledger

import (
	"context"
	"sync"
)

// Changes are on their way to a committer, which takes all that wait and makes
// them durable with one append. T is what a change is computed in.
type Changes[T any] struct {
	refused error         // of changes that come after Close
	ready   chan struct{} // holds one token while list is not empty
	ended   chan struct{}

	mu     sync.Mutex
	list   []*Change[T]
	closed bool
}

// A Change is one step that the committer takes.
type Change[T any] struct {
	apply func(*T) error
	done  chan struct{}
	Err   error // what who waits is told
}

// NewChanges makes an empty list; once it is closed, Do gives refused.
func NewChanges[T any](refused error) *Changes[T] {
	return &Changes[T]{refused: refused, ready: make(chan struct{}, 1), ended: make(chan struct{})}
}

// Do hands a change to the committer and waits until it was answered. apply
// runs alone; it must not change the T when it fails.
func (c *Changes[T]) Do(apply func(*T) error) error {
	one := &Change[T]{apply: apply, done: make(chan struct{})}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return c.refused
	}
	c.list = append(c.list, one)
	c.mu.Unlock()
	select {
	case c.ready <- struct{}{}:
	default:
	}
	<-one.done
	return one.Err
}

// Commit gives what waits to some, which computes, keeps and answers it, until
// ctx ends; what waits then is still given.
func (c *Changes[T]) Commit(ctx context.Context, some func([]*Change[T])) {
	defer close(c.ended)
	for last := false; !last; {
		select {
		case <-c.ready:
		case <-ctx.Done():
			last = true
		}
		if list := c.take(); len(list) > 0 {
			some(list)
		}
	}
}

func (c *Changes[T]) take() []*Change[T] {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.list
	c.list = nil
	return list
}

// Close refuses further changes; first is false when it was closed before.
func (c *Changes[T]) Close() (first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	first, c.closed = !c.closed, true
	return first
}

// Wait returns when Commit has ended.
func (c *Changes[T]) Wait() { <-c.ended }

// Compute runs the changes one after another in t.
func Compute[T any](list []*Change[T], t *T) {
	for _, c := range list {
		c.Err = c.apply(t)
	}
}

// Answer tells those who wait; failed, when it is not nil, is told to all whose
// change was computed, since none was kept.
func Answer[T any](list []*Change[T], failed error) {
	for _, c := range list {
		if c.Err == nil {
			c.Err = failed
		}
		close(c.done)
	}
}
