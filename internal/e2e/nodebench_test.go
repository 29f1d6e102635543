package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BenchmarkNodeUpToDate: runs of weir's node and of slapgrid, in turn, over 50
// started partitions of one service each that need nothing, with slapproxy as
// the master of both and with weir's. Then their memory, of runs that are
// watched for it, and that of what stays: the supervisors of the 50 services.
func BenchmarkNodeUpToDate(b *testing.B) {
	python := slapPython(b)
	for _, m := range []struct {
		name  string
		start func() string
	}{
		{"slapproxy", func() string { return slapproxy(b, python) }},
		{"weir", func() string { url, _ := slapMaster(b, b.TempDir()); return url }},
	} {
		b.Run("master="+m.name, func(b *testing.B) {
			r := newRace(b, python, m.start())
			var took [2][]time.Duration
			for b.Loop() {
				for k := range took {
					begun := time.Now()
					r.finish(r.begin(k))
					took[k] = append(took[k], time.Since(begun))
				}
			}
			var median, all, own [2]float64
			for k := range took {
				slices.Sort(took[k])
				median[k] = took[k][len(took[k])/2].Seconds() * 1000
				all[k], own[k] = r.memory(k)
			}
			b.ReportMetric(median[0], "weir-ms")
			b.ReportMetric(median[1], "slapgrid-ms")
			b.ReportMetric(median[1]/median[0], "times-faster")
			b.ReportMetric(all[0], "weir-MB")
			b.ReportMetric(all[1], "slapgrid-MB")
			b.ReportMetric(own[0], "weir-own-MB")
			b.ReportMetric(own[1], "slapgrid-own-MB")
			r.stays()
		})
	}
}

// A race is a computer whose partitions both agents look after.
type race struct {
	b        *testing.B
	c        *computer
	python   string
	commands [2][]string // of weir and of slapgrid
}

func newRace(b *testing.B, python, master string) *race {
	c := newComputer(b, master, python, 50)
	r := &race{b: b, c: c, python: filepath.Join(filepath.Dir(reachable(b, c.dir, python)), "python3")}
	if _, err := os.Stat(r.python); err != nil {
		r.python = python
	}
	// Both as they come: slapgrid takes one partition after the other.
	text, err := os.ReadFile(c.cfg)
	if err != nil {
		b.Fatal(err)
	}
	c.write(c.cfg, 0o644, "%s", strings.Replace(string(text), "parallel = 1\n", "", 1))
	release, other := c.path("sr", "tiny.cfg"), c.path("other.cfg")
	c.write(release, 0o644, "[buildout]\nparts =\n")
	c.write(other, 0o644, "[slapos]\ncomputer_id = local\nmaster_url = %s\nsoftware_root = %s\ninstance_root = %s\nroot_check = False\ninstance_min_free_space = 1M\n",
		c.master, c.path("soft"), c.path("inst"))
	c.run(0, "node", "format")
	c.run(0, "slap", "supply", release, "local")
	c.run(0, "node", "software")
	soft, err := filepath.Glob(c.path("soft", "*", "bin", "buildout"))
	if err != nil || len(soft) != 1 {
		b.Fatal(soft, err)
	}
	c.write(filepath.Join(filepath.Dir(filepath.Dir(soft[0])), "instance.cfg"), 0o644, "[buildout]\nparts =\n")
	c.write(soft[0], 0o755, "#!/bin/sh\nmkdir -p etc/service; printf '#!/bin/sh\\nexec sleep 9999\\n' > etc/service/s; chmod 700 etc/service/s\n")
	for k := range 50 {
		c.run(0, "slap", "request", fmt.Sprintf("i%d", k), release)
	}
	if os.Geteuid() == 0 { // slapgrid does not run here as root, and both are to be in the same place
		if out, err := exec.Command("chown", "-R", fmt.Sprintf("%d:%d", nobody, nobody), c.path("inst")).CombinedOutput(); err != nil {
			b.Fatalf("%v %s", err, out)
		}
	}
	weir := c.path("weir")
	if out, err := exec.Command("cp", program, weir).CombinedOutput(); err != nil {
		b.Fatalf("%v %s", err, out)
	}
	r.commands = [2][]string{
		{weir, "node", "instance", "--cfg", c.cfg},
		{r.python, "-m", "slapos.cli.entry", "node", "instance", "--now", "--cfg", other, "--pidfile", c.path("inst", "slapos.pid")},
	}
	b.Cleanup(func() { // slapgrid's supervisord goes on, too
		if pid := r.supervisord(); pid > 1 {
			syscall.Kill(pid, syscall.SIGTERM)
		}
	})
	r.finish(r.begin(0))
	r.finish(r.begin(1))
	return r
}

// begin starts a command as the owner of the partitions.
func (r *race) begin(which int) *exec.Cmd {
	return r.start(r.commands[which]...)
}

func (r *race) start(args ...string) *exec.Cmd {
	r.b.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Env = r.c.dir, []string{"PATH=" + filepath.Dir(r.python) + ":/usr/bin:/bin", "HOME=" + r.c.dir}
	cmd.Stdout = new(strings.Builder)
	cmd.Stderr = cmd.Stdout
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	if err := cmd.Start(); err != nil {
		r.b.Fatal(err)
	}
	return cmd
}

func (r *race) finish(cmd *exec.Cmd) {
	r.b.Helper()
	if err := cmd.Wait(); err != nil {
		r.b.Fatalf("%v: %v\n%s", cmd.Args, err, cmd.Stdout)
	}
}

// memory gives the most that a run has, in MB: all that is resident, and what
// of it is no file's. What wait4 tells is of no use: it counts what the parent
// had before the execution.
func (r *race) memory(which int) (all, own float64) {
	for range 5 {
		cmd := r.begin(which)
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		for going := true; going; {
			a, o := resident(cmd.Process.Pid)
			all, own = max(all, a), max(own, o)
			select {
			case err := <-ended:
				if going = false; err != nil {
					r.b.Fatalf("%v: %v\n%s", cmd.Args, err, cmd.Stdout)
				}
			case <-time.After(200 * time.Microsecond):
			}
		}
	}
	return all, own
}

// resident gives a process's memory in MB; nothing of one that has ended.
func resident(pid int) (all, own float64) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0
	}
	for _, m := range regexp.MustCompile(`(VmHWM|RssAnon):\s+(\d+) kB`).FindAllStringSubmatch(string(b), -1) {
		kb, _ := strconv.ParseFloat(m[2], 64)
		if m[1] == "VmHWM" {
			all = kb / 1024
		} else {
			own = kb / 1024
		}
	}
	return all, own
}

func (r *race) supervisord() (pid int) {
	text, _ := os.ReadFile(r.c.path("inst", "var", "run", "supervisord.pid"))
	fmt.Sscan(string(text), &pid)
	return pid
}

// stays measures the supervisors while each runs the 50 services.
func (r *race) stays() {
	r.finish(r.start(r.python, "-m", "supervisor.supervisorctl", "-c", r.c.path("inst", "etc", "supervisord.conf"), "start", "all"))
	pids := append(r.c.processes("supervisor"), r.supervisord())
	if len(pids) != 2 {
		r.b.Fatalf("supervisors are %v", pids)
	}
	for k, name := range []string{"supervisor", "supervisord"} {
		all, own := resident(pids[k])
		if own == 0 {
			r.b.Fatalf("%s does not run", name)
		}
		r.b.ReportMetric(all, name+"-MB")
		r.b.ReportMetric(own, name+"-own-MB")
	}
}
