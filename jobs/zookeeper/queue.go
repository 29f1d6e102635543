package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"path"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"weir/jobs"
)

// Put implements jobs.Queue. When its outcome is unknown it fails, and the
// entry may be there: Entries tells.
func (c *Client) Put(ctx context.Context, id string, priority int) (string, error) {
	s, err := c.session(ctx)
	if err != nil {
		return "", fmt.Errorf("zookeeper: put: %w", err)
	}
	made, err := call(s, func(conn *zk.Conn) (string, error) {
		return conn.Create(entriesFolder+"/"+jobs.EntryPrefix(priority), []byte(id), zk.FlagSequence, everybody())
	})
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
			if l, err := s.take(name); l != nil || err != nil && s.ctx.Err() == nil {
				return l, err
			}
			continue
		}
		select {
		case <-change:
		case <-s.ctx.Done():
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
	type content struct {
		data []byte
		err  error
	}
	read := make(chan content, 1)
	go func() { // an entry's data never changes, so it may be read meanwhile
		b, err := s.read(l.entry())
		read <- content{b, err}
	}()
	failed, _, retried, err := s.fenced(
		&zk.CheckVersionRequest{Path: l.entry(), Version: -1},
		&zk.CreateRequest{Path: l.node(), Data: []byte(l.token), Acl: everybody(), Flags: zk.FlagEphemeral},
	)
	if err == nil && failed == 1 && retried {
		// The first try may have made the lock: it is ours if it has our token.
		var b []byte
		if b, err = s.read(l.node()); err == nil && string(b) == l.token {
			failed = -1
		}
	}
	if err != nil || failed >= 0 {
		s.locks.lost(name)
		if errors.Is(err, zk.ErrNoNode) {
			err = nil
		}
		return nil, err
	}
	s.locks.won()
	c := <-read
	if c.err != nil { // taken, and not to be read
		return nil, errors.Join(c.err, l.Release(context.Background(), 0))
	}
	l.id = string(c.data)
	return l, nil
}

// read gives a node's data; it asks again until there is an answer.
func (s *session) read(node string) ([]byte, error) {
	for {
		b, err := call(s, func(c *zk.Conn) ([]byte, error) {
			b, _, err := c.Get(node)
			return b, err
		})
		if err == nil || !unknown(err) {
			return b, err
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
func (l *lock) Lost() <-chan struct{} { return l.s.ctx.Done() }

// Consume implements jobs.Lock.
func (l *lock) Consume(context.Context) error {
	return l.end(false, 0, func() error {
		failed, cause, _, err := l.s.fenced(&zk.DeleteRequest{Path: l.entry(), Version: -1}, &zk.DeleteRequest{Path: l.node(), Version: -1})
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
	failed, cause, _, err := l.s.fenced(&zk.DeleteRequest{Path: l.node(), Version: -1})
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
	return call(s, func(conn *zk.Conn) (bool, error) {
		ok, _, err := conn.Exists(path.Clean(entry))
		return ok, err
	})
}

// readers is how many entries are read at a time.
const readers = 64

// Entries implements jobs.Queue.
func (c *Client) Entries(ctx context.Context) (map[string]string, error) {
	s, err := c.session(ctx)
	if err != nil {
		return nil, fmt.Errorf("zookeeper: list: %w", err)
	}
	names, err := call(s, func(conn *zk.Conn) ([]string, error) {
		names, _, err := conn.Children(entriesFolder)
		return names, err
	})
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
			b, err := s.read(entriesFolder + "/" + name)
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
