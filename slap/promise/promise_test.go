package promise

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A bench is a partition in a test.
type bench struct {
	t *testing.T
	o Options
}

func open(t *testing.T) *bench {
	t.Helper()
	b := &bench{t, Options{
		Partition: t.TempDir(), ID: "slappart0", Computer: "computer", UID: uint32(os.Getuid()), GID: uint32(os.Getgid()),
		Env: []string{"PATH=/usr/bin:/bin"}, Timeout: time.Minute, Force: true,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}}
	for _, d := range []string{"etc/promise", "etc/plugin"} {
		if err := os.MkdirAll(b.path(d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func (b *bench) path(name string) string { return filepath.Join(b.o.Partition, name) }

func (b *bench) write(name, text string, mode os.FileMode) {
	b.t.Helper()
	// It can be run at once: a process that another test makes meanwhile has
	// not got it open for writing.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(b.path(name), []byte(text), mode); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) sh(name, script string) {
	b.write("etc/promise/"+name, "#!/bin/sh\n"+script+"\n", 0o755)
}

func (b *bench) read(name string) string {
	b.t.Helper()
	text, err := os.ReadFile(b.path(name))
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

func (b *bench) run() Summary {
	b.t.Helper()
	s, err := Run(b.t.Context(), b.o)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// result gives the result of a promise, also as it is in its file.
func (b *bench) result(s Summary, name string) (Result, resultFile) {
	b.t.Helper()
	for _, r := range s.Results {
		if r.Name == name {
			var f resultFile
			if err := json.Unmarshal([]byte(b.read(resultFolder+"/"+r.Title+".status.json")), &f); err != nil {
				b.t.Fatal(err)
			}
			if f.Result.Failed != r.Failed || f.Result.Message != r.Message || f.Name != name || f.Path != r.Path {
				b.t.Errorf("%s: the file has %+v, the summary %+v", name, f, r)
			}
			return r, f
		}
	}
	b.t.Fatalf("no result of %s in %+v", name, s)
	return Result{}, resultFile{}
}

func TestExecutables(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.sh("good", "echo all is well; pwd")
	b.sh("bad.sh", "echo out; echo 'it is broken' >&2; exit 3")
	b.sh("silent", "exit 1")
	b.write("etc/promise/plain", "no program", 0o644)
	b.write("etc/promise/no-interpreter", "#!/nowhere/at/all\n", 0o755)
	s := b.run()
	if r, f := b.result(s, "good"); r.Failed || r.Message != "all is well\n"+b.o.Partition || f.Result.Type != testType || r.Title != "good" {
		t.Errorf("%+v", r)
	}
	r, f := b.result(s, "bad.sh")
	if !r.Failed || r.Message != "out\nit is broken" || r.Title != "bad" {
		t.Errorf("%+v", r)
	}
	if d, err := time.Parse("2006-01-02T15:04:05+0000", f.Result.Date); err != nil || time.Since(d) > 10*time.Minute {
		t.Errorf("date %q: %v", f.Result.Date, err)
	}
	if r, _ := b.result(s, "silent"); !r.Failed || r.Message != "" {
		t.Errorf("%+v", r)
	}
	if r, _ := b.result(s, "no-interpreter"); !r.Failed || !strings.Contains(r.Message, "no such file") {
		t.Errorf("%+v", r)
	}
	if len(s.Results) != 4 || s.Skipped != 1 || len(s.Failed()) != 3 {
		t.Errorf("%+v", s)
	}
	var e *Error
	if err := s.Err(); !errors.As(err, &e) || err.Error() != "Promise 'bad.sh' failed with output: out\nit is broken" {
		t.Errorf("%v", err)
	}
	if log := b.read(logFolder + "/bad.log"); !logLine().MatchString(log) || !strings.Contains(log, " - ERROR - ") || !strings.HasSuffix(log, " - out\nit is broken\n") {
		t.Errorf("log %q", log)
	}
	if b.o.Partition = filepath.Join(b.o.Partition, "absent"); b.run().Err() != nil {
		t.Error("a partition without promises fails")
	}
}

// TestTimeout: a promise that does not end is ended with all it has started,
// and others are not held up.
func TestTimeout(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.o.Timeout = 5 * time.Second
	b.sh("slow", `trap "" TERM; setsid sh -c 'trap "" TERM; echo $$ > pid; while :; do sleep 0.1; done' & while :; do sleep 0.1; done`)
	b.sh("fast", "exit 0")
	began := time.Now()
	s := b.run()
	if took := time.Since(began); took > time.Minute {
		t.Errorf("took %v", took)
	}
	if r, _ := b.result(s, "slow"); !r.Failed || r.Message != "Error: Promise timed out after 5 seconds" {
		t.Errorf("%+v", r)
	}
	if r, _ := b.result(s, "fast"); r.Failed {
		t.Errorf("%+v", r)
	}
	var pid int
	if _, err := fmt.Sscan(b.read("pid"), &pid); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); syscall.Kill(pid, 0) == nil; time.Sleep(10 * time.Millisecond) {
		if stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); strings.Contains(string(stat), ") Z") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d lives on", pid)
		}
	}
}

// TestDaemon: what a promise leaves behind does not keep its result, nor live.
func TestDaemon(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.sh("daemon", "sleep 1000 & echo started")
	began := time.Now()
	if r, _ := b.result(b.run(), "daemon"); r.Failed || r.Message != "started" || time.Since(began) > 50*time.Second {
		t.Errorf("%+v after %v", r, time.Since(began))
	}
}

func TestHugeOutput(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.sh("huge", `head -c 50000000 /dev/zero | tr '\0' x; printf 'é\377end'; exit 1`)
	r, _ := b.result(b.run(), "huge")
	if n := len([]rune(r.Message)); !r.Failed || n != maxMessage+3 || !strings.HasPrefix(r.Message, "...x") || !strings.HasSuffix(r.Message, "é\uFFFDend") {
		t.Errorf("%d characters, %.10q … %q", n, r.Message, r.Message[len(r.Message)-10:])
	}
	// Logs stay within their bound however often it runs.
	b.sh("long", "head -c 4000 /dev/zero | tr '\\0' y; exit 1")
	b.write(logFolder+"/long.log", strings.Repeat("2026-11-21 10:00:00 - INFO - 1795255257-123 - fine\n", 30000), 0o644)
	b.run()
	if n := len(b.read(logFolder + "/long.log")); n > keepLog || n < 1000 {
		t.Errorf("the log has %d bytes", n)
	}
}

// TestAnomaly: an executable fails after three failures in a row, and recovers
// at once; a period is waited for.
func TestAnomaly(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.o.Anomaly = true
	b.sh("p", "[ -e ok ] || { echo no; exit 1; }")
	for i, want := range []bool{false, false, true, true} {
		if r, f := b.result(b.run(), "p"); r.Failed != want || f.Result.Type != testType || r.Bang != "" {
			t.Errorf("run %d: %+v", i+1, r)
		}
	}
	b.o.Force = false
	s := b.run()
	if len(s.Results) != 1 || !s.Results[0].Former || !s.Results[0].Failed || s.Skipped != 1 || s.Err() == nil {
		t.Errorf("within the period: %+v", s)
	}
	b.write("ok", "", 0o644)
	b.o.Force = true
	if r, _ := b.result(b.run(), "p"); r.Failed {
		t.Errorf("recovered: %+v", r)
	}
	// A promise that was changed is run at once.
	b.o.Force = false
	b.sh("p", "echo new")
	if err := os.Chtimes(b.path("etc/promise/p"), time.Now(), time.Now().Add(3*time.Second)); err != nil {
		t.Fatal(err)
	}
	if r, _ := b.result(b.run(), "p"); r.Former || r.Message != "new" {
		t.Errorf("changed: %+v", r)
	}
}

// TestHostileFolders: what the partition puts in the way of results harms
// nobody, and a promise's outcome is known all the same.
func TestHostileFolders(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	victim := filepath.Join(outside, "victim")
	if err := os.WriteFile(victim, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	for what, prepare := range map[string]func(b *bench) error{
		"folder is a link out": func(b *bench) error { return os.Symlink(outside, b.path(".slapgrid")) },
		"result folder is one": func(b *bench) error {
			return errors.Join(os.MkdirAll(b.path(".slapgrid/promise"), 0o755), os.Symlink(outside, b.path(resultFolder)))
		},
		"result is a link": func(b *bench) error {
			return errors.Join(os.MkdirAll(b.path(resultFolder), 0o755), os.Symlink(victim, b.path(resultFolder+"/p.status.json")))
		},
		"temporary is a link": func(b *bench) error {
			return errors.Join(os.MkdirAll(b.path(resultFolder), 0o755), os.Symlink(victim, b.path(resultFolder+"/p.status.json.tmp")))
		},
		"log is a link": func(b *bench) error {
			return errors.Join(os.MkdirAll(b.path(logFolder), 0o755), os.Symlink(victim, b.path(logFolder+"/p.log")))
		},
		"log is another's name": func(b *bench) error {
			return errors.Join(os.MkdirAll(b.path(logFolder), 0o755), os.Link(victim, b.path(logFolder+"/p.log")))
		},
		"log is a pipe": func(b *bench) error {
			return errors.Join(os.MkdirAll(b.path(logFolder), 0o755), syscall.Mkfifo(b.path(logFolder+"/p.log"), 0o644))
		},
		"cache is a pipe": func(b *bench) error {
			return errors.Join(os.MkdirAll(b.path(cacheFolder), 0o755), syscall.Mkfifo(b.path(cacheFolder+"/p"), 0o644))
		},
		"cache is nonsense": func(b *bench) error {
			return errors.Join(os.MkdirAll(b.path(cacheFolder), 0o755), os.WriteFile(b.path(cacheFolder+"/p"), []byte(`{"next_run_after": "x`), 0o644))
		},
		"result is a folder": func(b *bench) error { return os.MkdirAll(b.path(resultFolder+"/p.status.json/x"), 0o755) },
	} {
		t.Run(what, func(t *testing.T) {
			b := open(t)
			b.o.Force = false
			b.sh("p", "echo broken; exit 1")
			if err := prepare(b); err != nil {
				t.Fatal(err)
			}
			s, err := Run(t.Context(), b.o)
			if err == nil && (len(s.Results) != 1 || !s.Results[0].Failed || s.Results[0].Message != "broken") {
				t.Errorf("%+v", s)
			}
			if err != nil && !strings.Contains(err.Error(), "slappart0") {
				t.Errorf("%v", err)
			}
			if text, err := os.ReadFile(victim); err != nil || string(text) != "mine" {
				t.Errorf("the victim is %q, %v", text, err)
			}
			if list, _ := os.ReadDir(outside); len(list) != 1 {
				t.Errorf("outside there is %v", list)
			}
		})
	}
}

func TestHostileNames(t *testing.T) {
	t.Parallel()
	b := open(t)
	names := []string{"new\nline", "..two", ".hidden", "a b'\"$(touch x)", strings.Repeat("n", 240), "\xff\xfe"}
	for _, n := range names {
		b.sh(n, "exit 1")
	}
	if s := b.run(); len(s.Failed()) != len(names) {
		t.Errorf("%d failed: %+v", len(s.Failed()), s)
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.sh("p", "sleep 1000")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(200*time.Millisecond, cancel)
	if s, err := Run(ctx, b.o); !errors.Is(err, context.Canceled) {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestTitles(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"a.py": "a", "a": "a", "a.b.sh": "a.b", ".a": ".a", ".a.py": ".a", "..": "..", "a.": "a"} {
		if got := (check{name: name}).title(); got != want {
			t.Errorf("title of %q is %q, want %q", name, got, want)
		}
	}
}
