package supervise

import (
	"context"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pid reads a number that a program wrote.
func (b *bench) pid(name string) int {
	b.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		text, _ := os.ReadFile(b.path(name))
		if strings.HasSuffix(string(text), "\n") {
			n, err := strconv.Atoi(strings.TrimSpace(string(text)))
			if err != nil {
				b.t.Fatal(err)
			}
			return n
		}
		if time.Now().After(end) {
			b.t.Fatalf("nobody wrote %s", name)
		}
	}
}

// both runs a test with cgroups, where there are any, and without.
func both(t *testing.T, test func(t *testing.T, plain bool)) {
	t.Parallel()
	t.Run("plain", func(t *testing.T) { t.Parallel(); test(t, true) })
	t.Run("cgroups", func(t *testing.T) {
		t.Parallel()
		b := open(t, false)
		if i, err := b.Info(b.ctx()); err != nil || !i.Confined {
			t.Skip("no cgroup can be written here, as by root")
		}
		test(t, false)
	})
}

func TestIgnoresTerm(t *testing.T) {
	both(t, func(t *testing.T, plain bool) {
		b := open(t, plain)
		b.apply("g", b.sh("deaf", `trap "" TERM; echo $$ > pid; while :; do sleep 1; done`, func(p *Program) { p.StopSeconds = 1 }))
		b.begin("g:deaf")
		pid := b.pid("pid")
		began := time.Now()
		s, err := b.Stop(b.ctx(), "g:deaf")
		if took := time.Since(began); err != nil || s[0].State != Stopped || took < 900*time.Millisecond || took > 50*time.Second {
			t.Errorf("%+v, %v, after %v", s, err, took)
		}
		if s[0].Exit.Signal != syscall.SIGKILL {
			t.Errorf("%+v", s[0].Exit)
		}
		gone(t, pid)
	})
}

// TestDaemon: a program that leaves its session and its parents is still
// known, and stopped.
func TestDaemon(t *testing.T) {
	both(t, func(t *testing.T, plain bool) {
		b := open(t, plain)
		b.apply("g", b.sh("daemon", `setsid sh -c 'sleep 1000 & echo $! > pid'`))
		b.begin("g:daemon")
		pid := b.pid("pid")
		b.until("g:daemon", Exited)
		s := b.one("g:daemon")
		for end := time.Now().Add(patience); s.Left != 1 && time.Now().Before(end); s = b.one("g:daemon") {
			time.Sleep(2 * time.Millisecond) // the shell that wrote the number may be there
		}
		if s.Left != 1 || !alive(pid) {
			t.Errorf("%+v, alive %v", s, alive(pid))
		}
		b.kill() // the next one knows it, too
		b.start()
		if s := b.one("g:daemon"); s.Left != 1 || s.State != Exited {
			t.Errorf("%+v", s)
		}
		// A start ends it first: it is never there twice.
		if err := os.Remove(b.path("pid")); err != nil {
			t.Fatal(err)
		}
		b.begin("g:daemon")
		next := b.pid("pid")
		if alive(pid) || next == pid {
			t.Errorf("the first, %d, lives %v beside %d", pid, alive(pid), next)
		}
		b.until("g:daemon", Exited)
		if _, err := b.Stop(b.ctx(), "g:daemon"); err != nil {
			t.Fatal(err)
		}
		gone(t, next)
		if s := b.one("g:daemon"); s.Left != 0 || s.State != Exited {
			t.Errorf("%+v", s)
		}
	})
}

// TestTree: children in the same session, and in others, go with the program.
func TestTree(t *testing.T) {
	both(t, func(t *testing.T, plain bool) {
		b := open(t, plain)
		b.apply("g", b.sh("tree", `sh -c 'trap "" TERM; echo $$ > a; while :; do sleep 1; done' &
setsid sh -c 'trap "" TERM; echo $$ > b; while :; do sleep 1; done' &
wait`, func(p *Program) { p.StopSeconds = 1 }))
		b.begin("g:tree")
		pids := []int{b.pid("a"), b.pid("b"), b.one("g:tree").PID}
		if _, err := b.Stop(b.ctx(), "g:tree"); err != nil {
			t.Fatal(err)
		}
		for _, p := range pids {
			if alive(p) {
				t.Errorf("%d of %v lives on", p, pids)
			}
		}
	})
}

// TestOther: what another program runs is not touched, though it is of the
// same user.
func TestOther(t *testing.T) {
	both(t, func(t *testing.T, plain bool) {
		b := open(t, plain)
		b.apply("g", b.sh("one", "sleep 1000"), b.sh("two", "sleep 1000 & sleep 1000"))
		b.begin("g:*")
		two := b.one("g:two").PID
		if _, err := b.Stop(b.ctx(), "g:one"); err != nil {
			t.Fatal(err)
		}
		if s := b.one("g:two"); s.State != Running || s.PID != two || !alive(two) {
			t.Errorf("%+v", s)
		}
	})
}

// TestForkBomb: a limit holds a program that makes others without end, and it
// can be stopped; meanwhile the supervisor answers.
func TestForkBomb(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("limits of processes need root")
	}
	for _, plain := range []bool{false, true} {
		b := open(t, plain)
		if i, err := b.Info(b.ctx()); err != nil || !plain && !i.Confined {
			t.Log("no cgroups here")
			continue
		}
		// A user that nobody else is: without cgroups the limit is the user's.
		id := 1_900_000_000 + 2*uint32(os.Getpid())
		if plain {
			id++
		}
		user := &User{UID: id, GID: id}
		b.apply("g", b.sh("bomb", `sh -c 'while :; do setsid sleep 100 & done' & exec sleep 1000`, func(p *Program) {
			p.User, p.Limits.Processes, p.StopSeconds = user, 60, 1
		}))
		b.begin("g:bomb")
		most, full := 0, time.Time{} // it goes on for a while when there are many
		for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			most = max(most, len(processesOf(t, user.UID)))
			if most >= 30 && full.IsZero() {
				full = time.Now()
			}
			if !full.IsZero() && time.Since(full) > time.Second {
				break
			}
		}
		if most < 30 || most > 60 {
			t.Errorf("plain %v: %d processes", plain, most)
		}
		s, err := b.Stop(b.ctx(), "g:bomb")
		if err != nil || s[0].State != Stopped {
			t.Fatalf("plain %v: %+v, %v", plain, s, err)
		}
		if left := processesOf(t, user.UID); len(left) > 0 {
			t.Errorf("plain %v: %v live on", plain, left)
		}
		t.Logf("plain %v: %d at most", plain, most)
	}
}

// processesOf lists a user's processes that live.
func processesOf(t *testing.T, uid uint32) []int {
	t.Helper()
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var list []int
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		info, err := os.Stat("/proc/" + d.Name())
		if err == nil && info.Sys().(*syscall.Stat_t).Uid == uid && alive(pid) {
			list = append(list, pid)
		}
	}
	return list
}

// TestUser: a program has its user, groups, folder, umask, limits and nothing
// of the supervisor's environment.
func TestUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root runs programs as others")
	}
	b := open(t, false)
	b.apply("g", b.sh("who", `{ id -u; id -g; id -G; umask; ulimit -n; ulimit -c; pwd; env | sort; ls /proc/self/fd; } > out; echo done >> out; sleep 1000`, func(p *Program) {
		p.User = &User{UID: 1_900_000_003, GID: 1_900_000_004, Groups: []uint32{1_900_000_005}}
		p.Umask, p.Limits.OpenFiles = 0o027, 64
	}))
	b.begin("g:who")
	b.content("out", "done\n")
	text, err := os.ReadFile(b.path("out"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	want := []string{"1900000003", "1900000004", "1900000004 1900000005", "0027", "64", "0", b.work,
		"PATH=/usr/bin:/bin", "PWD=" + b.work, "SUPERVISOR_ENABLED=1", "SUPERVISOR_GROUP_NAME=g", "SUPERVISOR_PROCESS_NAME=who"}
	for i, w := range want {
		if i >= len(lines) || lines[i] != w {
			t.Fatalf("line %d is not %q:\n%s", i, w, text)
		}
	}
	if rest := strings.Join(lines[len(want)+1:], " "); rest != "0 1 2 3 done " { // 3 is the folder that ls reads
		t.Errorf("open files: %q", rest)
	}
	if _, err := b.Stop(b.ctx(), "g:who"); err != nil {
		t.Error(err)
	}
}

// TestNotRoot: who is not root cannot run programs as others, and is told so.
func TestNotRoot(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		t.Skip("this is root")
	}
	own := User{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
	if err := (order{User: &own}).become(); err != nil {
		t.Error(err)
	}
	own.UID++
	if err := (order{User: &own}).become(); err == nil {
		t.Error("a user became another")
	}
}

// TestSignals: a program does not inherit what the supervisor ignores.
func TestSignals(t *testing.T) {
	t.Parallel()
	b := open(t, false)
	b.kill()
	// Started again by a shell that ignores HUP and INT, as nohup does.
	b.args = []string{"-c", `trap "" HUP INT; exec "$@"`, "sh", os.Args[0], "serve", b.dir}
	b.startWith("/bin/sh")
	b.apply("g", b.sh("s", "grep SigIgn /proc/self/status > out; sleep 1000"))
	b.begin("g:s")
	b.content("out", "SigIgn:\t0000000000000000")
	if _, err := b.Stop(context.Background(), "g:*"); err != nil {
		t.Error(err)
	}
	b.args = []string{"serve", b.dir}
}
