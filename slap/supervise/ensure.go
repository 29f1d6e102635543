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
)

// Ensure gives a client of the folder's supervisor. If none answers, it starts
// one by the command, in a session of its own, with standard error appended to
// supervisor.log in the folder, and waits for it.
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
