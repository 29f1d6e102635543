package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// BenchmarkNodeUpToDate: a run of weir's node and one of slapgrid, in turn,
// over 50 started partitions of one service each that need nothing.
func BenchmarkNodeUpToDate(b *testing.B) {
	python := slapPython(b)
	c := newComputer(b, slapproxy(b, python), python, 50)
	release := c.path("sr", "tiny.cfg")
	c.write(release, 0o644, "[buildout]\nparts =\n")
	other := c.path("other.cfg")
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
	text, err := os.ReadFile(program)
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(weir, text, 0o755); err != nil {
		b.Fatal(err)
	}
	slapos := filepath.Join(filepath.Dir(reachable(b, c.dir, python)), "python3")
	if _, err := os.Stat(slapos); err != nil {
		slapos = python
	}
	run := func(name string, args ...string) (time.Duration, float64) {
		cmd := exec.Command(name, args...)
		cmd.Dir, cmd.Env = c.dir, []string{"PATH=" + filepath.Dir(slapos) + ":/usr/bin:/bin", "HOME=" + c.dir}
		if os.Geteuid() == 0 {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		}
		begun := time.Now()
		out, err := cmd.CombinedOutput()
		if err != nil {
			b.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return time.Since(begun), float64(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss) / 1024
	}
	ours := []string{"node", "instance", "--cfg", c.cfg}
	theirs := []string{"-m", "slapos.cli.entry", "node", "instance", "--now", "--cfg", other, "--pidfile", c.path("inst", "slapos.pid")}
	run(weir, ours...)
	run(weir, ours...)
	b.Cleanup(func() { // slapgrid's supervisord goes on, too
		var pid int
		text, _ := os.ReadFile(c.path("inst", "var", "run", "supervisord.pid"))
		if fmt.Sscan(string(text), &pid); pid > 1 {
			syscall.Kill(pid, syscall.SIGTERM)
		}
	})
	var sum [2]time.Duration
	var memory [2]float64
	runs := 0
	for b.Loop() {
		for k, f := range []func() (time.Duration, float64){func() (time.Duration, float64) { return run(weir, ours...) }, func() (time.Duration, float64) { return run(slapos, theirs...) }} {
			d, m := f()
			sum[k] += d
			memory[k] = max(memory[k], m)
		}
		runs++
	}
	each := func(k int) float64 { return float64(sum[k].Milliseconds()) / float64(runs) }
	b.ReportMetric(each(0), "weir-ms")
	b.ReportMetric(each(1), "slapgrid-ms")
	b.ReportMetric(each(1)/each(0), "times-faster")
	b.ReportMetric(memory[0], "weir-MB")
	b.ReportMetric(memory[1], "slapgrid-MB")
}
