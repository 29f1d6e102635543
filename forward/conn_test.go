package forward

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fluent/fluent-logger-golang/fluent"
)

func TestManyConnections(t *testing.T) {
	t.Parallel()
	k := &keeper{}
	s, a := serve(t, Options{Handler: k})
	var wait sync.WaitGroup
	for c := range 8 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			var in []byte
			var want string
			for i := range 1000 {
				id := fmt.Sprintf("%d.%d", c, i)
				if i%100 == 0 {
					entries := list{}
					for n := range 256 {
						entries = append(entries, list{at, record(n)})
					}
					in = append(in, pack(list{"t", entries, pairs{"chunk", id, "size", 256}})...)
				} else {
					in = append(in, pack(list{"t", at, record(i), pairs{"chunk", id}})...)
				}
				want += ack(id)
			}
			if got := exchange(t, a, in); string(got) != want {
				t.Errorf("connection %d: %d bytes of acks, want %d", c, len(got), len(want))
			}
		}()
	}
	wait.Wait()
	if n := s.Stats(); n.Records != 8*(990+10*256) || n.Acks != 8000 || n.Mismatched != 0 {
		t.Errorf("stats %+v", n)
	}
}

// TestCutMessages cuts messages of each mode at each byte: no event, no ack,
// no line in the log, and another connection goes on.
func TestCutMessages(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	k := &keeper{}
	s, err := NewServer(Options{Handler: k, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	other := connect(t, s)
	cuts := 0
	for _, in := range [][]byte{
		pack(list{"t", at, record(1), chunk}), pack(list{"t", twoArray, chunk}), pack(list{"t", two, chunk}),
		pack(list{"t", zip(two), pairs{"compressed", "gzip", "chunk", "id"}}),
		[]byte(`["t",1294750800,{"a":"\"]"},{"chunk":"id"}]`),
	} {
		for n := 1; n < len(in); n++ {
			talk := connect(t, s)
			talk.send(in[:n], 0)
			if got := talk.finish(); len(got) > 0 {
				t.Errorf("cut at %d: answer %q", n, got)
			}
			cuts++
		}
	}
	if len(k.kept()) > 0 || log.String() != "" || cuts < 200 {
		t.Errorf("%d cuts: kept %v, log %q", cuts, describe(k.kept(), 0), log.String())
	}
	other.send(pack(list{"t", at, record(1), chunk}), 0)
	if got := other.finish(); string(got) != ack("id") {
		t.Errorf("answer %q", got)
	}
}

// TestBrokenBytes puts every value in place of every byte of a message: the
// server stands, and what it acknowledges it has kept.
func TestBrokenBytes(t *testing.T) {
	t.Parallel()
	k := &keeper{}
	s, err := NewServer(Options{Handler: k})
	if err != nil {
		t.Fatal(err)
	}
	in := pack(list{"t", packs(list{list{et{at, 1}, pairs{}}, record(1)}, list{1.5, pairs{"b", list{1}}}), pairs{"size", 2, "chunk", "id"}})
	for i := range in {
		for v := range 256 {
			b := bytes.Clone(in)
			b[i] = byte(v)
			talk := connect(t, s)
			before := s.Stats().Bytes
			talk.send(b, 0)
			if got := talk.finish(); len(got) > 0 && s.Stats().Bytes == before {
				t.Fatalf("byte %d is %#x: acknowledged and not kept", i, v)
			}
		}
	}
	s.done.Wait()
	if n := s.Stats().InFlight; n != 0 {
		t.Errorf("%d bytes in flight", n)
	}
}

func TestWrongProtocol(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ in, log string }{
		"http":                {"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "looks like an HTTP request"},
		"tls":                 {"\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03" + strings.Repeat("\x01", 240), "looks like TLS"},
		"tls, half a message": {"\x16\x03\x01\x05\x9f\x01\x00\x05\x9b\x03\x03" + strings.Repeat("\x01", 5), "looks like TLS"},
		"text":                {strings.Repeat("abcdefgh\n", 20), "no arrays"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log lockedBuffer
			s, err := NewServer(Options{Handler: &keeper{}, Log: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			talk := connect(t, s)
			talk.send([]byte(c.in), 0)
			if got := talk.heard(1 << 30); len(got) > 0 {
				t.Errorf("answer %q", got)
			}
			talk.pipe.Close()
			s.done.Wait()
			if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), c.log) {
				t.Errorf("log %q", log.String())
			}
		})
	}
}

func TestAcksInOneWrite(t *testing.T) {
	t.Parallel()
	s, err := NewServer(Options{Handler: &keeper{}})
	if err != nil {
		t.Fatal(err)
	}
	talk := connect(t, s)
	var in []byte
	var want string
	for i := range 9 {
		in = append(in, pack(list{"t", at, record(i), pairs{"chunk", strings.Repeat("c", i)}})...)
		want += ack(strings.Repeat("c", i))
	}
	talk.send(in, 0)
	if got := talk.finish(); string(got) != want || len(talk.writes) != 1 {
		t.Errorf("%d writes: %q", len(talk.writes), got)
	}
}

// TestBackpressure shows that while messages are being kept nothing is read
// and nothing is acknowledged, that a connection may go away meanwhile, and
// that everyone is served afterwards.
func TestBackpressure(t *testing.T) {
	t.Parallel()
	k := &keeper{block: make(chan struct{})}
	s, err := NewServer(Options{Handler: k})
	if err != nil {
		t.Fatal(err)
	}
	in := pack(list{"t", at, record(1), chunk})
	slow, gone := connect(t, s), connect(t, s)
	slow.send(in, 0)
	gone.send(in, 0)
	gone.pipe.Close()
	slow.pipe.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := slow.pipe.Write(in); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d bytes were read while a message was being kept: %v", n, err)
	}
	if s.Stats().Acks != 0 {
		t.Error("acknowledged before it was kept")
	}
	fresh := connect(t, s)
	fresh.send(in, 0)
	close(k.block)
	slow.pipe.SetWriteDeadline(time.Time{})
	slow.send(in, 0)
	if got := slow.finish(); string(got) != ack("id")+ack("id") {
		t.Errorf("answer %q", got)
	}
	if got := fresh.finish(); string(got) != ack("id") {
		t.Errorf("answer %q", got)
	}
}

// TestAcksNotTaken shows that a peer which never reads its acks is let go.
func TestAcksNotTaken(t *testing.T) {
	t.Parallel()
	s, err := NewServer(Options{Handler: &keeper{}, WriteTimeout: 30 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	client, server := newPipe()
	s.slots <- struct{}{}
	s.start(server)
	client.Write(pack(list{"t", at, record(1), chunk}))
	s.done.Wait()
	if n := s.Stats(); n.Acks != 0 || n.Records != 1 {
		t.Errorf("stats %+v", n)
	}
}

// TestShutdownAcknowledges shuts down while a message is being kept and
// another has arrived: both are kept and acknowledged, then comes the end.
func TestShutdownAcknowledges(t *testing.T) {
	t.Parallel()
	k := &keeper{block: make(chan struct{})}
	s, err := NewServer(Options{Handler: k})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write(pack(list{"t", at, record(1), pairs{"chunk", "1"}}))
	for s.Stats().Connections == 0 {
		time.Sleep(time.Millisecond)
	}
	c.Write(pack(list{"t", at, record(2), pairs{"chunk", "2"}}))
	c.Write([]byte("\x93\xa1t")) // half a message is dropped

	down := make(chan error, 1)
	go func() { down <- s.Shutdown(context.Background()) }()
	if err := <-served; !errors.Is(err, ErrClosed) {
		t.Errorf("Serve: %v", err)
	}
	close(k.block)
	c.SetReadDeadline(time.Now().Add(2 * time.Minute))
	if got, err := io.ReadAll(c); err != nil || string(got) != ack("1")+ack("2") {
		t.Errorf("answer %q, %v", got, err)
	}
	c.Close()
	if err := <-down; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := s.Serve(l); !errors.Is(err, ErrClosed) {
		t.Errorf("Serve afterwards: %v", err)
	}
}

// TestShutdownReadsTheBacklog has senders without acks that have connected,
// sent and gone before the server accepts them.
func TestShutdownReadsTheBacklog(t *testing.T) {
	t.Parallel()
	k := &keeper{}
	s, err := NewServer(Options{Handler: k})
	if err != nil {
		t.Fatal(err)
	}
	s.quiet = 4 * time.Second
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c.Write(pack(list{"t", at, record(i)}))
		c.Close()
	}
	served := make(chan error, 1)
	hold := &heldListener{l.(*net.TCPListener), make(chan struct{})}
	go func() { served <- s.Serve(hold) }()
	for tracked := false; !tracked; {
		s.mu.Lock()
		tracked = len(s.listeners) == 1
		s.mu.Unlock()
	}
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(context.Background()) }()
	for !s.stopping.Load() {
		time.Sleep(time.Millisecond)
	}
	close(hold.gate)
	if err := <-down; err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, ErrClosed) || len(k.kept()) != 5 {
		t.Errorf("Serve: %v; kept %d of 5", err, len(k.kept()))
	}
}

// A heldListener accepts nothing before its gate opens.
type heldListener struct {
	*net.TCPListener
	gate chan struct{}
}

func (l *heldListener) Accept() (net.Conn, error) {
	<-l.gate
	return l.TCPListener.Accept()
}

// TestShutdownHeldUp has a read during a shutdown that comes too late for its
// own deadline, and so does not look: what has arrived is kept all the same.
func TestShutdownHeldUp(t *testing.T) {
	t.Parallel()
	k := &keeper{}
	s, err := NewServer(Options{Handler: k})
	if err != nil {
		t.Fatal(err)
	}
	client, server := newPipe()
	held := &heldUp{Conn: server, s: s, waits: make(chan struct{})}
	s.slots <- struct{}{}
	s.start(held)
	<-held.waits
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(context.Background()) }()
	client.SetWriteDeadline(time.Now().Add(2 * time.Minute))
	if _, err := client.Write(pack(list{"t", at, record(1)})); err != nil {
		t.Errorf("send: %v", err)
	}
	client.Close()
	if err := <-down; err != nil || len(k.kept()) != 1 {
		t.Errorf("Shutdown: %v; kept %d of 1", err, len(k.kept()))
	}
}

// A heldUp is a connection whose reader is held up once when a shutdown begins.
type heldUp struct {
	net.Conn
	s     *Server
	reads int
	waits chan struct{}
}

func (h *heldUp) Read(b []byte) (int, error) {
	switch h.reads++; h.reads {
	case 1:
		close(h.waits)
		<-h.s.drained
		return 0, os.ErrDeadlineExceeded
	case 2:
		time.Sleep(2 * h.s.quiet)
		return 0, os.ErrDeadlineExceeded
	}
	return h.Conn.Read(b)
}

// TestShutdownHearsOnlySoLong has a peer that never stops sending: what was
// kept is acknowledged, and the shutdown comes to an end.
func TestShutdownHearsOnlySoLong(t *testing.T) {
	t.Parallel()
	s, err := NewServer(Options{Handler: &keeper{}, Linger: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	talk := connect(t, s)
	go func() {
		for {
			if _, err := talk.pipe.Write(pack(list{"t", at, record(1), chunk})); err != nil {
				return
			}
		}
	}()
	talk.heard(100)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if n := s.Stats(); n.Acks != n.Messages["message"] {
		t.Errorf("%d kept, %d acknowledged", n.Messages["message"], n.Acks)
	}
}

// TestShutdownGivesUp has a handler that does not come to an end: its context
// ends, and there is no ack.
func TestShutdownGivesUp(t *testing.T) {
	t.Parallel()
	k := &keeper{block: make(chan struct{})}
	s, err := NewServer(Options{Handler: k})
	if err != nil {
		t.Fatal(err)
	}
	talk := connect(t, s)
	talk.send(pack(list{"t", at, record(1), chunk}), 0)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
	if got := talk.finish(); len(got) > 0 || len(k.kept()) > 0 {
		t.Errorf("answer %q", got)
	}
}

func TestDenyKeepalive(t *testing.T) {
	t.Parallel()
	k := &keeper{}
	s, err := NewServer(Options{Handler: k, DenyKeepalive: true})
	if err != nil {
		t.Fatal(err)
	}
	talk := connect(t, s)
	talk.send(packs(list{"t", at, record(1), chunk}, list{"t", at, record(2), chunk}), 0)
	if got := talk.heard(1 << 30); string(got) != ack("id")+ack("id") {
		t.Errorf("answer %q", got)
	}
}

func TestHeartbeat(t *testing.T) {
	t.Parallel()
	s, err := NewServer(Options{Handler: &keeper{}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.ServePacket(p) }()
	c, err := net.Dial("udp", p.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, in := range []string{"\x00", "", strings.Repeat("x", 500)} {
		c.Write([]byte(in))
		c.SetReadDeadline(time.Now().Add(time.Minute))
		b := make([]byte, 9)
		if n, err := c.Read(b); err != nil || n != 1 || b[0] != 0 {
			t.Errorf("%d bytes sent: answer %q, %v", len(in), b[:n], err)
		}
	}
	s.Shutdown(context.Background())
	if err := <-served; !errors.Is(err, ErrClosed) || s.Stats().Heartbeats != 3 {
		t.Errorf("ServePacket: %v, %d heartbeats", err, s.Stats().Heartbeats)
	}
}

// TestHeartbeatLoop: two servers that somebody made each other's heartbeats,
// by a datagram with a forged sender, do not answer each other for ever.
func TestHeartbeatLoop(t *testing.T) {
	t.Parallel()
	now := time.Now()
	var servers [2]*Server
	var sockets [2]net.PacketConn
	for i := range servers {
		var err error
		if servers[i], err = NewServer(Options{Handler: &keeper{}, Now: func() time.Time { return now }}); err != nil {
			t.Fatal(err)
		}
		if sockets[i], err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := sockets[0].WriteTo([]byte{0}, sockets[1].LocalAddr()); err != nil {
		t.Fatal(err)
	}
	for i := range servers {
		go servers[i].ServePacket(sockets[i])
		t.Cleanup(func() { servers[i].Shutdown(context.Background()) })
	}
	refused := func() int64 {
		return servers[0].Stats().Refused["heartbeat"].Messages + servers[1].Stats().Refused["heartbeat"].Messages
	}
	for deadline := time.Now().Add(2 * time.Minute); refused() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no end of it")
		}
	}
	if n := servers[0].Stats().Heartbeats + servers[1].Stats().Heartbeats; n != 2*beatsEach || refused() != 1 {
		t.Errorf("%d answers, %d refused; want %d, 1", n, refused(), 2*beatsEach)
	}
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	k := &keeper{}
	s, err := NewServer(Options{Handler: k, AddressKey: "from"})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	if got := exchange(t, l.Addr(), pack(list{"t", at, record(1), chunk})); string(got) != ack("id") {
		t.Errorf("answer %q", got)
	}
	s.Shutdown(context.Background())
	if got := describe(k.kept(), 0); got != `t@1700000000={"a":1,"from":""}` && !strings.Contains(got, `"from":"@"`) {
		t.Errorf("kept %s", got)
	}
}

// TestGoLogger has fluentd's logger for Go send in each of its ways.
func TestGoLogger(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]fluent.Config{
		"plain":     {},
		"ack":       {RequestAck: true},
		"subsecond": {RequestAck: true, SubSecondPrecision: true},
		"json":      {MarshalAsJSON: true},
		"json ack":  {MarshalAsJSON: true, RequestAck: true},
		"async":     {Async: true, RequestAck: true},
		"unix":      {RequestAck: true, FluentNetwork: "unix"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := &keeper{}
			s, a := serve(t, Options{Handler: k})
			c.FluentHost, c.FluentPort = "127.0.0.1", 0
			if tcp, ok := a.(*net.TCPAddr); ok {
				c.FluentPort = tcp.Port
			}
			if c.FluentNetwork == "unix" {
				l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
				if err != nil {
					t.Fatal(err)
				}
				go s.Serve(l)
				c.FluentSocketPath = l.Addr().String()
			}
			f, err := fluent.New(c)
			if err != nil {
				t.Fatal(err)
			}
			want := ""
			for i := range 50 {
				if err := f.PostWithTime("go.tag", time.Unix(at, int64(i)), map[string]any{"a": i}); err != nil {
					t.Fatal(err)
				}
				sub := ""
				if c.SubSecondPrecision && i > 0 {
					sub = fmt.Sprintf(".%09d", i)
				}
				want += fmt.Sprintf("go.tag@%d%s=%d ", at, sub, i)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			if err := s.Shutdown(ctx); err != nil {
				t.Fatal(err)
			}
			if got := describe(k.kept(), 0); got != strings.TrimSpace(want) {
				t.Errorf("kept %s, want %s", got, want)
			}
		})
	}
}

func TestOptionsNamed(t *testing.T) {
	t.Parallel()
	bad := Options{
		MaxMessage: 1, WarnMessage: -1, MaxInflated: 5, MaxBytes: 1000, MaxConnections: -1, IdleTimeout: -1, Linger: -1,
		Security: &Security{UserAuth: true, Clients: []Client{{Users: []string{"x"}}}},
	}
	got := bad.Validate()
	for _, k := range []string{"handler", "chunk_size_limit", "chunk_size_warn_limit", "decompression_size_limit", "max_bytes", "max_connections",
		"idle_timeout", "linger_timeout", "security.self_hostname", "security.shared_key", "security.user",
		"security.client[0].network", "security.client[0].users"} {
		if got[k] == nil {
			t.Errorf("%s is taken", k)
		}
		delete(got, k)
	}
	if len(got) > 0 {
		t.Errorf("also refused: %v", got)
	}
	if _, err := NewServer(bad); err == nil || !strings.Contains(err.Error(), "option security.shared_key: is missing") {
		t.Errorf("error %v", err)
	}
	if got := (Options{Handler: &keeper{}, Security: &Security{Hostname: "h", SharedKey: "k"}}).Validate(); len(got) > 0 {
		t.Errorf("refused: %v", got)
	}
	if got := (Options{Handler: &keeper{}, MaxMessage: 2000, WarnMessage: 3000}).Validate(); got["chunk_size_warn_limit"] == nil {
		t.Error("a warn limit above the limit is taken")
	}
}
