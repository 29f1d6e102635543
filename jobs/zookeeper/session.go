package zookeeper

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-zookeeper/zk"

	"weir/jobs"
)

// Paths of the queue.
const (
	root          = "/job"
	entriesFolder = root + "/entries"
	takenFolder   = root + "/taken"
	election      = "/election"
)

// everybody may do everything, as with kazoo.
func everybody() []zk.ACL { return zk.WorldACL(zk.PermAll) }

// newToken gives 32 hex digits that nobody else has.
func newToken() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// A session is one session of ZooKeeper, from its beginning to its loss. What
// it holds is gone with it.
type session struct {
	conn   *zk.Conn
	guard  *guard
	canary string // an ephemeral node of this session: there as long as it lives
	ctx    context.Context
	lose   context.CancelCauseFunc
	timer  *time.Timer // loses the session when its lease ends
	locks  *freeList
}

// errLease: the server was not heard in time, so that it may give what the
// session holds to others soon.
var errLease = errors.New("zookeeper: no answer within the lease")

// connect makes a session, or fails when the context ends.
func connect(ctx context.Context, o Options) (*session, error) {
	s := &session{canary: root + "/session-" + newToken()}
	s.ctx, s.lose = context.WithCancelCause(context.Background())
	s.guard = &guard{lost: func() { s.lose(errGone) }}
	conn, _, err := zk.Connect(o.Hosts, o.Timeout, zk.WithDialer(s.guard.dial), zk.WithLogInfo(false),
		zk.WithLogger(libraryLog{o}), zk.WithMaxBufferSize(maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("zookeeper: connect: %w", err)
	}
	s.conn = conn
	stop := context.AfterFunc(ctx, func() { s.lose(ctx.Err()) })
	defer stop()
	context.AfterFunc(s.ctx, s.cut)
	began, err := s.prepare()
	if err != nil {
		s.lose(err)
		return nil, err
	}
	s.timer = time.AfterFunc(s.left(began), func() { s.lose(errLease) })
	go s.beat()
	return s, nil
}

// maxAnswer is the largest answer that is read: a listing of a million entries.
const maxAnswer = 64 << 20

// cut ends the connection of a lost session without a farewell: the server
// lets its locks go after the timeout, when the work they guard has ended.
func (s *session) cut() {
	s.guard.close()
	s.conn.Close()
}

// prepare makes the folders and the canary; the lease goes from began on.
func (s *session) prepare() (began time.Time, err error) {
	for _, path := range []string{root, takenFolder, entriesFolder} {
		if err := s.ensure(path); err != nil {
			return began, err
		}
	}
	began = time.Now()
	_, err = call(s, func(c *zk.Conn) (string, error) {
		return c.Create(s.canary, nil, zk.FlagEphemeral, everybody())
	})
	if err != nil && !errors.Is(err, zk.ErrNodeExists) {
		return began, fmt.Errorf("zookeeper: create %s: %w", s.canary, err)
	}
	return began, nil
}

// ensure makes a folder that may be there.
func (s *session) ensure(path string) error {
	_, err := call(s, func(c *zk.Conn) (string, error) { return c.Create(path, nil, 0, everybody()) })
	if err != nil && !errors.Is(err, zk.ErrNodeExists) {
		return fmt.Errorf("zookeeper: create %s: %w", path, err)
	}
	return nil
}

// left tells how long the session is safe after a request that began at a
// time and was answered: the negotiated timeout less a third.
func (s *session) left(began time.Time) time.Duration {
	return time.Until(began.Add(s.guard.negotiated() * 2 / 3))
}

// beat asks for the canary again and again, so that the lease goes on. It is
// gone when the server forgot the session.
func (s *session) beat() {
	tick := time.NewTicker(max(s.guard.negotiated()/8, 50*time.Millisecond))
	defer tick.Stop()
	for {
		began := time.Now()
		there, err := call(s, func(c *zk.Conn) (bool, error) {
			ok, _, err := c.Exists(s.canary)
			return ok, err
		})
		if err == nil && !there {
			s.lose(errGone)
		}
		if errors.Is(err, zk.ErrSessionExpired) || errors.Is(err, zk.ErrClosing) {
			s.lose(err)
		}
		if err == nil {
			s.timer.Reset(max(0, s.left(began)))
		}
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return
		}
	}
}

// call does one request; it ends early, its outcome unknown, when the session
// is lost. zk's own calls have no such end.
func call[T any](s *session, f func(*zk.Conn) (T, error)) (T, error) {
	type answer struct {
		v   T
		err error
	}
	done := make(chan answer, 1)
	go func() {
		v, err := f(s.conn)
		done <- answer{v, err}
	}()
	select {
	case a := <-done:
		return a.v, a.err
	case <-s.ctx.Done():
		var none T
		return none, fmt.Errorf("%w: %w", jobs.ErrLost, context.Cause(s.ctx))
	}
}

// answers are the errors that a server, or a session that is over, gives.
// After any other, which comes from the connection, it is open what was done.
var answers = []error{
	zk.ErrAPIError, zk.ErrNoNode, zk.ErrNoAuth, zk.ErrBadVersion, zk.ErrNoChildrenForEphemerals, zk.ErrNodeExists, zk.ErrNotEmpty,
	zk.ErrSessionExpired, zk.ErrInvalidACL, zk.ErrInvalidFlags, zk.ErrAuthFailed, zk.ErrClosing, zk.ErrNothing, zk.ErrBadArguments, jobs.ErrLost,
}

// unknown tells whether an error leaves open what the server did.
func unknown(err error) bool {
	return err != nil && !slices.ContainsFunc(answers, func(a error) bool { return errors.Is(err, a) })
}

// pauseUnknown is how long to wait before asking again.
const pauseUnknown = 50 * time.Millisecond

// fenced does operations at once, none unless the session lives. failed is
// the index of the one that could not be done, -1 when all were; err is set
// when the session is lost. Operations whose outcome is unknown are tried
// again, so retried tells that they may have been done before.
func (s *session) fenced(ops ...any) (failed int, cause error, retried bool, err error) {
	all := append([]any{&zk.CheckVersionRequest{Path: s.canary, Version: -1}}, ops...)
	for {
		results, err := call(s, func(c *zk.Conn) ([]zk.MultiResponse, error) { return c.Multi(all...) })
		for i, r := range results {
			if r.Error == nil || unknown(r.Error) && err != nil {
				continue
			}
			if i == 0 {
				s.lose(errGone)
				return 0, nil, retried, jobs.ErrLost
			}
			return i - 1, r.Error, retried, nil
		}
		switch {
		case err == nil:
			return -1, nil, retried, nil
		case !unknown(err):
			return 0, nil, retried, fmt.Errorf("zookeeper: %w", err)
		}
		retried = true
		select {
		case <-time.After(pauseUnknown):
		case <-s.ctx.Done():
			return 0, nil, retried, jobs.ErrLost
		}
	}
}

// libraryLog takes the library's messages.
type libraryLog struct{ o Options }

func (l libraryLog) Printf(format string, args ...any) {
	l.o.Log.Debug("zookeeper connection", "message", fmt.Sprintf(format, args...))
}
