package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// slapPython gives a Python that has slapos.core.
func slapPython(t testing.TB) string {
	t.Helper()
	return registryPeer(t, "WEIR_PYTHON_SLAPOS", "slapos.core")
}

// daemon starts a program that serves until the test ends.
func daemon(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.Command(name, args...)
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	if !testing.Verbose() {
		c.Stdout, c.Stderr = nil, nil
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Signal(syscall.SIGTERM)
		c.Wait()
	})
	return c
}

// slapMaster starts weir's master in a folder and gives its URL.
func slapMaster(t testing.TB, data string, args ...string) (url string, c *exec.Cmd) {
	t.Helper()
	file := filepath.Join(data, "addresses.json")
	os.Remove(file)
	c = daemon(t, program, append([]string{"slap", "master", "--listen", "127.0.0.1:0", "--data", data}, args...)...)
	var at struct{ Slap string }
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		b, err := os.ReadFile(file)
		if err == nil && json.Unmarshal(b, &at) == nil {
			return "http://" + at.Slap + "/", c
		}
		if time.Now().After(end) {
			t.Fatalf("the master did not start: %v", err)
		}
	}
}

// TestSlapLibrary: the real library does with weir's master all that it can.
func TestSlapLibrary(t *testing.T) {
	t.Parallel()
	python := slapPython(t)
	url, _ := slapMaster(t, t.TempDir())
	out, err := exec.Command(python, filepath.Join("testdata", "slapos.py"), url).CombinedOutput()
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(out)), "ok") {
		t.Errorf("slapos.slap: %v\n%s", err, out)
	}
}

// TestSlapUpstream runs slapos.core's own tests of its master with weir's.
func TestSlapUpstream(t *testing.T) {
	t.Parallel()
	python := slapPython(t)
	script, err := filepath.Abs(filepath.Join("testdata", "slapos_upstream.py"))
	if err != nil {
		t.Fatal(err)
	}
	skip := filepath.Join(filepath.Dir(script), "slapos_skip.txt")
	c := exec.Command(python, script, "--skip", skip, "--", program, "slap", "master", "--cfg", "{cfg}")
	c.Dir = t.TempDir()
	out, err := c.CombinedOutput()
	if m := regexp.MustCompile(`(?m)^(\d+) passed, 0 failed`).FindSubmatch(out); err != nil || m == nil || len(m[1]) < 3 {
		t.Errorf("slapos.core's tests: %v\n%s", err, out)
	}
}

// TestSlapKill: a master that is killed while it is asked for instances has
// all that it answered, once each.
func TestSlapKill(t *testing.T) {
	t.Parallel()
	python := slapPython(t)
	data := t.TempDir()
	ask := `
import sys, slapos.slap
from slapos.util import dumps
s = slapos.slap.slap(); s.initializeConnection(sys.argv[1])
if sys.argv[2] == "format":
    s.registerComputer("local").updateConfiguration(dumps({"reference": "local", "address": "::1", "netmask": "::", "partition_list": [
        {"reference": "p%d" % i, "tap": {"name": "t"}, "address_list": []} for i in range(200)]}))
elif sys.argv[2] == "ask":
    for i in range(200):
        print(i, s.registerOpenOrder().request("sr", "i%d" % i).getId(), flush=True)
else:
    for p in s.registerComputer("local").getComputerPartitionList():
        if p.getState() != "destroyed":
            print(p.getInstanceParameter("instance_title")[1:], p.getId())
`
	run := func(url, what string) (string, error) {
		out, err := exec.Command(python, "-c", ask, url, what).Output()
		return string(out), err
	}
	url, c := slapMaster(t, data)
	if out, err := run(url, "format"); err != nil {
		t.Fatalf("format: %v\n%s", err, out)
	}
	answered := map[string]bool{}
	for round := range 3 {
		client := exec.Command(python, "-c", ask, url, "ask")
		lines, err := client.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Start(); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewScanner(lines)
		for n := 0; in.Scan(); n++ {
			answered[in.Text()] = true
			if n == 30*(round+1) {
				c.Process.Kill()
			}
		}
		if client.Wait() == nil {
			t.Error("the client was not disturbed by the end of its master")
		}
		c.Process.Wait()
		url, c = slapMaster(t, data)
	}
	if len(answered) < 90 {
		t.Errorf("%d answers before the kills", len(answered))
	}
	found, err := run(url, "list")
	if err != nil {
		t.Fatalf("list: %v\n%s", err, found)
	}
	names, places := map[string]bool{}, map[string]bool{}
	lines := strings.Split(strings.TrimSpace(found), "\n")
	for _, line := range lines {
		name, place, _ := strings.Cut(line, " ")
		if names[name] || places[place] {
			t.Errorf("%s is there twice", line)
		}
		names[name], places[place] = true, true
		delete(answered, line)
	}
	if len(answered) > 0 || len(lines) < 90 {
		t.Errorf("%d instances are found; answered and lost: %v", len(lines), answered)
	}
}

// TestSlapClient: weir's commands with the real slapproxy.
func TestSlapClient(t *testing.T) {
	t.Parallel()
	python := slapPython(t)
	dir := t.TempDir()
	port := freePort(t)
	cfg := filepath.Join(dir, "slapos.cfg")
	text := fmt.Sprintf("[slapos]\ncomputer_id = local\n[slapproxy]\nhost = 127.0.0.1\nport = %d\ndatabase_uri = %s/proxy.db\nsoftware_product_list =\n  demo http://sr.example/demo.cfg\n", port, dir)
	if err := os.WriteFile(cfg, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	daemon(t, filepath.Join(filepath.Dir(python), "slapos"), "proxy", "start", "--cfg", cfg)
	url := fmt.Sprintf("http://127.0.0.1:%d/", port)
	waitFor(t, fmt.Sprintf("127.0.0.1:%d", port))
	slap := func(want int, args ...string) string {
		t.Helper()
		c := exec.Command(program, append(append([]string{"slap"}, args...), "--master", url)...)
		out, _ := c.CombinedOutput()
		if got := c.ProcessState.ExitCode(); got != want {
			t.Errorf("weir slap %s: exit code %d, want %d: %s", strings.Join(args, " "), got, want, out)
		}
		return string(out)
	}
	format := exec.Command(python, "-c", `
import sys, slapos.slap
from slapos.util import dumps
s = slapos.slap.slap(); s.initializeConnection(sys.argv[1])
s.registerComputer("local").updateConfiguration(dumps({"reference": "local", "address": "::1", "netmask": "::", "partition_list": [
    {"reference": "slappart0", "tap": {"name": "t"}, "address_list": [{"addr": "::1", "netmask": "::"}]}]}))
`, url)
	if out, err := format.CombinedOutput(); err != nil {
		t.Fatalf("format: %v\n%s", err, out)
	}
	slap(0, "supply", "product.demo", "local")
	if out := slap(0, "request", "first", "product.demo", "--parameters", "a=<é>", "b=2", "--node", "computer_guid=local"); !strings.Contains(out, "started") {
		t.Errorf("request: %s", out)
	}
	slap(1, "request", "second", "product.demo")
	slap(1, "supply", "product.none", "local")
	if out := slap(0, "list"); !strings.Contains(out, "first  http://sr.example/demo.cfg") {
		t.Errorf("list: %s", out)
	}
	if out := slap(0, "info", "first", "--json"); !strings.Contains(out, `"a": "\u003cé\u003e"`) {
		t.Errorf("info: %s", out)
	}
	slap(2, "info", "absent")
	if out := slap(0, "status", "local"); !strings.Contains(out, "0 of 1 partitions are free") || !strings.Contains(out, "demo.cfg  available") {
		t.Errorf("status: %s", out)
	}
	slap(0, "request", "first", "product.demo", "--state", "destroyed")
}

// waitFor waits until somebody listens at an address.
func waitFor(t testing.TB, address string) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatalf("nobody listens at %s", address)
		}
	}
}

// TestSlapAsync: the real library meets "please wait", and gets the instance
// when it asks again.
func TestSlapAsync(t *testing.T) {
	t.Parallel()
	python := slapPython(t)
	url, _ := slapMaster(t, t.TempDir(), "--async")
	out, err := exec.Command(python, "-c", `
import sys, slapos.slap
from slapos.util import dumps
s = slapos.slap.slap(); s.initializeConnection(sys.argv[1])
s.registerComputer("local").updateConfiguration(dumps({"reference": "local", "address": "::1", "netmask": "::", "partition_list": [
    {"reference": "p", "tap": {"name": "t"}, "address_list": []}]}))
first = s.registerOpenOrder().request("sr", "i")
for ask in (first.getId, first.getState, first.getConnectionParameterDict):
    try:
        ask()
    except slapos.slap.ResourceNotReady:
        continue
    raise AssertionError("%s answered" % ask)
assert s.registerOpenOrder().request("sr", "i").getId() == "p"
print("ok")
`, url).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "ok" {
		t.Errorf("%v\n%s", err, out)
	}
}
