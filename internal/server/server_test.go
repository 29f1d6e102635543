package server

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/conf"
	"weir/forward"
	"weir/policies"
	"weir/streams"
)

const policyFile = `
http: {listen: "127.0.0.1:0"}
forward: {listen: ["127.0.0.1:0"]}
policies:
  - {name: numbers, match: numbers.**, keep: text, array: {kind: numbers}}
  - {name: raw, match: raw.**, keep: verbatim}
  - {name: frames, match: frames.**, check: envelope}
`

func config(t testing.TB, dir string) *conf.Config {
	t.Helper()
	c, found := conf.Parse("test.yaml", []byte(policyFile), conf.Source{})
	if len(found) > 0 {
		t.Fatal(found)
	}
	c.Data = dir
	return c
}

func start(t *testing.T, dir string) *Server {
	t.Helper()
	s, err := Start(Options{Config: config(t, dir)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop(context.Background()) })
	return s
}

func stop(t *testing.T, s *Server) {
	t.Helper()
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, s *Server, path string) (int, string) {
	t.Helper()
	answer, err := http.Get("http://" + s.Addresses().HTTP + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(b)
}

// patience is how long a test waits for what must happen: in vain on a machine
// that is broken, not on one that is slow.
const patience = 2 * time.Minute

// eventually asks until the answer holds the text.
func eventually(t *testing.T, s *Server, path, text string) {
	t.Helper()
	var status int
	var body string
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if status, body = get(t, s, path); strings.Contains(body, text) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("GET %s: %d %s; want %q in it", path, status, body, text)
}

func TestATransformThatACrashLeftIsDoneAfterTheStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store, err := streams.Open(filepath.Join(dir, "streams"), streams.Options{SegmentBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Create("numbers.a", "numbers")
	if err != nil {
		t.Fatal(err)
	}
	res := make([]streams.Result, 1)
	if err := store.Append(t.Context(), []streams.Record{{Stream: st, Data: []byte("1,2\n3\n")}}, res); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	s := start(t, dir)
	eventually(t, s, "/api/arrays/numbers.a", `"shape":[3]`)
}

func TestADeadLetterOfATransformIsKeptOnceOverRestarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	target := "http://" + s.Addresses().HTTP + "/portal_ingestion_policies/numbers/ingest?reference=numbers.a"
	answer, err := http.Post(target, "application/octet-stream", strings.NewReader("1\nx\n2\n"))
	if err != nil || answer.StatusCode != http.StatusNoContent {
		t.Fatal(answer, err)
	}
	eventually(t, s, "/api/arrays/numbers.a", `"shape":[2]`)
	_, letter := get(t, s, "/streams/_dead.numbers")
	if strings.Count(letter, "not-a-number") != 1 {
		t.Fatalf("dead letters %q", letter)
	}
	stop(t, s)
	// without the array, all of the stream is transformed again
	if err := os.RemoveAll(filepath.Join(dir, "arrays")); err != nil {
		t.Fatal(err)
	}
	s = start(t, dir)
	eventually(t, s, "/api/arrays/numbers.a", `"shape":[2]`)
	if _, again := get(t, s, "/streams/_dead.numbers"); again != letter {
		t.Errorf("dead letters %q, want them as before: %q", again, letter)
	}
}

func TestStartThatFailsLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	for _, change := range []func(*conf.Config){
		func(c *conf.Config) { c.HTTP.Listen = taken.Addr().String() },
		func(c *conf.Config) { c.Forward.Listen = append(c.Forward.Listen, taken.Addr().String()) },
		func(c *conf.Config) { c.Forward.Unix = filepath.Join(dir, "no", "such", "folder") },
		func(c *conf.Config) { c.Forward.TLS.CertFile, c.Forward.TLS.KeyFile = "absent", "absent" },
	} {
		c := config(t, dir)
		change(c)
		if s, err := Start(Options{Config: c}); err == nil {
			stop(t, s)
			t.Fatal("it started")
		}
	}
	stop(t, start(t, dir)) // the folder is free again
}

func TestASenderThatStallsDoesNotMakeTheStopAFailure(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	c, err := net.Dial("tcp", s.Addresses().HTTP)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "PUT /streams/numbers.half HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"+strings.Repeat("1", 20000)); err != nil {
		t.Fatal(err)
	}
	eventually(t, s, "/metrics", "weir_http_connections 2")
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil || ctx.Err() == nil {
		t.Errorf("the stop is %v, its time %v: want that it cut the sender off", err, ctx.Err())
	}
}

func TestTwoServersDoNotShareAFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start(t, dir)
	if _, err := Start(Options{Config: config(t, dir)}); err == nil || !strings.Contains(err.Error(), dir) {
		t.Fatalf("second start: %v, want an error that names the folder", err)
	}
}

func TestAUnixSocketThatNobodyListensOnIsReplaced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	old.SetUnlinkOnClose(false)
	old.Close()
	c := config(t, t.TempDir())
	c.Forward.Unix = path
	s, err := Start(Options{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, s)
	c2 := config(t, t.TempDir())
	c2.Forward.Unix = path
	if _, err := Start(Options{Config: c2}); err == nil {
		t.Error("a socket in use was taken away")
	}
}

// TestUnixPerm: a socket has the mode that is asked for.
func TestUnixPerm(t *testing.T) {
	t.Parallel()
	for _, mode := range []fs.FileMode{0o600, 0o660, 0o777} {
		c := config(t, t.TempDir())
		c.Forward.Unix, c.Forward.UnixPerm = filepath.Join(t.TempDir(), "s"), conf.Mode(mode)
		s, err := Start(Options{Config: c})
		if err != nil {
			t.Fatal(err)
		}
		i, err := os.Stat(c.Forward.Unix)
		if err != nil || i.Mode() != fs.ModeSocket|mode {
			t.Errorf("%v, %v; want mode %v", i.Mode(), err, mode)
		}
		stop(t, s)
	}
}

func newRouter(t *testing.T) (*policies.Router, *streams.Store) {
	t.Helper()
	store, err := streams.Open(t.TempDir(), streams.Options{SegmentBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	r, err := policies.New(policies.Options{Policies: config(t, "").Router(), Streams: store})
	if err != nil {
		t.Fatal(err)
	}
	return r, store
}

func length(store *streams.Store, name string) int64 {
	st, ok := store.Stream(name)
	if !ok {
		return -1
	}
	return st.State().Length
}

// entry is [0, {"a": 1}].
const entry = "\x92\x00\x81\xa1a\x01"

func TestKeepIsTheAck(t *testing.T) {
	t.Parallel()
	r, store := newRouter(t)
	k := newKeeper(r)
	peer := &forward.Peer{Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}}
	msgs := []forward.Message{
		{Tag: []byte("raw.a"), Entries: []byte(entry), Records: 1, Chunk: []byte("id1")},
		{Tag: []byte("raw.a"), Entries: []byte(entry), Records: 1, Chunk: []byte("id1")}, // a resend
		{Tag: []byte("other"), Entries: []byte(entry), Records: 1},
		{Tag: []byte("raw.m"), Entries: []byte("metrics"), Signal: 1},
		{Tag: []byte("raw.a"), Entries: []byte(entry), Records: 1, Bad: []forward.Bad{{Reason: "bad-record", Detail: "nil", Data: []byte{0xc0}}}},
	}
	n, err := k.Keep(t.Context(), peer, msgs)
	if n != len(msgs) || err != nil {
		t.Fatalf("kept %d of %d: %v", n, len(msgs), err)
	}
	if got := length(store, "raw.a"); got != int64(2*len(entry)) {
		t.Errorf("raw.a has %d bytes, want two entries: the resend is stored once", got)
	}
	if length(store, "_dead") < 1 || length(store, "_dead.raw") < 1 {
		t.Error("the unmatched tag, the metrics or the bad part are in no dead letter")
	}
	if got := length(store, "raw.m"); got > 0 {
		t.Errorf("metrics were taken for %d bytes of entries", got)
	}
	store.Close()
	for _, m := range msgs {
		if n, err := k.Keep(t.Context(), peer, []forward.Message{m}); n != 0 || !errors.Is(err, streams.ErrClosed) {
			t.Errorf("tag %s: acknowledged %d messages that no store took: %v", m.Tag, n, err)
		}
	}
}

func TestAnEnvelopeIsKeptAsItCameAndOpenedForAReader(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	c, err := net.Dial("tcp", s.Addresses().Forward[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// ["frames.a", bin of one entry, {"chunk": "id"}]
	frame := "\x93\xa8frames.a\xc4" + string(rune(len(entry))) + entry + "\x81\xa5chunk\xa2id"
	if _, err := c.Write([]byte(frame)); err != nil {
		t.Fatal(err)
	}
	const ack = "\x81\xa3ack\xa2id"
	got := make([]byte, len(ack))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != ack {
		t.Fatalf("ack %q: %v", got, err)
	}
	for query, want := range map[string]string{"": frame, "?format=raw": frame, "?format=msgpack": entry} {
		if _, body := get(t, s, "/streams/frames.a"+query); body != want {
			t.Errorf("GET with %q: %q, want %q", query, body, want)
		}
	}
	if status, _ := get(t, s, "/streams/frames.a?format=other"); status != http.StatusBadRequest {
		t.Errorf("an unknown format: %d", status)
	}
}

func TestASenderThatHangsAtOneDoorKeepsNoOtherOpen(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	at := s.Addresses()
	c, err := net.Dial("tcp", at.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const head = "PUT /streams/raw.slow HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
	if _, err := c.Write(append([]byte(head), make([]byte, 100000)...)); err != nil {
		t.Fatal(err)
	}
	eventually(t, s, "/metrics", "weir_http_connections 2")
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(ctx) }()
	for open := true; open; time.Sleep(5 * time.Millisecond) {
		f, err := net.Dial("tcp", at.Forward[0])
		if open = err == nil; open {
			f.Close()
		}
	}
	if ctx.Err() != nil {
		t.Error("forward still accepts while an upload hangs")
	}
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
}
