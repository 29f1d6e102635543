package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"path"
	"sync"
	"time"

	"weir/internal/zk"
	"weir/jobs"
)

// Put implements jobs.Queue. When its outcome is unknown it fails, and the
// entry may be there: Entries tells.
func (c *Client) Put(ctx context.Context, id string, priority int) (string, error) {
	s, err := c.session(ctx)
	if err != nil {
		return "", fmt.Errorf("zookeeper: put: %w", err)
	}
	made, err := s.Create(ctx, entriesFolder+"/"+jobs.EntryPrefix(priority), []byte(id), zk.Sequence)
	if err != nil {
		return "", fmt.Errorf("zookeeper: put: %w", err)
	}
	return made, nil
}

// Take implements jobs.Queue.
func (c *Client) Take(ctx context.Context) (jobs.Lock, error) {
	for {
		s, err := c.session(ctx)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("zookeeper: take: %w", err)
		}
		name, change := s.locks.next()
		if name != "" {
			// Not cut short by ctx: a lock that nobody knows of would stay.
			if l, err := s.take(name); l != nil || err != nil && s.Err() == nil {
				return l, err
			}
			continue
		}
		select {
		case <-change:
		case <-s.Done():
		case <-c.ctx.Done():
			return nil, jobs.ErrClosed
		case <-ctx.Done():
			return nil, fmt.Errorf("zookeeper: take: %w", ctx.Err())
		}
	}
}

// take tries to lock an entry: nil without an error when another has it, or
// when it is gone.
func (s *session) take(name string) (jobs.Lock, error) {
	l := &lock{s: s, name: name, token: newToken()}
	data := s.Ask(context.Background(), l.entry()) // it never changes, so it may be read meanwhile
	failed, cause, retried, err := s.fenced(zk.Check(l.entry()), zk.Create(l.node(), []byte(l.token), zk.Ephemeral))
	if err == nil && failed == 1 && retried {
		// The first try may have made the lock: it is ours if it has our token.
		var b []byte
		if b, err = s.read(context.Background(), l.node()); err == nil && string(b) == l.token {
			failed = -1
		}
	}
	if err == nil && failed >= 0 && !errors.Is(cause, zk.ErrNoNode) && !errors.Is(cause, zk.ErrNodeExists) {
		err = fmt.Errorf("zookeeper: take %s: %w", name, cause)
	}
	if err != nil || failed >= 0 {
		s.locks.lost(name)
		if errors.Is(err, zk.ErrNoNode) {
			err = nil
		}
		return nil, err
	}
	s.locks.won()
	b, err := data()
	if unknown(err) {
		b, err = s.read(context.Background(), l.entry())
	}
	if err != nil { // taken, and not to be read
		return nil, errors.Join(lost(err), l.Release(context.Background(), 0))
	}
	l.id = string(b)
	return l, nil
}

// read gives a node's data; it asks again until there is an answer.
func (s *session) read(ctx context.Context, node string) ([]byte, error) {
	for {
		b, err := s.Get(ctx, node)
		if err == nil || !unknown(err) || ctx.Err() != nil {
			return b, lost(err)
		}
		time.Sleep(pauseUnknown)
	}
}

// A lock is an entry that this process took.
type lock struct {
	s               *session
	name, token, id string
	mu              sync.Mutex
	over            bool
}

func (l *lock) entry() string         { return entriesFolder + "/" + l.name }
func (l *lock) node() string          { return takenFolder + "/" + l.name }
func (l *lock) Path() string          { return l.entry() }
func (l *lock) ID() string            { return l.id }
func (l *lock) Lost() <-chan struct{} { return l.s.Done() }

// Consume implements jobs.Lock.
func (l *lock) Consume(context.Context) error {
	return l.end(false, 0, func() error {
		failed, cause, _, err := l.s.fenced(zk.Delete(l.entry()), zk.Delete(l.node()))
		switch {
		case err != nil:
			return err
		case failed < 0:
			return nil
		case failed == 0 && errors.Is(cause, zk.ErrNoNode): // gone: by an earlier try, or by hand
			return l.unlock()
		case errors.Is(cause, zk.ErrNoNode):
			return jobs.ErrLost
		}
		return fmt.Errorf("zookeeper: consume %s: %w", l.name, cause)
	})
}

// Release implements jobs.Lock.
func (l *lock) Release(_ context.Context, after time.Duration) error {
	return l.end(true, after, l.unlock)
}

// unlock deletes the lock alone.
func (l *lock) unlock() error {
	failed, cause, _, err := l.s.fenced(zk.Delete(l.node()))
	if err != nil || failed < 0 || errors.Is(cause, zk.ErrNoNode) {
		return err
	}
	return fmt.Errorf("zookeeper: release %s: %w", l.name, cause)
}

// end does what ends the lock, once.
func (l *lock) end(again bool, after time.Duration, f func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return jobs.ErrLost
	}
	err := f()
	if err == nil || errors.Is(err, jobs.ErrLost) {
		l.over = true
		l.s.locks.drop(l.name, again, after)
	}
	return err
}

// Holds implements jobs.Queue.
func (c *Client) Holds(ctx context.Context, entry string) (bool, error) {
	s, err := c.session(ctx)
	if err != nil {
		return false, fmt.Errorf("zookeeper: look for %s: %w", entry, err)
	}
	return s.Exists(ctx, path.Clean(entry))
}

// readers is how many entries are read at a time.
const readers = 64

// Entries implements jobs.Queue.
func (c *Client) Entries(ctx context.Context) (map[string]string, error) {
	s, err := c.session(ctx)
	if err != nil {
		return nil, fmt.Errorf("zookeeper: list: %w", err)
	}
	names, err := s.Children(ctx, entriesFolder)
	if err != nil {
		return nil, fmt.Errorf("zookeeper: list: %w", err)
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	var first error
	out := make(map[string]string, len(names))
	slots := make(chan struct{}, readers)
	for _, name := range names {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			b, err := s.read(ctx, entriesFolder+"/"+name)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				out[entriesFolder+"/"+name] = string(b)
			} else if !errors.Is(err, zk.ErrNoNode) && first == nil {
				first = fmt.Errorf("zookeeper: list: %w", err)
			}
		})
	}
	all.Wait()
	return out, first
}
