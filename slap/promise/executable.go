package promise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"weir/internal/proc"
)

// Bounds of what a promise says.
const (
	maxMessage = 5000     // characters, from the end
	maxOutput  = 64 << 10 // bytes, from the end
)

// executable runs one of etc/promise.
func (o Options) executable(ctx context.Context, c check) *Result {
	r := o.blank(c)
	if info, err := os.Stat(c.path); err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
		o.Log.Warn("promise: no executable file, left out", "partition", o.ID, "promise", c.path)
		return nil
	}
	o.remember(c, cache{Tested: true, Anomaly: true, Periodicity: 2}, true)
	timed, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	begin := time.Now()
	said, err := o.execute(timed, job{command: []string{c.path}})
	r.Duration = time.Since(begin)
	said = strings.TrimSpace(strings.ReplaceAll(said, "\r\n", "\n"))
	var status *exec.ExitError
	if err != nil && !errors.As(err, &status) && timed.Err() == nil {
		said = strings.TrimSpace(fmt.Sprintf("%v\n%s", err, said)) // it could not be run at all
	}
	if timed.Err() != nil {
		o.note(c, true, "Terminating promise process")
		o.unclear(r, o.timedOut())
		return r
	}
	r.Failed, r.Message, r.settled = err != nil, shorten(said), true
	o.note(c, r.Failed, r.Message)
	if o.Anomaly && r.Failed {
		r.Failed = o.failedRuns(c) >= 3
	}
	return r
}

// A job is a command to run as the partition's user.
type job struct {
	command []string
	input   io.Reader
	extra   *os.File // descriptor 3
}

// execute runs a command in a session of its own and gives the end of what it
// wrote. When the context ends, the whole tree is ended.
func (o Options) execute(ctx context.Context, j job) (string, error) {
	command := proc.Limited(o.Processes, j.command...)
	cmd := exec.Command(command[0], command[1:]...)
	run := fmt.Sprintf("WEIR_PROMISE=%016x", rand.Uint64())
	cmd.Dir, cmd.Stdin = o.Partition, j.input
	cmd.Env = append(o.Env[:len(o.Env):len(o.Env)], run)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: o.UID, Gid: o.GID}
	}
	if j.extra != nil {
		cmd.ExtraFiles = []*os.File{j.extra}
	}
	cmd.WaitDelay = time.Second // for pipes that a daemon keeps open
	out := &ending{most: maxOutput}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return "", err
	}
	main := proc.ID{PID: cmd.Process.Pid}
	if s, err := proc.Read("/", main.PID); err == nil {
		main = s.ID
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		if errors.Is(err, exec.ErrWaitDelay) {
			proc.SignalAll(proc.Tree(main, run), syscall.SIGKILL)
			err = nil
		}
		return out.String(), err
	case <-ctx.Done():
	}
	proc.SignalAll(proc.Tree(main, run), syscall.SIGTERM)
	select {
	case <-done:
	case <-time.After(time.Second):
	}
	for range 50 {
		tree := proc.Tree(main, run)
		if len(tree) == 0 {
			break
		}
		proc.SignalAll(tree, syscall.SIGKILL)
		time.Sleep(10 * time.Millisecond)
	}
	return out.String(), ctx.Err()
}

// An ending keeps the end of what is written to it.
type ending struct {
	b    []byte
	most int
}

func (e *ending) Write(p []byte) (int, error) {
	e.b = append(e.b, p...)
	if len(e.b) > 2*e.most {
		e.b = append(e.b[:0], e.b[len(e.b)-e.most:]...)
	}
	return len(p), nil
}

func (e *ending) String() string {
	return strings.ToValidUTF8(string(e.b[max(0, len(e.b)-e.most):]), "\uFFFD")
}

// shorten keeps the last characters of a message.
func shorten(s string) string {
	r := []rune(s)
	if len(r) <= maxMessage {
		return s
	}
	return "..." + string(r[len(r)-maxMessage:])
}
