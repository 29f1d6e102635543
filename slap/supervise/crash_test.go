package supervise

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// counted is a service that tells when the one before it runs still: one that
// has ended, and was not waited for yet, has no executable, and a stranger that
// got its number has another environment.
const counted = `if last=$(cat PID 2>/dev/null) && readlink /proc/$last/exe >/dev/null 2>&1 &&
	[ "$(readlink /proc/$last/cwd)" = "$PWD" ] && grep -q "PROCESS_NAME=$SUPERVISOR_PROCESS_NAME" /proc/$last/environ; then echo twice >> doubled; fi
echo $$ > PID
exec sleep 1000`

// TestKills: the supervisor is killed at random moments while programs are
// started, stopped, changed and crash. After each, nothing runs twice, nothing
// runs that no program knows, and what should run does.
func TestKills(t *testing.T) {
	both(t, func(t *testing.T, plain bool) {
		kills := 60 // in both ways together more than a hundred
		if testing.Short() {
			kills = 5
		}
		b := open(t, plain)
		programs := make([]Program, 8)
		for i := range programs {
			programs[i] = b.sh(fmt.Sprintf("p%d", i), strings.ReplaceAll(counted, "PID", fmt.Sprintf("pid%d", i)), func(p *Program) {
				p.Restart, p.Watch, p.Log = Always, i%2 == 0, b.path(fmt.Sprintf("p%d.log", i))
			})
		}
		b.apply("g", programs...)
		random := rand.New(rand.NewPCG(1, 2))
		adopted := 0
		for range kills {
			ctx, cancel := context.WithCancel(b.ctx())
			var all sync.WaitGroup
			for range 4 {
				name := fmt.Sprintf("g:p%d", random.IntN(len(programs)))
				do := random.IntN(4)
				all.Go(func() { b.disturb(ctx, do, name, programs) })
			}
			time.Sleep(time.Duration(random.IntN(40)) * time.Millisecond)
			b.kill()
			cancel()
			all.Wait()
			b.start()
			if i, err := b.Info(b.ctx()); err == nil {
				adopted += i.Adopted
			}
		}
		b.begin("g:*")
		b.census("g", len(programs))
		if text, err := os.ReadFile(b.path("doubled")); err == nil {
			t.Errorf("ran twice: %d times", strings.Count(string(text), "\n"))
		}
		if adopted == 0 {
			t.Error("no process was adopted ever")
		}
		t.Logf("%d kills, %d adoptions", kills, adopted)
	})
}

// disturb does something, whose outcome the kill may hide.
func (b *bench) disturb(ctx context.Context, do int, name string, programs []Program) {
	switch do {
	case 0:
		_, _ = b.Start(ctx, "g:*")
	case 1:
		_, _ = b.Restart(ctx, name)
	case 2:
		_, _ = b.Stop(ctx, name)
	case 3:
		changed := append([]Program(nil), programs...)
		changed[0].Env = append([]string{fmt.Sprintf("A=%d", time.Now().UnixNano())}, changed[0].Env...)
		_, _ = b.Apply(ctx, Group{Name: "g", Programs: changed})
	}
}

// census compares what runs with what the supervisor knows: every process
// that bears a mark of this supervisor's programs is one program's.
func (b *bench) census(group string, want int) {
	b.t.Helper()
	var wrong []string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if wrong = b.strangers(group, want); len(wrong) == 0 {
			return
		}
	}
	b.t.Error(strings.Join(wrong, "\n"))
}

func (b *bench) strangers(group string, want int) (wrong []string) {
	list, err := b.Status(b.ctx(), group+":*")
	if err != nil {
		b.t.Fatal(err)
	}
	known := map[int]string{}
	for _, s := range list {
		if s.State != Running {
			wrong = append(wrong, fmt.Sprintf("%+v", s))
		}
		known[s.PID] = s.Name
	}
	if len(known) != want {
		wrong = append(wrong, fmt.Sprintf("%d processes, want %d: %v", len(known), want, known))
	}
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		b.t.Fatal(err)
	}
	for _, d := range dirs {
		var pid int
		if _, err := fmt.Sscan(d.Name(), &pid); err != nil || !alive(pid) {
			continue
		}
		cwd, _ := os.Readlink("/proc/" + d.Name() + "/cwd")
		env, _ := os.ReadFile("/proc/" + d.Name() + "/environ")
		ours := cwd == b.work && strings.Contains(string(env), "SUPERVISOR_GROUP_NAME="+group+"\x00")
		if ours && known[pid] == "" {
			line, _ := os.ReadFile("/proc/" + d.Name() + "/cmdline")
			wrong = append(wrong, fmt.Sprintf("process %d is nobody's: %q", pid, line))
		} else if !ours && known[pid] != "" {
			wrong = append(wrong, fmt.Sprintf("process %d is not that of %s", pid, known[pid]))
		}
	}
	return wrong
}

// TestAdopt: what runs goes on over the supervisor's death, its output as
// well, and how it ends is told.
func TestAdopt(t *testing.T) {
	both(t, func(t *testing.T, plain bool) {
		b := open(t, plain)
		b.apply("g", b.sh("talker", `n=0; while [ ! -e end ]; do n=$((n+1)); echo line $n; sleep 0.01; done; exit 9`, func(p *Program) {
			p.Log, p.LogBytes, p.Watch = b.path("talker.log"), 10<<20, true
		}))
		b.begin("g:talker")
		pid := b.one("g:talker").PID
		b.content("talker.log", "line 5\n")
		b.kill()
		time.Sleep(300 * time.Millisecond) // it writes on, to nobody
		if !alive(pid) {
			t.Fatal("it died with the supervisor")
		}
		b.start()
		if s := b.one("g:talker"); s.PID != pid || s.State != Running {
			t.Fatalf("%+v", s)
		}
		b.content("talker.log", "line 60\n")
		if err := os.WriteFile(b.path("end"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		s := b.until("g:talker", Exited)
		if s.Exit.Known && s.Exit.Code != 9 {
			t.Errorf("%+v", s.Exit)
		}
		text, err := b.Tail(b.ctx(), "g:talker", 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
			if line != fmt.Sprintf("line %d", i+1) {
				t.Fatalf("line %d is %q", i+1, line)
			}
		}
	})
}

// TestEndedMeanwhile: what ended while no supervisor ran is noticed.
func TestEndedMeanwhile(t *testing.T) {
	t.Parallel()
	b := open(t, false)
	b.apply("g", b.sh("watched", "exec sleep 1000", func(p *Program) { p.Watch = true }),
		b.sh("kept", "exec sleep 1000", func(p *Program) { p.Restart = Always }), b.sh("stays", "exec sleep 1000"))
	b.begin("g:*")
	dead := b.one("g:watched").PID
	kept := b.one("g:kept").PID
	b.kill()
	for _, pid := range []int{dead, kept} {
		p, err := os.FindProcess(pid)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
		gone(t, pid)
	}
	b.start()
	if s := b.one("g:watched"); s.State != Exited || s.Exit.Known || s.Exit.String() != "exit status unknown" {
		t.Errorf("%+v", s)
	}
	if e, err := b.Events(b.ctx(), 0); err != nil || len(e) != 1 || e[0].Name != "watched" {
		t.Errorf("%+v, %v", e, err)
	}
	if s := b.until("g:kept", Running); s.PID == kept {
		t.Errorf("%+v", s)
	}
	if s := b.one("g:stays"); s.State != Running {
		t.Errorf("%+v", s)
	}
}

// TestDamagedRecords: files that are none are set aside, the rest holds.
func TestDamagedRecords(t *testing.T) {
	t.Parallel()
	b := open(t, false)
	b.apply("g", b.sh("a", "exec sleep 1000"))
	b.begin("g:a")
	pid := b.one("g:a").PID
	b.kill()
	for _, name := range []string{"programs/x.json", "groups/y.json", "programs/z.new"} {
		if err := os.WriteFile(b.dir+"/"+name, []byte(`{"group":`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.start()
	if s := b.one("g:a"); s.State != Running || s.PID != pid {
		t.Errorf("%+v", s)
	}
	for name, want := range map[string]bool{"programs/x.damaged": true, "groups/y.damaged": true, "programs/z.new": false, "programs/x.json": false} {
		if _, err := os.Stat(b.dir + "/" + name); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTwo: a folder has one supervisor.
func TestTwo(t *testing.T) {
	t.Parallel()
	b := open(t, false)
	err := Serve(b.ctx(), Options{Dir: b.dir, Exec: []string{os.Args[0], "exec"}})
	if err == nil || !strings.Contains(err.Error(), ErrTaken.Error()) {
		t.Errorf("a second supervisor: %v", err)
	}
	if _, err := b.Info(b.ctx()); err != nil {
		t.Errorf("the first: %v", err)
	}
}
