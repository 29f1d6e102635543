package e2e

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// runWeir runs the binary to its end in a folder.
func runWeir(t *testing.T, dir string, args ...string) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	return cmd.CombinedOutput()
}

// TestCheck: a good configuration is silent, of a bad one every mistake is
// told with its place.
func TestCheck(t *testing.T) {
	t.Parallel()
	examples, err := filepath.Glob(filepath.Join(root, "conf", "examples", "*.yaml"))
	if err != nil || len(examples) == 0 {
		t.Fatalf("no examples of configurations: %v", err)
	}
	for _, file := range examples {
		if out, err := runWeir(t, "", "check", "--offline", file); err != nil {
			t.Errorf("check %s: %v\n%s", filepath.Base(file), err, out)
		}
	}
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	text := "policies:\n  - name: raw\n    mtach: raw.**\n    keep: verbatim\n  - name: numbers\n    match: numbers.**\n    keep: tetx\n"
	if err := os.WriteFile(bad, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := runWeir(t, "", "check", bad)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 78 {
		t.Errorf("check of a bad file: %v, want status 78", err)
	}
	places := regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(bad)+`:(\d+):(\d+): \S`).FindAllSubmatch(out, -1)
	lines := map[string]bool{}
	for _, p := range places {
		lines[string(p[1])] = true
	}
	if !lines["3"] || !lines["7"] || !bytes.Contains(out, []byte("mtach")) || !bytes.Contains(out, []byte("tetx")) {
		t.Errorf("check told:\n%s\nwant a mistake in line 3 (mtach) and one in line 7 (tetx)", out)
	}
	if out, err := runWeir(t, "", "serve", "--config", bad, "--data", t.TempDir(), "--http", "127.0.0.1:0", "--forward", "127.0.0.1:0"); err == nil || !bytes.Contains(out, []byte("mtach")) {
		t.Errorf("serve with a bad file: %v\n%s", err, out)
	}
}

// TestDemo: the demonstration works in any folder and tells what arrived.
func TestDemo(t *testing.T) {
	t.Parallel()
	out, err := runWeir(t, t.TempDir(), "demo", "--once")
	if err != nil {
		t.Fatalf("demo --once: %v\n%s", err, out)
	}
	for _, want := range []string{"pcm", "value", "time", "/arrays/", "/streams/", "http://127.0.0.1:", "curl", "xarray"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the demonstration does not print %q:\n%s", want, out)
		}
	}
}

// TestDefaults: without configuration every tag is kept, and health is told.
func TestDefaults(t *testing.T) {
	t.Parallel()
	w := start(t)
	for _, path := range []string{"/health", "/ready", "/metrics", "/", "/api/job"} {
		if got := w.status(path); got != http.StatusOK {
			t.Errorf("GET %s: %d", path, got)
		}
	}
	body := encode(entry{1_700_000_000, 0, map[string]any{"a": 1}})
	c := mustDial(t, w.Forward)
	for _, tag := range []string{"a", "any.tag", "Grüße/with spaces & signs"} {
		c.send(t, packed(tag, body, "chunk"), "chunk")
	}
	for _, name := range []string{"a", "any.tag", "Gr%C3%BC%C3%9Fe%2Fwith%20spaces%20%26%20signs"} {
		if got := w.stream(name); !bytes.Equal(got, body) {
			t.Errorf("stream %s has %d bytes, want %d", name, len(got), len(body))
		}
	}
}

// TestSend: weir send and weir put reach a running weir.
func TestSend(t *testing.T) {
	t.Parallel()
	w := start(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "send", "cli.tag", "--to", w.Forward)
	cmd.Stdin = strings.NewReader("{\"seq\": 0}\n{\"seq\": 1}\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("send: %v\n%s", err, out)
	}
	got := events(t, w.stream("cli.tag"))
	if len(got) != 2 {
		t.Errorf("send of two lines made %d events", len(got))
	}
	dir := t.TempDir()
	data := noise(1, 100_000)
	if err := os.WriteFile(filepath.Join(dir, "cli.file"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := runWeir(t, dir, "put", "cli.file", w.url("/streams/cli.file")); err != nil {
		t.Fatalf("put: %v\n%s", err, out)
	}
	if got := w.stream("cli.file"); !bytes.Equal(got, data) {
		t.Errorf("after put the stream has %d bytes, want %d", len(got), len(data))
	}
}
