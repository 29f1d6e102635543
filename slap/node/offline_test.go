package node

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"weir/slap"
)

// reboot ends the supervisor and all that it runs as a power cut does: nothing
// of its folder is as it was, and nothing was told.
func (h *house) reboot(forget bool) {
	h.t.Helper()
	h.killSupervisor()
	for k := range h.fake.partitions {
		for _, pid := range h.pids("part"+strconv.Itoa(k), "a") {
			if n, err := strconv.Atoi(pid); err == nil && h.alive(pid) {
				h.must(syscall.Kill(n, syscall.SIGKILL))
				h.gone(pid)
			}
		}
	}
	if forget {
		h.must(os.RemoveAll(h.SupervisorDir()))
	}
}

// TestOfflineAnswer: after a reboot without the master what it said last is
// started, as far as it was brought about; and nothing is stopped.
func TestOfflineAnswer(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 4, "[ ! -e broken ]")
	for k := range 4 {
		h.put("part"+strconv.Itoa(k), "etc/service/a", service("a"), 0o755)
	}
	h.put("part1", "broken", "", 0o600)
	h.fake.set(func() { h.fake.partitions[2].State = slap.Stopped })
	h.instance(Run{Parallel: 1}, ExitFailed, "startedComputerPartition part0", "softwareInstanceError part1", "stoppedComputerPartition part2", "startedComputerPartition part3")
	h.within("they run", func() bool { return len(h.pids("part0", "a"))*len(h.pids("part3", "a")) == 1 })
	// The master says that part3 is to be stopped, and nobody comes to do it.
	h.fake.set(func() { h.fake.partitions[3].State = slap.Stopped })
	c, err := h.client.Computer(t.Context(), "local")
	h.must(err)
	h.remember(c)
	h.fake.set(func() { h.fake.status = 503 })
	h.instance(Run{}, ExitOffline)
	if !h.alive(h.pids("part3", "a")[0]) {
		t.Error("it was torn down without the master")
	}
	for round, forget := range []bool{true, false} {
		h.reboot(forget)
		h.instance(Run{}, ExitOffline)
		h.within("what should run does", func() bool { return len(h.pids("part0", "a")) == round+2 })
	}
	for name, want := range map[string]int{"part1": 0, "part2": 0, "part3": 1} {
		if got := h.pids(name, "a"); len(got) != want {
			t.Errorf("%s: %v, want %d processes", name, got, want)
		}
	}
}

// TestAnswerDamaged: an answer that is no answer, or of another computer, is
// as if there were none.
func TestAnswerDamaged(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1, "")
	h.put("part0", "etc/service/a", service("a"), 0o755)
	h.instance(Run{}, 0, "startedComputerPartition part0")
	good, err := os.ReadFile(h.answerName())
	h.must(err)
	if a := h.recall(); a == nil || a.state("part0") != slap.Started || a.state("part1") != "" || a.at.IsZero() {
		t.Errorf("%+v of %s", a, good)
	}
	if strings.Contains(string(good), "ip_list") {
		t.Errorf("parameters are kept: %s", good)
	}
	for _, text := range []string{"", "{", "[]", strings.Replace(string(good), `"local"`, `"other"`, 1), string(good[:len(good)/2])} {
		h.must(os.WriteFile(h.answerName(), []byte(text), 0o600))
		if a := h.recall(); a != nil {
			t.Errorf("%q: %+v", text, a)
		}
	}
	h.fake.set(func() { h.fake.status = 503 })
	h.instance(Run{}, ExitOffline)
	if pids := h.pids("part0", "a"); len(pids) > 1 {
		t.Errorf("%v", pids)
	}
	if info, err := os.Stat(h.answerName()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

// TestOldState: an instance that an older slapos stopped by a file stays so
// without the master, until it is processed.
func TestOldState(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1, "")
	h.put("part0", "etc/run/a", "#!/bin/sh\necho $$ >> a.pids\n", 0o755)
	h.instance(Run{}, 0, "startedComputerPartition part0")
	h.within("it runs", func() bool { return len(h.pids("part0", "a")) == 1 })
	h.put("part0", oldStateName, "stopped", 0o644)
	h.fake.set(func() { h.fake.status = 503 })
	h.instance(Run{}, ExitOffline)
	h.fake.set(func() { h.fake.status = 0 })
	h.instance(Run{Force: true}, 0, "startedComputerPartition part0")
	h.within("it runs again", func() bool { return len(h.pids("part0", "a")) == 2 })
	if h.text("part0", oldStateName) != "" {
		t.Error("the file outlives the processing")
	}
}
