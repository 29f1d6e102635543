package supervise

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestStartStop(t *testing.T) {
	t.Parallel()
	b := open(t, false)
	b.apply("slappart0", b.sh("web-on-watch", "sleep 1000"), b.sh("once", "exit 0"), b.sh("bad", "exit 3"))
	if s := b.one("slappart0:once"); s.State != Stopped || s.Description(time.Now()) != "Not started" {
		t.Errorf("a new program is %+v, %s", s, s.Description(time.Now()))
	}
	b.begin("slappart0:*")
	web := b.one("slappart0:web-on-watch")
	if web.State != Running || !alive(web.PID) || !strings.HasPrefix(web.Description(web.Since.Add(90061*time.Second)), "pid "+strconv.Itoa(web.PID)+", uptime 1 day, 1:01:01") {
		t.Errorf("web is %+v, %s", web, web.Description(time.Now()))
	}
	if s := b.until("slappart0:once", Exited); s.Exit == nil || *s.Exit != (Exit{Known: true}) {
		t.Errorf("once is %+v", s)
	}
	if s := b.until("slappart0:bad", Exited); s.Exit == nil || s.Exit.Code != 3 || s.Exit.String() != "exit status 3" {
		t.Errorf("bad is %+v", s)
	}
	// A second start leaves alone what runs, and starts what has exited.
	b.begin("slappart0:*")
	if s := b.one("slappart0:web-on-watch"); s.PID != web.PID {
		t.Errorf("web was %d and is %d", web.PID, s.PID)
	}
	if s, err := b.Stop(b.ctx(), "slappart0:web-on-watch"); err != nil || s[0].State != Stopped || s[0].Exit.Signal != syscall.SIGTERM || alive(web.PID) {
		t.Errorf("stop = %+v, %v", s, err)
	}
	if s, err := b.Restart(b.ctx(), "slappart0:web-on-watch"); err != nil || s[0].State != Running || s[0].PID == web.PID {
		t.Errorf("restart = %+v, %v", s, err)
	}
	if err := b.Signal(b.ctx(), syscall.SIGKILL, "slappart0:web-on-watch"); err != nil {
		t.Error(err)
	}
	if s := b.until("slappart0:web-on-watch", Exited); s.Exit.Signal != syscall.SIGKILL {
		t.Errorf("killed: %+v", s)
	}
	if err := b.Signal(b.ctx(), syscall.SIGKILL, "slappart0:web-on-watch"); !errors.Is(err, ErrNotRunning) {
		t.Errorf("a signal to what does not run: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	b := open(t, false)
	for _, names := range [][]string{{"nobody"}, {"nobody:*"}, {"nobody:x"}} {
		if _, err := b.Start(b.ctx(), names...); !errors.Is(err, ErrUnknown) {
			t.Errorf("start %v = %v", names, err)
		}
	}
	ok := b.sh("a", "exit")
	for what, g := range map[string]Group{
		"no name":          {Programs: []Program{ok}},
		"a colon":          {Name: "a:b"},
		"twice":            {Name: "g", Programs: []Program{ok, ok}},
		"no command":       {Name: "g", Programs: []Program{{Name: "a"}}},
		"relative command": {Name: "g", Programs: []Program{{Name: "a", Command: []string{"sh"}}}},
		"NUL":              {Name: "g", Programs: []Program{{Name: "a", Command: []string{"/bin/sh", "a\x00b"}}}},
		"restart":          {Name: "g", Programs: []Program{{Name: "a", Command: []string{"/bin/sh"}, Restart: "often"}}},
		"stop":             {Name: "g", Programs: []Program{{Name: "a", Command: []string{"/bin/sh"}, StopSeconds: -1}}},
		"log":              {Name: "g", Programs: []Program{{Name: "a", Command: []string{"/bin/sh"}, Log: "x.log"}}},
	} {
		if _, err := b.Apply(b.ctx(), g); !errors.Is(err, ErrProgram) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// The supervisor itself refuses them, too.
	if _, err := b.ask(b.ctx(), request{Op: "apply", Group: &Group{Name: "a:b"}}); !errors.Is(err, ErrProgram) {
		t.Errorf("apply behind the client's back: %v", err)
	}
	if _, err := b.ask(b.ctx(), request{Op: "dance"}); err == nil {
		t.Error("an unknown request is answered")
	}
	if _, err := Dial(b.ctx(), t.TempDir()); !errors.Is(err, ErrAbsent) {
		t.Errorf("dialing nobody: %v", err)
	}
}

func TestStartFails(t *testing.T) {
	t.Parallel()
	b := open(t, false)
	script := b.path("not-executable")
	if err := os.WriteFile(script, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	b.apply("g",
		Program{Name: "absent", Command: []string{"/nowhere/at/all"}, Watch: true},
		Program{Name: "plain", Command: []string{script}},
		Program{Name: "folder", Command: []string{"/bin/true"}, Dir: "/nowhere/at/all"},
		b.sh("quick", "exit 1", func(p *Program) { p.StartSeconds, p.StartRetries = 60, 1 }))
	for _, s := range b.begin("g:*") {
		if s.State != Fatal {
			t.Errorf("%+v", s)
		}
		want := map[string]string{"absent": "no such file", "plain": "permission denied", "folder": "no such file", "quick": ""}[s.Name]
		if !strings.Contains(s.Error, want) {
			t.Errorf("%s: error %q, want %q", s.Name, s.Error, want)
		}
	}
	if s := b.one("g:quick"); s.Description(time.Now()) != "Exited too quickly (process log may have details)" {
		t.Errorf("quick: %s", s.Description(time.Now()))
	}
	e, err := b.Events(b.ctx(), 0)
	if err != nil || len(e) != 1 || e[0].State != Fatal || e[0].Name != "absent" {
		t.Errorf("events %+v, %v", e, err)
	}
}

func TestStartSeconds(t *testing.T) {
	t.Parallel()
	b := open(t, false)
	b.apply("g", b.sh("slow", "sleep 1000", func(p *Program) { p.StartSeconds = 3 }))
	began := time.Now()
	begun := b.beginning("g:slow")
	b.until("g:slow", Starting)
	if s := begun(); s[0].State != Running {
		t.Errorf("%+v", s)
	}
	if took := time.Since(began); took < 3*time.Second {
		t.Errorf("RUNNING after %v", took)
	}
}

func TestRestartPolicy(t *testing.T) {
	t.Parallel()
	b := open(t, false)
	again := "echo run >> " + b.path("NAME") + "; exit CODE"
	script := func(name, code string) string {
		return strings.NewReplacer("NAME", name, "CODE", code).Replace(again)
	}
	b.apply("g",
		b.sh("always", script("always", "0"), func(p *Program) { p.Restart = Always }),
		b.sh("unexpected0", script("unexpected0", "0"), func(p *Program) { p.Restart = Unexpected }),
		b.sh("unexpected1", script("unexpected1", "1"), func(p *Program) { p.Restart = Unexpected }),
		b.sh("never", script("never", "1")))
	begun := b.beginning("g:*")
	b.content("always", "run\nrun\nrun")
	b.content("unexpected1", "run\nrun\nrun")
	for _, name := range []string{"never", "unexpected0"} {
		b.until("g:"+name, Exited)
		if text, _ := os.ReadFile(b.path(name)); string(text) != "run\n" {
			t.Errorf("%s: %q", name, text)
		}
	}
	if s, err := b.Stop(b.ctx(), "g:*"); err != nil || s[0].State != Stopped {
		t.Errorf("%+v, %v", s, err)
	}
	begun() // what was waited for is stopped
	before, _ := os.ReadFile(b.path("always"))
	time.Sleep(1500 * time.Millisecond) // longer than its pause
	if after, _ := os.ReadFile(b.path("always")); len(after) != len(before) {
		t.Error("a stopped program was started again")
	}
}

func TestApply(t *testing.T) {
	t.Parallel()
	b := open(t, false)
	keep, change, drop := b.sh("keep", "sleep 1000"), b.sh("change", "sleep 1000"), b.sh("drop", "sleep 1000")
	if c := b.apply("g", keep, change, drop); len(c.Added) != 3 {
		t.Errorf("first: %+v", c)
	}
	before := map[string]int{}
	for _, s := range b.begin("g:*") {
		before[s.Name] = s.PID
	}
	change.Env = append(change.Env, "A=b")
	c := b.apply("g", keep, change, b.sh("new", "sleep 1000"))
	if strings.Join(c.Unchanged, ",") != "keep" || strings.Join(c.Changed, ",") != "change" || strings.Join(c.Removed, ",") != "drop" || strings.Join(c.Added, ",") != "new" {
		t.Errorf("second: %+v", c)
	}
	if s := b.one("g:keep"); s.PID != before["keep"] || s.State != Running {
		t.Errorf("keep: %+v", s)
	}
	if s := b.one("g:change"); s.State != Stopped {
		t.Errorf("change: %+v", s)
	}
	if alive(before["change"]) || alive(before["drop"]) {
		t.Error("what was changed or dropped lives on")
	}
	if _, err := b.Status(b.ctx(), "g:drop"); !errors.Is(err, ErrUnknown) {
		t.Errorf("drop: %v", err)
	}
	if err := b.Remove(b.ctx(), "g"); err != nil {
		t.Error(err)
	}
	if alive(before["keep"]) {
		t.Error("a removed group lives on")
	}
	if err := b.Remove(b.ctx(), "g"); err != nil {
		t.Errorf("removing what there is not: %v", err)
	}
	if s, err := b.Status(b.ctx()); err != nil || len(s) != 0 {
		t.Errorf("%v, %v", s, err)
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	b := open(t, false)
	watched := func(p *Program) { p.Watch = true }
	b.apply("slappart3", b.sh("web-on-watch", "exit 4", watched), b.sh("db-on-watch", "sleep 1000", watched), b.sh("script", "exit 1"))
	ctx, waited := b.ctx(), make(chan []Event, 1)
	go func() {
		e, _ := b.Events(ctx, patience)
		waited <- e
	}()
	b.begin("slappart3:*")
	e := <-waited
	if len(e) != 1 || e[0].Name != "web-on-watch" || e[0].Exit.Code != 4 || e[0].Count != 1 || e[0].State != Exited {
		t.Fatalf("%+v", e)
	}
	if m := e[0].BangMessage(); m != "web-on-watch process in partition slappart3 encountered a problem" {
		t.Errorf("message %q", m)
	}
	// Not taken: further exits are the same event.
	b.begin("slappart3:web-on-watch")
	b.until("slappart3:web-on-watch", Exited)
	more, err := b.Events(b.ctx(), 0)
	if err != nil || len(more) != 1 || more[0].Count != 2 || more[0].Seq <= e[0].Seq || !more[0].First.Equal(e[0].First) {
		t.Fatalf("%+v, %v", more, err)
	}
	// What is taken is what was seen, not what happened since.
	if err := b.Taken(b.ctx(), e[0].Seq); err != nil {
		t.Fatal(err)
	}
	if left, _ := b.Events(b.ctx(), 0); len(left) != 1 {
		t.Errorf("%+v", left)
	}
	// They are kept over the supervisor's death.
	b.kill()
	b.start()
	if left, _ := b.Events(b.ctx(), 0); len(left) != 1 || left[0].Seq != more[0].Seq {
		t.Errorf("%+v", left)
	}
	if err := b.Taken(b.ctx(), more[0].Seq); err != nil {
		t.Fatal(err)
	}
	b.kill()
	b.start()
	if left, _ := b.Events(b.ctx(), 0); len(left) != 0 {
		t.Errorf("%+v", left)
	}
	// A stop on request is none.
	if _, err := b.Stop(b.ctx(), "slappart3:*"); err != nil {
		t.Fatal(err)
	}
	if left, _ := b.Events(b.ctx(), 0); len(left) != 0 {
		t.Errorf("%+v", left)
	}
}
