package supervise

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// logged gives a program a log in the bench's folder.
func (b *bench) logged(name string, bytes int64, backups int) func(*Program) {
	return func(p *Program) { p.Log, p.LogBytes, p.LogBackups = b.path(name), bytes, backups }
}

// TestLogs: both outputs, in order, rotated; tail reads over the rotation.
func TestLogs(t *testing.T) {
	t.Parallel()
	b := open(t, false)
	b.apply("g", b.sh("talk", `i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo "line $i"; echo "error $i" >&2; done; echo from-dev > /dev/stdout`, b.logged("talk.log", 2000, 2)))
	b.begin("g:talk")
	b.until("g:talk", Exited)
	text, err := b.Tail(b.ctx(), "g:talk", 3000)
	if err != nil || len(text) < 2000 || !bytes.HasSuffix(text, []byte("line 300\nerror 300\nfrom-dev\n")) || !bytes.Contains(text, []byte("line 250\nerror 250\n")) {
		t.Errorf("%d bytes, %v: …%q", len(text), err, text[max(0, len(text)-100):])
	}
	for name, want := range map[string]bool{"talk.log": true, "talk.log.1": true, "talk.log.2": true, "talk.log.3": false} {
		info, err := os.Stat(b.path(name))
		if (err == nil) != want || want && info.Size() > 2000 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if short, err := b.Tail(b.ctx(), "g:talk", 10); err != nil || string(short) != "\nfrom-dev\n" {
		t.Errorf("%q, %v", short, err)
	}
	if _, err := b.Tail(b.ctx(), "g:nobody", 10); !errors.Is(err, ErrUnknown) {
		t.Errorf("%v", err)
	}
}

// TestQuiet: the log of a program that says nothing is there, and its user's,
// as soon as the program runs.
func TestQuiet(t *testing.T) {
	t.Parallel()
	b := open(t, false)
	b.apply("g", b.sh("quiet", "exec sleep 1000", b.logged("quiet.log", 2000, 1)))
	b.begin("g:quiet")
	if info, err := os.Stat(b.path("quiet.log")); err != nil || info.Size() != 0 {
		t.Errorf("%v, %v", info, err)
	}
	if err := os.Remove(b.path("quiet.log")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/nonexistent/x", b.path("quiet.log")); err != nil {
		t.Fatal(err)
	}
	if s, err := b.Restart(b.ctx(), "g:quiet"); err != nil || s[0].State != Running || !strings.Contains(s[0].Error, "quiet.log") {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestHugeLog: a program that writes without end neither fills the disk nor
// keeps the supervisor from others.
func TestHugeLog(t *testing.T) {
	t.Parallel()
	b := open(t, false)
	b.apply("g", b.sh("yes", "exec yes 0123456789012345678901234567890123456789", b.logged("yes.log", 100_000, 1)), b.sh("other", "exec sleep 1000"))
	b.begin("g:yes")
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var sum int64
		for _, name := range []string{"yes.log", "yes.log.1"} {
			if info, err := os.Stat(b.path(name)); err == nil {
				sum += info.Size()
			}
		}
		if sum > 200_000 {
			t.Fatalf("%d bytes of logs", sum)
		}
	}
	if s := b.begin("g:other"); s[0].State != Running {
		t.Errorf("%+v", s)
	}
	if s, err := b.Stop(b.ctx(), "g:yes"); err != nil || s[0].State != Stopped {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestFollow(t *testing.T) {
	t.Parallel()
	b := open(t, false)
	b.apply("g", b.sh("talk", `echo first; while [ ! -e go ]; do sleep 0.01; done; echo second; exec sleep 1000`, b.logged("talk.log", 0, 0)))
	b.begin("g:talk")
	b.content("talk.log", "first\n")
	ctx, cancel := context.WithCancel(b.ctx())
	out := writer{text: make(chan string)}
	done := make(chan error)
	go func() { done <- b.Follow(ctx, "g:talk", 100, &out) }()
	out.until(t, "first\n")
	if err := os.WriteFile(b.path("go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	out.until(t, "first\nsecond\n")
	cancel()
	if err := <-done; err != nil {
		t.Errorf("follow: %v", err)
	}
}

// A writer is a text that grows in another goroutine.
type writer struct {
	text chan string
	all  string
}

func (w *writer) Write(p []byte) (int, error) {
	w.text <- string(p)
	return len(p), nil
}

func (w *writer) until(t *testing.T, want string) {
	t.Helper()
	for w.all != want {
		select {
		case s := <-w.text:
			w.all += s
		case <-time.After(patience):
			t.Fatalf("%q, want %q", w.all, want)
		}
	}
}

// TestHostileLogs: a partition that puts something in the place of a log is
// refused, told so, and runs on.
func TestHostileLogs(t *testing.T) {
	t.Parallel()
	b := open(t, false)
	victim := b.path("victim")
	if err := os.WriteFile(victim, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		what    string
		prepare func(log string) error
		want    string
	}{
		{"link", func(log string) error { return os.Symlink(victim, log) }, "too many levels of symbolic links"},
		{"hard link", func(log string) error { return os.Link(victim, log) }, "second name"},
		{"pipe", func(log string) error { return syscall.Mkfifo(log, 0o644) }, ""},
		{"folder", func(log string) error { return os.Mkdir(log, 0o755) }, "is a directory"},
		{"no folder", func(log string) error { return os.Remove(filepath.Dir(log)) }, "no such file"},
		{"linked folder", func(log string) error {
			return errors.Join(os.Remove(filepath.Dir(log)), os.Symlink(b.work, filepath.Dir(log)))
		}, "not a directory"},
	} {
		dir := b.path(fmt.Sprintf("folder%d", i))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := c.prepare(filepath.Join(dir, "log")); err != nil {
			t.Fatal(err)
		}
		group := fmt.Sprintf("g%d", i)
		b.apply(group, b.sh("p", "echo hello; exec sleep 1000", func(p *Program) { p.Log = filepath.Join(dir, "log") }))
		b.begin(group + ":p")
		var s Status
		for end := time.Now().Add(patience); s.Lost == 0 && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			s = b.one(group + ":p")
		}
		if s.State != Running || s.Lost != 6 || !strings.Contains(s.Error, c.want) {
			t.Errorf("%s: %+v", c.what, s)
		}
	}
	if text, err := os.ReadFile(victim); err != nil || string(text) != "mine" {
		t.Errorf("the victim is %q, %v", text, err)
	}
	// A folder in the place of the old log: the log is cut instead.
	if err := os.MkdirAll(b.path("stuck.log.1/x"), 0o755); err != nil {
		t.Fatal(err)
	}
	b.apply("stuck", b.sh("p", "head -c 100000 /dev/zero; exec sleep 1000", b.logged("stuck.log", 10_000, 1)))
	b.begin("stuck:p")
	b.content("stuck.log", "\x00")
	if info, err := os.Stat(b.path("stuck.log")); err != nil || info.Size() > 10_000 {
		t.Errorf("%v, %v", info, err)
	}
}

// small mounts a file system that is soon full.
func small(t *testing.T, size string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size+",mode=777", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("mount: %v %s", err, out)
	}
	t.Cleanup(func() { exec.Command("umount", "-l", dir).Run() })
	return dir
}

// TestFullDisk: with no room for its records, the supervisor starts nothing it
// could not find again, and goes on with the rest; a full log loses output and
// counts it.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := small(t, "256k")
	b := openIn(t, filepath.Join(dir, "supervisor"), false)
	b.apply("g", b.sh("runs", "while [ ! -e full ]; do sleep 0.01; done; while :; do head -c 1000 /dev/zero; sleep 0.01; done", func(p *Program) { p.Log = filepath.Join(dir, "runs.log") }),
		b.sh("later", "exec sleep 1000"), b.sh("kept", "exec sleep 1000", func(p *Program) { p.Restart = Always }))
	b.begin("g:runs", "g:kept")
	pid := b.one("g:runs").PID
	filler := filepath.Join(dir, "filler")
	_ = os.WriteFile(filler, make([]byte, 1<<20), 0o644)
	if err := os.WriteFile(b.path("full"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if s := b.begin("g:later")[0]; s.State != Fatal || s.PID != 0 || !strings.Contains(s.Error, "no space left") {
		t.Errorf("started on a full disk: %+v", s)
	}
	for end := time.Now().Add(patience); b.one("g:runs").Lost == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("nothing is lost: %+v", b.one("g:runs"))
		}
	}
	if s := b.one("g:runs"); s.State != Running || s.PID != pid {
		t.Errorf("%+v", s)
	}
	if s, err := b.Stop(b.ctx(), "g:runs"); err != nil || s[0].State != Stopped || alive(pid) {
		t.Errorf("stop on a full disk: %+v, %v", s, err)
	}
	if _, err := b.Apply(b.ctx(), Group{Name: "more", Programs: []Program{b.sh("x", "exit")}}); err == nil {
		t.Error("a group is applied that is not kept")
	}
	b.kill()
	b.start()
	if s := b.one("g:runs"); s.State == Running {
		t.Errorf("after the restart: %+v", s)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	for _, s := range b.begin("g:*") {
		if s.State != Running {
			t.Errorf("with room again: %+v", s)
		}
	}
	b.census("g", 3)
}

// TestLongPath: the folder's path may be longer than a socket's name.
func TestLongPath(t *testing.T) {
	t.Parallel()
	b := openIn(t, filepath.Join(t.TempDir(), strings.Repeat("long", 40), strings.Repeat("path", 20)), false)
	b.apply("g", b.sh("p", "exec sleep 1000"))
	if s := b.begin("g:p"); s[0].State != Running {
		t.Errorf("%+v", s)
	}
	info, err := os.Stat(filepath.Join(b.dir, socketName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

// TestNames: names are never paths, options or commands.
func TestNames(t *testing.T) {
	t.Parallel()
	b := open(t, false)
	var list []Program
	for _, n := range []string{"../../x", "a/b", "new\nline", "-rf", "$(touch y)", strings.Repeat("n", 255), strings.Repeat("n", 254) + "m", "é", "é!", "a:b", ".", "..", "star*"} {
		list = append(list, b.sh(n, "exec sleep 1000", func(p *Program) { p.Log = b.path(fmt.Sprintf("%x.log", n[:1])) }))
	}
	b.apply("slappart0", list...)
	for _, s := range b.begin("slappart0:*") {
		if s.State != Running {
			t.Errorf("%+v", s)
		}
	}
	if s := b.one("slappart0:a:b"); s.Name != "a:b" {
		t.Errorf("%+v", s)
	}
	b.census("slappart0", len(list))
	b.kill()
	b.start()
	b.census("slappart0", len(list))
	if i, err := b.Info(b.ctx()); err != nil || i.Adopted != len(list) {
		t.Errorf("%+v, %v", i, err)
	}
}

func TestWatchdog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stamp := filepath.Join(dir, ".timestamp")
	may := func() bool {
		t.Helper()
		ok, err := MayBang(dir)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(stamp, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if may() {
		t.Error("a partition that was not processed is banged")
	}
	write("1795255257.0555065")
	if !may() {
		t.Error("the first exit is not banged")
	}
	if err := Banged(dir); err != nil {
		t.Fatal(err)
	}
	if may() {
		t.Error("banged twice")
	}
	if text, err := os.ReadFile(filepath.Join(dir, bangName)); err != nil || string(text) != "1795255257.0555065" {
		t.Errorf("%q, %v", text, err)
	}
	write("1795255300")
	if !may() {
		t.Error("processed again, and not banged")
	}
	for what, prepare := range map[string]func(string) error{
		"a pipe":   func(p string) error { return syscall.Mkfifo(p, 0o644) },
		"a folder": func(p string) error { return os.Mkdir(p, 0o755) },
		"a link":   func(p string) error { return os.Symlink("/etc/passwd", p) },
	} {
		if err := errors.Join(os.RemoveAll(stamp), prepare(stamp)); err != nil {
			t.Fatal(err)
		}
		if ok, err := MayBang(dir); ok || err == nil {
			t.Errorf("%s in place of the stamp: %v, %v", what, ok, err)
		}
	}
	if err := errors.Join(os.RemoveAll(stamp), os.Symlink("/nowhere", filepath.Join(dir, bangName+".new"))); err != nil {
		t.Fatal(err)
	}
	if err := Banged(dir); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, bangName)); err != nil || string(text) != "0" {
		t.Errorf("%q, %v", text, err)
	}
}
