package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// zookeeper starts a server of ZooKeeper and gives its address.
func zookeeper(t *testing.T) string {
	t.Helper()
	return startEnsemble(t, 1).hosts[0]
}

// configured starts a weir with a configuration.
func configured(t *testing.T, text string) *weir {
	t.Helper()
	config := filepath.Join(t.TempDir(), "weir.yaml")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, "--config", config)
}

// actions makes a folder with executables.
func actions(t *testing.T, scripts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	// They can be run at once: a process that another test makes meanwhile has
	// not got them open for writing.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	for name, text := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// An engineProcess is weir job executor or distributor.
type engineProcess struct {
	cmd    *exec.Cmd
	log    *bytes.Buffer
	exited chan error
}

func engine(t *testing.T, w *weir, zk string, args ...string) *engineProcess {
	t.Helper()
	p := &engineProcess{log: &bytes.Buffer{}, exited: make(chan error, 1)}
	args = append([]string{"job"}, args...)
	p.cmd = exec.Command(program, append(args, "--ss-url=http://"+w.HTTP, "--zk-hosts="+zk, "--zk-timeout=10s")...)
	p.cmd.Stderr = p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.exited <- p.cmd.Wait() }()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		if t.Failed() {
			t.Logf("%s:\n%s", strings.Join(p.cmd.Args, " "), p.log)
		}
	})
	return p
}

// comesTo waits until a job has a state.
func (w *weir) comesTo(id, state string) map[string]any {
	w.t.Helper()
	var j map[string]any
	w.await(id+" is "+state, func() bool {
		_, j = w.api("GET", id, asJSON, nil)
		return j["state"] == state
	})
	return j
}

// TestExecutorsShareAQueue: two executors on ZooKeeper; one is killed while it
// runs a job, the other begins it again and knows so.
func TestExecutorsShareAQueue(t *testing.T) {
	t.Parallel()
	zk := zookeeper(t)
	w := configured(t, "jobs: {zookeeper: ["+zk+"]}\n")
	dir := actions(t, map[string]string{
		"quick": `echo '{"statusMessage":"done by '$WEIR_JOB_ID'"}'`,
		"slow":  `[ "$WEIR_JOB_AGAIN" = true ] && { echo '{"statusMessage":"cleaned up"}'; exit 0; }; sleep 600`,
	})
	first := engine(t, w, zk, "executor", "--name=first", "--es-hosts-list=localhost", "--threads=2", "--actions", dir)
	slow := w.addJob(map[string]any{"action": "slow", "targetResource": map[string]any{"href": "x"}, "priority": 1})
	w.comesTo(slow, "RUNNING")
	second := engine(t, w, zk, "executor", "--name=second", "--threads=2", "--actions", dir)
	var quick []string
	for range 20 {
		quick = append(quick, w.addJob(map[string]any{"action": "quick"}))
	}
	for _, id := range quick {
		if j := w.comesTo(id, "SUCCESS"); j["statusMessage"] != "done by "+id || j["attempt"] != 1.0 {
			t.Errorf("%v", j)
		}
	}
	first.cmd.Process.Kill()
	if j := w.comesTo(slow, "SUCCESS"); j["statusMessage"] != "cleaned up" || j["attempt"] != 2.0 {
		t.Errorf("the job of the killed executor: %v", j)
	}
	if j := w.comesTo(w.addJob(map[string]any{"action": "unknown"}), "FAILED"); j["statusMessage"] != "Not implemented action: unknown" {
		t.Errorf("%v", j)
	}
	lead := engine(t, w, zk, "distributor", "quick", "--every=200ms", "--target=clock")
	w.await("distributed jobs succeed", func() bool {
		_, c := w.api("PUT", "job", "application/x-www-form-urlencoded", "%24filter=targetResource/href='clock' and state='SUCCESS'&%24last=0")
		return c["count"].(float64) >= 3
	})
	for _, p := range []*engineProcess{lead, second} {
		p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-p.exited:
			if err != nil {
				t.Errorf("%v ends with %v after SIGTERM", p.cmd.Args, err)
			}
		case <-time.After(time.Minute): // half the grace
			t.Errorf("%v does not end within a minute of SIGTERM though idle", p.cmd.Args)
		}
	}
}

// TestJobsOfTheGateway: with a folder of actions the gateway runs jobs itself,
// and begins those again that a kill interrupted.
func TestJobsOfTheGateway(t *testing.T) {
	t.Parallel()
	dir := actions(t, map[string]string{
		"quick": `echo '{"progress":10}'`,
		"slow":  `[ "$WEIR_JOB_AGAIN" = true ] && exit 0; sleep 600`,
		"bad":   `echo "no such sensor" >&2; exit 4`,
	})
	w := configured(t, "jobs: {actions: "+dir+"}\n")
	slow := w.addJob(map[string]any{"action": "slow"})
	w.comesTo(slow, "RUNNING")
	if out, err := runWeir(t, t.TempDir(), "job", "run", "quick", "--ss-url=http://"+w.HTTP); err != nil || !strings.Contains(string(out), `"SUCCESS"`) {
		t.Errorf("job run quick: %v\n%s", err, out)
	}
	if out, err := runWeir(t, t.TempDir(), "job", "run", "bad", "--ss-url=http://"+w.HTTP); err == nil || !strings.Contains(string(out), "no such sensor") {
		t.Errorf("job run bad: %v\n%s", err, out)
	}
	w.kill()
	w.up()
	if j := w.comesTo(slow, "SUCCESS"); j["attempt"] != 2.0 {
		t.Errorf("the interrupted job: %v", j)
	}
	long := w.addJob(map[string]any{"action": "slow"})
	w.comesTo(long, "RUNNING")
	began := time.Now()
	if out, err := runWeir(t, t.TempDir(), "job", "cancel", long, "--ss-url=http://"+w.HTTP); err != nil || !strings.Contains(string(out), "CANCELED") {
		t.Errorf("job cancel: %v\n%s", err, out)
	}
	w.stop()
	if took := time.Since(began); took > 2*time.Minute {
		t.Errorf("a canceled job held the stop up for %v", took)
	}
	w.up()
	out, err := runWeir(t, t.TempDir(), "job", "ls", "--ss-url=http://"+w.HTTP)
	if err != nil || !strings.Contains(string(out), long) || !strings.Contains(string(out), "CANCELED") {
		t.Errorf("job ls: %v\n%s", err, out)
	}
}
