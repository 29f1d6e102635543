package node

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/slap"
)

func (h *house) report(posts ...string) {
	h.t.Helper()
	o, err := h.Report(h.t.Context(), Run{})
	h.must(err)
	if o.Exit() != 0 {
		h.t.Errorf("report: %+v", o)
	}
	h.toldAre(posts...)
}

func (h *house) empty(partition string, want bool) {
	h.t.Helper()
	list, err := os.ReadDir(h.path(partition))
	if err != nil || (len(list) == 0) != want {
		h.t.Errorf("%s has %v, %v", partition, list, err)
	}
}

func TestDestroy(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 2, "")
	h.put("part0", "etc/service/a", service("a"), 0o755)
	h.put("part0", "sbin/destroy", "#!/bin/sh\n[ -e data/x ]", 0o755)
	h.put("part0", "data/x", "x", 0o600)
	h.instance(Run{Parallel: 1}, 0, "startedComputerPartition part0", "startedComputerPartition part1")
	h.within("it runs", func() bool { return len(h.pids("part0", "a")) == 1 })
	pid := h.pids("part0", "a")[0]
	h.report()
	h.empty("part0", false)
	h.fake.set(func() {
		h.fake.partitions[0].State, h.fake.answer = slap.Destroyed, "Not destroying yet because of others"
	})
	h.report("stoppedComputerPartition part0", "destroyedComputerPartition part0", "stoppedComputerPartition part0", "destroyedComputerPartition part0")
	h.empty("part0", false)
	if h.alive(pid) {
		t.Error("it runs still")
	}
	h.fake.set(func() { h.fake.answer = "OK" })
	h.report("stoppedComputerPartition part0", "destroyedComputerPartition part0")
	h.empty("part0", true)
	h.empty("part1", false)
}

func TestDestroyScriptFails(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1, "")
	h.put("part0", "sbin/destroy", "#!/bin/sh\necho not yet; exit 1", 0o755)
	h.fake.partitions[0].State = slap.Destroyed
	o, err := h.Report(t.Context(), Run{})
	if err != nil || o.Exit() != ExitFailed || !strings.Contains(o.Failed[0].Text, "not yet") {
		t.Errorf("%+v, %v", o, err)
	}
	h.toldAre("stoppedComputerPartition part0")
	h.empty("part0", false)
}

// TestDestroyCutShort: a partition that the master has freed is emptied before
// anything else is done in it.
func TestDestroyCutShort(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"free", slap.Started} {
		h := newHouse(t, 1, "[ ! -e secret ] || { echo it is there; exit 1; }")
		h.put("part0", "secret", "of the instance before", 0o600)
		h.must(h.prepare())
		h.must(os.WriteFile(h.state("destroy", "part0"), nil, 0o600))
		if state == "free" {
			h.fake.partitions[0].State, h.fake.partitions[0].Software = slap.Destroyed, ""
			h.report()
			h.empty("part0", true)
			continue
		}
		h.instance(Run{}, 0, "startedComputerPartition part0")
		if h.text("part0", "secret") != "" {
			t.Error("a new instance finds files of an old one")
		}
	}
}

func TestRetention(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1, "")
	p := h.fake.partitions[0]
	p.Filter = map[string]any{"retention_delay": 0.5}
	h.instance(Run{}, 0, "startedComputerPartition part0")
	p.Filter = map[string]any{"retention_delay": 99.0} // never changed afterwards
	h.instance(Run{Force: true}, 0, "startedComputerPartition part0")
	p.State = slap.Destroyed
	began := time.Now()
	h.report("stoppedComputerPartition part0")
	ended := time.Now()
	h.report("stoppedComputerPartition part0")
	h.empty("part0", false)
	seconds, err := strconv.ParseFloat(h.text("part0", dateName), 64)
	h.must(err)
	const half = 12 * time.Hour
	if until := time.UnixMicro(int64(seconds * 1e6)); until.Before(began.Add(half-time.Millisecond)) || until.After(ended.Add(half+time.Millisecond)) {
		t.Errorf("kept until %v, half a day after %v", until, began)
	}
	h.put("part0", dateName, strconv.FormatInt(time.Now().Unix(), 10), 0o644) // it is over
	h.report("stoppedComputerPartition part0", "destroyedComputerPartition part0")
	h.empty("part0", true)
}

// TestPrerm: scripts of the end run once, and are waited for.
func TestPrerm(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1, "")
	h.instance(Run{}, 0, "startedComputerPartition part0")
	h.put("part0", "etc/prerm/bye", "#!/bin/sh\necho x >> runs\nwhile [ ! -e go ]; do sleep 0.02; done\ntouch ../../gone\n", 0o755)
	h.fake.partitions[0].State = slap.Destroyed
	h.report("stoppedComputerPartition part0")
	h.within("it runs", func() bool { return h.text("part0", "runs") != "" })
	h.report("stoppedComputerPartition part0")
	if got := h.text("part0", "runs"); got != "x\n" {
		t.Errorf("it ran %q", got)
	}
	h.put("part0", "go", "", 0o600)
	h.within("the partition is emptied", func() bool {
		if _, err := h.Report(t.Context(), Run{}); err != nil {
			t.Error(err)
		}
		list, err := os.ReadDir(h.path("part0"))
		return err == nil && len(list) == 0
	})
}
