package jobs

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// A Run is one attempt at a job, as its action sees it.
type Run struct {
	Job Job // as it was when the attempt began
	// Again says that an earlier attempt did not come to its end: clean up
	// after it, or go on with it.
	Again bool
	// Update edits the job: progress, message, affected resources. When it
	// fails the attempt is over, and so is the context.
	Update func(Change) error
}

// A Work does an action's job. The return code is the job's; a code that is
// not 0, or an error, makes the job FAILED.
type Work func(ctx context.Context, r *Run) (code int, err error)

// Folder gives the actions that are executables in a folder; an action's name
// is its file's without an extension. An executable reads the job as JSON on
// its standard input; each line of JSON on its standard output is a change of
// the job: {"progress":50}, {"statusMessage":"…"}, {"affectedResources":[…]}.
// Its exit status is the return code.
func Folder(dir string, log *slog.Logger) (map[string]Work, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("jobs: load actions: %w", err)
	}
	out := map[string]Work{}
	for _, f := range list {
		path, err := filepath.Abs(filepath.Join(dir, f.Name()))
		if err != nil {
			return nil, fmt.Errorf("jobs: load actions: %w", err)
		}
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 || strings.HasPrefix(f.Name(), ".") {
			log.Warn("no action: it is no executable file", "path", path)
			continue
		}
		name := strings.TrimSuffix(f.Name(), filepath.Ext(f.Name()))
		if out[name] != nil {
			return nil, fmt.Errorf("jobs: load actions: two files in %s are the action %s: rename one", dir, name)
		}
		out[name] = Program(path, log)
	}
	return out, nil
}

// killAfter is how long an executable has after SIGTERM.
const killAfter = 10 * time.Second

// Program is the action that an executable does.
func Program(path string, log *slog.Logger) Work {
	return func(ctx context.Context, r *Run) (int, error) {
		input, err := json.Marshal(r.Job)
		if err != nil {
			return 1, err
		}
		cmd := exec.CommandContext(ctx, path)
		cmd.Stdin = bytes.NewReader(append(input, '\n'))
		cmd.Env = append(os.Environ(), "WEIR_JOB_ID="+r.Job.ID, "WEIR_JOB_ACTION="+r.Job.Action,
			fmt.Sprint("WEIR_JOB_ATTEMPT=", r.Job.Attempt), fmt.Sprint("WEIR_JOB_AGAIN=", r.Again))
		// It ends when this process is killed, too: else it would run on beside
		// the attempt that takes its place. The kernel goes by the thread.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, farewell(ctx)) }
		cmd.WaitDelay = killAfter
		said := &tail{}
		cmd.Stderr = said
		out, err := cmd.StdoutPipe()
		if err != nil {
			return 1, err
		}
		if err := cmd.Start(); err != nil {
			return 1, fmt.Errorf("action %s: %w", r.Job.Action, err)
		}
		updateErr := follow(out, r, log)
		err = cmd.Wait()
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it left behind
		if updateErr != nil {
			return 1, updateErr
		}
		return verdict(r, err, said.String())
	}
}

// farewell is the signal that ends an executable. With its lock an action loses
// the time to clean up: another attempt may begin soon.
func farewell(ctx context.Context) syscall.Signal {
	if errors.Is(context.Cause(ctx), ErrLost) {
		return syscall.SIGKILL
	}
	return syscall.SIGTERM
}

// verdict reads an exit status.
func verdict(r *Run, err error, said string) (int, error) {
	if err == nil {
		return 0, nil
	}
	code := 1
	if e, ok := errors.AsType[*exec.ExitError](err); ok && e.ExitCode() > 0 {
		code = e.ExitCode()
	}
	if said = strings.TrimSpace(said); said == "" {
		said = err.Error()
	}
	return code, fmt.Errorf("action %s ended with code %d: %s", r.Job.Action, code, said)
}

// maxLine is the longest line of an executable's output that is looked at.
const maxLine = 1 << 20

// follow applies the changes that an executable reports, until its output ends.
func follow(out io.Reader, r *Run, log *slog.Logger) error {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, maxLine)
	var failed error
	for lines.Scan() {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 || failed != nil {
			continue
		}
		var c Change
		if line[0] != '{' || json.Unmarshal(line, &c) != nil {
			log.Warn("an action prints a line that is no change of its job", "job", r.Job.ID, "action", r.Job.Action, "line", string(line[:min(len(line), 200)]))
			continue
		}
		c.State, c.Attempt = "", nil // the executor's
		if err := r.Update(c); err != nil && errors.Is(err, ErrInvalid) {
			log.Warn("an action reports a change that is refused", "job", r.Job.ID, "action", r.Job.Action, "error", err)
		} else if err != nil {
			failed = err
		}
	}
	if lines.Err() != nil { // a line too long: let it go on, unread
		log.Warn("an action's output is not read on", "job", r.Job.ID, "action", r.Job.Action, "error", lines.Err())
		io.Copy(io.Discard, out)
	}
	return failed
}

// A tail keeps the end of what is written to it.
type tail struct{ b []byte }

const tailBytes = 8 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if over := len(t.b) - tailBytes; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return strings.ToValidUTF8(string(t.b), "") }
