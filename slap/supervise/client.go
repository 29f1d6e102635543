package supervise

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// socketName is the socket in a supervisor's folder.
const socketName = "supervisor.sock"

// A Client speaks to the supervisor of a folder. It is safe for concurrent
// use; each call has a connection of its own, so a Client outlives a restart
// of the supervisor. Names of programs are GROUP:PROGRAM, GROUP:* or *.
type Client struct {
	dir string
}

// Dial gives a client, or ErrAbsent when nothing answers.
func Dial(ctx context.Context, dir string) (*Client, error) {
	c := &Client{dir: dir}
	if _, err := c.Info(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// Info asks the supervisor about itself.
func (c *Client) Info(ctx context.Context) (Info, error) {
	r, err := c.ask(ctx, request{Op: "info"})
	if err != nil || r.Info == nil {
		return Info{}, err
	}
	return *r.Info, nil
}

// Apply makes a group what is given, durably: new programs are added STOPPED,
// changed ones are stopped and changed, and those that are not in it any more
// are stopped and removed; others are not touched. Start starts them.
func (c *Client) Apply(ctx context.Context, g Group) (Change, error) {
	if err := g.check(); err != nil {
		return Change{}, err
	}
	r, err := c.ask(ctx, request{Op: "apply", Group: &g})
	if err != nil || r.Change == nil {
		return Change{}, err
	}
	return *r.Change, nil
}

// Remove stops a group's programs and forgets it. A group that there is not
// is no error.
func (c *Client) Remove(ctx context.Context, group string) error {
	_, err := c.ask(ctx, request{Op: "remove", Names: []string{group}})
	return err
}

// Start starts what does not run of the programs named, and returns when each
// is RUNNING, or has failed: the states tell. One that ran, exited and waits to be
// started again is in BACKOFF. What the process before left behind is killed
// first.
func (c *Client) Start(ctx context.Context, names ...string) ([]Status, error) {
	return c.statuses(ctx, request{Op: "start", Names: names})
}

// Stop stops programs, and what they left behind, and returns when they are
// gone. One that ignores its StopSignal is killed after StopSeconds.
func (c *Client) Stop(ctx context.Context, names ...string) ([]Status, error) {
	return c.statuses(ctx, request{Op: "stop", Names: names})
}

// Restart is Stop and Start; what does not run is started.
func (c *Client) Restart(ctx context.Context, names ...string) ([]Status, error) {
	return c.statuses(ctx, request{Op: "restart", Names: names})
}

// Signal sends a signal to programs' main processes.
func (c *Client) Signal(ctx context.Context, s syscall.Signal, names ...string) error {
	_, err := c.ask(ctx, request{Op: "signal", Names: names, Signal: s})
	return err
}

// Status gives the programs named, or all, by group and name.
func (c *Client) Status(ctx context.Context, names ...string) ([]Status, error) {
	return c.statuses(ctx, request{Op: "status", Names: names})
}

// Tail gives the last bytes of a program's log.
func (c *Client) Tail(ctx context.Context, name string, bytes int64) ([]byte, error) {
	var b []byte
	err := c.stream(ctx, request{Op: "tail", Names: []string{name}, Bytes: bytes}, func(r response) error {
		b = append(b, r.Data...)
		return nil
	})
	return b, err
}

// Follow writes the last bytes of a program's output and then what comes,
// until the context ends.
func (c *Client) Follow(ctx context.Context, name string, bytes int64, w io.Writer) error {
	err := c.stream(ctx, request{Op: "follow", Names: []string{name}, Bytes: bytes}, func(r response) error {
		_, err := w.Write(r.Data)
		return err
	})
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Events gives what happened to watched programs and was not Taken, one event
// a program at most, in order of Seq. When there is none it waits so long for
// one.
func (c *Client) Events(ctx context.Context, wait time.Duration) ([]Event, error) {
	r, err := c.ask(ctx, request{Op: "events", Wait: wait})
	return r.Events, err
}

// Taken forgets the events up to a Seq. One that has happened since to the
// same program has a greater Seq, and stays.
func (c *Client) Taken(ctx context.Context, seq uint64) error {
	_, err := c.ask(ctx, request{Op: "taken", Seq: seq})
	return err
}

// Shutdown stops all programs and ends the supervisor.
func (c *Client) Shutdown(ctx context.Context) error {
	_, err := c.ask(ctx, request{Op: "shutdown"})
	return err
}

func (c *Client) statuses(ctx context.Context, q request) ([]Status, error) {
	r, err := c.ask(ctx, q)
	return r.Status, err
}

// ask sends one request and reads one answer.
func (c *Client) ask(ctx context.Context, q request) (response, error) {
	var answer response
	err := c.stream(ctx, q, func(r response) error {
		answer = r
		return nil
	})
	return answer, err
}

// stream sends one request and reads all its answers.
func (c *Client) stream(ctx context.Context, q request, each func(response) error) error {
	conn, err := connect(ctx, c.dir)
	if err != nil {
		return err
	}
	var once sync.Once
	closed := func() { once.Do(func() { conn.Close() }) }
	defer closed()
	defer context.AfterFunc(ctx, closed)()
	line, err := json.Marshal(q)
	if err != nil {
		return fmt.Errorf("supervise: %s: %w", q.Op, err)
	}
	if _, err := conn.Write(append(line, '\n')); err != nil {
		return c.failed(ctx, q, err)
	}
	d := json.NewDecoder(bufio.NewReader(conn))
	for {
		var r response
		if err := d.Decode(&r); err != nil {
			return c.failed(ctx, q, err)
		}
		if r.Error != "" {
			return r.err()
		}
		if err := each(r); err != nil || !r.More {
			return err
		}
	}
}

func (c *Client) failed(ctx context.Context, q request, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("supervise: %s: %w", q.Op, ctx.Err())
	}
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return fmt.Errorf("supervise: %s: %w: it ended before it answered", q.Op, ErrAbsent)
	}
	return fmt.Errorf("supervise: %s: %w", q.Op, err)
}

// A remoteError is an error that the supervisor answered.
type remoteError struct {
	text string
	kind error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.kind }

func (r response) err() error { return &remoteError{r.Error, kinds[r.Kind]} }

// connect reaches the socket through its folder's descriptor: a path may be
// longer than the 108 bytes that the name of a socket may have.
func connect(ctx context.Context, dir string) (net.Conn, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAbsent, err)
	}
	defer f.Close()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", filepath.Join(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), socketName))
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err
		}
		return nil, fmt.Errorf("%w in %s: %w", ErrAbsent, dir, err)
	}
	return conn, nil
}

// split parts a name into group and program; program is "*" for all.
func split(name string) (group, program string) {
	if name == "*" || name == "all" {
		return "*", "*"
	}
	group, program, ok := strings.Cut(name, ":")
	if !ok {
		return group, "*"
	}
	return group, program
}
