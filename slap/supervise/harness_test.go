package supervise

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen: in vain on a machine
// that is broken, not on one that is slow.
const patience = 2 * time.Minute

// TestMain is also the supervisor and what becomes a program, as the tests
// start them.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "exec" {
		fmt.Fprintln(os.Stderr, Exec())
		os.Exit(127)
	}
	if len(os.Args) > 2 && os.Args[1] == "serve" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		err := Serve(ctx, Options{
			Dir: os.Args[2], Exec: []string{os.Args[0], "exec"}, NoCgroups: len(os.Args) > 3,
			Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})),
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// A bench is a supervisor in a process of its own.
type bench struct {
	*Client
	t       testing.TB
	dir     string // of the supervisor
	work    string // for programs
	args    []string
	cmd     *exec.Cmd
	log     string
	started time.Time
}

// open starts a supervisor; plain is one without cgroups.
func open(t testing.TB, plain bool) *bench {
	t.Helper()
	return openIn(t, filepath.Join(t.TempDir(), "supervisor"), plain)
}

func openIn(t testing.TB, dir string, plain bool) *bench {
	t.Helper()
	b := &bench{t: t, dir: dir, work: t.TempDir()}
	b.log = filepath.Join(b.work, "supervisor.log")
	b.args = []string{"serve", b.dir}
	if plain {
		b.args = append(b.args, "plain")
	}
	for _, d := range []string{filepath.Dir(b.work), b.work} { // for programs of other users
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	b.start()
	t.Cleanup(b.shut)
	return b
}

func (b *bench) start() { b.startWith(os.Args[0]) }

func (b *bench) startWith(program string) {
	b.t.Helper()
	log, err := os.OpenFile(b.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		b.t.Fatal(err)
	}
	defer log.Close()
	b.cmd = exec.Command(program, b.args...)
	b.cmd.Stdout, b.cmd.Stderr = log, log
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	b.started = time.Now()
	if err := b.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	b.Client = &Client{dir: b.dir}
	for {
		if _, err = Dial(ctx, b.dir); err == nil {
			return
		}
		if ctx.Err() != nil {
			_ = b.cmd.Process.Signal(syscall.SIGQUIT)
			_ = b.cmd.Wait()
			text, _ := os.ReadFile(b.log)
			b.t.Fatalf("no supervisor: %v, %v\n%s", err, b.cmd.ProcessState, text)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// kill kills the supervisor alone.
func (b *bench) kill() {
	b.t.Helper()
	if err := b.cmd.Process.Kill(); err != nil {
		b.t.Fatal(err)
	}
	_ = b.cmd.Wait()
}

// shut ends the supervisor and all programs.
func (b *bench) shut() {
	if b.cmd.ProcessState != nil {
		b.start()
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := b.Shutdown(ctx); err != nil {
		b.t.Errorf("shutdown: %v", err)
		_ = b.cmd.Process.Kill()
	}
	_ = b.cmd.Wait()
	if b.t.Failed() {
		text, _ := os.ReadFile(b.log)
		b.t.Logf("supervisor:\n%s", text)
	}
}

// sh is a program that runs a script.
func (b *bench) sh(name, script string, set ...func(*Program)) Program {
	p := Program{Name: name, Command: []string{"/bin/sh", "-c", script}, Dir: b.work, Env: []string{"PATH=/usr/bin:/bin"}, StopSeconds: 5}
	for _, f := range set {
		f(&p)
	}
	return p
}

func (b *bench) apply(group string, list ...Program) Change {
	b.t.Helper()
	c, err := b.Apply(b.ctx(), Group{Name: group, Programs: list})
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

// ctx ends in time to see what a test waits for in vain.
func (b *bench) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	b.t.Cleanup(cancel)
	return ctx
}

// begin starts programs.
func (b *bench) begin(names ...string) []Status {
	b.t.Helper()
	s, err := b.Start(b.ctx(), names...)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// beginning starts programs, and gives what waits until that is done.
func (b *bench) beginning(names ...string) (begun func() []Status) {
	type outcome struct {
		list []Status
		err  error
	}
	ctx, client, done := b.ctx(), b.Client, make(chan outcome, 1)
	go func() {
		s, err := client.Start(ctx, names...)
		done <- outcome{s, err}
	}()
	return func() []Status {
		b.t.Helper()
		o := <-done
		if o.err != nil {
			b.t.Fatal(o.err)
		}
		return o.list
	}
}

// one gives the status of a program.
func (b *bench) one(name string) Status {
	b.t.Helper()
	s, err := b.Status(b.ctx(), name)
	if err != nil || len(s) != 1 {
		b.t.Fatalf("status of %s: %v, %v", name, s, err)
	}
	return s[0]
}

// until waits for a state.
func (b *bench) until(name string, want State) Status {
	b.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		s := b.one(name)
		if s.State == want {
			return s
		}
		if time.Now().After(end) {
			b.t.Fatalf("%s is %+v, want %s", name, s, want)
		}
	}
}

// path is a file in the programs' folder.
func (b *bench) path(name string) string { return filepath.Join(b.work, name) }

// content waits until a file has a text.
func (b *bench) content(name, want string) {
	b.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		text, err := os.ReadFile(b.path(name))
		if err == nil && strings.Contains(string(text), want) {
			return
		}
		if time.Now().After(end) {
			b.t.Fatalf("%s is %.200q, %v; want %.200q", name, text, err, want)
		}
	}
}

// alive tells whether a process is there and has not ended.
func alive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

func gone(t testing.TB, pid int) {
	t.Helper()
	for end := time.Now().Add(patience); alive(pid); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("process %d lives on", pid)
		}
	}
}
