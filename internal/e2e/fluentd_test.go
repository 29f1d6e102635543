package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// real gives the command of a program that no registry has, or skips.
func real(t *testing.T, variable, name string) []string {
	t.Helper()
	if v := os.Getenv(variable); v != "" {
		return strings.Fields(v)
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("no %s on PATH and %s is not set; no package registry has it", name, variable)
	}
	return []string{path}
}

const fluentdConfig = `
<system>
  log_level info
</system>
<source>
  @type tail
  path DIR/in.log
  pos_file DIR/in.pos
  tag TAG
  read_from_head true
  refresh_interval 1s
  <parse>
    @type none
  </parse>
</source>
<match **>
  @type forward
  require_ack_response true
  ack_response_timeout 5s
  COMPRESS
  heartbeat_type none
  <buffer tag>
    @type BUFFER
    flush_mode interval
    flush_interval 0.2s
    flush_thread_count 2
    retry_type periodic
    retry_wait 0.2s
  </buffer>
  <server>
    host HOST
    port PORT
  </server>
</match>
`

// TestFluentd: a real fluentd sends a file with acknowledgements while weir is
// killed; every line arrives once.
func TestFluentd(t *testing.T) {
	t.Parallel()
	command := real(t, "WEIR_FLUENTD", "fluentd")
	for _, c := range []struct{ name, compress, buffer string }{
		{"memory", "", "memory"},
		{"gzip-file", "compress gzip", "file\n    path DIR/buffer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			config := strings.NewReplacer("COMPRESS", c.compress, "BUFFER", c.buffer).Replace(fluentdConfig)
			tailFile(t, w, "fluentd."+c.name, config, append(command, "--no-supervisor", "-c"), true)
		})
	}
}

const fluentBitConfig = `
[SERVICE]
    Flush 0.2
    Grace 2
    Log_Level info
    scheduler.base 1
    scheduler.cap 2
[INPUT]
    Name tail
    Path DIR/in.log
    Tag TAG
    Read_from_Head On
    DB DIR/in.db
    Key message
[OUTPUT]
    Name forward
    Match *
    Host HOST
    Port PORT
    Retry_Limit False
    EXTRA
`

// TestFluentBit: a real Fluent Bit, with its defaults and with
// acknowledgements; the latter while weir is killed. It gives a chunk another
// id when it repeats it, so that a line may come twice then.
func TestFluentBit(t *testing.T) {
	t.Parallel()
	command := real(t, "WEIR_FLUENT_BIT", "fluent-bit")
	for _, c := range []struct {
		name, extra string
		kill        bool
	}{
		{"default", "", false},
		{"ack", "Require_ack_response On", true},
		{"gzip", "Require_ack_response On\n    Compress gzip", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			config := strings.NewReplacer("EXTRA", c.extra).Replace(fluentBitConfig)
			tailFile(t, w, "fluentbit."+c.name, config, append(command, "-c"), c.kill)
		})
	}
}

// tailFile runs a program that follows a file, writes lines to the file, and
// compares the stream with them.
func tailFile(t *testing.T, w *weir, tag, config string, command []string, kill bool) {
	t.Helper()
	dir := t.TempDir()
	host, port, err := net.SplitHostPort(w.Forward)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "sender.conf")
	config = strings.NewReplacer("DIR", dir, "TAG", tag, "HOST", host, "PORT", port).Replace(config)
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	in, err := os.Create(filepath.Join(dir, "in.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var log bytes.Buffer
	cmd := exec.Command(command[0], append(command[1:], file)...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = &log, &log, dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if t.Failed() {
			t.Logf("log of the sender:\n%.8000s", log.String())
		}
	}()
	const lines = 3000
	for i := range lines {
		fmt.Fprintf(in, "line %d of the file\n", i)
		if i%100 == 99 {
			time.Sleep(50 * time.Millisecond)
		}
		if i == 100 {
			awaitFor(t, 2*patience, "the sender has begun", func() bool { return len(w.stream(tag)) > 0 })
		}
		if kill && (i == 1000 || i == 2000) {
			w.kill()
			w.up()
		}
	}
	seen := map[string]int{}
	awaitFor(t, 2*patience, fmt.Sprintf("all %d lines are there", lines), func() bool {
		clear(seen)
		for _, e := range events(t, w.stream(tag)) {
			m, _ := e.record.(map[string]any)
			seen[string(rawBytes(m["message"]))]++
		}
		return len(seen) >= lines
	})
	twice := 0
	for i := range lines {
		switch n := seen[fmt.Sprintf("line %d of the file", i)]; {
		case n == 0:
			t.Errorf("line %d is missing", i)
		case n > 1:
			twice++
		}
	}
	if again := strings.HasPrefix(tag, "fluentbit.") && kill; twice > 0 && !again {
		t.Errorf("%d lines are there more than once", twice)
	}
}
