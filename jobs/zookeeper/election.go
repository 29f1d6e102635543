package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"weir/internal/zk"
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
		if s.Err() == nil && !errors.Is(err, zk.ErrNoNode) && !unknown(err) {
			return nil, fmt.Errorf("zookeeper: lead %s: %w", action, err)
		}
	}
}

// campaign puts a candidate up and waits until it is the first.
func (s *session) campaign(ctx context.Context, folder, name string) (_ *term, err error) {
	for _, f := range []string{election, folder} {
		if err := s.ensure(ctx, f); err != nil {
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
		// No context cuts it short: a candidate that nobody knows of would stay.
		node, err := s.Create(context.Background(), folder+"/"+token, []byte(name), zk.Ephemeral|zk.Sequence)
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
	names, err := s.Children(context.Background(), folder)
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

// awaitEnd waits until a node may be gone.
func (s *session) awaitEnd(ctx context.Context, node string) error {
	there, changed, err := s.WatchNode(ctx, node)
	if err != nil || !there {
		return lost(err)
	}
	select {
	case <-changed:
		return nil
	case <-s.Done():
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

func (t *term) Lost() <-chan struct{} { return t.s.Done() }

// Resign implements jobs.Term.
func (t *term) Resign(context.Context) error {
	_, _, _, err := t.s.fenced(zk.Delete(t.node))
	if errors.Is(err, jobs.ErrLost) {
		return nil // it went with the session
	}
	return err
}
