package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fluent/fluent-logger-golang/fluent"
)

// TestPythonLogger: what fluent-logger-python sent is what the streams hold.
func TestPythonLogger(t *testing.T) {
	t.Parallel()
	python := registryPeer(t, "WEIR_PYTHON", "Python with fluent-logger")
	w := start(t)
	compareSent(t, w, script(t, w, exec.Command(python, "testdata/send.py")))
}

// TestNodeLogger: what @fluent-org/logger sent in each mode is what the
// streams hold.
func TestNodeLogger(t *testing.T) {
	t.Parallel()
	node := registryPeer(t, "WEIR_NODE", "Node.js")
	modules := registryPeer(t, "WEIR_NODE_PATH", "@fluent-org/logger")
	w := start(t)
	cmd := exec.Command(node, "testdata/send.js")
	cmd.Env = append(cmd.Environ(), "NODE_PATH="+modules)
	compareSent(t, w, script(t, w, cmd))
}

// TestSharedKey: with a shared key and users, who knows both is taken, and who
// does not is refused before anything is kept.
func TestSharedKey(t *testing.T) {
	t.Parallel()
	node := registryPeer(t, "WEIR_NODE", "Node.js")
	modules := registryPeer(t, "WEIR_NODE_PATH", "@fluent-org/logger")
	config := filepath.Join(t.TempDir(), "secure.yaml")
	text := "forward:\n  security:\n    self_hostname: receiver\n    shared_key: a key of some length\n    user_auth: true\n" +
		"    users:\n      - {username: alice, password: a password of hers}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w := start(t, "--config", config)
	sender := func(key, password string) *exec.Cmd {
		cmd := exec.Command(node, "testdata/send.js")
		cmd.Env = append(cmd.Environ(), "NODE_PATH="+modules, "KEY="+key, "USER_NAME=alice", "PASSWORD="+password)
		return cmd
	}
	for i, c := range [][2]string{{"another key", "a password of hers"}, {"a key of some length", "another password"}} {
		cmd := sender(c[0], c[1])
		host, port, _ := net.SplitHostPort(w.Forward)
		cmd.Args = append(cmd.Args, host, port)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { cmd.Wait(); close(ended) }()
		w.await("the refusal is logged", func() bool { return strings.Count(w.logged(), "handshake failed") > i })
		select { // it gives up, or tries for ever
		case <-ended:
		case <-time.After(2 * time.Second):
			cmd.Process.Kill()
			<-ended
		}
	}
	c := mustDial(t, w.Forward) // without a handshake
	c.write(t, packed("js.message.a", encode(entry{1_700_000_000, 0, "x"}), "chunk"))
	if said := c.closed(t); bytes.Contains(said, []byte("ack")) {
		t.Errorf("without a handshake: answered with %q", said)
	}
	if got := w.stream("js.message.a"); len(got) != 0 {
		t.Fatalf("%d bytes of senders that were refused are in a stream", len(got))
	}
	compareSent(t, w, script(t, w, sender("a key of some length", "a password of hers")))
}

// A sent is an event that a script says it sent.
type sent struct {
	tag       string
	sec, nsec int64
	record    any
}

// script runs a sender with the address of w.
func script(t *testing.T, w *weir, cmd *exec.Cmd) []sent {
	t.Helper()
	host, port, err := net.SplitHostPort(w.Forward)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Args = append(cmd.Args, host, port)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd.Args[:len(cmd.Args)-2], err, errs.Bytes())
	}
	var rows [][4]any
	d := json.NewDecoder(&out)
	d.UseNumber()
	if err := d.Decode(&rows); err != nil {
		t.Fatal(err)
	}
	list := make([]sent, len(rows))
	for i, r := range rows {
		sec, err1 := r[1].(json.Number).Int64()
		nsec, err2 := r[2].(json.Number).Int64()
		if err1 != nil || err2 != nil {
			t.Fatalf("row %d: %v", i, r)
		}
		list[i] = sent{r[0].(string), sec, nsec, r[3]}
	}
	return list
}

// compareSent waits until the streams have all events, and compares each.
func compareSent(t *testing.T, w *weir, list []sent) {
	t.Helper()
	want := map[string][]sent{}
	for _, s := range list {
		want[s.tag] = append(want[s.tag], s)
	}
	if len(want) < 3 {
		t.Fatalf("sent to %d tags only", len(want))
	}
	for tag, list := range want {
		var got []event
		w.await(fmt.Sprintf("stream %s has %d events", tag, len(list)), func() bool {
			got = events(t, w.stream(tag))
			return len(got) >= len(list)
		})
		if len(got) != len(list) {
			t.Errorf("stream %s has %d events, want %d", tag, len(got), len(list))
			continue
		}
		for i, s := range list {
			if got[i].sec != s.sec || got[i].nsec != s.nsec {
				t.Errorf("event %d of %s: time %d.%09d, want %d.%09d", i, tag, got[i].sec, got[i].nsec, s.sec, s.nsec)
			}
			if err := same(s.record, got[i].record); err != nil {
				t.Errorf("event %d of %s: %v", i, tag, err)
			}
		}
	}
}

// TestGoLogger: fluent-logger-golang, in each of its settings.
func TestGoLogger(t *testing.T) {
	t.Parallel()
	w := start(t)
	settings := map[string]fluent.Config{
		"plain":     {},
		"ack":       {RequestAck: true},
		"subsecond": {SubSecondPrecision: true, RequestAck: true},
		"async":     {Async: true, RequestAck: true, SubSecondPrecision: true},
		"json":      {MarshalAsJSON: true},
		"json-ack":  {MarshalAsJSON: true, RequestAck: true},
		"prefix":    {TagPrefix: "pre", RequestAck: true},
	}
	var wg sync.WaitGroup
	for name, c := range settings {
		wg.Go(func() { goLogger(t, w, name, c) })
	}
	wg.Wait()
}

func goLogger(t *testing.T, w *weir, name string, c fluent.Config) {
	host, port, _ := net.SplitHostPort(w.Forward)
	c.FluentHost = host
	c.FluentPort, _ = strconv.Atoi(port)
	c.ReadTimeout, c.WriteTimeout = patience, patience
	l, err := fluent.New(c)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	tag, stream := "go."+name, "go."+name
	if c.TagPrefix != "" {
		stream = c.TagPrefix + "." + tag
	}
	const n = 50
	at := time.Unix(1700000000, 123456789)
	for i := range n {
		err := l.PostWithTime(tag, at.Add(time.Duration(i)*time.Second), map[string]any{"seq": i, "text": "Grüße " + name})
		if err != nil {
			t.Errorf("%s: record %d: %v", name, i, err)
			return
		}
	}
	if err := l.Close(); err != nil {
		t.Errorf("%s: close: %v", name, err)
	}
	var got []event
	deadline := time.Now().Add(patience)
	for len(got) < n && time.Now().Before(deadline) {
		a, err := ask("GET", w.url("/streams/"+stream+w.query), nil)
		if err == nil && a.Status == 200 {
			got = events(t, a.Body)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if len(got) != n {
		t.Errorf("%s: stream has %d events, want %d", name, len(got), n)
		return
	}
	for i, e := range got {
		m, _ := e.record.(map[string]any)
		if fmt.Sprint(m["seq"]) != strconv.Itoa(i) || m["text"] != "Grüße "+name || e.sec != 1700000000+int64(i) {
			t.Errorf("%s: event %d is %v at %d", name, i, e.record, e.sec)
			return
		}
		if c.SubSecondPrecision && e.nsec != 123456789 {
			t.Errorf("%s: event %d has %d ns, want 123456789", name, i, e.nsec)
		}
	}
}
