package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// TestSlapgridUpstream runs slapos.core's own tests of slapgrid with weir.
func TestSlapgridUpstream(t *testing.T) {
	t.Parallel()
	python := slapPython(t)
	dir := openDir(t)
	python = reachable(t, dir, python)
	for _, name := range []string{"slapgrid_upstream.py", "slapgrid_skip.txt"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	weir := filepath.Join(dir, "weir")
	// It can be run at once: a process that another test makes meanwhile has
	// not got it open for writing.
	syscall.ForkLock.RLock()
	err = os.WriteFile(weir, b, 0o755)
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	tmp := filepath.Join(dir, "tmp")
	if err := os.Mkdir(tmp, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(tmp, 0o777); err != nil {
		t.Fatal(err)
	}
	var passed atomic.Int64
	var all sync.WaitGroup
	const parts = 6 // side by side, for they mostly wait
	for k := range parts {
		all.Go(func() {
			cmd := exec.Command(python, filepath.Join(dir, "slapgrid_upstream.py"), "--part", fmt.Sprintf("%d/%d", k, parts),
				"--skip", filepath.Join(dir, "slapgrid_skip.txt"), "--", weir)
			cmd.Dir, cmd.Env = tmp, []string{"PATH=/usr/bin:/bin", "HOME=" + tmp, "TMPDIR=" + tmp, "LANG=C.UTF-8"}
			if os.Geteuid() == 0 {
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
			}
			out, err := cmd.CombinedOutput()
			m := regexp.MustCompile(`(?m)^(\d+) passed, 0 failed`).FindSubmatch(out)
			if err != nil || m == nil {
				t.Errorf("slapos.core's tests: %v\n%s", err, out)
				return
			}
			n, _ := strconv.ParseInt(string(m[1]), 10, 64)
			passed.Add(n)
		})
	}
	all.Wait()
	// 139 pass with slapgrid itself, asked as a command.
	if n := passed.Load(); n < 151 {
		t.Errorf("%d tests passed, want 151", n)
	}
}
