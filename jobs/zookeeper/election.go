package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/go-zookeeper/zk"

	"weir/jobs"
)

// candidate is the middle of a candidate's name; its sequence follows.
const candidate = "__lock__"

// Lead implements jobs.Elector.
func (c *Client) Lead(ctx context.Context, action, name string) (jobs.Term, error) {
	if action == "" || strings.ContainsRune(action, '/') {
		return nil, fmt.Errorf("zookeeper: lead %q: it is no name of an action", action)
	}
	for {
		s, err := c.session(ctx)
		if err != nil {
			return nil, fmt.Errorf("zookeeper: lead %s: %w", action, err)
		}
		t, err := s.campaign(ctx, election+"/"+action, name)
		if err == nil {
			return t, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("zookeeper: lead %s: %w", action, ctx.Err())
		}
		if s.ctx.Err() == nil && !errors.Is(err, zk.ErrNoNode) && !unknown(err) {
			return nil, fmt.Errorf("zookeeper: lead %s: %w", action, err)
		}
	}
}

// campaign puts a candidate up and waits until it is the first.
func (s *session) campaign(ctx context.Context, folder, name string) (_ *term, err error) {
	for _, f := range []string{election, folder} {
		if err := s.ensure(f); err != nil {
			return nil, err
		}
	}
	token := newToken() + candidate
	node, err := s.stand(folder, token, name)
	if err != nil {
		return nil, err
	}
	t := &term{s: s, node: node}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Resign(context.Background()))
		}
	}()
	for {
		before, err := s.before(folder, path.Base(node))
		if err != nil {
			return nil, err
		}
		if before == "" {
			return t, nil
		}
		if err := s.awaitEnd(ctx, folder+"/"+before); err != nil {
			return nil, err
		}
	}
}

// stand makes the candidate's node; when the outcome is unknown it looks for it.
func (s *session) stand(folder, token, name string) (string, error) {
	for {
		node, err := call(s, func(c *zk.Conn) (string, error) {
			return c.Create(folder+"/"+token, []byte(name), zk.FlagEphemeral|zk.FlagSequence, everybody())
		})
		if !unknown(err) {
			return node, err
		}
		names, err := s.candidates(folder)
		if err != nil && !unknown(err) {
			return "", err
		}
		for _, n := range names {
			if strings.HasPrefix(n, token) {
				return folder + "/" + n, nil
			}
		}
	}
}

// candidates lists the candidates, the first to lead first.
func (s *session) candidates(folder string) ([]string, error) {
	names, err := call(s, func(c *zk.Conn) ([]string, error) {
		names, _, err := c.Children(folder)
		return names, err
	})
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.Contains(n, candidate) })
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(sequence(a), sequence(b)) })
	return names, err
}

func sequence(name string) string {
	return name[strings.LastIndex(name, candidate)+len(candidate):]
}

// before gives the candidate just before one, "" when it leads.
func (s *session) before(folder, own string) (string, error) {
	names, err := s.candidates(folder)
	if err != nil {
		return "", err
	}
	switch i := slices.Index(names, own); {
	case i < 0:
		return "", zk.ErrNoNode // somebody deleted it
	case i == 0:
		return "", nil
	default:
		return names[i-1], nil
	}
}

// awaitEnd waits until a node is gone.
func (s *session) awaitEnd(ctx context.Context, node string) error {
	type answer struct {
		there bool
		watch <-chan zk.Event
	}
	a, err := call(s, func(c *zk.Conn) (answer, error) {
		there, _, watch, err := c.ExistsW(node)
		return answer{there, watch}, err
	})
	if err != nil || !a.there {
		return err
	}
	select {
	case <-a.watch:
		return nil
	case <-s.ctx.Done():
		return jobs.ErrLost
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A term is the time for which a candidate leads.
type term struct {
	s    *session
	node string
}

func (t *term) Lost() <-chan struct{} { return t.s.ctx.Done() }

// Resign implements jobs.Term.
func (t *term) Resign(context.Context) error {
	_, _, _, err := t.s.fenced(&zk.DeleteRequest{Path: t.node, Version: -1})
	if errors.Is(err, jobs.ErrLost) {
		return nil // it went with the session
	}
	return err
}
