package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/fluent/fluent-logger-golang/fluent"
)

// envelopes serves a folder with one policy, which keeps frames unopened.
func envelopes(t *testing.T) *weir {
	t.Helper()
	config := filepath.Join(t.TempDir(), "envelopes.yaml")
	text := "policies:\n  - {name: all, match: \"**\", check: envelope}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w := start(t, "--config", config)
	w.query = "?format=msgpack"
	return w
}

// TestEnvelopeOfLoggers: what real loggers sent to a policy that keeps frames
// is what the entries are when they are read, before and after a kill.
func TestEnvelopeOfLoggers(t *testing.T) {
	t.Parallel()
	t.Run("Go", func(t *testing.T) {
		t.Parallel()
		w := envelopes(t)
		goLogger(t, w, "ack", fluent.Config{RequestAck: true})
		goLogger(t, w, "subsecond", fluent.Config{SubSecondPrecision: true, RequestAck: true})
		goLogger(t, w, "json", fluent.Config{MarshalAsJSON: true, RequestAck: true})
	})
	t.Run("Node", func(t *testing.T) {
		t.Parallel()
		node := registryPeer(t, "WEIR_NODE", "Node.js")
		modules := registryPeer(t, "WEIR_NODE_PATH", "@fluent-org/logger")
		w := envelopes(t)
		cmd := exec.Command(node, "testdata/send.js")
		cmd.Env = append(cmd.Environ(), "NODE_PATH="+modules)
		list := script(t, w, cmd)
		compareSent(t, w, list)
		w.kill()
		w.up()
		compareSent(t, w, list)
	})
}

// TestEnvelopeBroken: a frame that turns out broken when it is read was
// acknowledged, so it is a dead letter: once, however often the stream is
// read and the server restarted. What is good around it is all there.
func TestEnvelopeBroken(t *testing.T) {
	t.Parallel()
	w := envelopes(t)
	good := encode(entry{1_700_000_000, 1, map[string]any{"seq": 1}})
	broken := compressed("a.b", bytes.Repeat(good, 50), "broken")
	at := bytes.Index(broken, []byte("\x1f\x8b"))
	broken[at+20] ^= 0xff
	c := mustDial(t, w.Forward)
	c.send(t, packed("a.b", good, "first"), "first")
	c.send(t, broken, "broken")
	c.send(t, packed("a.b", append(append([]byte(nil), good...), 0x91, 7), "odd"), "odd")
	c.send(t, compressed("a.b", good, "last"), "last")

	for round := range 4 {
		if got := w.stream("a.b"); !bytes.Equal(got, bytes.Repeat(good, 3)) {
			t.Fatalf("round %d: read %d bytes of entries, want %d: %q", round, len(got), 3*len(good), got)
		}
		reasons := map[string]int{}
		for _, e := range events(t, w.do("GET", "/streams/_dead.all", nil).Body) {
			letter, _ := e.record.(map[string]any)
			reason, _ := letter["reason"].(string)
			reasons[reason]++
			if letter["tag"] != "a.b" || letter["stream"] != "a.b" {
				t.Errorf("round %d: a letter says %v", round, letter)
			}
		}
		if len(reasons) != 2 || reasons["bad-frame"] != 1 || reasons["bad-entry"] != 1 {
			t.Fatalf("round %d: dead letters: %v", round, reasons)
		}
		if round == 1 {
			w.kill()
			w.up()
		}
	}
	if frames := w.do("GET", "/streams/a.b", nil).Body; !bytes.Contains(frames, broken) {
		t.Error("the broken frame is not in the stream's bytes as it came")
	}
}
