package forward

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"
)

// A conversation is a file of testdata/conversations.
type conversation struct {
	values map[string][]string
	steps  []happening
}

// A happening is what one side did.
type happening struct {
	conn   int
	udp    bool
	client bool
	did    string // open, fin, rst, or empty: data
	data   []byte
}

// readConversation parses a file.
func readConversation(t testing.TB, name string) conversation {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	head, body, _ := strings.Cut(string(b), "\n\n")
	c := conversation{values: map[string][]string{}}
	for _, l := range strings.Split(head, "\n") {
		k, v, _ := strings.Cut(l, ": ")
		c.values[k] = append(c.values[k], v)
	}
	for _, l := range strings.Split(strings.TrimSpace(body), "\n") {
		var s happening
		number, rest, _ := strings.Cut(l, " ")
		if s.conn, err = strconv.Atoi(number); err != nil {
			t.Fatal(err)
		}
		rest, s.udp = strings.CutPrefix(rest, "udp ")
		who, what, _ := strings.Cut(rest, " ")
		s.client = who == "client"
		switch {
		case strings.HasPrefix(what, `"`):
			q, err := strconv.Unquote(what)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			s.data = []byte(q)
		case strings.HasPrefix(what, "b64:"):
			if s.data, err = base64.StdEncoding.DecodeString(what[4:]); err != nil {
				t.Fatal(err)
			}
		default:
			s.did = what
		}
		c.steps = append(c.steps, s)
	}
	return c
}

// security gives the settings that the receiver had.
func (c *conversation) security() *Security {
	if c.values["key"] == nil {
		return nil
	}
	s := &Security{Hostname: "receiver", SharedKey: c.values["key"][0]}
	for _, u := range c.values["user"] {
		name, password, _ := strings.Cut(u, " ")
		s.Users = append(s.Users, User{name, password})
		s.UserAuth = true
	}
	return s
}

// random replays nonce and auth of the recorded handshakes.
func (c *conversation) random() func([]byte) {
	var words [][]byte
	for _, h := range c.values["handshake"] {
		f := strings.Fields(h)
		for _, x := range f[1:3] {
			b, _ := hex.DecodeString(x)
			words = append(words, b)
		}
	}
	return func(b []byte) {
		if len(words) > 0 {
			copy(b, words[0])
			words = words[1:]
		}
	}
}

// side gives what one side of a connection said.
func (c *conversation) side(conn int, client bool) (b []byte) {
	for _, s := range c.steps {
		if s.conn == conn && !s.udp && s.client == client {
			b = append(b, s.data...)
		}
	}
	return b
}

// replay plays one connection and gives the server's answer. Where pieces is
// 0 the client's bytes are glued up to the next answer, where negative they
// come as they were recorded.
func (c *conversation) replay(k *talk, conn, pieces int) []byte {
	var glued []byte
	want := 0
	flush := func() {
		k.send(glued, max(pieces, 0))
		glued = nil
	}
	for _, s := range c.steps {
		switch {
		case s.conn != conn || s.udp:
		case s.client:
			glued = append(glued, s.data...)
			if pieces < 0 {
				flush()
			}
		case len(s.data) > 0:
			flush()
			if want += len(s.data); c.values["key"] == nil || strings.HasPrefix(c.values["receiver"][0], "fluentd") {
				k.heard(want)
			} else {
				k.heard(1)
			}
		}
	}
	flush()
	return k.finish()
}

// lines gives the events of messages as the files have them.
func lines(t *testing.T, msgs []Message) (out []string) {
	t.Helper()
	for _, m := range msgs {
		if m.Signal != 0 {
			continue
		}
		if len(m.Bad) > 0 {
			t.Errorf("bad parts: %v", m.Bad)
		}
		n := 0
		for rest := m.Entries; len(rest) > 0; n++ {
			var e Entry
			var err error
			if e, rest, err = Next(rest); err != nil {
				t.Fatal(err)
			}
			out = append(out, line(t, string(m.Tag), e))
		}
		if n != m.Records {
			t.Errorf("%d entries, %d said", n, m.Records)
		}
	}
	return out
}

// line gives an event as JSON with sorted keys.
func line(t *testing.T, tag string, e Entry) string {
	t.Helper()
	var w strings.Builder
	w.WriteByte('{')
	if e.Meta != nil && plain(t, e.Meta) != "{}" {
		w.WriteString(`"metadata":` + plain(t, e.Meta) + `,`)
	}
	ns, ok := UnixNano(e.Time)
	if !ok {
		t.Errorf("time %x", e.Time)
	}
	time := fmt.Sprintf("[%d,%d]", ns/1e9, ns%1e9)
	if e.Time[0] == 0xcb {
		time = `{"$float":` + plain(t, e.Time) + `}`
	}
	fmt.Fprintf(&w, `"record":%s,"tag":%s,"time":%s}`, plain(t, e.Record), quote(tag), time)
	return w.String()
}

// quote gives text as a JSON string, other bytes in hexadecimal.
func quote(s string) string {
	if !utf8.ValidString(s) {
		return fmt.Sprintf(`{"$hex":"%x"}`, s)
	}
	var w bytes.Buffer
	e := json.NewEncoder(&w)
	e.SetEscapeHTML(false)
	e.Encode(s)
	return strings.TrimSpace(w.String())
}

// plain gives a msgpack value as JSON with sorted keys, by another decoder
// than the package's own.
func plain(t *testing.T, b []byte) string {
	t.Helper()
	v, rest, err := msgp.ReadIntfBytes(b)
	if err != nil || len(rest) > 0 {
		t.Fatalf("%x: %v", b, err)
	}
	return asJSON(v)
}

func asJSON(v any) string {
	switch v := v.(type) {
	case map[string]any:
		var keys, parts []string
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			parts = append(parts, quote(k)+":"+asJSON(v[k]))
		}
		return "{" + strings.Join(parts, ",") + "}"
	case []any:
		var parts []string
		for _, x := range v {
			parts = append(parts, asJSON(x))
		}
		return "[" + strings.Join(parts, ",") + "]"
	case string:
		return quote(v)
	case []byte:
		return quote(string(v))
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1e16 {
			return fmt.Sprintf("%.1f", v)
		}
		if math.Abs(v) < 1e16 {
			return strconv.FormatFloat(v, 'f', -1, 64)
		}
		return strconv.FormatFloat(v, 'g', -1, 64)
	case nil:
		return "null"
	}
	return fmt.Sprint(v)
}

// TestReplay plays every recorded conversation: as it was recorded, with
// everything glued that can be, and in small pieces.
func TestReplay(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/conversations/*.txt")
	if err != nil || len(files) < 60 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		c := readConversation(t, f)
		name := strings.TrimSuffix(filepath.Base(f), ".txt")
		small := 1
		if len(c.steps) > 0 && len(c.side(c.steps[0].conn, true)) > 20_000 {
			small = 61
		}
		for how, pieces := range map[string]int{"recorded": -1, "glued": 0, "pieces": small} {
			t.Run(name+"/"+how, func(t *testing.T) {
				t.Parallel()
				testReplay(t, c, pieces)
			})
		}
	}
}

func testReplay(t *testing.T, c conversation, pieces int) {
	var log bytes.Buffer
	k := &keeper{}
	s, err := NewServer(Options{Handler: k, Security: c.security(), Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	s.random = c.random()
	last := 0
	for _, st := range c.steps {
		if st.udp || st.conn <= last {
			continue
		}
		last = st.conn
		talk := connect(t, s)
		got := c.replay(talk, last, pieces)
		compareAnswer(t, c, last, got)
		for _, w := range talk.writes {
			if v := values(t, w); v[0][0] == 0x81 && pieces > 0 && len(v) != 1 {
				t.Errorf("acks of several messages at once: %q", w)
			}
		}
	}
	compareEvents(t, c, k.kept())
	compareSignals(t, c, k.kept())
	if refused := strings.Contains(c.values["settings"][0], "wrong"); refused != (log.Len() > 0) {
		t.Errorf("log: %q", log.String())
	}
}

// values parts bytes into msgpack values.
func values(t *testing.T, b []byte) (v [][]byte) {
	t.Helper()
	if len(b) > 0 && b[0] == '{' {
		return [][]byte{b}
	}
	for len(b) > 0 {
		n, st := skip(b, 0, 1, 0)
		if st != whole {
			t.Fatalf("not msgpack: %q", b)
		}
		v, b = append(v, b[:n]), b[n:]
	}
	return v
}

// compareAnswer wants what fluentd said, and of Fluent Bit, which encodes
// HELO otherwise and says nothing before it closes, the rest.
func compareAnswer(t *testing.T, c conversation, conn int, got []byte) {
	t.Helper()
	want := c.side(conn, false)
	if c.values["key"] != nil && strings.HasPrefix(c.values["receiver"][0], "fluent-bit") {
		v := values(t, got)
		got = bytes.Join(v[1:], nil)
		want = bytes.Join(values(t, want)[1:], nil)
		if len(want) == 0 {
			want = pong("shared_key mismatch", "", nil)
		}
	}
	if !bytes.Equal(got, want) {
		t.Errorf("connection %d: answer\n%q, want\n%q", conn, got, want)
	}
}

func compareEvents(t *testing.T, c conversation, msgs []Message) {
	t.Helper()
	got := lines(t, msgs)
	if want := c.values["events"]; want != nil {
		sum := sha256.New()
		for _, l := range got {
			fmt.Fprintln(sum, l)
		}
		if s := fmt.Sprintf("%d %x", len(got), sum.Sum(nil)); s != want[0] {
			t.Errorf("events %s, want %s; the first is %.300s", s, want[0], got[0])
		}
		return
	}
	if !slices.Equal(got, c.values["event"]) {
		t.Errorf("events\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.values["event"], "\n"))
	}
}

func compareSignals(t *testing.T, c conversation, msgs []Message) {
	t.Helper()
	var got []string
	for _, m := range msgs {
		if m.Signal != 0 {
			got = append(got, fmt.Sprintf("%s %d %d %x", m.Tag, m.Signal, len(m.Entries), sha256.Sum256(m.Entries)))
		}
	}
	if !slices.Equal(got, c.values["signal"]) {
		t.Errorf("signals %q, want %q", got, c.values["signal"])
	}
}
