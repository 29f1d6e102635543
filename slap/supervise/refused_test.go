package supervise

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// TestRemovedCgroups: folders that somebody removes are made again; programs
// start, and are held as they were, also while they are being removed.
func TestRemovedCgroups(t *testing.T) {
	t.Parallel()
	b := open(t, false)
	if i, err := b.Info(b.ctx()); err != nil || !i.Confined {
		t.Skip("no cgroups here:", err)
	}
	bases := findCgroups(b.dir, slog.New(slog.DiscardHandler)).folders()
	within := func(pid int) bool {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(text), filepath.Base(bases[0])+"/")
	}
	if _, err := b.Apply(b.ctx(), Group{Name: "g", Share: Share{Processes: 50}, Programs: []Program{b.sh("p", "exec sleep 100000")}}); err != nil {
		t.Fatal(err)
	}
	for _, f := range bases {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	if s := b.begin("g:p"); s[0].State != Running || !within(s[0].PID) {
		t.Errorf("after the removal: %+v, within %v", s[0], within(s[0].PID))
	}
	limited := slices.ContainsFunc(bases, func(f string) bool {
		text, err := os.ReadFile(filepath.Join(f, groupSlot("g"), "pids.max"))
		return err == nil && string(text) == "50\n"
	})
	if !limited {
		t.Error("the group has lost its limit")
	}
	var remover sync.WaitGroup
	end := make(chan struct{})
	remover.Go(func() {
		for {
			select {
			case <-end:
				return
			default:
			}
			for _, f := range bases {
				_ = os.Remove(filepath.Join(f, groupSlot("h"), slot("h", "q")))
				_ = os.Remove(filepath.Join(f, groupSlot("h")))
			}
		}
	})
	b.apply("h", b.sh("q", "exec sleep 100000"))
	for range 20 {
		if s := b.begin("h:q"); s[0].State != Running {
			t.Errorf("while it is removed: %+v", s[0])
		}
		if _, err := b.Stop(b.ctx(), "h:q"); err != nil {
			t.Fatal(err)
		}
	}
	close(end)
	remover.Wait()
}

// TestRefusedCgroups: where folders can be made and no process be put into
// them, rlimits have to do. A folder of another file system is such a place.
func TestRefusedCgroups(t *testing.T) {
	t.Parallel()
	c := cgroups{v2: t.TempDir(), pids: t.TempDir()}
	folders, by, err := c.place("g", "slot", os.Getpid(), Limits{Processes: 20}, Share{Processes: 20})
	if len(folders) > 0 || by.processes || by.memory {
		t.Errorf("%v, %+v", folders, by)
	}
	if err == nil || !strings.Contains(err.Error(), "cgroup.procs") {
		t.Errorf("it is not said: %v", err)
	}
	var log strings.Builder
	s := &server{o: Options{Exec: []string{os.Args[0], "exec"}}, log: slog.New(slog.NewTextHandler(&log, nil))}
	good := findCgroups(t.TempDir(), s.log)
	c = cgroups{v2: t.TempDir(), pids: good.pids, memory: t.TempDir()}
	c.probe(s)
	discard(good.folders())
	if want := (cgroups{pids: good.pids}); c != want {
		t.Errorf("%+v is left, want %+v", c, want)
	}
	if n := strings.Count(log.String(), "no process can be put into a cgroup"); n != 2 {
		t.Errorf("said %d times: %s", n, log.String())
	}
}

// TestBusyProgram: a program whose file is still open for writing is started
// when that is over.
func TestBusyProgram(t *testing.T) {
	t.Parallel()
	b := open(t, true)
	text, err := os.ReadFile("/bin/sleep")
	if err != nil {
		t.Fatal(err)
	}
	path := b.path("sleep")
	if err := os.WriteFile(path, text, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := b.sh("p", "")
	p.Command = []string{path, "100000"}
	b.apply("g", p)
	begun := b.beginning("g:p")
	b.until("g:p", Starting)
	f.Close()
	if s := begun(); s[0].State != Running {
		t.Errorf("afterwards: %+v", s[0])
	}
}
