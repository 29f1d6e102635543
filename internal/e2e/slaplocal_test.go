package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// localSlapos stands for bin/slapos of the folder in which "slapos configure
// local" looks for it: it is slapos, but for its master, which is weir's, and for
// what would change the users and the network of the machine.
const localSlapos = `#!/bin/sh
case "$1 $2" in
"proxy start") shift 2; exec WEIR slap master --data DIR/data "$@";;
"node format")
  printf '[computer]\naddress = 127.0.0.1/255.255.255.255\n[partition_0]\naddress = 127.0.0.1/255.255.255.255\npathname = slappart0\nuser = root\nnetwork_interface =\n' >DIR/format.cfg
  sed '/^\[slapformat\]/a input_definition_file = DIR/format.cfg\nalter_user = false\nalter_network = false' DIR/etc/slapos.cfg >DIR/node.cfg
  mkdir -p DIR/soft
  exec SLAPOS node format --now --cfg DIR/node.cfg;;
esac
exec SLAPOS "$@"
`

// TestSlapConfigureLocal: the real "slapos configure local" sets up a computer
// whose master is weir's, under the supervisor that it starts.
func TestSlapConfigureLocal(t *testing.T) {
	t.Parallel()
	slapos := filepath.Join(filepath.Dir(slapPython(t)), "slapos")
	if os.Getuid() != 0 {
		t.Skip("slapos configure local is root's")
	}
	dir, port := t.TempDir(), freePort(t)
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, d := range []string{"bin", "home"} {
		if err := os.Mkdir(at(d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	script := strings.NewReplacer("DIR", dir, "SLAPOS", slapos, "WEIR", program).Replace(localSlapos)
	if err := os.WriteFile(at("bin/slapos"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopSupervisor(at("inst/var/run/supervisord.pid")) })
	c := exec.Command(slapos, "configure", "local", "--slapos-configuration-directory", at("etc"), "--slapos-instance-root", at("inst"),
		"--slapos-software-root", at("soft"), "--slapos-buildout-directory", dir, "--daemon-listen-port", strconv.Itoa(port), "--partition-number", "1")
	c.Env = append(os.Environ(), "HOME="+at("home"), "SLAPOS_CONFIGURATION="+at("etc/slapos.cfg"))
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("slapos configure local: %v\n%s", err, out)
	}
	var shown slapShown
	for end := time.Now().Add(patience); len(shown.Partitions) == 0; time.Sleep(100 * time.Millisecond) {
		if a, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/weir/show", port)); err == nil {
			err = json.NewDecoder(a.Body).Decode(&shown)
			a.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
		}
		if time.Now().After(end) {
			t.Fatal("the computer did not register with the master that the supervisor runs")
		}
	}
	if len(shown.Computers) != 1 || shown.Computers[0].ID != "local_computer" || shown.Partitions[0].Partition != "slappart0" {
		t.Errorf("%+v", shown)
	}
	list := exec.Command(slapos, "computer", "list")
	list.Env = append(os.Environ(), "HOME="+at("home"))
	if out, err := list.CombinedOutput(); err != nil || !strings.Contains(string(out), "local_computer") {
		t.Errorf("slapos computer list, with the client's configuration that was written: %v\n%s", err, out)
	}
}

// stopSupervisor ends the supervisord of a pid file and waits for its end.
func stopSupervisor(file string) {
	b, err := os.ReadFile(file)
	pid, bad := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || bad != nil || pid < 2 {
		return
	}
	syscall.Kill(pid, syscall.SIGTERM)
	for end := time.Now().Add(20 * time.Second); syscall.Kill(pid, 0) == nil && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond)
	}
}
