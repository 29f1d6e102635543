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
	"sync"
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
	// Print adds a line to the job's log.
	Print func(line string)
}

// A Work does an action's job. The return code is the job's; a code that is
// not 0, or an error, makes the job FAILED.
type Work func(ctx context.Context, r *Run) (code int, err error)

// Folder gives the actions that are executables in a folder; an action's name
// is its file's without an extension. An executable reads the job as JSON on
// its standard input; each line of JSON on its standard output is a change of
// the job: {"progress":50}, {"statusMessage":"…"}, {"affectedResources":[…]}.
// Other lines, and those of its standard error, go to the job's log. Its exit
// status is the return code.
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
		out[name] = Program(path)
	}
	return out, nil
}

// killAfter is how long an executable has after SIGTERM.
const killAfter = 10 * time.Second

// Program is the action that an executable does.
func Program(path string) Work {
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
		said := &tail{print: r.Print}
		updateErr, err := perform(cmd, r, said)
		said.flush()
		if updateErr != nil {
			return 1, updateErr
		}
		return verdict(r, err, said.String())
	}
}

// perform runs an executable and follows its output; err is how it ended. What
// it left running when it exits ends with it, even what holds its output open.
func perform(cmd *exec.Cmd, r *Run, said *tail) (updateErr, err error) {
	out, outIn, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer out.Close()
	errs, errsIn, err := os.Pipe()
	if err != nil {
		outIn.Close()
		return nil, err
	}
	defer errs.Close()
	cmd.Stdout, cmd.Stderr = outIn, errsIn
	err = cmd.Start()
	outIn.Close()
	errsIn.Close()
	if err != nil {
		return nil, fmt.Errorf("action %s: %w", r.Job.Action, err)
	}
	var reading sync.WaitGroup
	reading.Go(func() { updateErr = follow(out, r) })
	reading.Go(func() { io.Copy(said, errs) })
	err = cmd.Wait()
	syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	late := time.AfterFunc(leftBehind, func() { out.Close(); errs.Close() })
	defer late.Stop()
	reading.Wait()
	return updateErr, err
}

// leftBehind is for how long the output of an executable that exited is read on.
const leftBehind = time.Second

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
func follow(out io.Reader, r *Run) error {
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
			r.Print(string(line))
			continue
		}
		c.State, c.Attempt, c.Executor = "", nil, "" // the executor's
		if err := r.Update(c); err != nil && errors.Is(err, ErrInvalid) {
			r.Print("refused: " + err.Error())
		} else if err != nil {
			failed = err
		}
	}
	if lines.Err() != nil && !errors.Is(lines.Err(), os.ErrClosed) { // a line too long: let it go on, unread
		r.Print("what follows is not read: " + lines.Err().Error())
		io.Copy(io.Discard, out)
	}
	return failed
}

// A tail keeps the end of what is written to it, and prints whole lines.
type tail struct {
	b     []byte
	line  []byte // that has no end yet
	print func(string)
}

const tailBytes = 8 << 10

func (t *tail) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		line, more, whole := bytes.Cut(rest, []byte("\n"))
		if t.line = append(t.line, line...); whole || len(t.line) > maxLogLine {
			t.flush()
		}
		rest = more
	}
	t.b = append(t.b, p...)
	if over := len(t.b) - tailBytes; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(p), nil
}

// flush prints the line that has no end.
func (t *tail) flush() {
	if line := bytes.TrimSpace(t.line); len(line) > 0 {
		t.print(string(line))
	}
	t.line = t.line[:0]
}

func (t *tail) String() string { return strings.ToValidUTF8(string(t.b), "") }
