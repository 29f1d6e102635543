package node

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/slap"
)

func TestInstanceRunsOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 2, `echo run >> runs; pwd > where; echo "$HOME $SLAPGRID_INSTANCE_ROOT $LANG$PYTHONPATH" > env; umask > mask; printf 'a\n\nb\n' > .slapos-request-transaction-part0`)
	h.fake.partitions[1].State = slap.Stopped
	h.instance(Run{Parallel: 1}, 0, "startedComputerPartition part0", "updateComputerPartitionRelatedInstanceList part0", "stoppedComputerPartition part1")
	h.instance(Run{}, 0)
	if got := h.text("part0", "runs"); got != "run\n" {
		t.Errorf("buildout ran %q", got)
	}
	for name, want := range map[string]string{
		"where": h.path("part0") + "\n", "env": h.path("part0") + " " + h.c.Instances + " \n", "mask": "0027\n", timestampName: "1", delayName: "0",
	} {
		if got := h.text("part0", name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if to, err := os.Readlink(h.path("part0", "software_release")); err != nil || to != h.releasePath(testRelease) {
		t.Errorf("software_release: %s, %v", to, err)
	}
	profile := h.text("part0", "buildout.cfg")
	for _, line := range []string{"[buildout]\nparts =\n", "offline = true\n", "[slap-connection]\ncomputer-id = local\npartition-id = part0\nserver-url = " + h.fake.URL, "requested-state = started\n"} {
		if !strings.Contains(profile, line) {
			t.Errorf("buildout.cfg lacks %q:\n%s", line, profile)
		}
	}
	h.instance(Run{Force: true, Only: []string{"part1"}}, 0, "stoppedComputerPartition part1")
	h.fake.set(func() { h.fake.partitions[0].Timestamp = "0" }) // different, though earlier
	h.instance(Run{}, 0, "startedComputerPartition part0", "updateComputerPartitionRelatedInstanceList part0")
	if _, err := h.Instance(t.Context(), Run{Only: []string{"x", "part0", "y"}}); err == nil || !strings.Contains(err.Error(), "unknown partitions: x, y") {
		t.Errorf("unknown partitions: %v", err)
	}
}

func TestSkipRule(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1, "")
	p := h.fake.partitions[0]
	p.State = slap.Stopped
	for k, c := range []struct {
		stamp, kept string
		age         time.Duration
		periodicity string
		skipped     bool
	}{
		{"5", "5", 0, "", true},
		{"5", "5\n", 23 * time.Hour, "", true},
		{"5", "5", 25 * time.Hour, "", false},
		{"5", "5", time.Hour, "60", false},
		{"5", "5", time.Minute, "3600.5", true},
		{"5", "5", 9999 * time.Hour, "-1", true},
		{"5", "5", 0, "0", false},
		{"5", "5", time.Minute, "nonsense", true},
		{"5", "4", 0, "", false},
		{"5", "6", 0, "-1", false},
		{"5", "", 0, "", false},
		{"", "", 0, "", false},
	} {
		p.Timestamp = c.stamp
		os.Remove(h.path("part0", timestampName))
		if c.kept != "" {
			h.put("part0", timestampName, c.kept, 0o644)
			at := time.Now().Add(-c.age)
			h.must(os.Chtimes(h.path("part0", timestampName), at, at))
		}
		h.must(os.WriteFile(filepath.Join(h.releasePath(testRelease), "periodicity"), []byte(c.periodicity), 0o644))
		o, err := h.Instance(t.Context(), Run{})
		if err != nil || (o.Done == 0) != c.skipped {
			t.Errorf("%d %+v: %+v, %v", k, c, o, err)
		}
	}
}

// TestFailures: what fails is tried again, tells why in both places, and does
// not disturb the others.
func TestFailures(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 7, `[ ! -f broken ] || { echo it broke; exit 3; }`)
	h.put("part0", "broken", "", 0o644)
	h.must(os.Chmod(h.path("part1"), 0o755))
	h.must(os.RemoveAll(h.path("part2")))
	h.fake.partitions[3].Software = "http://example.org/absent.cfg"
	h.fake.partitions[4].State = "sleeping"
	h.put("part5", "etc/promise/no", "#!/bin/sh\necho it is broken; exit 1", 0o755)
	h.put("part0", "etc/promise/no", "#!/bin/sh\ntouch promised; exit 1", 0o755)
	told := []string{
		"softwareInstanceError part0 Failed to run buildout profile in directory '" + h.path("part0") + "':\nit broke",
		"softwareInstanceError part1 the folder " + h.path("part1") + " has the permissions 0755",
		"softwareInstanceError part2 partition part2: its folder is missing",
		"softwareInstanceError part3 Software Release http://example.org/absent.cfg is not present on system.",
		"softwareInstanceError part4 partition part4: the master asks for the state \"sleeping\"",
		"softwareInstanceError part5 Promise 'no' failed with output: it is broken",
		"startedComputerPartition part6",
	}
	h.instance(Run{Parallel: 1}, ExitFailed, told...)
	for _, name := range []string{"part0", "part1", "part3", "part4"} {
		if got := h.text(name, errorLogName(name)); got == "" {
			t.Errorf("%s has no error log", name)
		}
	}
	if h.text("part0", timestampName)+h.text("part5", timestampName) != "" || h.text("part6", timestampName) != "1" {
		t.Error("a timestamp after a failure, or none after a success")
	}
	if _, err := os.Stat(h.path("part0", "promised")); err != nil {
		t.Errorf("the promises of a partition that failed did not run: %v", err)
	}
	h.must(os.Remove(h.path("part0", "broken")))
	h.must(os.Remove(h.path("part0", "etc/promise/no")))
	h.must(os.Remove(h.path("part5", "etc/promise/no")))
	h.instance(Run{Only: []string{"part0", "part5"}, Parallel: 1}, 0, "startedComputerPartition part0", "startedComputerPartition part5")
	if got := h.text("part0", errorLogName("part0")); got != "" {
		t.Errorf("the error log stays: %s", got)
	}
	h.put("part5", "etc/promise/no", "#!/bin/sh\nexit 1", 0o755)
	h.instance(Run{Force: true, Only: []string{"part5"}}, ExitPromise, "softwareInstanceError part5 Promise 'no'")
}

// TestStoppedStops: also when the profile fails.
func TestStates(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 3, "")
	h.put("part0", "other", "data", 0o600)
	h.fake.partitions[0].State = slap.Destroyed
	h.fake.partitions[1].State, h.fake.partitions[1].Software = slap.Destroyed, ""
	h.put("part1", timestampName, "1", 0o644)
	h.put("part1", ".slapgrid/x", "1", 0o644)
	h.instance(Run{Parallel: 1}, 0, "stoppedComputerPartition part0", "startedComputerPartition part2")
	if h.text("part0", "other") != "data" {
		t.Error("destroyed by instance, which only stops")
	}
	if list, err := os.ReadDir(h.path("part1")); err != nil || len(list) != 0 {
		t.Errorf("a free partition has %v, %v", list, err)
	}
	h.instance(Run{ForceStop: true}, 0)
	if h.text("part2", timestampName) != "" {
		t.Error("a partition that was forced to stop looks up to date")
	}
}

// TestNews: a started partition that is up to date is told of when the master
// knows otherwise, or does not say what it knows, and then rarely.
func TestNews(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1, "")
	p := h.fake.partitions[0]
	h.instance(Run{}, 0, "startedComputerPartition part0")
	h.instance(Run{}, 0)
	old := time.Now().Add(-2 * time.Hour)
	h.must(os.Chtimes(h.state("told", "part0"), old, old))
	h.instance(Run{}, 0, "startedComputerPartition part0")
	for status, posts := range map[string][]string{"#access fine": nil, "#error no": {"startedComputerPartition part0"}} {
		h.fake.set(func() { p.Status = status })
		h.instance(Run{}, 0, posts...)
	}
}

func TestTimeLimit(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1, "sleep 1000 & echo $! > pid; wait")
	h.c.PartitionTimeout = 5 * time.Second
	h.instance(Run{}, ExitFailed, "softwareInstanceError part0 Failed to run buildout profile")
	if !strings.Contains(h.text("part0", errorLogName("part0")), "it took longer than 5s") {
		t.Errorf("error log: %s", h.text("part0", errorLogName("part0")))
	}
	h.gone(strings.TrimSpace(h.text("part0", "pid")))
}

func (h *house) gone(pid string) {
	h.t.Helper()
	if pid == "" {
		h.t.Fatal("no process was started")
	}
	h.within("process "+pid+" is gone", func() bool {
		b, err := os.ReadFile("/proc/" + pid + "/stat")
		return err != nil || strings.Contains(string(b), ") Z ")
	})
}

// TestCutShort: a run that was cut leaves no process that the next one does
// not find.
func TestCutShort(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1, "[ -f second ] && exit 0; setsid sleep 1000 & echo $! > pid; wait")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := h.Instance(ctx, Run{})
		ended <- err
	}()
	h.within("the profile runs", func() bool { return h.text("part0", "pid") != "" })
	cancel()
	if err := <-ended; err == nil {
		t.Fatal("no error of a run that was cut")
	}
	h.fake.told()
	h.put("part0", "second", "", 0o644)
	h.instance(Run{}, 0, "startedComputerPartition part0")
	h.gone(strings.TrimSpace(h.text("part0", "pid")))
}

func TestOffline(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1, "")
	h.fake.set(func() { h.fake.status = 503 })
	h.instance(Run{}, ExitOffline)
	h.fake.set(func() { h.fake.status = 0 })
	h.instance(Run{}, 0, "startedComputerPartition part0")
	h.fake.Close()
	h.instance(Run{}, ExitOffline)
}

func TestLocks(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1, "")
	h.must(h.prepare())
	lock, err := h.Lock("instance", "")
	h.must(err)
	if _, err := h.Lock("instance", ""); err == nil || !strings.Contains(err.Error(), "runs already") {
		t.Errorf("twice: %v", err)
	}
	h.must(lock.Release())
	lock, err = h.Lock("instance", "")
	h.must(err)
	defer lock.Release()
	// Another process has the lock until it is killed. What it made, and what
	// outlives it, has the file, but not the lock.
	path := h.state("lock", "part0")
	other := exec.Command(os.Args[0], "test-lock", path)
	in, err := other.StdinPipe()
	h.must(err)
	out, err := other.StdoutPipe()
	h.must(err)
	h.must(other.Start())
	made := make([]byte, 20)
	n, err := out.Read(made)
	h.must(err)
	if _, err := h.locks.take(path); !errors.Is(err, ErrRunning) {
		t.Errorf("a lock of another process: %v", err)
	}
	h.must(other.Process.Kill())
	other.Process.Wait()
	if name, err := os.Readlink("/proc/" + string(made[:n]) + "/fd/3"); err != nil || name != path {
		t.Errorf("what it made has %q, %v", name, err)
	}
	next, err := h.locks.take(path)
	h.must(err)
	h.must(next.Release())
	h.must(errors.Join(in.Close(), out.Close()))
	// A partition that another command works on is left to it.
	part, err := h.locks.take(path)
	h.must(err)
	h.instance(Run{}, 0)
	h.must(part.Release())
	h.instance(Run{}, 0, "startedComputerPartition part0")
}
