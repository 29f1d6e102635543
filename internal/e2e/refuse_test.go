package e2e

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tinylib/msgp/msgp"
)

// TestMalformedFrames: what is no message is refused, counted, logged with the
// peer's address, and harms no one else.
func TestMalformedFrames(t *testing.T) {
	t.Parallel()
	w := start(t, acceptance()...)
	good := mustDial(t, w.Forward)
	var want []byte
	sendGood := func(i int) {
		t.Helper()
		entries := encode(entry{1_700_000_000, uint32(i), map[string]any{"seq": i}})
		chunk := fmt.Sprintf("good-%d", i)
		good.send(t, packed("raw.good", entries, chunk), chunk)
		want = append(want, entries...)
	}
	entries := encode(entry{1_700_000_000, 0, map[string]any{"a": 1}})
	bomb := compressed("raw.bad", bytes.Repeat(entries, 1), "x")
	for i, c := range []struct {
		name  string
		bytes []byte
	}{
		{"an HTTP request", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")},
		{"a TLS hello", []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")},
		{"the reserved byte", []byte{0x93, 0xa1, 'x', 0xc1}},
		{"a tag that is a map", []byte{0x93, 0x80, 0xc4, 0x00, 0x80}},
		{"a map for a message", []byte{0x81, 0xa1, 'x', 0x01}},
		{"an array of one", []byte{0x91, 0xa1, 'x'}},
		{"an array of nine", append([]byte{0x99}, bytes.Repeat([]byte{0xa1, 'x'}, 9)...)},
		{"gzip that is none", compressedRaw("raw.bad", []byte("this is not gzip"), "c")},
		{"gzip that is cut", compressedRaw("raw.bad", bomb[14:len(bomb)-30], "c")},
		{"a compression of no name", append(append(msgp.AppendBytes(msgp.AppendString([]byte{0x93}, "raw.bad"), entries), 0x82), appendPairs("chunk", "c", "compressed", "lzma")...)},
	} {
		before := w.allRefused()
		bad := mustDial(t, w.Forward)
		bad.write(t, c.bytes)
		sendGood(i)
		bad.Conn.(*net.TCPConn).CloseWrite()
		if said := bad.closed(t); bytes.Contains(said, []byte("ack")) {
			t.Errorf("%s: answered with %q", c.name, said)
		}
		w.await("the refusal of "+c.name+" is counted", func() bool { return w.allRefused() > before })
		if _, port, _ := net.SplitHostPort(bad.LocalAddr().String()); !strings.Contains(w.logged(), port) {
			t.Errorf("%s: the log does not name the peer's address", c.name)
		}
	}
	if got := w.stream("raw.good"); !bytes.Equal(got, want) {
		t.Errorf("the good connection's stream has %d bytes, want %d", len(got), len(want))
	}
	if got := w.stream("raw.bad"); len(got) != 0 {
		t.Errorf("%d bytes of refused messages are in a stream: %.100q", len(got), got)
	}
}

// compressedRaw is a message that says gzip and has any bytes.
func compressedRaw(tag string, body []byte, chunk string) []byte {
	b := msgp.AppendArrayHeader(nil, 3)
	b = msgp.AppendString(b, tag)
	b = msgp.AppendBytes(b, body)
	return appendOption(b, "chunk", chunk, "compressed", "gzip")
}

func appendPairs(pairs ...string) []byte {
	var b []byte
	for _, p := range pairs {
		b = msgp.AppendString(b, p)
	}
	return b
}

var metricLine = regexp.MustCompile(`(?m)^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*\})? ([^ \n]+)`)

// allRefused adds up what was refused for any reason.
func (w *weir) allRefused() float64 {
	sum := 0.0
	for _, m := range metricLine.FindAllSubmatch(w.do("GET", "/metrics", nil).Body, -1) {
		if bytes.Contains(m[2], []byte(`reason="`)) {
			var v float64
			fmt.Sscan(string(m[3]), &v)
			sum += v
		}
	}
	return sum
}

// TestTruncated: a message or a body that ends early leaves nothing.
func TestTruncated(t *testing.T) {
	t.Parallel()
	w := start(t, acceptance()...)
	entries := encode(entry{1_700_000_000, 0, map[string]any{"a": strings.Repeat("x", 1000)}})
	whole := packed("raw.cut", entries, "chunk")
	for _, n := range []int{1, 9, 500, len(whole) - 1} {
		c := mustDial(t, w.Forward)
		c.write(t, whole[:n])
		c.Conn.(*net.TCPConn).CloseWrite()
		if said := c.closed(t); len(said) > 0 {
			t.Errorf("%d of %d bytes of a message were answered with %q", n, len(whole), said)
		}
	}
	for _, path := range []string{"PUT /streams/raw.cut-put", "POST /x/portal_ingestion_policies/raw/ingest?reference=raw.cut-post"} {
		method, target, _ := strings.Cut(path, " ")
		for _, size := range []int{1000, 3 << 20} {
			c, err := net.Dial("tcp", w.HTTP)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: weir\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", method, target, size)
			c.Write(bytes.Repeat(entries, size/len(entries)/2))
			c.Close()
		}
	}
	time.Sleep(200 * time.Millisecond)
	for _, name := range []string{"raw.cut", "raw.cut-put", "raw.cut-post"} {
		if got := w.stream(name); len(got) != 0 {
			t.Errorf("%s has %d bytes of what ended early", name, len(got))
		}
	}
}

// TestRefusedRequests: requests that cannot be kept are told so.
func TestRefusedRequests(t *testing.T) {
	t.Parallel()
	w := start(t, acceptance()...)
	body := encode(entry{1_700_000_000, 0, map[string]any{"a": 1}})
	cut := encode(entry{1_700_000_000, 0, "1,2,3\n"})
	for _, c := range []struct {
		name, method, path string
		body               []byte
		status             int
		says               string
	}{
		{"a policy that is not there", "POST", "/x/portal_ingestion_policies/nosuch/ingest?reference=raw.x", body, 404, "nosuch"},
		{"no reference", "POST", "/x/portal_ingestion_policies/raw/ingest", body, 400, "reference"},
		{"a GET", "GET", "/x/portal_ingestion_policies/raw/ingest?reference=raw.x", nil, 405, ""},
		{"a body that is cut", "POST", "/x/portal_ingestion_policies/numbers/ingest?reference=numbers.refused", cut[:len(cut)-1], 400, ""},
		{"a name of weir's own", "PUT", "/streams/_dead.raw", body, 400, "_dead"},
		{"an upload that no policy takes", "PUT", "/streams/nobody.takes.this", body, 404, "nobody.takes.this"},
		{"a stream that is not there", "GET", "/streams/raw.nothing", nil, 404, "raw.nothing"},
		{"a group that is not there", "GET", "/arrays/raw.nothing/zarr.json", nil, 404, ""},
		{"a path that leaves the folder", "GET", "/arrays/..%2f..%2fetc/passwd", nil, 404, ""},
	} {
		a := w.do(c.method, c.path, c.body, "Content-Type", "application/octet-stream")
		ok := a.Status == c.status || c.status/100 == 4 && a.Status/100 == 4 && c.status != 404
		if !ok || !strings.Contains(string(a.Body), c.says) || c.method != "GET" && len(a.Body) == 0 {
			t.Errorf("%s: %d %q, want %d and %q in it", c.name, a.Status, a.Body, c.status, c.says)
		}
	}
	if got := w.stream("numbers.refused"); len(got) != 0 {
		t.Errorf("%d bytes of refused bodies are in a stream", len(got))
	}
}

// TestUnknownTag: a tag that no policy takes is refused over HTTP, and kept as
// a dead letter from a sender that cannot be told.
func TestUnknownTag(t *testing.T) {
	t.Parallel()
	w := start(t, acceptance()...)
	body := encode(entry{1_700_000_000, 0, map[string]any{"note": "find me"}})
	c := mustDial(t, w.Forward)
	c.send(t, packed("nobody.takes.this", body, "chunk"), "chunk")
	c.send(t, packed("raw.fine", body, "chunk"), "chunk")
	if got := w.stream("nobody.takes.this"); len(got) != 0 {
		t.Errorf("a stream has %d bytes of a tag that no policy takes", len(got))
	}
	dead := w.awaitStream("_dead", len(body))
	for _, want := range []string{"nobody.takes.this", "find me"} {
		if !bytes.Contains(dead, []byte(want)) {
			t.Errorf("the dead letters do not have %q: %.300q", want, dead)
		}
	}
	if got := w.stream("raw.fine"); !bytes.Equal(got, body) {
		t.Errorf("the stream of the message after it has %d bytes, want %d", len(got), len(body))
	}
	if !strings.Contains(string(w.do("GET", "/metrics", nil).Body), "nobody.takes.this") {
		t.Error("the tag is nowhere in /metrics")
	}
}

// TestBadContent: data that was accepted and that its decoder cannot use is
// kept as a dead letter and counted by reason; what is around it is used.
func TestBadContent(t *testing.T) {
	t.Parallel()
	w := start(t, acceptance()...)
	post := func(policy, tag string, records ...any) {
		t.Helper()
		var b []byte
		for _, r := range records {
			b = entry{1_700_000_000, 0, r}.encode(b)
		}
		if a := w.ingest(policy, tag, b); a.Status != http.StatusNoContent {
			t.Fatalf("%s: %d %s", tag, a.Status, a.Body)
		}
	}
	post("numbers", "numbers.good", "1,2,3\n")
	before := w.allRefused()
	post("numbers", "numbers.bad", "0,1\n2,oops,3\n4,5\n")
	w.awaitRows("numbers.bad", "value", 4)
	deadLetter(t, w, "_dead.numbers", "oops")
	w.await("the refusal is counted", func() bool { return w.allRefused() > before })

	before = w.allRefused()
	w.put("wavs.impossible", append([]byte("RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x00\x00"), make([]byte, 40)...))
	deadLetter(t, w, "_dead.wavs", "wavs.impossible")
	w.await("the refusal is counted", func() bool { return w.allRefused() > before })
	if n := w.rows("wavs.impossible", "pcm"); n > 0 {
		t.Errorf("a file with an impossible header made %d rows", n)
	}

	before = w.allRefused()
	post("metrics", "metrics.bad", map[string]any{"a": 1.5}, "no map", map[string]any{"a": 2.5})
	w.awaitRows("metrics.bad", "a", 2)
	deadLetter(t, w, "_dead.metrics", "no map")
	w.await("the refusal is counted", func() bool { return w.allRefused() > before })

	post("numbers", "numbers.good", "4,5,6\n")
	w.awaitRows("numbers.good", "value", 6)
	six := []float64{1, 2, 3, 4, 5, 6}
	checkArrays(t, w,
		group{Name: "numbers.good", Arrays: map[string]array{"value": {Dtype: "float64", Shape: []int{6}, Values: six}}})
	for _, name := range []string{"numbers.bad", "metrics.bad", "wavs.impossible"} {
		if !strings.Contains(w.logged(), name) {
			t.Errorf("the log does not name %s", name)
		}
	}
}

// deadLetter waits until a dead letter stream has some text.
func deadLetter(t *testing.T, w *weir, stream, text string) {
	t.Helper()
	w.await(stream+" has "+text, func() bool { return bytes.Contains(w.stream(stream), []byte(text)) })
	if n := bytes.Count(w.stream(stream), []byte(text)); n > 3 {
		t.Errorf("%s has %q %d times", stream, text, n)
	}
}
