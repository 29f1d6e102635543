package zookeeper

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
)

// An ensemble is real ZooKeeper servers on loopback.
type ensemble struct {
	t       testing.TB
	dir     string
	hosts   []string
	servers []*exec.Cmd
}

// missing skips a test for want of a program; with CI=true that is a failure.
func missing(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// classPath is where ZooKeeper's jar is.
func classPath(t testing.TB) string {
	t.Helper()
	if p := os.Getenv("WEIR_ZOOKEEPER"); p != "" {
		return p
	}
	const jar = "/usr/share/java/zookeeper.jar"
	if _, err := os.Stat(jar); err != nil {
		missing(t, "no ZooKeeper: WEIR_ZOOKEEPER is not set; internal/e2e/peers.sh installs it")
	}
	return jar
}

// freePorts gives ports below those that the system gives to connections: none
// is taken before its server has it.
func freePorts(t testing.TB, n int) []int {
	t.Helper()
	var ports []int
	for range 10_000 {
		port := 10_000 + rand.IntN(20_000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		defer l.Close()
		if ports = append(ports, port); len(ports) == n {
			return ports
		}
	}
	t.Fatalf("there are only %d free ports", len(ports))
	return nil
}

// tick is ZooKeeper's unit of time here; a session is 2 to 20 of them. Those of
// the tests are long, so that a slow machine is no silence.
const tick = time.Second

// startEnsemble starts n servers and waits until they serve.
func startEnsemble(t testing.TB, n int) *ensemble {
	t.Helper()
	if _, err := exec.LookPath("java"); err != nil {
		missing(t, "no java on PATH; internal/e2e/peers.sh installs it")
	}
	e := &ensemble{t: t, dir: t.TempDir(), servers: make([]*exec.Cmd, n)}
	ports := freePorts(t, 3*n)
	for i := range n {
		e.hosts = append(e.hosts, fmt.Sprintf("127.0.0.1:%d", ports[3*i]))
		data := filepath.Join(e.dir, fmt.Sprint(i+1))
		if err := os.MkdirAll(data, 0o755); err != nil {
			t.Fatal(err)
		}
		lines := []string{fmt.Sprintf("tickTime=%d", tick.Milliseconds()), "initLimit=20", "syncLimit=20", "dataDir=" + data,
			fmt.Sprintf("clientPort=%d", ports[3*i]), "clientPortAddress=127.0.0.1", "maxClientCnxns=0"}
		for j := range n {
			if n > 1 {
				lines = append(lines, fmt.Sprintf("server.%d=127.0.0.1:%d:%d", j+1, ports[3*j+1], ports[3*j+2]))
			}
		}
		for name, text := range map[string]string{"zoo.cfg": strings.Join(lines, "\n") + "\n", "myid": fmt.Sprint(i + 1)} {
			if err := os.WriteFile(filepath.Join(data, name), []byte(text), 0o644); err != nil {
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
		e.await(h)
	}
	return e
}

func (e *ensemble) start(i int) {
	e.t.Helper()
	data := filepath.Join(e.dir, fmt.Sprint(i+1))
	args := []string{"-Dzookeeper.admin.enableServer=false", "-Dzookeeper.4lw.commands.whitelist=*", "-Dzookeeper.jmx.log4j.disable=true",
		"-cp", classPath(e.t), "org.apache.zookeeper.server.quorum.QuorumPeerMain", filepath.Join(data, "zoo.cfg")}
	if _, bench := e.t.(*testing.B); bench { // as Debian's start it
		args = append([]string{"-Xmx1000m"}, args...)
	} else { // no test switches the machine off
		args = append([]string{"-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dzookeeper.forceSync=no"}, args...)
	}
	cmd := exec.Command("java", args...)
	log, err := os.Create(filepath.Join(data, "log"))
	if err != nil {
		e.t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	e.servers[i] = cmd
}

func (e *ensemble) kill(i int) {
	if e.servers[i] != nil {
		e.servers[i].Process.Kill()
		e.servers[i].Wait()
		e.servers[i] = nil
	}
}

// mode asks a server what it is: standalone, leader, follower, or "".
func mode(host string) string {
	c, err := net.DialTimeout("tcp", host, 5*time.Second)
	if err != nil {
		return ""
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	io.WriteString(c, "srvr")
	b, _ := io.ReadAll(c)
	_, rest, ok := strings.Cut(string(b), "\nMode: ")
	if !ok {
		return ""
	}
	word, _, _ := strings.Cut(rest, "\n")
	return word
}

func (e *ensemble) await(host string) {
	e.t.Helper()
	for end := time.Now().Add(patience); mode(host) == ""; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			e.t.Fatalf("ZooKeeper at %s does not come up", host)
		}
	}
}

// raw is somebody else's client, which sees what is there.
func (e *ensemble) raw(t testing.TB) *zk.Conn {
	t.Helper()
	c, _, err := zk.Connect(e.hosts, 20*tick, zk.WithLogInfo(false), zk.WithLogger(silent{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

type silent struct{}

func (silent) Printf(string, ...any) {}

// wipe empties the queue.
func (e *ensemble) wipe(t testing.TB) {
	t.Helper()
	c := e.raw(t)
	for _, folder := range []string{entriesFolder, takenFolder} {
		names, _, err := c.Children(folder)
		if err == zk.ErrNoNode {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for some := range slices.Chunk(names, 500) {
			var ops []any
			for _, n := range some {
				ops = append(ops, &zk.DeleteRequest{Path: folder + "/" + n, Version: -1})
			}
			c.Multi(ops...)
		}
	}
}

// open gives a client.
func (e *ensemble) open(t testing.TB) *Client {
	t.Helper()
	c, err := Open(Options{Hosts: e.hosts, Timeout: 20 * tick})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
