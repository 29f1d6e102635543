package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"weir/internal/proc"
)

// A program is run to its end: a buildout, a report, a destroy script.
type program struct {
	args   []string
	dir    string
	env    []string
	owner  owner
	limit  time.Duration // 0 is none
	most   int64         // processes of the owner, where the agent is root; 0 is no limit
	mark   string        // by which it is known after a crash of the agent
	output io.Writer

	terminal bool // it reads and writes where the agent does, too
}

// An owner is who a program runs as.
type owner struct{ uid, gid int }

// ErrRoot: a folder belongs to root, and what is in it would run as root.
var ErrRoot = errors.New("node: root does not run a partition's programs as root: give the folder to a user of its own (weir node format)")

// credential gives nil where the agent is that user already.
func (o owner) credential() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	if o.uid == 0 || o.gid == 0 {
		return nil, ErrRoot
	}
	c := &syscall.Credential{Uid: uint32(o.uid), Gid: uint32(o.gid)}
	u, err := user.LookupId(strconv.Itoa(o.uid))
	if err != nil {
		return c, nil // a user that is a number only has no further groups
	}
	ids, _ := u.GroupIds()
	for _, id := range ids {
		if n, err := strconv.Atoi(id); err == nil && n != 0 {
			c.Groups = append(c.Groups, uint32(n))
		}
	}
	return c, nil
}

// dropped are variables that would change what a buildout does.
var dropped = []string{"LANG", "LANGUAGE", "TMP", "TMPDIR", "TEMP", "TEMPDIR", "LOGNAME", "USER", "HOME", "ENV", "CONFIG_SITE", "SLAPGRID_INSTANCE_ROOT"}

// environment is the agent's own without what leads programs astray.
func environment(more ...string) []string {
	var env []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, "PYTHON") || strings.HasPrefix(name, "LC_") || slices.Contains(dropped, name) {
			continue
		}
		env = append(env, v)
	}
	if !slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, "PATH=") }) {
		env = append(env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	}
	return append(append(env, "PYTHONNOUSERSITE=1"), more...)
}

// markName is the variable that marks the processes of a run.
const markName = "WEIR_NODE_RUN"

// run gives when the program has ended. Its whole process group ends with it,
// with the agent, and when the limit is over.
func (p program) run(ctx context.Context) error {
	credential, err := p.owner.credential()
	if err != nil {
		return err
	}
	if p.limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, p.limit, fmt.Errorf("it took longer than %s", p.limit))
		defer cancel()
	}
	c := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", `umask 027; exec "$@"`, "sh"}, proc.Limited(p.most, p.args...)...)...)
	c.Dir, c.Env, c.Stdout, c.Stderr = p.dir, p.env, p.output, p.output
	if p.terminal {
		c.Stdin, c.Stdout = os.Stdin, io.MultiWriter(p.output, os.Stdout)
		c.Stderr = c.Stdout
	}
	if p.mark != "" {
		c.Env = append(slices.Clip(c.Env), markName+"="+p.mark)
	}
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL, Credential: credential}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGTERM) }
	c.WaitDelay = 5 * time.Second
	// The signal comes when the thread that started the program ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err = c.Run()
	if c.Process != nil {
		syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
	}
	switch {
	case context.Cause(ctx) != nil && err != nil:
		return context.Cause(ctx)
	case errors.Is(err, exec.ErrWaitDelay): // somebody kept its output open
		return nil
	}
	return err
}

// killMarked ends what a run left behind when the agent was killed.
func killMarked(mark string) (n int) {
	want := []byte("\x00" + markName + "=" + mark + "\x00")
	list, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, name := range list {
		b, err := os.ReadFile(name)
		if err != nil || !bytes.Contains(append([]byte{0}, b...), want) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil && pid != os.Getpid() && syscall.Kill(pid, syscall.SIGKILL) == nil {
			n++
		}
	}
	return n
}

// interpreter gives what the first line of a script names, with its
// arguments; nil when there is no such line.
func interpreter(script string) ([]string, error) {
	f, err := os.Open(script)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, 1024)
	n, err := io.ReadFull(f, b)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	line, _, _ := strings.Cut(string(b[:n]), "\n")
	rest, ok := strings.CutPrefix(line, "#!")
	if !ok {
		return nil, nil
	}
	return strings.Fields(rest), nil
}

// buildoutCommand gives the command of a buildout, without its arguments; to be
// debugged it stops in Python's debugger where it fails.
func buildoutCommand(script string, debug bool) ([]string, error) {
	args, err := interpreter(script)
	if err != nil {
		return nil, err
	}
	args = append(args, script)
	if debug {
		args = append(args, "-D")
	}
	return args, nil
}

// A tail keeps the end of what is written to it, and passes whole lines on.
type tail struct {
	kept  []byte
	limit int
	lines func(string)
	part  []byte
	also  io.Writer
}

func (t *tail) Write(b []byte) (int, error) {
	if t.also != nil {
		t.also.Write(b) // a log that cannot be written does not end the run
	}
	t.kept = append(t.kept, b...)
	if over := len(t.kept) - t.limit; over > t.limit {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	t.part = append(t.part, b...)
	for {
		line, rest, ok := bytes.Cut(t.part, []byte{'\n'})
		if !ok && len(t.part) < 8192 {
			return len(b), nil
		}
		if t.lines != nil {
			t.lines(string(bytes.ToValidUTF8(line, []byte("?"))))
		}
		t.part = append(t.part[:0], rest...)
	}
}

// text gives the end of the output.
func (t *tail) text() string {
	b := t.kept
	if over := len(b) - t.limit; over > 0 {
		b = b[over:]
	}
	return strings.ToValidUTF8(string(b), "?")
}
