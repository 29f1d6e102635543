package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// An ensemble is members of ZooKeeper on loopback.
type ensemble struct {
	t       testing.TB
	jar     string
	java    string
	dir     string
	hosts   []string
	members []*exec.Cmd // nil is dead
}

// startEnsemble starts n members and waits until all serve.
func startEnsemble(t testing.TB, n int) *ensemble {
	t.Helper()
	e := &ensemble{t: t, jar: registryPeer(t, "WEIR_ZOOKEEPER", "ZooKeeper"), java: command(t, "java"), dir: t.TempDir(), members: make([]*exec.Cmd, n)}
	ports := freePorts(t, 3*n)
	for i := range n {
		e.hosts = append(e.hosts, fmt.Sprintf("127.0.0.1:%d", ports[3*i]))
		data := e.data(i)
		text := fmt.Sprintf("tickTime=1000\ninitLimit=20\nsyncLimit=20\ndataDir=%s\nclientPort=%d\nclientPortAddress=127.0.0.1\nmaxClientCnxns=0\n", data, ports[3*i])
		for j := range n {
			if n > 1 {
				text += fmt.Sprintf("server.%d=127.0.0.1:%d:%d\n", j+1, ports[3*j+1], ports[3*j+2])
			}
		}
		if err := os.MkdirAll(data, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string]string{"zoo.cfg": text, "myid": fmt.Sprint(i + 1)} {
			if err := os.WriteFile(filepath.Join(data, name), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range n {
		e.start(i)
	}
	t.Cleanup(func() {
		for i := range n {
			e.kill(i)
		}
	})
	for _, h := range e.hosts {
		awaitFor(t, 2*patience, "ZooKeeper at "+h+" serves", func() bool { return memberMode(h) != "" })
	}
	return e
}

func (e *ensemble) data(i int) string { return filepath.Join(e.dir, fmt.Sprint(i+1)) }

func (e *ensemble) start(i int) {
	e.t.Helper()
	cmd := exec.Command(e.java, "-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dzookeeper.admin.enableServer=false",
		"-Dzookeeper.4lw.commands.whitelist=srvr", "-Dzookeeper.jmx.log4j.disable=true", "-Dzookeeper.forceSync=no", // no test switches the machine off
		"-cp", e.jar, "org.apache.zookeeper.server.quorum.QuorumPeerMain", filepath.Join(e.data(i), "zoo.cfg"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	e.members[i] = cmd
}

// kill ends a member as a power switch would.
func (e *ensemble) kill(i int) {
	if e.members[i] != nil {
		e.members[i].Process.Kill()
		e.members[i].Wait()
		e.members[i] = nil
	}
}

// memberMode asks a member what it is: standalone, leader, follower, or "".
func memberMode(host string) string {
	c, err := net.DialTimeout("tcp", host, 5*time.Second)
	if err != nil {
		return ""
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	io.WriteString(c, "srvr")
	b, _ := io.ReadAll(c)
	_, rest, _ := strings.Cut(string(b), "\nMode: ")
	word, _, _ := strings.Cut(rest, "\n")
	return word
}
