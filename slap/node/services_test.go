package node

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/slap"
	"weir/slap/supervise"
)

// service is a program that notes its process and goes on.
func service(name string) string {
	return "#!/bin/sh\necho $$ >> " + name + ".pids\nexec sleep 1000\n"
}

// pids are the processes that a program has had.
func (h *house) pids(partition, name string) []string {
	return strings.Fields(h.text(partition, name+".pids"))
}

func (h *house) alive(pid string) bool {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	return err == nil && !strings.Contains(string(b), ") Z ")
}

func TestServices(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 2, "")
	h.put("part0", "etc/service/a", service("a"), 0o755)
	h.put("part0", "etc/services/b", service("b"), 0o755)
	h.put("part0", "etc/run/c", "#!/bin/sh\necho $$ $USER $HOME $PWD >> c.pids\n", 0o755)
	h.put("part0", "etc/run/bad\nname", service("d"), 0o755)
	h.put("part1", "etc/service/a", service("a"), 0o755)
	h.instance(Run{Parallel: 1}, 0, "startedComputerPartition part0", "startedComputerPartition part1")
	h.within("all run", func() bool {
		return len(h.pids("part0", "a"))*len(h.pids("part0", "b"))*len(h.pids("part0", "c"))*len(h.pids("part1", "a")) > 0
	})
	if got := h.pids("part0", "c"); len(got) != 4 || got[2] != h.path("part0") || got[3] != h.path("part0") {
		t.Errorf("the run script has %q", got)
	}
	if got := h.pids("part0", "d"); len(got) != 0 {
		t.Errorf("a program with a line break in its name ran: %v", got)
	}
	file := h.path("etc", "supervisord.conf.d", "part0.conf")
	if b, err := os.ReadFile(file); err != nil || !strings.Contains(string(b), "[group:part0]\nprograms=part0_a,part0_b,part0_c\n") || !strings.Contains(string(b), "process_name=a-on-watch\n") {
		t.Errorf("%s: %s, %v", file, b, err)
	}
	// Another agent restarts nothing that runs, and what has ended again.
	h.instance(Run{Force: true, Only: []string{"part0"}}, 0, "startedComputerPartition part0")
	h.within("the run script runs again", func() bool { return len(h.pids("part0", "c")) == 8 })
	if got := h.pids("part0", "a"); len(got) != 1 || !h.alive(got[0]) {
		t.Errorf("the service had the processes %v", got)
	}
	// What the profile has taken away stops, and so does a stopped partition.
	h.must(os.Remove(h.path("part0", "etc/services/b")))
	h.fake.set(func() { h.fake.partitions[1].State, h.fake.partitions[1].Timestamp = slap.Stopped, "2" })
	h.instance(Run{Force: true, Parallel: 1}, 0, "startedComputerPartition part0", "stoppedComputerPartition part1")
	if h.alive(h.pids("part0", "b")[0]) || h.alive(h.pids("part1", "a")[0]) || !h.alive(h.pids("part0", "a")[0]) {
		t.Error("what should have stopped runs, or the reverse")
	}
	if _, err := os.Stat(h.path("etc", "supervisord.conf.d", "part1.conf")); !os.IsNotExist(err) {
		t.Errorf("a stopped partition is written down as running: %v", err)
	}
}

// TestOfflineStarts: without the master what should run is started, and what
// should not is not.
func TestOfflineStarts(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 2, "")
	for _, p := range []string{"part0", "part1"} {
		h.put(p, "etc/service/a", service("a"), 0o755)
		h.put(p, "etc/service/b", service("b"), 0o755)
	}
	h.put("part0", ".part0-requested-process-state", `{"stopped": ["b"]}`, 0o600)
	h.instance(Run{Parallel: 1}, 0, "startedComputerPartition part0", "startedComputerPartition part1")
	h.within("it runs", func() bool { return len(h.pids("part0", "a")) == 1 && len(h.pids("part1", "a")) == 1 })
	h.fake.set(func() { h.fake.partitions[1].State = slap.Stopped })
	h.instance(Run{Force: true, Only: []string{"part1"}}, 0, "stoppedComputerPartition part1")
	pid, err := strconv.Atoi(h.pids("part0", "a")[0])
	h.must(err)
	h.must(syscall.Kill(pid, syscall.SIGKILL))
	h.gone(strconv.Itoa(pid))
	h.fake.set(func() { h.fake.status = 503 })
	h.within("it is started again", func() bool {
		h.instance(Run{}, ExitOffline)
		return len(h.pids("part0", "a")) == 2
	})
	if len(h.pids("part1", "a")) != 1 || len(h.pids("part0", "b")) != 0 {
		t.Errorf("started without the master: stopped partition %v, program that its partition wants stopped %v", h.pids("part1", "a"), h.pids("part0", "b"))
	}
}

// TestWatchdog: a service that ends is told once after each success.
func TestWatchdog(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1, "")
	h.put("part0", "etc/service/a", service("a"), 0o755)
	h.put("part0", "etc/run/b", "#!/bin/sh\nexit 1\n", 0o755)
	h.instance(Run{}, 0, "startedComputerPartition part0")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); h.Watchdog(ctx) }()
	defer func() { cancel(); <-ended }()
	end := func(n int) {
		t.Helper()
		h.within(fmt.Sprintf("%d processes", n), func() bool { return len(h.pids("part0", "a")) == n })
		pid, err := strconv.Atoi(h.pids("part0", "a")[n-1])
		h.must(err)
		h.must(syscall.Kill(pid, syscall.SIGKILL))
	}
	start := func() {
		t.Helper()
		c, err := supervise.Dial(t.Context(), h.SupervisorDir())
		h.must(err)
		h.within("the end is noticed", func() bool {
			s, err := c.Status(t.Context(), "part0:a-on-watch")
			h.must(err)
			return s[0].State == supervise.Exited
		})
		_, err = c.Start(t.Context(), "part0:a-on-watch")
		h.must(err)
	}
	end(1)
	var told []string
	h.within("the master is told", func() bool { told = append(told, h.fake.told()...); return len(told) > 0 })
	if len(told) != 1 || told[0] != "softwareInstanceBang part0 a-on-watch process in partition part0 encountered a problem" {
		t.Errorf("told %q", told)
	}
	h.within("the bang is noted", func() bool { return h.text("part0", ".slapos_latest_bang_timestamp") == "1" })
	start()
	end(2) // not again
	start()
	c, err := supervise.Dial(t.Context(), h.SupervisorDir())
	h.must(err)
	h.within("the second end is taken", func() bool { list, err := c.Events(t.Context(), 0); return err == nil && len(list) == 0 })
	h.toldAre()
	h.fake.set(func() { h.fake.partitions[0].Timestamp = "2" })
	h.instance(Run{}, 0, "startedComputerPartition part0")
	end(3)
	told = nil
	h.within("the master is told again", func() bool { told = append(told, h.fake.told()...); return len(told) > 0 })
}

// TestRequestedStates: the partition's own wishes, by the file's rules.
func TestRequestedStates(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1, "[ ! -f broken ]")
	for _, name := range []string{"a", "b"} {
		h.put("part0", "etc/service/"+name, service(name), 0o755)
	}
	wish := func(text string) { h.put("part0", ".part0-requested-process-state", text, 0o600) }
	runs := func(a, b int) {
		t.Helper()
		h.within(fmt.Sprintf("%d and %d processes", a, b), func() bool { return len(h.pids("part0", "a")) == a && len(h.pids("part0", "b")) == b })
	}
	wish(`{"stopped": ["b"]}`)
	h.instance(Run{}, 0, "startedComputerPartition part0")
	runs(1, 0)
	wish(`{}`) // a changed file is a reason to look, though the partition is up to date
	h.instance(Run{}, 0)
	runs(1, 1)
	now := func(d time.Duration) int64 { return time.Now().Add(d).Unix() + 1 }
	time.Sleep(1100 * time.Millisecond) // timestamps have seconds
	wish(fmt.Sprintf(`{"restarted": ["a"], "timestamp": %d}`, now(-1*time.Second)))
	h.put("part0", "broken", "", 0o600)
	h.instance(Run{Force: true}, ExitFailed, "softwareInstanceError part0")
	h.must(os.Remove(h.path("part0", "broken")))
	h.instance(Run{}, 0, "startedComputerPartition part0")
	runs(2, 1)
	h.instance(Run{Force: true}, 0, "startedComputerPartition part0")
	wish(fmt.Sprintf(`{"restarted": ["a"], "timestamp": %d}`, now(time.Hour)))
	h.instance(Run{Force: true}, 0, "startedComputerPartition part0")
	wish(`no JSON`)
	h.instance(Run{Force: true}, 0, "startedComputerPartition part0")
	runs(2, 1)
	wish(`{"stopped": []}`)
	h.fake.set(func() { h.fake.partitions[0].State = slap.Stopped })
	h.instance(Run{Force: true}, 0, "stoppedComputerPartition part0")
	if h.alive(h.pids("part0", "a")[1]) {
		t.Error("a wish kept a process of a stopped instance running")
	}
}
