package supervise

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// dyingFor is how long one that answers no more may hold the folder's lock.
const dyingFor = 30 * time.Second

// Ensure gives a client of the folder's supervisor. If none answers, it starts
// one by the command, in a session of its own, with standard error appended to
// supervisor.log in the folder, and waits for it. One that was killed holds the
// folder's lock for a moment still: then it is tried again.
func Ensure(ctx context.Context, dir string, command ...string) (*Client, error) {
	c, err := Dial(ctx, dir)
	if err == nil || !errors.Is(err, ErrAbsent) || len(command) == 0 {
		return c, err
	}
	if err := closeInherited(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("supervise: folder: %w", err)
	}
	log, err := os.OpenFile(filepath.Join(dir, "supervisor.log"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("supervise: log: %w", err)
	}
	defer log.Close()
	for end := time.Now().Add(dyingFor); ; {
		c, err := begin(ctx, dir, log, command)
		if err == nil || ctx.Err() != nil || !held(dir) || time.Now().After(end) {
			return c, err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// held tells whether another process has the folder's lock.
func held(dir string) bool {
	f, err := os.Open(filepath.Join(dir, lockName))
	if err != nil {
		return false
	}
	defer f.Close()
	l := unix.Flock_t{Type: unix.F_RDLCK}
	return unix.FcntlFlock(f.Fd(), unix.F_GETLK, &l) == nil && l.Type != unix.F_UNLCK
}

// begin starts a supervisor and waits until one answers, this or another.
func begin(ctx context.Context, dir string, log *os.File, command []string) (*Client, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("supervise: start: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		// Another one may have been first: then ours ends with ErrTaken.
		if c, err := Dial(ctx, dir); err == nil {
			return c, nil
		}
		select {
		case err := <-ended:
			if c, dialed := Dial(ctx, dir); dialed == nil {
				return c, nil
			}
			return nil, fmt.Errorf("supervise: the supervisor ended at once (%w); %s says why", err, log.Name())
		case <-ctx.Done():
			return nil, fmt.Errorf("supervise: waiting for the supervisor: %w", ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}
