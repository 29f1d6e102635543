package promise

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// maxMessage is how much of a message is kept, in characters from its end.
const maxMessage = 5000

// run runs one promise; nil is one that the mode leaves out.
func (o Options) run(ctx context.Context, c check) *Result {
	r := &Result{Title: c.title(), Name: c.name, Path: c.path, Plugin: c.plugin, Date: time.Now().UTC(), anomaly: o.Anomaly && c.plugin}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.path)
	cmd.Dir, cmd.Env = o.Partition, o.Env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: o.UID, Gid: o.GID}
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	begin := time.Now()
	err := cmd.Run()
	r.Duration = time.Since(begin)
	r.Failed, r.Message = err != nil, strings.TrimSpace(out.String())
	return r
}
