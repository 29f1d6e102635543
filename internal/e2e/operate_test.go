package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestOperatingJobs: what a job printed can be read, SIGHUP loads an action
// that is new, SIGQUIT and the endpoint tell which job a thread runs, and a
// stop releases what does not end within the grace.
func TestOperatingJobs(t *testing.T) {
	t.Parallel()
	dir := actions(t, map[string]string{"talk": `echo "garbage $WEIR_JOB_ATTEMPT"; echo trouble >&2; echo '{"progress":40,"statusMessage":"nearly"}'; exit 7`, "slow": "sleep 60"})
	w := configured(t, "jobs: {actions: "+dir+", grace: 500ms}\n")
	job := func(args ...string) string {
		t.Helper()
		out, _ := runWeir(t, t.TempDir(), append(append([]string{"job"}, args...), "--ss-url=http://"+w.HTTP)...)
		return string(out)
	}
	talk := w.addJob(map[string]any{"action": "talk"})
	w.comesTo(talk, "FAILED")
	text := job("logs", talk, "--follow")
	for _, want := range []string{"RUNNING", "1 garbage 1", "1 trouble", "progress 40%: nearly", "FAILED, return code 7"} {
		if !strings.Contains(text, want) {
			t.Errorf("the log lacks %q:\n%s", want, text)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "new"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.cmd.Process.Signal(syscall.SIGHUP)
	w.await("the new action is loaded", func() bool { return strings.Contains(w.logged(), "actions loaded") })
	w.comesTo(w.addJob(map[string]any{"action": "new"}), "SUCCESS")
	slow := w.addJob(map[string]any{"action": "slow"})
	w.comesTo(slow, "RUNNING")
	if text := job("stacks"); !strings.Contains(text, "runs "+slow) || !strings.Contains(text, `"job":"`+slow+`"`) {
		t.Errorf("the stacks lack %s:\n%s", slow, text)
	}
	w.cmd.Process.Signal(syscall.SIGQUIT)
	w.await("SIGQUIT prints the stacks", func() bool { return strings.Contains(w.logged(), "runs "+slow) })
	if took := w.stop(); took < 500*time.Millisecond {
		t.Errorf("the stop took %v: a running job had no grace", took)
	}
	w.up()
	w.await("what was released is begun again", func() bool {
		_, j := w.api("GET", slow, asJSON, nil)
		return j["attempt"] == 2.0
	})
}
