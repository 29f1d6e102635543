package supervise

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// listen makes the socket, through the folder's descriptor as connect does.
func (s *server) listen() (*net.UnixListener, error) {
	if err := os.Remove(filepath.Join(s.o.Dir, socketName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("supervise: socket: %w", err)
	}
	d, err := os.Open(s.o.Dir)
	if err != nil {
		return nil, fmt.Errorf("supervise: socket: %w", err)
	}
	defer d.Close()
	name := fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), socketName)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("supervise: socket: %w", err)
	}
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(filepath.Join(s.o.Dir, socketName), 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("supervise: socket: %w", err)
	}
	return l, nil
}

// accept serves connections of the supervisor's own user and of root.
func (s *server) accept(ctx context.Context, l *net.UnixListener) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			if ctx.Err() == nil {
				s.log.Error("supervise: accept", "error", err)
				time.Sleep(100 * time.Millisecond)
				continue
			}
			return
		}
		go func() {
			defer c.Close()
			if uid, err := peer(c); err != nil || uid != 0 && uid != os.Geteuid() {
				s.log.Warn("supervise: a stranger was refused", "user", uid, "error", err)
				return
			}
			s.serve(ctx, c)
		}()
	}
}

// peer tells who is at the other end.
func peer(c *net.UnixConn) (uid int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	var cred *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) { cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return -1, err
	}
	if failed != nil {
		return -1, failed
	}
	return int(cred.Uid), nil
}

// serve answers the requests of a connection. When the client goes away, what
// waits for it ends; what was begun goes on.
func (s *server) serve(ctx context.Context, c net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lines := make(chan []byte)
	go func() {
		defer cancel()
		r := bufio.NewScanner(c)
		r.Buffer(make([]byte, 4096), maxRequest)
		for r.Scan() {
			select {
			case lines <- append([]byte(nil), r.Bytes()...):
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(idle):
			return
		case line := <-lines:
			if !s.respond(ctx, c, line) {
				return
			}
		}
	}
}

// respond answers one request; false ends the connection.
func (s *server) respond(ctx context.Context, c net.Conn, line []byte) bool {
	send := func(r response) bool {
		b, err := json.Marshal(r)
		if err != nil {
			return false
		}
		_ = c.SetWriteDeadline(time.Now().Add(time.Minute))
		_, err = c.Write(append(b, '\n'))
		return err == nil
	}
	var q request
	if err := json.Unmarshal(line, &q); err != nil {
		return send(response{Error: fmt.Sprintf("supervise: no request: %v", err)})
	}
	var r response
	var err error
	if q.Op == "tail" || q.Op == "follow" {
		err = s.tail(ctx, q, send)
	} else {
		r, err = s.do(ctx, q)
	}
	if err != nil {
		r = response{Error: err.Error()}
		for kind, e := range kinds {
			if errors.Is(err, e) {
				r.Kind = kind
			}
		}
	}
	ok := send(r)
	if q.Op == "shutdown" && err == nil {
		s.end()
	}
	return ok
}

// do carries out a request.
func (s *server) do(ctx context.Context, q request) (response, error) {
	switch q.Op {
	case "info":
		return response{Info: s.info()}, nil
	case "apply":
		if q.Group == nil {
			return response{}, fmt.Errorf("%w: apply without a group", ErrProgram)
		}
		c, err := s.apply(ctx, *q.Group)
		return response{Change: &c}, err
	case "remove":
		for _, g := range q.Names {
			if err := s.remove(ctx, g); err != nil {
				return response{}, err
			}
		}
		return response{}, nil
	case "status", "start", "stop", "restart", "signal":
		return s.each(ctx, q)
	case "events":
		return response{Events: s.events(ctx, q.Wait)}, nil
	case "taken":
		for _, k := range s.keepers() {
			k.taken(q.Seq)
		}
		s.takenShares(q.Seq)
		return response{}, nil
	case "shutdown":
		s.stopAll()
		return response{}, nil
	}
	return response{}, fmt.Errorf("supervise: no request is called %q", q.Op)
}

// each does something with every program that is named.
func (s *server) each(ctx context.Context, q request) (response, error) {
	if len(q.Names) == 0 && q.Op == "status" {
		q.Names = []string{"*"}
	}
	list, err := s.find(q.Names)
	if err != nil {
		return response{}, err
	}
	var all sync.WaitGroup
	for _, k := range list {
		switch q.Op {
		case "start":
			all.Go(k.start)
		case "stop":
			all.Go(k.stop)
		case "restart":
			all.Go(k.restart)
		case "signal":
			if err := k.signal(q.Signal); err != nil {
				return response{}, fmt.Errorf("%w: %s:%s", err, k.group, k.name)
			}
		}
	}
	all.Wait()
	var r response
	for _, k := range list {
		if q.Op != "status" && q.Op != "signal" {
			k.settled(ctx)
		}
		r.Status = append(r.Status, k.full())
	}
	return r, nil
}

// restart is a stop and a start.
func (k *keeper) restart() {
	k.stop()
	k.start()
}

// full is the status with what has to be looked up.
func (k *keeper) full() Status {
	st := k.status()
	st.Limit = k.srv.limitOf(k.group, k.name)
	if !st.State.Runs() {
		st.Left = k.left()
	}
	k.mu.Lock()
	out := k.out
	k.mu.Unlock()
	if out != nil {
		lost, err := out.state()
		st.Lost = lost
		if st.Error == "" {
			st.Error = err
		}
	}
	return st
}

func (s *server) info() *Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Info{
		PID: os.Getpid(), Started: s.started, Adopted: s.adopted, Groups: slices.Sorted(maps.Keys(s.groups)),
		Confined: s.cgroups.v2 != "" || s.cgroups.pids != "", Limited: s.limited(),
	}
}

// events gives those that were not taken, and waits for one if there is none.
func (s *server) events(ctx context.Context, wait time.Duration) []Event {
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	for {
		s.mu.Lock()
		news := s.news
		s.mu.Unlock()
		list := s.shareEvents()
		for _, k := range s.keepers() {
			if e := k.event(); e != nil {
				list = append(list, *e)
			}
		}
		if len(list) > 0 {
			slices.SortFunc(list, func(a, b Event) int { return int(int64(a.Seq) - int64(b.Seq)) })
			return list
		}
		select {
		case <-news:
		case <-timeout.C:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// tail sends the end of a log, and goes on if asked to.
func (s *server) tail(ctx context.Context, q request, send func(response) bool) error {
	list, err := s.find(q.Names)
	if err != nil {
		return err
	}
	if len(list) != 1 {
		return fmt.Errorf("%w: tail needs one program, not %d", ErrUnknown, len(list))
	}
	k := list[0]
	k.mu.Lock()
	err = k.makeOutput()
	out := k.out
	k.mu.Unlock()
	if err != nil || out == nil {
		return err
	}
	out.settle()
	b, more, leave, err := out.follow(q.Bytes)
	defer leave()
	if err != nil {
		return err
	}
	for len(b) > 0 {
		n := min(len(b), chunk)
		if !send(response{Data: b[:n], More: true}) {
			return nil
		}
		b = b[n:]
	}
	for q.Op == "follow" {
		select {
		case b := <-more:
			if !send(response{Data: b, More: true}) {
				return nil
			}
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}
