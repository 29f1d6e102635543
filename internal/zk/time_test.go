package zk

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Pipes are a member's door within a test's own time.
type pipes struct {
	open   chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{open: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.open:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) reach(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.open <- far:
		return near, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

const testTimeout = 24 * time.Second

// inBubble opens a session with a member in a time of its own.
func inBubble(t *testing.T, f func(t *testing.T, m *member, s *Session)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		m := memberAt(t, p)
		m.session = func(int64) (int64, int32) { return 7, int32(testTimeout.Milliseconds()) }
		m.answer = node
		s, err := Open(t.Context(), Options{Hosts: []string{"one"}, Timeout: testTimeout, reach: p.reach})
		if err != nil {
			t.Fatal(err)
		}
		f(t, m, s)
		s.Close()
	})
}

// TestLease: pings keep a session that asks for nothing; without an answer it
// ends two thirds of its timeout after the last, and so does who waits.
func TestLease(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, m *member, s *Session) {
		began := time.Now()
		time.Sleep(2*testTimeout + time.Millisecond) // the last ping went at twice the timeout
		if s.Err() != nil {
			t.Fatalf("a session that is kept by pings: %v", s.Err())
		}
		m.mu.Lock()
		m.mute = true
		m.mu.Unlock()
		m.l.Close()
		if _, err := s.Get(context.Background(), "/x"); !errors.Is(err, ErrUnanswered) {
			t.Errorf("a request without an answer: %v", err)
		}
		if _, err := s.Get(context.Background(), "/x"); !errors.Is(err, ErrLease) {
			t.Errorf("a request without a connection: %v", err)
		}
		if lived := time.Since(began); lived != 2*testTimeout+2*testTimeout/3 || !errors.Is(s.Err(), ErrOver) {
			t.Errorf("the session ended after %v: %v", lived, s.Err())
		}
	})
}

// TestLeaseOfAMemberAlone: a member that is cut off from its leader answers
// what it can by itself, which proves nothing: the leader may end the session.
func TestLeaseOfAMemberAlone(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, m *member, s *Session) {
		began := time.Now()
		m.mu.Lock()
		m.alone = true
		m.mu.Unlock()
		if b, err := s.Get(t.Context(), "/x"); err != nil || string(b) != "data of /x" {
			t.Errorf("a read: %q, %v", b, err)
		}
		m.l.Close()
		for s.Err() == nil {
			s.Get(t.Context(), "/x")
			time.Sleep(time.Second)
		}
		if lived := time.Since(began); lived > 2*testTimeout/3+time.Second || !errors.Is(s.Err(), ErrLease) {
			t.Errorf("the session ended after %v: %v", lived, s.Err())
		}
	})
}

// TestAMemberThatHangsUp: one that greets and hangs up is not asked all the
// time.
func TestAMemberThatHangsUp(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, m *member, s *Session) {
		greeted := 0
		m.mu.Lock()
		m.session = func(int64) (int64, int32) {
			greeted++ // one at a time
			go func() { time.Sleep(time.Microsecond); m.cut() }()
			return 7, int32(testTimeout.Milliseconds())
		}
		m.mu.Unlock()
		m.cut()
		time.Sleep(time.Second)
		synctest.Wait()
		if greeted < 2 || greeted > int(time.Second/leastPause)+1 {
			t.Errorf("it is asked %d times a second", greeted)
		}
		m.l.Close()
	})
}

// TestOpenGivesUp: whoever opens a session need not wait for a server that is
// silent.
func TestOpenGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var far net.Conn
		reach := func(context.Context, string, string) (near net.Conn, _ error) {
			near, far = net.Pipe()
			return near, nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := Open(ctx, Options{Hosts: []string{"one"}, Timeout: testTimeout, reach: reach})
		if waited := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || waited != time.Second {
			t.Errorf("after %v: %v", waited, err)
		}
		far.Close()
	})
}
