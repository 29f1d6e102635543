package zk

import (
	"context"
	"errors"
	"fmt"
)

// A waiting request, whatever its answer.
type waiting struct {
	s       *Session
	request *request
	changed <-chan struct{}
	err     error
}

// begin sends a request as soon as there is a connection.
func (s *Session) begin(ctx context.Context, op int32, watch string, fill func([]byte) []byte) waiting {
	for {
		s.mu.Lock()
		c, changed := s.conn, s.changed
		s.mu.Unlock()
		if err := s.Err(); err != nil {
			return waiting{err: err}
		}
		if c != nil {
			if r, w := c.send(op, watch, fill); r != nil {
				return waiting{s: s, request: r, changed: w}
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return waiting{err: fmt.Errorf("zk: there is no connection: %w", ctx.Err())}
		case <-s.ctx.Done():
		}
	}
}

// wait gives the body of the answer.
func (w waiting) wait(ctx context.Context) (decoder, error) {
	if w.err != nil {
		return decoder{}, w.err
	}
	select {
	case a := <-w.request.answer:
		return decoder{b: a.body}, a.err
	case <-ctx.Done():
		return decoder{}, fmt.Errorf("%w: %w", ErrUnanswered, ctx.Err())
	case <-w.s.ctx.Done():
		return decoder{}, w.s.Err()
	}
}

func (s *Session) ask(ctx context.Context, op int32, watch string, fill func([]byte) []byte) (decoder, error) {
	return s.begin(ctx, op, watch, fill).wait(ctx)
}

// Create makes a node that everybody may read and change, and gives its path.
func (s *Session) Create(ctx context.Context, path string, data []byte, flags int32) (string, error) {
	d, err := s.ask(ctx, opCreate, "", Create(path, data, flags).append)
	if err != nil {
		return "", fmt.Errorf("zk: create %s: %w", path, err)
	}
	return d.text(), d.err
}

// reading fills a request that reads a node.
func reading(path string, watch bool) func([]byte) []byte {
	return func(b []byte) []byte { return appendBool(appendText(b, path), watch) }
}

// Exists tells whether a node is there.
func (s *Session) Exists(ctx context.Context, path string) (bool, error) {
	return there(s.ask(ctx, opExists, "", reading(path, false)))
}

// WatchNode tells whether a node is there. The channel is closed when that, or
// the node, may be another, also for want of a connection.
func (s *Session) WatchNode(ctx context.Context, path string) (bool, <-chan struct{}, error) {
	w := s.begin(ctx, opExists, path, reading(path, true))
	ok, err := there(w.wait(ctx))
	return ok, w.changed, err
}

func there(_ decoder, err error) (bool, error) {
	if errors.Is(err, ErrNoNode) {
		return false, nil
	}
	return err == nil, err
}

// Get gives a node's data.
func (s *Session) Get(ctx context.Context, path string) ([]byte, error) { return s.Ask(ctx, path)() }

// Ask asks for a node's data, and gives what waits for it: other requests can
// be sent meanwhile.
func (s *Session) Ask(ctx context.Context, path string) func() ([]byte, error) {
	w := s.begin(ctx, opGet, "", reading(path, false))
	return func() ([]byte, error) {
		d, err := w.wait(ctx)
		if err != nil {
			return nil, fmt.Errorf("zk: read %s: %w", path, err)
		}
		return d.bytes(), d.err
	}
}

// Children lists the names of a node's children, in no order.
func (s *Session) Children(ctx context.Context, path string) ([]string, error) {
	return names(path)(s.ask(ctx, opChildren, "", reading(path, false)))
}

// WatchChildren lists the names of a node's children, in no order. The channel
// is closed when there may be others, also for want of a connection.
func (s *Session) WatchChildren(ctx context.Context, path string) ([]string, <-chan struct{}, error) {
	w := s.begin(ctx, opChildren, path, reading(path, true))
	list, err := names(path)(w.wait(ctx))
	return list, w.changed, err
}

func names(path string) func(decoder, error) ([]string, error) {
	return func(d decoder, err error) ([]string, error) {
		if err != nil {
			return nil, fmt.Errorf("zk: list %s: %w", path, err)
		}
		list := d.texts()
		return list, d.err
	}
}

// Multi does all operations or none. failed is the index of the first that
// could not be done and cause says why; -1 says that all were done. err is set
// when there is no answer.
func (s *Session) Multi(ctx context.Context, ops ...Op) (failed int, cause, err error) {
	d, err := s.ask(ctx, opMulti, "", func(b []byte) []byte { return appendMulti(b, ops) })
	if err != nil && len(d.b) == 0 {
		return -1, nil, fmt.Errorf("zk: multi: %w", err)
	}
	if failed, cause = d.multi(len(ops)); failed < 0 && d.err == nil {
		d.err = err
	}
	return failed, cause, d.err
}
