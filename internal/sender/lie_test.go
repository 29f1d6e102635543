package sender

import (
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fluent/fluent-logger-golang/fluent"
	"github.com/tinylib/msgp/msgp"
)

// lie serves each connection by a function, one at a time, and gives the
// address. What serve wrote may be read after stop, which the connections must
// have been closed for.
func lie(t *testing.T, serve func(net.Conn)) (at string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serve(c)
			c.Close()
		}
	})
	stop = func() { l.Close(); done.Wait() }
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

// chunkOf reads a message and gives its chunk id.
func chunkOf(c net.Conn) (string, error) {
	var m fluent.MessageExt
	err := m.DecodeMsg(msgp.NewReader(c))
	return m.Option["chunk"], err
}

func acked(id string) []byte {
	b, err := fluent.AckResp{Ack: id}.MarshalMsg(nil)
	if err != nil {
		panic(err)
	}
	return b
}

// TestFalseAck: only the ack of the event's own chunk id is one.
func TestFalseAck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		answer   func(id string) []byte
		is       error
		attempts int
	}{
		{"another id", func(string) []byte { return acked("another") }, nil, 3},
		{"none, as Vector refuses", func(string) []byte { return []byte("\x80") }, nil, 3},
		{"half of it", func(id string) []byte { return acked(id)[:9] }, ErrClosed, 3},
		{"nothing", func(string) []byte { return nil }, ErrClosed, 3},
		{"id in an array", func(id string) []byte { return append([]byte("\x91"), acked(id)[5:]...) }, ErrProtocol, 1},
		{"nil", func(string) []byte { return []byte("\xc0") }, ErrProtocol, 1},
		{"HTTP", func(string) []byte { return []byte("HTTP/1.1 400 Bad Request\r\n\r\n") }, ErrProtocol, 1},
		{"alert of TLS", func(string) []byte { return []byte("\x15\x03\x03\x00\x02\x02\x0a") }, ErrTLS, 1},
		{"greeting", func(string) []byte { return []byte("\x92\xa4HELO\x80") }, ErrSecured, 1},
		{"never used", func(string) []byte { return []byte("\xc1") }, ErrProtocol, 1},
		{"without an end", func(string) []byte { return []byte("\xdb\xff\xff\xff\xff" + strings.Repeat("x", maxAnswer)) }, ErrProtocol, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var ids []string
			at, stop := lie(t, func(nc net.Conn) {
				id, err := chunkOf(nc)
				if err != nil {
					t.Errorf("the message: %v", err)
				}
				ids = append(ids, id)
				nc.Write(c.answer(id))
			})
			s, err := Dial(t.Context(), Options{Address: at, Pause: time.Millisecond, Timeout: 2 * time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			err = s.Send(t.Context(), "a.tag", time.Now(), map[string]any{"a": "record"})
			if err == nil || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("error %v, want %v", err, c.is)
			}
			s.Close()
			stop()
			if len(ids) != c.attempts || len(slices.Compact(ids)) != 1 || ids[0] == "" {
				t.Errorf("chunk ids %q, want %d times the same", ids, c.attempts)
			}
		})
	}
}

// TestSilentServer: an ack that does not come in time is none, also when it
// comes later on.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	at, _ := lie(t, func(nc net.Conn) {
		if _, err := chunkOf(nc); err == nil {
			io.Copy(io.Discard, nc)
		}
	})
	s, err := Dial(t.Context(), Options{Address: at, Pause: time.Millisecond, Timeout: 2 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.o.Timeout, s.conn.timeout = 20*time.Millisecond, 20*time.Millisecond
	err = s.Send(t.Context(), "a.tag", time.Now(), map[string]any{"a": "record"})
	var late net.Error
	if !errors.As(err, &late) || !late.Timeout() {
		t.Errorf("error %v", err)
	}
}

// TestBreaks: an event goes on under its id after a break; a connection that a
// server closes between two events costs no attempt.
func TestBreaks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		attempts int
		acks     []bool // by connection: whether its first message is acknowledged
		events   int
	}{
		{"two breaks", 3, []bool{false, false, true}, 1},
		{"closed after each", 1, []bool{true, true, true}, 3},
		{"closed, and a break", 2, []bool{true, false, true}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var ids []string
			n := 0
			at, stop := lie(t, func(nc net.Conn) {
				id, err := chunkOf(nc)
				if err != nil {
					t.Errorf("the message: %v", err)
				}
				ids = append(ids, id)
				if c.acks[n] {
					nc.Write(acked(id))
				}
				n++
			})
			s, err := Dial(t.Context(), Options{Address: at, Attempts: c.attempts, Pause: time.Millisecond, Timeout: 2 * time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			for i := range c.events {
				if err := s.Send(t.Context(), "a.tag", time.Now(), map[string]any{"a": "record"}); err != nil {
					t.Fatalf("event %d: %v", i, err)
				}
			}
			s.Close()
			stop()
			if n != len(c.acks) || len(slices.Compact(ids)) != c.events {
				t.Errorf("%d connections, ids %q; want %d, and %d ids", n, ids, len(c.acks), c.events)
			}
		})
	}
}

// greeting is a HELO with the nonce abc that asks for no user.
const greeting = "\x92\xa4HELO\x83\xa5nonce\xa3abc\xa4auth\xa0\xa9keepalive\xc3"

// pinged reads a PING, which must be right for the key "key".
func pinged(t *testing.T, r *msgp.Reader) (salt, sum string) {
	t.Helper()
	n, err := r.ReadArrayHeader()
	if err != nil || n != 6 {
		t.Errorf("PING of %d values, %v", n, err)
		return "", ""
	}
	ping := make([]string, n)
	for i := range ping {
		if ping[i], err = r.ReadString(); err != nil {
			t.Errorf("PING: %v", err)
		}
	}
	if want := string(digest([]byte(ping[2]), []byte("client"), []byte("abc"), []byte("key"))); ping[0] != "PING" || ping[1] != "client" || ping[3] != want || ping[4] != "" || ping[5] != "" {
		t.Errorf("PING %q", ping)
	}
	return ping[2], ping[3]
}

func pong(ok bool, reason, name, sum string) []byte {
	b := msgp.AppendArrayHeader(nil, 5)
	b = msgp.AppendBool(msgp.AppendString(b, "PONG"), ok)
	return msgp.AppendString(msgp.AppendString(msgp.AppendString(b, reason), name), sum)
}

// proof is the PONG of a server called "server" that has a key.
func proof(salt, key string) []byte {
	return pong(true, "", "server", string(digest([]byte(salt), []byte("server"), []byte("abc"), []byte(key))))
}

// TestNoKeepalive: a connection that a server announced to close has one
// message, and the next goes on another.
func TestNoKeepalive(t *testing.T) {
	t.Parallel()
	n := 0
	at, stop := lie(t, func(nc net.Conn) {
		n++
		nc.Write([]byte(strings.TrimSuffix(greeting, "\xc3") + "\xc2"))
		r := msgp.NewReader(nc)
		salt, _ := pinged(t, r)
		nc.Write(proof(salt, "key"))
		var m fluent.MessageExt
		if err := m.DecodeMsg(r); err != nil {
			t.Errorf("the message: %v", err)
		}
		nc.Write(acked(m.Option["chunk"]))
		if err := m.DecodeMsg(r); err == nil {
			t.Errorf("connection %d has another message", n)
		}
	})
	s, err := Dial(t.Context(), Options{Address: at, SharedKey: "key", Hostname: "client", Timeout: 2 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range 2 {
		if err := s.Send(t.Context(), "a.tag", time.Now(), map[string]any{"a": "record"}); err != nil {
			t.Fatalf("event %d: %v", i, err)
		}
	}
	s.Close()
	stop()
	if n != 2 {
		t.Errorf("%d connections", n)
	}
}

// TestFalseServer: nothing is sent to a server that does not prove that it has
// the shared key.
func TestFalseServer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		hello string
		pong  func(salt, digest string) []byte
		is    error
	}{
		{"another key", greeting, func(salt, _ string) []byte { return proof(salt, "kex") }, ErrSharedKey},
		{"no digest", greeting, func(string, string) []byte { return pong(true, "", "server", "") }, ErrSharedKey},
		{"the sender's own digest", greeting, func(_, sum string) []byte { return pong(true, "", "client", sum) }, ErrSameName},
		{"refused", greeting, func(string, string) []byte { return pong(false, "a reason", "", "") }, ErrDenied},
		{"no answer", greeting, func(string, string) []byte { return nil }, ErrClosed},
		{"four values", greeting, func(string, string) []byte { return []byte("\x94\xa4PONG\xc3\xa0\xa0") }, ErrProtocol},
		{"ack for a PONG", greeting, func(string, string) []byte { return acked("id") }, ErrProtocol},
		{"no greeting", "\x91\xa4HELO", nil, ErrProtocol},
		{"greeting of a word", "\x92\xa4HELO\xa1x", nil, ErrProtocol},
		{"HTTP", "HTTP/1.1 400 Bad Request", nil, ErrProtocol},
		{"closed", "", nil, ErrClosed},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			at, _ := lie(t, func(nc net.Conn) {
				nc.Write([]byte(c.hello))
				if c.pong == nil {
					return
				}
				r := msgp.NewReader(nc)
				b := c.pong(pinged(t, r))
				nc.Write(b)
				if b == nil {
					return
				}
				if more, _ := io.ReadAll(r); len(more) > 0 {
					t.Errorf("the sender goes on: %q", more)
				}
			})
			s, err := Dial(t.Context(), Options{Address: at, SharedKey: "key", User: "alice", Password: "wonder", Hostname: "client", Timeout: 2 * time.Minute})
			if !errors.Is(err, c.is) {
				t.Errorf("error %v, want %v", err, c.is)
			}
			if s != nil {
				s.Close()
				t.Error("the server is taken")
			}
		})
	}
}

// FuzzAnswer: whatever a server says, it neither has the key nor acknowledges.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{"\x92\xa4HELO\x83\xa5nonce\xc4\x01a\xa4auth\xa1b\xa9keepalive\xc2\x95\xa4PONG\xc3\xa0\xa1s\xa1d", "\x81\xa3ack\xa1i", "\x15\x03\x01", "\xc1", "\xdd\xff\xff\xff\xff"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, says []byte) {
		o := &Options{SharedKey: "key", Hostname: "client"}
		if err := (&conn{nc: &scripted{says: says}}).handshake(o); err == nil {
			t.Error("a server without the key is taken")
		}
		if err := (&conn{nc: &scripted{says: says}}).exchange([]byte("message"), chunkID()); err == nil {
			t.Error("an ack of another chunk is taken")
		}
	})
}

// A scripted connection says what it was made with, in small pieces, and takes
// what is sent.
type scripted struct {
	net.Conn
	says []byte
}

func (s *scripted) Write(b []byte) (int, error)     { return len(b), nil }
func (s *scripted) SetReadDeadline(time.Time) error { return nil }
func (s *scripted) Read(b []byte) (int, error) {
	if len(s.says) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), 7)], s.says)
	s.says = s.says[n:]
	return n, nil
}
