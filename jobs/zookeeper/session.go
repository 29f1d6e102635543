package zookeeper

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"weir/internal/zk"
	"weir/jobs"
)

// Paths of the queue.
const (
	root          = "/job"
	entriesFolder = root + "/entries"
	takenFolder   = root + "/taken"
	election      = "/election"
)

// newToken gives 32 hex digits that nobody else has.
func newToken() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// A session is one session of ZooKeeper, from its beginning to its loss. What
// it holds is gone with it.
type session struct {
	*zk.Session
	canary string // an ephemeral node of this session: there as long as it lives
	locks  *freeList
}

// errGone: the ensemble forgot the session.
var errGone = errors.New("zookeeper: the session is gone")

// connect makes a session, or fails.
func connect(ctx context.Context, o Options) (*session, error) {
	conn, err := zk.Open(ctx, zk.Options{Hosts: o.Hosts, Timeout: o.Timeout, Log: o.Log})
	if err != nil {
		return nil, fmt.Errorf("zookeeper: %w", err)
	}
	s := &session{Session: conn, canary: root + "/session-" + newToken()}
	s.locks = newFreeList(s)
	if err := s.prepare(ctx); err != nil {
		s.End(err)
		return nil, fmt.Errorf("zookeeper: %w", err)
	}
	return s, nil
}

// prepare makes the folders and the canary.
func (s *session) prepare(ctx context.Context) error {
	if err := s.folders(ctx); err != nil {
		return err
	}
	_, err := s.Create(ctx, s.canary, nil, zk.Ephemeral)
	if errors.Is(err, zk.ErrNodeExists) {
		return nil
	}
	return err
}

// folders makes those of the queue.
func (s *session) folders(ctx context.Context) error {
	for _, path := range []string{root, takenFolder, entriesFolder} {
		if err := s.ensure(ctx, path); err != nil {
			return err
		}
	}
	return nil
}

// ensure makes a folder that may be there.
func (s *session) ensure(ctx context.Context, path string) error {
	if _, err := s.Create(ctx, path, nil, 0); err != nil && !errors.Is(err, zk.ErrNodeExists) {
		return err
	}
	return nil
}

// lost says of an error that the session, and with it its locks, is over.
func lost(err error) error {
	if errors.Is(err, zk.ErrOver) {
		return fmt.Errorf("%w: %w", jobs.ErrLost, err)
	}
	return err
}

// unknown tells whether an error leaves open what the server did.
func unknown(err error) bool { return errors.Is(err, zk.ErrUnanswered) }

// pauseUnknown is how long to wait before asking again.
const pauseUnknown = 50 * time.Millisecond

// fenced does operations at once, none unless the session lives. failed is
// the index of the one that could not be done, -1 when all were; err is set
// when the session is lost. Operations whose outcome is unknown are tried
// again, so retried tells that they may have been done before. No context cuts
// it short: a lock that nobody knows of would stay.
func (s *session) fenced(ops ...zk.Op) (failed int, cause error, retried bool, err error) {
	all := append([]zk.Op{zk.Check(s.canary)}, ops...)
	for {
		failed, cause, err := s.Multi(context.Background(), all...)
		switch {
		case err == nil && failed == 0:
			s.End(errGone)
			return 0, nil, retried, jobs.ErrLost
		case err == nil && failed > 0:
			return failed - 1, cause, retried, nil
		case err == nil:
			return -1, nil, retried, nil
		case !unknown(err):
			return 0, nil, retried, lost(err)
		}
		retried = true
		select {
		case <-time.After(pauseUnknown):
		case <-s.Done():
			return 0, nil, retried, lost(s.Err())
		}
	}
}
