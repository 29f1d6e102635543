package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// A body that ends early keeps nothing and is counted.
func TestTruncatedBodies(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, request, stream string }{
		{"ingest", "POST /portal_ingestion_policies/raw/ingest?reference=raw.cut HTTP/1.1\r\nHost: x\r\n" +
			"Content-Type: application/octet-stream\r\nContent-Length: 30\r\n\r\n" + string(entry("short")), "raw.cut"},
		{"upload", "PUT /streams/up.cut HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\nshort", "up.cut"},
		{"upload beyond the first buffer", "PUT /streams/up.cut HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n" +
			strings.Repeat("x", 299999), "up.cut"},
		{"ingest beyond the first buffer", "POST /portal_ingestion_policies/small/ingest?reference=small.cut HTTP/1.1\r\nHost: x\r\n" +
			"Content-Type: application/octet-stream\r\nContent-Length: 900\r\n\r\n" + strings.Repeat("x", 899), "small.cut"},
		{"chunked", "PUT /streams/up.cut HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "up.cut"},
		{"chunk cut", "PUT /streams/up.cut HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", "up.cut"},
		{"chunk size broken", "PUT /streams/up.cut HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n", "up.cut"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			if back := w.raw(tc.request); !strings.HasPrefix(back, "HTTP/1.1 400 ") {
				t.Errorf("the answer is %q, not a 400", back)
			}
			w.absent(tc.stream)
			if c, ok := w.refused("truncated-body"); !ok {
				t.Errorf("it was not counted as truncated-body but %+v", fmt.Sprint(c, w.router.Stats().Refused))
			}
			w.ingest("raw", "raw.other", entry("others go on")).want(t, 204, "")
		})
	}
}

// dial opens a connection of its own, on which a test may be slow or rude.
func (w *weir) dial() *wire {
	w.t.Helper()
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		w.t.Fatal(err)
	}
	return &wire{t: w.t, Conn: c, r: bufio.NewReader(c)}
}

// A wire is one connection, byte by byte.
type wire struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func (c *wire) say(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// hear reads one answer; method is that of its request.
func (c *wire) hear(method string) answer {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		c.t.Error(err)
		return answer{}
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Error(err)
	}
	if resp.Close {
		resp.Header.Set("Connection", "close")
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

// A client that stops in the middle of a body is answered and let go; nothing
// of the body is kept, and others are served meanwhile.
func TestSlowBodies(t *testing.T) {
	t.Parallel()
	w := start(t, func(o *Options) {
		o.StallTimeout = 3 * time.Second
		o.HeaderTimeout = 3 * time.Second
	})
	conns := map[string]*wire{}
	for name, request := range map[string]string{
		"header":            "PUT /streams/up.slow HTTP/1.1\r\nHo",
		"first bytes":       "PUT /streams/up.slow HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc",
		"later bytes":       "PUT /streams/up.slow HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 50000),
		"chunked":           "PUT /streams/up.slow HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"ingest":            "POST /portal_ingestion_policies/raw/ingest?reference=raw.slow HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 50000),
		"ingest compressed": "POST /portal_ingestion_policies/raw/ingest?reference=raw.slow HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 100000\r\n\r\n" + string(gzipped([]byte("x"))),
	} {
		conns[name] = w.dial()
		conns[name].say(request)
	}
	w.ingest("raw", "raw.other", entry("others go on")).want(t, 204, "")
	for name, c := range conns {
		if a := c.hear("PUT"); a.status != 408 {
			t.Errorf("%s: the answer is %d %q, not a 408", name, a.status, a.body)
		}
	}
	w.absent("up.slow")
	w.absent("raw.slow")
	if _, ok := w.refused("slow-body"); !ok {
		t.Errorf("slow bodies were not counted: %v", w.router.Stats().Refused)
	}
}

// A body that trickles, never stalling, but below the least rate, is ended
// while it occupies memory.
func TestTricklingBody(t *testing.T) {
	t.Parallel()
	w := start(t, func(o *Options) { o.StallTimeout = 3 * time.Second })
	c := w.dial()
	c.say("POST /portal_ingestion_policies/raw/ingest?reference=raw.trickle HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" +
		strings.Repeat("x", 8192))
	done := make(chan answer, 1)
	go func() { done <- c.hear("POST") }()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for begun := time.Now(); ; {
		select {
		case a := <-done:
			a.want(t, 408, "too slowly")
			w.absent("raw.trickle")
			return
		case <-tick.C:
			io.WriteString(c, "x") // may fail once the server has enough
		}
		if time.Since(begun) > patience {
			t.Fatal("the trickling body is still taken")
		}
	}
}

// A connection that was opened for later and says nothing is no refusal.
func TestSilentConnection(t *testing.T) {
	t.Parallel()
	w := start(t, func(o *Options) { o.HeaderTimeout = 100 * time.Millisecond })
	c := w.dial()
	c.hear("GET")
	if n := w.s.Stats().Refused; len(n) != 0 {
		t.Errorf("silence was counted as refused: %v", n)
	}
}

// A connection may rest between two requests for longer than a request may take.
func TestIdleKeepAlive(t *testing.T) {
	t.Parallel()
	w := start(t, func(o *Options) {
		o.HeaderTimeout, o.StallTimeout = 2*time.Second, 2*time.Second
		o.IdleTimeout = 10 * time.Minute
	})
	if w.s.http.IdleTimeout != 10*time.Minute {
		t.Errorf("the idle time-out is %s", w.s.http.IdleTimeout)
	}
	c := w.dial()
	for i := range 2 {
		if i > 0 {
			time.Sleep(2500 * time.Millisecond)
		}
		body := string(entry(fmt.Sprint("message ", i)))
		c.say(fmt.Sprintf("POST /portal_ingestion_policies/raw/ingest?reference=raw.idle HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
		c.hear("POST").want(t, 204, "")
	}
	var o Options
	setDefaults(&o)
	if o.IdleTimeout < 16*time.Minute {
		t.Errorf("connections may rest for %s by default; fluentd's rest for 15 minutes", o.IdleTimeout)
	}
}

// What is left of a refused body neither becomes the next request nor takes
// the answer from the client.
func TestUnreadBody(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.dial()
	evil := "PUT /streams/up.smuggled HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"
	c.say(fmt.Sprintf("POST /portal_ingestion_policies/none/ingest?reference=x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(evil), evil))
	c.hear("POST").want(t, 404, "none")
	c.say("GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
	c.hear("GET").want(t, 200, "ok")
	w.absent("up.smuggled")

	c = w.dial()
	const size = 8 << 20
	c.say(fmt.Sprintf("POST /portal_ingestion_policies/none/ingest?reference=x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", size))
	for range size >> 16 {
		c.say(strings.Repeat("x", 1<<16))
	}
	a := c.hear("POST")
	a.want(t, 404, "none")
	a.wantHeader(t, "Connection", "close")
}

// Pipelined requests are answered in order, also after a chunked body.
func TestPipelining(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.dial()
	c.say("PUT /streams/up.pipe HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n" +
		"GET /streams/up.pipe HTTP/1.1\r\nHost: x\r\n\r\n" +
		"GET /streams/none HTTP/1.1\r\nHost: x\r\n\r\n" +
		"HEAD /streams/up.pipe HTTP/1.1\r\nHost: x\r\n\r\n" +
		"GET /health HTTP/1.0\r\n\r\n")
	c.hear("PUT").want(t, 201, "5 bytes")
	c.hear("GET").want(t, 200, "abcde")
	c.hear("GET").want(t, 404, "none")
	c.hear("HEAD").wantHeader(t, "Content-Length", "5")
	c.hear("GET").want(t, 200, "ok")
}

// Requests that two servers could read in two ways are refused or read in the
// safe one.
func TestAmbiguousRequests(t *testing.T) {
	t.Parallel()
	w := start(t)
	for name, request := range map[string]string{
		"two lengths":          "PUT /streams/up.amb HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
		"length and chunked":   "PUT /streams/up.amb HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"length and identity":  "PUT /streams/up.amb HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\ntransfer-encoding: identity\r\n\r\nabc",
		"identity alone":       "PUT /streams/up.amb HTTP/1.1\r\nTransfer-Encoding: identity\r\nHost: x\r\n\r\nabc",
		"negative length":      "PUT /streams/up.amb HTTP/1.1\r\nHost: x\r\nContent-Length: -3\r\n\r\nabc",
		"length no number":     "PUT /streams/up.amb HTTP/1.1\r\nHost: x\r\nContent-Length: 3x\r\n\r\nabc",
		"huge length":          "PUT /streams/up.amb HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\nabc",
		"space in header name": "PUT /streams/up.amb HTTP/1.1\r\nHost: x\r\nContent-Length : 3\r\n\r\nabc",
		"no HTTP":              "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"huge header":          "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 40000) + "\r\n\r\n",
	} {
		back := w.raw(request)
		if !strings.HasPrefix(back, "HTTP/1.1 4") {
			t.Errorf("%s: the answer is %.100q, not a 4xx", name, back)
		}
		w.absent("up.amb")
		if strings.Contains(back, "contents:") {
			t.Errorf("%s: the answer, and the log, repeats the client's bytes: %.300q", name, back)
		}
	}
	back := w.raw("PUT /streams/up.clear HTTP/1.1\r\nHost: x\r\nX-Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
	if !strings.HasPrefix(back, "HTTP/1.1 201") {
		t.Errorf("a header that only ends like Content-Length: %.200q", back)
	}
}

// A syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// Clients that break off in a header are told of once in a while, and nothing
// of what they sent is told.
func TestBrokenConnectionsAreQuiet(t *testing.T) {
	t.Parallel()
	var log syncBuffer
	w := start(t, func(o *Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	for range 20 {
		w.raw("GET /health HTTP/1.1\r\nHost: x\r\nAuthorization: Basic c2VjcmV0")
		w.raw("PUT /streams/up.x HTTP/9\r\nAuthorization: Basic c2VjcmV0\r\nX\r\n\r\n")
	}
	if text := log.String(); text == "" || strings.Count(text, "\n") > 6 || strings.Contains(text, "c2VjcmV0") {
		t.Errorf("the log is %.2000s", text)
	}
}

// What a client announces is counted where it is refused, lies up to a bound.
func TestRefusedBytesAreCounted(t *testing.T) {
	t.Parallel()
	w := start(t)
	short := "PUT /streams/up.short HTTP/1.1\r\nHost: x\r\nContent-Length: 60\r\n\r\nabc"
	w.raw(short)
	if c, _ := w.refused("truncated-body"); c.Bytes != int64(len(short)) {
		t.Errorf("of a request that ended after %d bytes %d are counted", len(short), c.Bytes)
	}
	for range 3 {
		back := w.raw("POST /portal_ingestion_policies/raw/ingest?reference=raw.huge HTTP/1.1\r\nHost: x\r\nContent-Length: 9223372036854775800\r\nExpect: 100-continue\r\n\r\n")
		if !strings.HasPrefix(back, "HTTP/1.1 413") {
			t.Errorf("the answer to a huge chunk is %.200q", back)
		}
	}
	if c, _ := w.refused("body-too-large"); c.Bytes != 3*mostAnnounced {
		t.Errorf("lies are counted as %d bytes", c.Bytes)
	}
}

func TestPanicIsOneRequests(t *testing.T) {
	t.Parallel()
	w := start(t, func(o *Options) { o.Metrics = func(io.Writer) error { panic("a bug") } })
	a := w.get("/metrics")
	a.want(t, 500, "weir failed here")
	if strings.Contains(a.body, "a bug") {
		t.Error("the panic's text went to the client")
	}
	w.get("/health").want(t, 200, "ok")
}

// A shutdown lets the request in hand finish and refuses new ones.
func TestShutdownFinishesRequests(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.dial()
	c.say("PUT /streams/up.last HTTP/1.1\r\nHost: x\r\nContent-Length: 20000\r\n\r\n" + strings.Repeat("x", 10000))
	waitFor(t, func() bool {
		return w.s.count.byRoute()["upload"] == [6]int64{} && w.s.http.GetCurrentConcurrency() > 0
	})
	w.s.Drain()
	a := w.get("/ready")
	a.want(t, 503, "FAIL accepting")
	w.get("/health").want(t, 200, "ok")
	w.client.CloseIdleConnections()
	done := make(chan error, 1)
	go func() { done <- w.s.Shutdown(context.Background()) }()
	waitFor(t, func() bool {
		d, err := net.Dial("tcp", w.addr)
		if err == nil {
			d.Close()
		}
		return err != nil
	})
	c.say(strings.Repeat("y", 10000))
	a = c.hear("PUT")
	a.want(t, 201, "20000 bytes")
	a.wantHeader(t, "Connection", "close")
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := w.content("up.last"); len(got) != 20000 {
		t.Errorf("the stream has %d bytes", len(got))
	}
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for begun := time.Now(); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Since(begun) > patience {
			t.Fatal("it never came to be")
		}
	}
}

// Many clients at once, each with a stream of its own and one that all share.
func TestConcurrentClients(t *testing.T) {
	t.Parallel()
	w := start(t, func(o *Options) { o.MaxBody, o.BodyMemory, o.BodyWait = 64<<10, 128<<10, patience })
	const clients, rounds = 16, 20
	body := entry(strings.Repeat("x", 20000))
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			own := fmt.Sprintf("raw.own%d", i)
			for range rounds {
				w.ingest("raw", own, body).want(t, 204, "")
				w.ingest("raw", "raw.shared", body).want(t, 204, "")
				if got := w.get("/streams/"+own, "Range", "bytes=-10").body; got != string(body[len(body)-10:]) {
					t.Errorf("the end of %s is %q", own, got)
				}
			}
		})
	}
	all.Wait()
	if got := len(w.content("raw.shared")); got != clients*rounds*len(body) {
		t.Errorf("the shared stream has %d bytes, not %d", got, clients*rounds*len(body))
	}
	waitFor(t, func() bool { return w.s.budget.used() == 0 })
}

// A shutdown that comes before Serve, or while it begins, ends it as well.
func TestShutdownAtOnce(t *testing.T) {
	t.Parallel()
	for range 10 {
		w := start(t) // its cleanup waits for Serve to return
		if err := w.s.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w := start(t)
	if err := w.s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.s.Serve(l); err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
		c.Close()
		t.Error("the listener of a server that was shut down is open")
	}
}

// A client that asks for much and takes nothing is let go, from a file as
// well as from memory.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	w := start(t, func(o *Options) { o.StallTimeout = 3 * time.Second })
	w.put("/streams/up.large", strings.Repeat("x", 32<<20)).want(t, 201, "")
	for _, request := range []string{
		"GET /streams/up.large HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /streams/up.large HTTP/1.1\r\nHost: x\r\nRange: bytes=0-15999999,16000000-31999999\r\n\r\n",
	} {
		w.client.CloseIdleConnections()
		waitFor(t, func() bool { return w.s.Stats().Connections == 0 })
		c := w.dial()
		c.say(request)
		waitFor(t, func() bool { return w.s.Stats().Connections == 1 })
		waitFor(t, func() bool { return w.s.Stats().Connections == 0 })
		if n, err := io.Copy(io.Discard, c); n >= 32<<20 {
			t.Errorf("all %d bytes came, %v; the connection was not ended", n, err)
		}
	}
}

// A client that takes its time, but never stalls, gets all, however long it takes.
func TestSteadyReader(t *testing.T) {
	t.Parallel()
	w := start(t, func(o *Options) { o.StallTimeout = 3 * time.Second })
	w.put("/streams/up.large", strings.Repeat("x", 32<<20)).want(t, 201, "")
	c := w.dial()
	c.say("GET /streams/up.large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	var got int64
	for {
		n, err := io.CopyN(io.Discard, c, 1<<20)
		got += n
		if err != nil {
			break
		}
		time.Sleep(120 * time.Millisecond)
	}
	if got < 32<<20 {
		t.Errorf("only %d bytes came", got)
	}
}
