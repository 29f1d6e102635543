package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const fluentBitUpstream = `
[UPSTREAM]
    name weirs
[NODE]
    name one
    host ONE_HOST
    port ONE_PORT
    require_ack_response true
[NODE]
    name two
    host TWO_HOST
    port TWO_PORT
    require_ack_response true
`

// TestFailover: of two gateways one is killed for good while real senders send
// to both, or to the other in its place; every line is in one of them.
func TestFailover(t *testing.T) {
	t.Parallel()
	t.Run("fluentd", func(t *testing.T) {
		t.Parallel()
		command := real(t, "WEIR_FLUENTD", "fluentd")
		one, two := start(t), start(t)
		host, port, err := net.SplitHostPort(two.Forward)
		if err != nil {
			t.Fatal(err)
		}
		config := strings.NewReplacer("EXTRA", "heartbeat_type transport\n  recover_wait 1s", "BUFFER", "memory", "SERVER", "",
			"MORE", fmt.Sprintf("<server>\n    host %s\n    port %s\n    standby true\n  </server>", host, port)).Replace(fluentdConfig)
		failover(t, one, two, config, append(command, "--no-supervisor", "-c"))
	})
	t.Run("fluent-bit", func(t *testing.T) {
		t.Parallel()
		command := real(t, "WEIR_FLUENT_BIT", "fluent-bit")
		one, two := start(t), start(t)
		nodes := fluentBitUpstream
		for name, w := range map[string]*weir{"ONE": one, "TWO": two} {
			host, port, err := net.SplitHostPort(w.Forward)
			if err != nil {
				t.Fatal(err)
			}
			nodes = strings.NewReplacer(name+"_HOST", host, name+"_PORT", port).Replace(nodes)
		}
		upstream := filepath.Join(t.TempDir(), "upstream.conf")
		if err := os.WriteFile(upstream, []byte(nodes), 0o600); err != nil {
			t.Fatal(err)
		}
		config := strings.NewReplacer("EXTRA", "Upstream "+upstream).Replace(fluentBitConfig)
		failover(t, one, two, config, append(command, "-c"))
	})
}

// failover has a program send lines to one of two gateways, kills that, and
// finds every line in either.
func failover(t *testing.T, one, two *weir, config string, command []string) {
	t.Helper()
	const tag, lines = "failover", 2000
	in := follow(t, one, tag, config, command)
	for i := range lines {
		fmt.Fprintf(in, "line %d of the file\n", i)
		switch {
		case i == 100:
			awaitFor(t, 2*patience, "the sender has begun", func() bool { return len(one.stream(tag))+len(two.stream(tag)) > 0 })
		case i == lines/2:
			one.kill()
		case i%100 == 99:
			time.Sleep(50 * time.Millisecond) // the lines come in several chunks
		}
	}
	seen := map[string]bool{}
	look := func(w *weir) {
		for _, e := range events(t, w.stream(tag)) {
			m, _ := e.record.(map[string]any)
			seen[string(rawBytes(m["message"]))] = true
		}
	}
	awaitFor(t, 2*patience, "the second has the last line", func() bool {
		look(two)
		return seen[fmt.Sprintf("line %d of the file", lines-1)]
	})
	one.up()
	awaitFor(t, 2*patience, "every line is in one of them", func() bool {
		look(one)
		look(two)
		return len(seen) >= lines
	})
	for i := range lines {
		if !seen[fmt.Sprintf("line %d of the file", i)] {
			t.Errorf("line %d is missing", i)
		}
	}
}

// TestSendToFluent: what `weir send` had acknowledged by a real fluentd and a
// real Fluent Bit is what they hand on.
func TestSendToFluent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, variable, config string
		args                   []string
	}{
		{"fluentd", "WEIR_FLUENTD", "<source>\n  @type forward\n  bind 127.0.0.1\n  port PORT\n</source>\n<match to.fluent>\n  @type stdout\n</match>\n",
			[]string{"--no-supervisor", "-c"}},
		{"fluent-bit", "WEIR_FLUENT_BIT", "[SERVICE]\n    flush 0.2\n    grace 1\n[INPUT]\n    name forward\n    listen 127.0.0.1\n    port PORT\n" +
			"[OUTPUT]\n    name stdout\n    match to.fluent\n    format json_lines\n", []string{"-c"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			command := real(t, c.variable, c.name)
			addr := freeAddress(t)
			_, port, _ := net.SplitHostPort(addr)
			dir := t.TempDir()
			log := receiver(t, dir, addr, strings.ReplaceAll(c.config, "PORT", port), append(command, c.args...))
			sent := []string{`{"seq":0,"text":"Grüße","flag":true}`, `{"seq":1,"deep":{"list":[1,"two"]}}`, `{"seq":2,"none":null}`}
			send := exec.Command(program, "send", "to.fluent", "--to", addr)
			send.Stdin = strings.NewReader(strings.Join(sent, "\n"))
			if said, err := send.CombinedOutput(); err != nil || string(said) != fmt.Sprintf("%d acknowledged\n", len(sent)) {
				t.Fatalf("weir send: %v\n%s", err, said)
			}
			mustHandOn(t, log, sent)
		})
	}
}

// receiver starts a program with a configuration, whose name it takes last, waits
// until it listens, and gives the file that it writes to.
func receiver(t *testing.T, dir, addr, config string, command []string) (log string) {
	t.Helper()
	file := filepath.Join(dir, "receiver.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	log = peer(t, dir, append(command, file))
	awaitFor(t, 2*patience, "the receiver listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return log
}

// mustHandOn waits until a receiver has handed on what was sent.
func mustHandOn(t *testing.T, log string, sent []string) {
	t.Helper()
	var got []string
	awaitFor(t, patience, "the receiver hands all on", func() bool {
		got = handedOn(t, log)
		return len(got) >= len(sent)
	})
	for i := range sent {
		if want := handed(sent[i]); got[i] != want {
			t.Errorf("record %d is %s, want %s", i, got[i], want)
		}
	}
}

// handedOn gives the records in what a receiver wrote to its standard output.
func handedOn(t *testing.T, log string) (records []string) {
	t.Helper()
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if at := strings.Index(line, "{"); at >= 0 && strings.Contains(line, `"seq":`) {
			records = append(records, handed(line[at:]))
		}
	}
	return records
}

// handed brings a record, without the time that Fluent Bit adds, to one form.
func handed(line string) string {
	var m map[string]any
	if err := json.Unmarshal([]byte(line), &m); err != nil {
		return line
	}
	delete(m, "date")
	b, err := json.Marshal(m)
	if err != nil {
		return line
	}
	return string(b)
}
