package supervise

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// shared applies a group whose programs share limits.
func (b *bench) shared(group string, s Share, list ...Program) {
	b.t.Helper()
	if _, err := b.Apply(b.ctx(), Group{Name: group, Programs: list, Share: s}); err != nil {
		b.t.Fatal(err)
	}
}

// limitEvent waits for the event of a limit.
func (b *bench) limitEvent() Event {
	b.t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		list, err := b.Events(b.ctx(), time.Second)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, e := range list {
			if e.Limit != "" {
				return e
			}
		}
	}
	b.t.Fatal("no event tells of the limit")
	return Event{}
}

// TestShare: two programs that make others without end have together what
// their group may have; the status and an event name them; another group goes
// on, and the group can be stopped.
func TestShare(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("limits of processes need root")
	}
	both(t, func(t *testing.T, plain bool) {
		b := open(t, plain)
		// Nobody else is this user: the dead of another run would count.
		user := &User{UID: 1_900_100_000 + rand.Uint32N(1_000_000), GID: 1_900_000_011}
		as := func(p *Program) { p.User, p.StopSeconds = user, 1 }
		const bomb = `sh -c 'while :; do setsid sleep 1000 & done'; exec sleep 1000`
		b.shared("g", Share{Processes: 80}, b.sh("one", bomb, as), b.sh("two", bomb, as))
		b.shared("h", Share{Processes: 80}, b.sh("good", "sleep 1000"))
		b.begin("h:*")
		b.begin("g:*")
		e := b.limitEvent()
		if e.Group != "g" || !strings.Contains(e.Limit, "come to its 80 processes") || e.State != "" {
			t.Errorf("%+v", e)
		}
		if n := len(processesOf(t, user.UID)); n > 80 {
			t.Errorf("%d processes", n)
		}
		i, err := b.Info(b.ctx())
		if err != nil || len(i.Limited) != 1 || i.Limited["g"] == "" {
			t.Errorf("%+v, %v", i, err)
		}
		if !plain {
			// Whoever has most now; that changes.
			list, err := b.Status(b.ctx(), "g:*")
			if err != nil || !slices.ContainsFunc(list, func(s Status) bool { return strings.Contains(s.Limit, "most of them of "+s.Name) }) {
				t.Errorf("%+v, %v", list, err)
			}
		}
		if s := b.one("h:good"); s.State != Running || s.Limit != "" {
			t.Errorf("%+v", s)
		}
		if err := b.Taken(b.ctx(), e.Seq); err != nil {
			t.Error(err)
		}
		if list, err := b.Events(b.ctx(), time.Millisecond); err != nil || len(list) != 0 {
			t.Errorf("taken, and there: %+v, %v", list, err)
		}
		if s, err := b.Stop(b.ctx(), "g:*"); err != nil || s[0].State.Runs() || s[1].State.Runs() { // a shell that cannot fork exits
			t.Errorf("%+v, %v", s, err)
		}
		if left := processesOf(t, user.UID); len(left) > 0 {
			t.Errorf("%v live on", left)
		}
	})
}

// TestShareMemory: a program that takes memory without end is killed, and
// named; the others of the machine are not touched.
func TestShareMemory(t *testing.T) {
	both(t, func(t *testing.T, plain bool) {
		b := open(t, plain)
		const eater = `i=0; x=0123456789abcdef; while [ $i -lt 30 ]; do x="$x$x"; i=$((i+1)); done; echo all > ate; sleep 1000`
		b.shared("g", Share{Memory: 48 << 20}, b.sh("eater", eater), b.sh("good", "sleep 1000"))
		b.begin("g:*")
		s := b.until("g:eater", Exited)
		if _, err := os.Stat(b.path("ate")); err == nil {
			t.Errorf("it has 16 GiB: %+v", s)
		}
		if plain {
			return // the shell was told that there is no more
		}
		if e := b.limitEvent(); e.Name != "eater" || !strings.Contains(e.Limit, "come to its 48 MiB") {
			t.Errorf("%+v", e)
		}
		if s := b.one("g:good"); s.State != Running {
			t.Errorf("%+v", s)
		}
	})
}

func TestShareWithin(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		s    Share
		l    Limits
		want Limits
	}{
		{Share{}, Limits{}, Limits{}},
		{Share{100, 5}, Limits{}, Limits{Processes: 100, Memory: 5}},
		{Share{}, Limits{Processes: 20, Memory: 7}, Limits{Processes: 20, Memory: 7}},
		{Share{100, 5}, Limits{Processes: 20, Memory: 7, OpenFiles: 3}, Limits{Processes: 20, Memory: 5, OpenFiles: 3}},
	} {
		if got := c.s.within(c.l); got != c.want {
			t.Errorf("%+v within %+v: %+v", c.l, c.s, got)
		}
	}
	if roomy(0) != 0 || roomy(3) != LeastProcesses || roomy(30) != 30 {
		t.Error("roomy")
	}
}

// TestLimitingPlace: in version 2 a place is used that gives its children
// controllers, also when that is above the supervisor's own.
func TestLimitingPlace(t *testing.T) {
	t.Parallel()
	for own, want := range map[string]string{
		"/":                            "/",                            // nothing has controllers: the own one
		"/system.slice/weir.service":   "/system.slice",                // as systemd has it
		"/system.slice/weir.service/a": "/system.slice/weir.service/a", // it takes them itself
		"/bare/x":                      "/bare/x",
	} {
		mount := t.TempDir()
		files := map[string]string{"/system.slice": "cpu memory pids", "/system.slice/weir.service": "", "/bare": "", "/bare/x": ""}
		if own == "/system.slice/weir.service/a" {
			files[own] = "memory pids"
		}
		for at, text := range files {
			dir := filepath.Join(mount, at)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := limitingPlace(mount, own); got != want {
			t.Errorf("%s: %s, want %s", own, got, want)
		}
	}
}
