package httpapi

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"weir/policies"
)

// An event is one of the events of a live tail.
type event struct{ kind, id, data string }

// A listener of a live tail.
type tailClient struct {
	t     *testing.T
	resp  *http.Response
	lines *bufio.Scanner
	stop  context.CancelFunc
}

func (w *weir) tail(target string, headers ...string) *tailClient {
	w.t.Helper()
	ctx, stop := context.WithTimeout(w.t.Context(), patience)
	req, err := http.NewRequestWithContext(ctx, "GET", w.base+target, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := w.client.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	c := &tailClient{w.t, resp, bufio.NewScanner(resp.Body), stop}
	w.t.Cleanup(c.close)
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		w.t.Fatalf("%s: %d %v", target, resp.StatusCode, resp.Header)
	}
	return c
}

func (c *tailClient) close() {
	c.stop()
	c.resp.Body.Close()
}

// next gives the next event with data, or a comment as kind ":"; ok is false at
// the end.
func (c *tailClient) next() (e event, ok bool) {
	for c.lines.Scan() {
		name, value, _ := strings.Cut(c.lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case c.lines.Text() == "":
			if e.data != "" || e.kind == ":" {
				return e, true
			}
			e = event{}
		case name == "":
			e.kind = ":"
		case name == "event":
			e.kind = value
		case name == "id":
			e.id = value
		case name == "data":
			e.data += value
		}
	}
	return e, false
}

func (c *tailClient) want(kind, id, data string) {
	c.t.Helper()
	e, ok := c.next()
	if !ok || e.kind != kind || e.id != id || !strings.Contains(e.data, data) {
		c.t.Fatalf("the event is %+v (%t), not %q %q %q", e, ok, kind, id, data)
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	w := start(t)
	size := len(entryText(0))
	id := func(n int) string { return fmt.Sprintf("1-%d", n*size) }
	w.put("/streams/raw.live", entriesText(0, 3))
	now := w.tail("/streams/raw.live?format=events")
	all := w.tail("/streams/raw.live?offset=0", "Accept", "text/event-stream")
	for i := range 3 {
		all.want("", id(i+1), fmt.Sprintf(`"record":{"n":%d}`, i))
	}
	again := w.tail("/streams/raw.live?format=events", "Last-Event-ID", id(1))
	again.want("", id(2), `{"n":1}`)
	again.want("", id(3), `{"n":2}`)
	torn := entryText(3)
	w.do("POST", "/streams/raw.live", strings.NewReader(torn[:5])).want(t, 200, "")
	w.do("POST", "/streams/raw.live", strings.NewReader(torn[5:]+entryText(4))).want(t, 200, "")
	for _, c := range []*tailClient{now, all, again} {
		c.want("", id(4), `{"n":3}`)
		c.want("", id(5), `{"n":4}`)
	}
	w.put("/streams/raw.live", entryText(9)).want(t, 200, "")
	for _, c := range []*tailClient{now, all, again} {
		c.want("replaced", "2-0", `{"generation":2}`)
		c.want("", fmt.Sprintf("2-%d", size), `{"n":9}`)
	}
	w.tail("/streams/raw.live?format=events", "Last-Event-ID", id(5)).want("replaced", "2-0", "2")
	w.do("POST", "/streams/raw.live", strings.NewReader("\xc1")).want(t, 200, "")
	now.want("error", "", "cannot go on")
	if e, ok := now.next(); ok {
		t.Errorf("after an error comes %+v", e)
	}
	for target, status := range map[string]int{
		"raw.live?format=events&offset=100000": 416, "raw.none?format=events": 404, "raw.live?format=events&offset=x": 400,
	} {
		if a := w.get("/streams/" + target); a.status != status {
			t.Errorf("%s: %d, not %d", target, a.status, status)
		}
	}
	for _, id := range []string{"nonsense", "2-", "2-1.x", "-1", "2-100000", "2--1"} {
		if a := w.get("/streams/raw.live?format=events", "Last-Event-ID", id); a.status != 400 {
			t.Errorf("Last-Event-ID %q: %d", id, a.status)
		}
	}
	w.put("/streams/up.bytes", "x")
	w.get("/streams/up.bytes?format=events").want(t, 400, "format=raw")
	w.do("HEAD", "/streams/raw.live?format=events", nil).want(t, 200, "")
}

// Lines: a tail begins with the line that is not whole yet.
func TestEventsOfLines(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.put("/streams/numbers.live", "1\n2")
	c := w.tail("/streams/numbers.live?format=events")
	w.do("POST", "/streams/numbers.live", strings.NewReader("2\nthree\n"))
	c.want("", "1-5", "22")
	c.want("", "1-11", `"three"`)
	w.put("/streams/numbers.first", "no end")
	w.tail("/streams/numbers.first?format=events")
}

// Entries of a frame have ids of their own, so that none comes twice.
func TestEventsOfFrames(t *testing.T) {
	t.Parallel()
	w := startWith(t, policies.Policy{Name: "framed", Match: "framed.**", Keep: policies.Verbatim, Check: policies.CheckEnvelope})
	w.ingest("framed", "framed.a", []byte(entriesText(0, 3))).want(t, 204, "")
	length := len(w.content("framed.a"))
	w.tail("/streams/framed.a?format=events&offset=0").want("", "1-0.1", `{"n":0}`)
	c := w.tail("/streams/framed.a?format=events", "Last-Event-ID", "1-0.1")
	c.want("", "1-0.2", `{"n":1}`)
	c.want("", fmt.Sprintf("1-%d", length), `{"n":2}`)
	w.ingest("framed", "framed.a", []byte(entriesText(3, 4))).want(t, 204, "")
	c.want("", fmt.Sprintf("1-%d", len(w.content("framed.a"))), `{"n":3}`)
}

// A tail says something now and then, ends at Shutdown, and leaves nothing
// that waits.
func TestEventsEnd(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.s.heartbeat = 10 * time.Millisecond
	w.put("/streams/raw.live", entriesText(0, 1))
	c := w.tail("/streams/raw.live?format=events")
	for range 3 {
		c.want(":", "", "")
	}
	gone := w.tail("/streams/raw.live?format=events")
	gone.want(":", "", "")
	gone.close()
	for w.s.watch.waiting() != 1 {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- w.s.Shutdown(ctx) }()
	for ok := true; ok; {
		_, ok = c.next()
	}
	if err := c.lines.Err(); err != nil {
		t.Errorf("the end is not a proper one: %v", err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := w.s.watch.waiting(); n != 0 || w.s.watch.changes != nil {
		t.Errorf("%d wait still", n)
	}
}

// A client that takes nothing is cut off, and costs no memory meanwhile; there
// may be only so many tails.
func TestEventsSlow(t *testing.T) {
	t.Parallel()
	w := start(t, func(o *Options) { o.StallTimeout = 3 * time.Second; o.MaxConns = 8 })
	w.do("PUT", "/streams/numbers.much", strings.NewReader(strings.Repeat(strings.Repeat("x", 1000)+"\n", 20_000))).want(t, 201, "")
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /streams/numbers.much?format=events&offset=0 HTTP/1.1\r\nHost: x\r\n\r\n")
	for w.s.watch.waiting() != 1 {
		time.Sleep(time.Millisecond)
	}
	for began := time.Now(); w.s.watch.waiting() != 0; time.Sleep(time.Millisecond) {
		if time.Since(began) > patience {
			t.Fatal("a client that takes nothing is kept")
		}
	}
	w.tail("/streams/numbers.much?format=events")
	w.tail("/streams/numbers.much?format=events")
	w.get("/streams/numbers.much?format=events").want(t, 503, "tails")
}

func FuzzPosition(f *testing.F) {
	for _, s := range []string{"1-2", "1-2.3", "18446744073709551615-9223372036854775806.2147483647", "-", "1-2.", "1-2.0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, ok := parsePosition(s)
		if !ok {
			return
		}
		if again, ok := parsePosition(p.String()); !ok || again != p || p.offset < 0 || p.skip < 0 {
			t.Errorf("%q is %+v, then %+v", s, p, again)
		}
	})
}
