package node

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"weir/slap/supervise"
)

// give makes a partition a user's of its own.
func (h *house) give(partition string, uid int) {
	h.t.Helper()
	h.must(filepath.WalkDir(h.path(partition), func(path string, _ os.DirEntry, err error) error {
		h.must(err)
		return os.Lchown(path, uid, uid)
	}))
}

// owned counts a user's processes that live.
func (h *house) owned(uid int) (n int) {
	list, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range list {
		if info, err := os.Stat(dir); err == nil && ownerOf(info).uid == uid && h.alive(filepath.Base(dir)) {
			n++
		}
	}
	return n
}

// TestForkBomb: a service that makes processes without end is held, named in
// the status, and told to the master at once; the other partitions are
// processed and run, the bomb's own is stopped like any other.
func TestForkBomb(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("partitions of users of their own are root's")
	}
	h := newHouse(t, 2, "")
	h.c.Processes = 60
	uid := 1_901_200_000 + rand.IntN(1_000_000) // nobody else's
	h.put("part0", "etc/service/bomb", "#!/bin/sh\n(while :; do setsid sleep 1000 & done) 2>&-\nexec sleep 1000\n", 0o755)
	h.put("part1", "etc/service/good", service("good"), 0o755)
	h.give("part0", uid)
	t.Cleanup(func() {
		if n := h.owned(uid); n > 0 {
			t.Errorf("%d processes of the bomb are left", n)
		}
	})
	h.instance(Run{Parallel: 1}, 0, "startedComputerPartition part0", "startedComputerPartition part1")
	c, err := supervise.Dial(t.Context(), h.SupervisorDir())
	h.must(err)
	ctx, stop := context.WithCancel(t.Context())
	var watchdog sync.WaitGroup
	watchdog.Go(func() { h.Watchdog(ctx) })
	defer watchdog.Wait()
	defer stop()
	var posts []string
	h.within("the master is told", func() bool {
		posts = append(posts, h.fake.told()...)
		return len(posts) > 0
	})
	if want := "softwareInstanceError part0 the partition is at its limit: it has come to its 60 processes and threads"; !strings.HasPrefix(posts[0], want) {
		t.Errorf("the master was told %q", posts)
	}
	if n := h.owned(uid); n > 60 {
		t.Errorf("%d processes", n)
	}
	states, err := c.Status(t.Context(), "part0:bomb-on-watch")
	if err != nil || !strings.Contains(states[0].Limit, "its 60 processes") {
		t.Errorf("%+v, %v", states, err)
	}
	// A run goes on with the others, and tells what is wrong by its exit code.
	o, err := h.Instance(t.Context(), Run{})
	if err != nil || o.Exit() != ExitPromise || len(o.Promises) != 1 || o.Promises[0].Name != "part0" || len(o.Failed) != 0 {
		t.Errorf("%+v, %v", o, err)
	}
	if pids := h.pids("part1", "good"); len(pids) != 1 || !h.alive(pids[0]) {
		t.Errorf("the other partition runs %v", pids)
	}
	h.fake.told()
	h.fake.set(func() { h.fake.partitions[0].State, h.fake.partitions[0].Timestamp = "stopped", "2" })
	h.instance(Run{}, 0, "stoppedComputerPartition part0")
	if n := h.owned(uid); n > 0 {
		t.Errorf("%d processes of a stopped partition", n)
	}
}

// TestProfileBomb: a profile and a promise that make processes without end
// are held by the user's limit, and ended.
func TestProfileBomb(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("partitions of users of their own are root's")
	}
	uid := 1_902_200_000 + rand.IntN(1_000_000)
	const bomb = "i=0; while [ $i -lt 500 ]; do sleep 1000 & i=$((i+1)); done; echo all > NAME\n"
	h := newHouse(t, 1, strings.ReplaceAll(bomb, "NAME", "profile"))
	h.c.Processes = 60
	h.put("part0", "etc/promise/p", "#!/bin/sh\n"+strings.ReplaceAll(bomb, "NAME", "promise"), 0o755)
	h.give("part0", uid)
	o, err := h.Instance(t.Context(), Run{})
	if err != nil || o.Exit() != ExitFailed {
		t.Errorf("%+v, %v", o, err)
	}
	for _, name := range []string{"profile", "promise"} {
		if h.text("part0", name) != "" {
			t.Errorf("the %s made 500 processes", name)
		}
	}
	h.within("nothing of it is left", func() bool { return h.owned(uid) == 0 })
}

func TestLimitOptions(t *testing.T) {
	t.Parallel()
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		t.Fatal(err)
	}
	all := int64(info.Totalram) * int64(info.Unit)
	for _, v := range []struct {
		text              string
		processes, memory int64
	}{
		{"", 4096, all / 10 * 9},
		{"partition_processes = 100\npartition_memory = 2G\n", 100, 2 << 30},
		{"partition_processes = 0\npartition_memory = 0\n", 0, 0},
		{"partition_memory = 50 %\n", 4096, all / 2},
	} {
		c, err := load(t, least+"[weir]\n"+v.text, nil)
		if err != nil || c.Processes != v.processes || c.Memory-v.memory > 100 || v.memory-c.Memory > 100 {
			t.Errorf("%q: %d, %d, %v; want %+v", v.text, c.Processes, c.Memory, err, v)
		}
	}
	_, err := load(t, least+"[weir]\npartition_processes = 15\npartition_memory = 101%\npartition_memroy = 1G\n", nil)
	for _, want := range []string{`:7: [weir] partition_processes = 15 is too few`, `:8: [weir] partition_memory = "101%" is neither`, `:9: [weir] partition_memroy is no option; there are log_size`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not said: %v", want, err)
		}
	}
	for _, text := range []string{"partition_memory = x", "partition_memory = 10K", "partition_memory = 0%", "partition_processes = -1"} {
		if _, err := load(t, least+"[weir]\n"+text+"\n", nil); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}

func TestTokenFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(text string) string {
		name := filepath.Join(dir, "token")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return least + "[weir]\ntoken_file = " + name + "\n"
	}
	if c, err := load(t, file("a secret\n"), nil); err != nil || c.Token != "a secret" {
		t.Errorf("%q, %v", c.Token, err)
	}
	for _, text := range []string{"", "two\nlines"} {
		if _, err := load(t, file(text), nil); err == nil || !strings.Contains(err.Error(), "one line") || strings.Contains(err.Error(), "two") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := load(t, least+"[weir]\ntoken_file = /nonexistent\n", nil); err == nil || !strings.Contains(err.Error(), "token_file") {
		t.Errorf("no file: %v", err)
	}
}
