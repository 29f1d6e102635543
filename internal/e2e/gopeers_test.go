package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// goPeer gives the path of a program of gopeers.
func goPeer(t *testing.T, name string) string {
	t.Helper()
	return filepath.Join(registryPeer(t, "WEIR_GOPEERS", name), name)
}

// TestFluentForwardGo: what fluent-forward-go sent in each mode, and had
// acknowledged, is what the streams hold; with a shared key too.
func TestFluentForwardGo(t *testing.T) {
	t.Parallel()
	sender := goPeer(t, "forwardgo")
	t.Run("plain", func(t *testing.T) {
		t.Parallel()
		w := start(t)
		compareSent(t, w, script(t, w, exec.Command(sender)))
	})
	t.Run("shared key", func(t *testing.T) {
		t.Parallel()
		config := filepath.Join(t.TempDir(), "secure.yaml")
		text := "forward:\n  security:\n    self_hostname: receiver\n    shared_key: a key of some length\n"
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		w := start(t, "--config", config)
		cmd := exec.Command(sender)
		cmd.Env = append(cmd.Environ(), "KEY=a key of some length")
		compareSent(t, w, script(t, w, cmd))
	})
}

// TestSendToOpenTelemetry: what `weir send` had acknowledged by the
// OpenTelemetry collector's receiver is what came out of that.
func TestSendToOpenTelemetry(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(goPeer(t, "otel"))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer time.AfterFunc(patience, func() { cmd.Process.Kill() }).Stop()
	defer in.Close()
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatalf("the receiver said nothing: %v", lines.Err())
	}

	sent := []string{
		`{"seq":0,"text":"Grüße","flag":true,"half":0.5}`,
		`{"seq":1,"deep":{"list":[1,"two",3.5],"empty":{}}}`,
		`{"seq":-2147483649,"big":9007199254740993,"none":null}`,
	}
	began := time.Now()
	send := exec.Command(program, "send", "to.otel", "--to", lines.Text())
	send.Stdin = strings.NewReader(strings.Join(sent, "\n"))
	if said, err := send.CombinedOutput(); err != nil || string(said) != fmt.Sprintf("%d acknowledged\n", len(sent)) {
		t.Fatalf("weir send: %v\n%s", err, said)
	}
	in.Close()
	var got []string
	for lines.Scan() {
		got = append(got, lines.Text())
	}
	if len(got) != len(sent) {
		t.Fatalf("the receiver has %d records, want %d:\n%s", len(got), len(sent), strings.Join(got, "\n"))
	}
	for i := range sent {
		if err := sameRecord(sent[i], got[i], began); err != nil {
			t.Errorf("record %d: %v", i, err)
		}
	}
}

// sameRecord compares a line that was sent with a log record.
func sameRecord(sent, got string, began time.Time) error {
	var record struct {
		Nanoseconds int64 `json:"ns"`
		Body        any
		Attributes  map[string]any
	}
	want := map[string]any{"fluent.tag": "to.otel"}
	if err := exactly(sent, &want); err != nil {
		return err
	}
	if err := exactly(got, &record); err != nil {
		return err
	}
	if at := time.Unix(0, record.Nanoseconds); at.Before(began) || at.After(time.Now()) {
		return fmt.Errorf("its time is %v, and it was sent at about %v", at, began)
	}
	if !maps.EqualFunc(record.Attributes, want, func(a, b any) bool { return fmt.Sprint(a) == fmt.Sprint(b) }) || record.Body != nil {
		return fmt.Errorf("%s arrived as %s", sent, got)
	}
	return nil
}

// exactly decodes JSON and keeps the digits of its numbers.
func exactly(text string, v any) error {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	return d.Decode(v)
}
