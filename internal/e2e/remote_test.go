package e2e

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestExecutorsElsewhere: executors in other processes borrow from the
// gateway's own queue. One is killed and its job begun again by the other; one
// goes on with its job while the gateway is killed and begins anew.
func TestExecutorsElsewhere(t *testing.T) {
	t.Parallel()
	w := configured(t, "jobs: {users: [{username: super, password: secret, admin: true}]}\n")
	w.login("super", "secret")
	dir := actions(t, map[string]string{
		"quick": `echo done`,
		"slow":  `[ "$WEIR_JOB_AGAIN" = true ] && { echo '{"statusMessage":"cleaned up"}'; exit 0; }; sleep 60`,
		"while": `while [ ! -e ` + filepath.Join(t.TempDir(), "go") + ` ]; do sleep 0.05; done; echo '{"statusMessage":"went on"}'`,
	})
	flag := strings.Fields(strings.SplitAfter(readFile(t, filepath.Join(dir, "while")), "-e ")[1])[0]
	start := func(name string) *exec.Cmd {
		t.Helper()
		cmd := exec.Command(program, "job", "executor", "--ss-url=http://"+w.HTTP, "--ss-user=super", "--name="+name, "--threads=2", "--actions", dir)
		cmd.Env = append(os.Environ(), "WEIR_SS_PASS=secret")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		return cmd
	}
	first := start("first")
	slow := w.addJob(map[string]any{"action": "slow"})
	if j := w.comesTo(slow, "RUNNING"); j["executor"] != "first" {
		t.Errorf("the job is run by %v", j["executor"])
	}
	firstIsSeen := func() bool {
		_, list := w.api("GET", "executor", asJSON, nil)
		for _, x := range list["executors"].([]any) {
			if x := x.(map[string]any); x["name"] == "first" && x["queue"] == "api" {
				running := x["running"].([]any)
				return slices.Contains(running, any(slow))
			}
		}
		return false
	}
	w.await("the executor is seen with its job", firstIsSeen)
	second := start("second")
	long := w.addJob(map[string]any{"action": "while"})
	w.comesTo(long, "RUNNING")
	w.comesTo(w.addJob(map[string]any{"action": "quick"}), "SUCCESS")
	if j := w.comesTo(w.addJob(map[string]any{"action": "unknown"}), "FAILED"); j["statusMessage"] != "Not implemented action: unknown" {
		t.Errorf("%v", j)
	}
	w.kill()
	w.up()
	w.login("super", "secret")
	if err := os.WriteFile(flag, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if j := w.comesTo(long, "SUCCESS"); j["attempt"] != 1.0 || j["statusMessage"] != "went on" {
		t.Errorf("the job that ran while the gateway was killed: %v", j)
	}
	w.await("the gateway that began anew sees the executor with its job", firstIsSeen) // else it has none to lose
	first.Process.Kill()
	awaitFor(t, 2*patience, "the job of the killed executor is begun again", func() bool {
		_, j := w.api("GET", slow, asJSON, nil)
		return j["state"] == "SUCCESS" && j["attempt"] == 2.0 && j["statusMessage"] == "cleaned up"
	})
	second.Process.Signal(syscall.SIGTERM)
	ended := make(chan error, 1)
	go func() { ended <- second.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("after SIGTERM: %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("an idle executor does not end within a minute of SIGTERM")
	}
	resp, err := http.Get("http://" + w.HTTP + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); !strings.Contains(string(text), "weir_job_executors_lost_total 1") || !strings.Contains(string(text), `weir_job_executors{queue="api"} 0`) {
		t.Errorf("the metrics lack the lost executor:\n%s", text)
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// login makes the requests of api those of a user.
func (w *weir) login(name, password string) {
	w.t.Helper()
	a, err := ask("POST", w.url("/api/session"), strings.NewReader(`{"sessionTemplate":{"username":"`+name+`","password":"`+password+`"}}`), "Content-Type", asJSON)
	if err != nil || a.Status != 201 {
		w.t.Fatalf("log in: %d %s %v", a.Status, a.Body, err)
	}
	w.cookie, _, _ = strings.Cut(a.Header.Get("Set-Cookie"), ";")
}
