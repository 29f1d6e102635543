package forward

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/tinylib/msgp/msgp"
)

// A keeper is a handler that remembers what it kept.
type keeper struct {
	mu    sync.Mutex
	msgs  []Message
	peers []Peer
	fail  func(m *Message) error // decides for each message
	block chan struct{}          // when set, Keep waits until it is closed
	calls int
}

func (k *keeper) Keep(ctx context.Context, peer *Peer, msgs []Message) (int, error) {
	if k.block != nil {
		select {
		case <-k.block:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls++
	for i := range msgs {
		if k.fail != nil {
			if err := k.fail(&msgs[i]); err != nil {
				return i, err
			}
		}
		k.msgs = append(k.msgs, clone(&msgs[i]))
		k.peers = append(k.peers, *peer)
	}
	return len(msgs), nil
}

// clone copies a message and all it points to.
func clone(m *Message) Message {
	c := *m
	c.Tag, c.Entries, c.Chunk = bytes.Clone(m.Tag), bytes.Clone(m.Entries), bytes.Clone(m.Chunk)
	c.Envelope = bytes.Clone(m.Envelope)
	c.Bad = nil
	for _, b := range m.Bad {
		b.Data = bytes.Clone(b.Data)
		c.Bad = append(c.Bad, b)
	}
	return c
}

// kept gives what was kept so far.
func (k *keeper) kept() []Message {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]Message(nil), k.msgs...)
}

// serve starts a server on loopback, shut down with the test.
func serve(t testing.TB, o Options) (*Server, net.Addr) {
	t.Helper()
	s, err := NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
	return s, l.Addr()
}

// exchange sends b on a new connection, closes its own side, and gives
// everything that the server says until it closes its side.
func exchange(t testing.TB, a net.Addr, b []byte) []byte {
	t.Helper()
	c, err := net.Dial(a.Network(), a.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(2 * time.Minute))
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(b)
		sent <- errors.Join(err, c.(interface{ CloseWrite() error }).CloseWrite())
	}()
	got, err := io.ReadAll(c)
	if err := errors.Join(err, <-sent); err != nil {
		t.Fatal(err)
	}
	return got
}

// zip compresses with gzip, one member a part.
func zip(parts ...[]byte) []byte {
	var b bytes.Buffer
	for _, p := range parts {
		w := gzip.NewWriter(&b)
		w.Write(p)
		w.Close()
	}
	return b.Bytes()
}

// zstandard compresses with zstd, one frame a part.
func zstandard(parts ...[]byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	var b []byte
	for _, p := range parts {
		b = w.EncodeAll(p, b)
	}
	return b
}

// request packs a message: the values that follow the tag, an option last
// when it has pairs.
func request(tag string, values []msgp.Raw, option ...string) []byte {
	n := len(values) + 1
	if len(option) > 0 {
		n++
	}
	b := msgp.AppendArrayHeader(nil, uint32(n))
	b = msgp.AppendString(b, tag)
	for _, v := range values {
		b = append(b, v...)
	}
	if len(option) > 0 {
		b = msgp.AppendMapHeader(b, uint32(len(option)/2))
		for _, s := range option {
			b = msgp.AppendString(b, s)
		}
	}
	return b
}

// entry packs [time, {"a": text}].
func entry(time int64, text string) []byte {
	b := msgp.AppendArrayHeader(nil, 2)
	b = append(b, 0xd7, 0)
	b = append(b, byte(time>>24), byte(time>>16), byte(time>>8), byte(time), 0, 0, 0, 7)
	b = msgp.AppendMapHeader(b, 1)
	b = msgp.AppendString(b, "a")
	return msgp.AppendString(b, text)
}

func ack(chunk string) string {
	return string(msgp.AppendString([]byte("\x81\xa3ack"), chunk))
}

func TestCarrierModes(t *testing.T) {
	t.Parallel()
	one, two := entry(1700000000, "first"), entry(1700000001, "second")
	both := append(bytes.Clone(one), two...)
	array := append([]byte{0x92}, both...)
	for _, c := range []struct {
		name    string
		values  []msgp.Raw
		method  string
		mode    Mode
		entries []byte
	}{
		{"message", []msgp.Raw{one[1:]}, "", ModeMessage, one},
		{"forward", []msgp.Raw{array}, "", ModeForward, both},
		{"packed bin", []msgp.Raw{msgp.AppendBytes(nil, both)}, "text", ModePacked, both},
		{"packed str", []msgp.Raw{msgp.AppendStringFromBytes(nil, both)}, "", ModePacked, both},
		{"gzip", []msgp.Raw{msgp.AppendBytes(nil, zip(both))}, "gzip", ModeCompressed, both},
		{"gzip members", []msgp.Raw{msgp.AppendBytes(nil, zip(both[:5], nil, both[5:]))}, "gzip", ModeCompressed, both},
		{"zstd frames", []msgp.Raw{msgp.AppendBytes(nil, zstandard(both[:9], both[9:]))}, "zstd", ModeCompressed, both},
		{"gzip said to be text", []msgp.Raw{msgp.AppendBytes(nil, zip(both))}, "text", ModeCompressed, both},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			k := &keeper{}
			s, a := serve(t, Options{Handler: k})
			option := []string{"chunk", "c1\n"}
			if c.method != "" {
				option = append(option, "compressed", c.method)
			}
			values := c.values
			if c.mode == ModeMessage {
				values = []msgp.Raw{one[1:11], one[11:]}
			}
			in := request("a.tag", values, option...)
			in = append(in, request("b", values, option[2:]...)...)
			if got := exchange(t, a, in); string(got) != ack("c1\n") {
				t.Errorf("answer %q", got)
			}
			msgs := k.kept()
			if len(msgs) != 2 {
				t.Fatalf("kept %d messages", len(msgs))
			}
			records, _, err := Check(c.entries)
			if err != nil {
				t.Fatal(err)
			}
			for i, m := range msgs {
				if m.Mode != c.mode || !bytes.Equal(m.Entries, c.entries) || m.Records != records || len(m.Bad) != 0 {
					t.Errorf("message %d: %s, %d records %x, bad %v", i, m.Mode, m.Records, m.Entries, m.Bad)
				}
			}
			if string(msgs[0].Tag) != "a.tag" || string(msgs[1].Tag) != "b" || string(msgs[0].Chunk) != "c1\n" || msgs[1].Chunk != nil {
				t.Errorf("tags %q %q, chunks %q %q", msgs[0].Tag, msgs[1].Tag, msgs[0].Chunk, msgs[1].Chunk)
			}
			if n := s.Stats(); n.Records != int64(2*records) || n.Acks != 1 || n.Bytes != int64(len(in)) {
				t.Errorf("stats %+v", n)
			}
		})
	}
}

func TestAckWithheldWhenNotKept(t *testing.T) {
	t.Parallel()
	k := &keeper{fail: func(m *Message) error {
		if string(m.Tag) == "bad" {
			return errors.New("disk is full")
		}
		return nil
	}}
	var log bytes.Buffer
	_, a := serve(t, Options{Handler: k, Log: slog.New(slog.NewTextHandler(&log, nil))})
	e := entry(1, "x")
	in := request("good", []msgp.Raw{e[1:11], e[11:]}, "chunk", "1")
	in = append(in, request("bad", []msgp.Raw{e[1:11], e[11:]}, "chunk", "2")...)
	in = append(in, request("good", []msgp.Raw{e[1:11], e[11:]}, "chunk", "3")...)
	if got := exchange(t, a, in); string(got) != ack("1") {
		t.Errorf("answer %q", got)
	}
	if n := len(k.kept()); n != 1 {
		t.Errorf("kept %d", n)
	}
}

// A short handler keeps less than it was given, and says so badly.
type shortHandler struct{ n int }

func (h shortHandler) Keep(context.Context, *Peer, []Message) (int, error) { return h.n, nil }

func TestHandlerThatSaysNothing(t *testing.T) {
	t.Parallel()
	in := packs(list{"t", at, record(1), pairs{"chunk", "1"}}, list{"t", at, record(2), pairs{"chunk", "2"}})
	for n, want := range map[int]string{-1: "", 0: "", 1: ack("1"), 2: ack("1") + ack("2"), 9: ack("1") + ack("2")} {
		_, a := serve(t, Options{Handler: shortHandler{n}})
		if got := exchange(t, a, in); string(got) != want {
			t.Errorf("%d kept of 2: answer %q, want %q", n, got, want)
		}
	}
}

func TestLogLimited(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	at := time.Unix(1, 0)
	l := limitedLog{log: slog.New(slog.NewTextHandler(&log, nil)), now: func() time.Time { return at }}
	for range 100 {
		l.warn("a", "something")
	}
	if n := bytes.Count(log.Bytes(), []byte("\n")); n != logBurst {
		t.Errorf("%d lines at once", n)
	}
	l.warn("b", "another")
	if n := bytes.Count(log.Bytes(), []byte("\n")); n != logBurst+1 {
		t.Errorf("one topic kept another from the log")
	}
	at = at.Add(logEvery)
	l.warn("a", "something")
	if !bytes.Contains(log.Bytes(), []byte("suppressed=90")) {
		t.Errorf("log %s", log.Bytes())
	}
}

func TestHostnameNotFound(t *testing.T) {
	t.Parallel()
	k := &keeper{}
	failing := func(context.Context, string) (string, error) { return "", errors.New("no such host") }
	_, a := serve(t, Options{Handler: k, HostnameKey: "host", Resolve: failing})
	exchange(t, a, pack(list{"t", twoArray, chunk}))
	if got := describe(k.kept(), 0); got != `t@1700000000.000000001={"a":1,"host":"127.0.0.1"} t@1700000001={"a":2,"host":"127.0.0.1"}` {
		t.Errorf("kept %s", got)
	}
}

// TestListeners has one server on several sockets, one of which fails.
func TestListeners(t *testing.T) {
	t.Parallel()
	k := &keeper{}
	s, a := serve(t, Options{Handler: k})
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6:", err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	for _, a := range []net.Addr{a, l.Addr()} {
		if got := exchange(t, a, pack(list{"t", at, record(1), chunk})); string(got) != ack("id") {
			t.Errorf("%s: answer %q", a, got)
		}
	}
	l.Close()
	if err := <-served; err == nil || errors.Is(err, ErrClosed) {
		t.Errorf("Serve: %v", err)
	}
	if got := exchange(t, a, pack(list{"t", at, record(1), chunk})); string(got) != ack("id") {
		t.Errorf("answer %q", got)
	}
}
