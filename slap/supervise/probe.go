package supervise

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// probe does without the hierarchies into whose groups no process can be put:
// folders can be made in more places than processes may be moved to. A process
// that waits at its gate is moved for a try.
func (c *cgroups) probe(s *server) {
	if len(c.hierarchies()) == 0 {
		return
	}
	gate, open, err := os.Pipe()
	if err != nil {
		return
	}
	defer gate.Close()
	p := exec.Command(s.o.Exec[0], s.o.Exec[1:]...)
	p.ExtraFiles, p.SysProcAttr = []*os.File{gate, gate}, &syscall.SysProcAttr{Setsid: true}
	if err := p.Start(); err != nil {
		open.Close()
		return // programs will say the same
	}
	var tried []string
	for _, base := range []*string{&c.v2, &c.pids, &c.memory} {
		if *base == "" {
			continue
		}
		folder := filepath.Join(*base, "probe")
		err := os.MkdirAll(folder, 0o755)
		if err == nil {
			err = enter(folder, p.Process.Pid)
		}
		tried = append(tried, folder)
		if err != nil {
			s.log.Warn("supervise: no process can be put into a cgroup there; rlimits hold programs instead", "folder", *base, "error", err)
			tried = append(tried, *base)
			*base = ""
		}
	}
	open.Close()
	_ = p.Wait() // it ends without an order, and says so
	discard(tried)
}
