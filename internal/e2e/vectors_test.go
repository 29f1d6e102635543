package e2e

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/tinylib/msgp/msgp"
)

// A vector is the recorded conversation of a real sender with a real receiver.
type vector struct {
	Name         string           `json:"name"`
	Expect       []vectorEvent    `json:"expect"`
	Conversation []vectorExchange `json:"conversation"`
	Security     json.RawMessage  `json:"security"`
}

type vectorEvent struct {
	Tag    string `json:"tag"`
	Time   any    `json:"time"`
	Record any    `json:"record"`
}

type vectorExchange struct {
	Conn  int    `json:"conn"`
	From  string `json:"from"`
	Hex   string `json:"hex"`
	Event string `json:"event"`
	Proto string `json:"proto"`
}

// TestCaptured replays what real fluentd, Fluent Bit and loggers put on the
// wire, at the recorded boundaries, glued together, and byte by byte. The
// stream of each tag must hold the very bytes of its entries, and each
// connection must get the very acks.
func TestCaptured(t *testing.T) {
	t.Parallel()
	vectors := readVectors(t)
	cuts := []struct {
		name string
		cut  func([]vectorExchange) []vectorExchange
	}{
		{"as recorded", func(x []vectorExchange) []vectorExchange { return x }},
		{"glued", glue},
		{"byte by byte", single},
	}
	for _, c := range cuts {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			for _, v := range vectors {
				v.Conversation = c.cut(v.Conversation)
				v.replay(t, w, false)
			}
			if c.name == "byte by byte" {
				return
			}
			// The same once more: what has a chunk id is acknowledged and not stored twice.
			repeated := 0
			for _, v := range vectors {
				if v.acknowledged(t) {
					v.replay(t, w, true)
					repeated++
				}
			}
			if repeated < 15 {
				t.Errorf("%d conversations were repeated, want 15 and more", repeated)
			}
		})
	}
}

// readVectors reads all captured conversations, without handshakes: what came
// after a handshake that succeeded is replayed without it.
func readVectors(t *testing.T) []vector {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(shared(t, "vectors", "forward"), "*.json"))
	if err != nil || len(files) < 60 {
		t.Fatalf("captured conversations: %d files, %v", len(files), err)
	}
	sort.Strings(files)
	var list []vector
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var v vector
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if strings.Contains(v.Name, "wrong") {
			continue // nothing was accepted; the handshake has tests of its own
		}
		v.withoutHandshake(t)
		list = append(list, v)
	}
	return list
}

func (v *vector) withoutHandshake(t *testing.T) {
	t.Helper()
	if v.Security == nil {
		return
	}
	var kept []vectorExchange
	for _, x := range v.Conversation {
		if x.Hex == "" {
			kept = append(kept, x)
			continue
		}
		b := unhex(t, x.Hex)
		for len(b) > 0 && isHandshake(b) {
			rest, err := msgp.Skip(b)
			if err != nil {
				t.Fatalf("%s: handshake cut between two reads: %v", v.Name, err)
			}
			b = rest
		}
		if x.Hex = hex.EncodeToString(b); len(b) > 0 {
			kept = append(kept, x)
		}
	}
	v.Conversation = kept
}

func isHandshake(b []byte) bool {
	for _, word := range []string{"HELO", "PING", "PONG"} {
		if i := bytes.Index(b[:min(len(b), 8)], []byte(word)); i > 0 {
			return true
		}
	}
	return false
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// glue puts what a client sent in a row into one write.
func glue(list []vectorExchange) []vectorExchange {
	var out []vectorExchange
	for _, x := range list {
		if n := len(out) - 1; n >= 0 && x.From == "client" && x.Hex != "" && x.Proto == "" &&
			out[n].From == "client" && out[n].Hex != "" && out[n].Conn == x.Conn && out[n].Proto == "" {
			out[n].Hex += x.Hex
			continue
		}
		out = append(out, x)
	}
	return out
}

// single cuts what a client sent into single bytes, up to a size that is
// still quick.
func single(list []vectorExchange) []vectorExchange {
	var out []vectorExchange
	for _, x := range list {
		if x.From != "client" || x.Hex == "" || len(x.Hex) > 8<<10 {
			out = append(out, x)
			continue
		}
		for i := 0; i < len(x.Hex); i += 2 {
			y := x
			y.Hex = x.Hex[i : i+2]
			out = append(out, y)
		}
	}
	return out
}

// frames are the messages of each connection, in order.
func (v *vector) frames(t *testing.T, conn int) []frame {
	t.Helper()
	var b []byte
	for _, x := range v.Conversation {
		if x.Conn == conn && x.From == "client" && x.Proto == "" {
			b = append(b, unhex(t, x.Hex)...)
		}
	}
	if v.json() {
		return nil
	}
	var list []frame
	for len(b) > 0 {
		f, rest, err := readFrame(b)
		if err != nil {
			t.Fatalf("%s: message %d of connection %d: %v", v.Name, len(list), conn, err)
		}
		list = append(list, f)
		b = rest
	}
	return list
}

func (v *vector) json() bool { return strings.Contains(v.Name, "json") }

// acknowledged: every message has a chunk id, so that all may be repeated.
func (v *vector) acknowledged(t *testing.T) bool {
	t.Helper()
	n := 0
	for _, x := range v.Conversation {
		if x.Event != "open" || x.From != "client" {
			continue
		}
		for _, f := range v.frames(t, x.Conn) {
			if n++; !f.chunk {
				return false
			}
		}
	}
	return n > 0
}

// replay sends the conversation and compares what came of it. With again the
// streams must not change.
func (v *vector) replay(t *testing.T, w *weir, again bool) {
	t.Helper()
	before := map[string][]byte{}
	want := map[string][]byte{}
	for _, e := range v.Expect {
		if _, ok := before[e.Tag]; !ok {
			before[e.Tag] = w.stream(e.Tag)
			want[e.Tag] = before[e.Tag]
		}
	}
	conns := map[int]*wire{}
	for i, x := range v.Conversation {
		switch {
		case x.Proto == "udp" && x.From == "client" && x.Hex != "":
			heartbeat(t, w, unhex(t, x.Hex))
		case x.Proto == "udp":
		case x.Event == "open" && conns[x.Conn] == nil && x.From == "client":
			conns[x.Conn] = mustDial(t, w.Forward)
		case x.From == "client" && x.Hex != "":
			conns[x.Conn].write(t, unhex(t, x.Hex))
		case x.From == "server" && x.Hex != "":
			wantAck := unhex(t, x.Hex)
			got, err := conns[x.Conn].ackBytes(len(wantAck))
			if err != nil || !bytes.Equal(got, wantAck) {
				t.Fatalf("%s: exchange %d: answer %q, %v; want %q\n%s", v.Name, i, got, err, wantAck, w.tail())
			}
		case x.From == "client" && x.Event == "fin":
			v.end(t, w, conns[x.Conn], x.Conn, want, again)
			delete(conns, x.Conn)
		}
	}
	for conn, c := range conns { // those that the recording leaves open
		v.end(t, w, c, conn, want, again)
	}
	for tag := range want {
		if got := w.stream(tag); !v.json() && !bytes.Equal(got, want[tag]) {
			t.Fatalf("%s: stream %s has %d bytes, want %d\ngot  %.200x\nwant %.200x", v.Name, tag, len(got), len(want[tag]), got, want[tag])
		}
	}
	if !again {
		v.compare(t, w, before)
	}
}

// heartbeat sends a datagram and wants one zero byte for it.
func heartbeat(t *testing.T, w *weir, datagram []byte) {
	t.Helper()
	c, err := net.Dial("udp", w.Forward)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write(datagram); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 10)
	if n, err := c.Read(answer); err != nil || !bytes.Equal(answer[:n], []byte{0}) {
		t.Fatalf("a heartbeat was answered with %x, %v; want 00", answer[:n], err)
	}
}

// end closes a connection, sees that nothing but the recorded answers came,
// and waits for what it sent.
func (v *vector) end(t *testing.T, w *weir, c *wire, conn int, want map[string][]byte, again bool) {
	t.Helper()
	tcp := c.Conn.(interface{ CloseWrite() error })
	if err := tcp.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if extra := c.closed(t); len(extra) > 0 {
		t.Fatalf("%s: connection %d got %q beyond the recorded answers", v.Name, conn, extra)
	}
	if again {
		return
	}
	for _, f := range v.frames(t, conn) {
		if !f.signal {
			want[f.tag] = append(bytes.Clone(want[f.tag]), f.entries...)
		}
	}
	for tag := range want {
		w.awaitStream(tag, len(want[tag]))
	}
}

// compare decodes what the streams gained and compares it with the events that
// the recording says.
func (v *vector) compare(t *testing.T, w *weir, before map[string][]byte) {
	t.Helper()
	want := map[string][]vectorEvent{}
	for _, e := range v.Expect {
		want[e.Tag] = append(want[e.Tag], e)
	}
	for tag, list := range want {
		var got []event
		w.await(fmt.Sprintf("%s: stream %s has %d events more", v.Name, tag, len(list)), func() bool {
			got = events(t, w.stream(tag)[len(before[tag]):])
			return len(got) >= len(list)
		})
		if len(got) != len(list) {
			t.Fatalf("%s: stream %s has %d events, want %d", v.Name, tag, len(got), len(list))
		}
		for i, e := range list {
			if !e.sameTime(got[i]) {
				t.Errorf("%s: event %d of %s: time %d.%09d, want %v", v.Name, i, tag, got[i].sec, got[i].nsec, e.Time)
			}
			if err := same(e.Record, got[i].record); err != nil {
				t.Errorf("%s: event %d of %s: %v", v.Name, i, tag, err)
			}
		}
	}
}

func (e vectorEvent) sameTime(got event) bool {
	switch at := e.Time.(type) {
	case []any:
		return fmt.Sprint(at) == fmt.Sprintf("[%d %d]", got.sec, got.nsec)
	case map[string]any:
		f, err := at["$float"].(json.Number).Float64()
		return err == nil && math.Abs(f-(float64(got.sec)+float64(got.nsec)/1e9)) < 1e-6
	}
	return false
}

// same compares a value of a recording with one read back.
func same(want, got any) error {
	switch want := want.(type) {
	case map[string]any:
		if x, ok := want["$hex"].(string); ok && len(want) == 1 {
			return sameText(x, hex.EncodeToString(rawBytes(got)))
		}
		if x, ok := want["$float"].(json.Number); ok && len(want) == 1 {
			return same(x, got)
		}
		m, ok := got.(map[string]any)
		if !ok || len(m) != len(want) {
			return fmt.Errorf("got %v, want %v", got, want)
		}
		for k, v := range want {
			if err := same(v, m[k]); err != nil {
				return fmt.Errorf("%s: %w", k, err)
			}
		}
		return nil
	case []any:
		l, ok := got.([]any)
		if !ok || len(l) != len(want) {
			return fmt.Errorf("got %v, want %v", got, want)
		}
		for i := range want {
			if err := same(want[i], l[i]); err != nil {
				return fmt.Errorf("[%d]: %w", i, err)
			}
		}
		return nil
	case json.Number:
		if f, ok := got.(float64); ok {
			w, err := want.Float64()
			if err != nil || w != f {
				return fmt.Errorf("got %v, want %v", got, want)
			}
			return nil
		}
		return sameText(want.String(), fmt.Sprint(got))
	case string:
		return sameText(want, string(rawBytes(got)))
	}
	return sameText(fmt.Sprint(want), fmt.Sprint(got))
}

func sameText(want, got string) error {
	if want != got {
		return fmt.Errorf("got %.80q, want %.80q", got, want)
	}
	return nil
}

func rawBytes(v any) []byte {
	switch v := v.(type) {
	case string:
		return []byte(v)
	case []byte:
		return v
	}
	return []byte(fmt.Sprintf("%T %v", v, v))
}
