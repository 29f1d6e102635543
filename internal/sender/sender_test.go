package sender

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/forward"
)

// A keeper keeps the tags and chunk ids of what a server acknowledges.
type keeper struct {
	mu   sync.Mutex
	tags []string
	ids  map[string]bool
}

func (k *keeper) Keep(_ context.Context, _ *forward.Peer, msgs []forward.Message) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range msgs {
		k.tags = append(k.tags, string(msgs[i].Tag))
		if k.ids == nil {
			k.ids = map[string]bool{}
		}
		k.ids[string(msgs[i].Chunk)] = true
	}
	return len(msgs), nil
}

// listen serves weir's own forward server, over TLS if there is a
// configuration, and gives its address.
func listen(t *testing.T, o forward.Options, secure *tls.Config, network string) (*keeper, string) {
	t.Helper()
	k := &keeper{}
	o.Handler = k
	s, err := forward.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	at := "127.0.0.1:0"
	if network == "unix" {
		at = filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(network, at)
	if err != nil {
		t.Fatal(err)
	}
	at = l.Addr().String()
	if secure != nil {
		l = tls.NewListener(l, secure)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Shutdown(context.Background())
		if err := <-served; !errors.Is(err, forward.ErrClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return k, at
}

// users is a server's security with the key "key" and the user alice.
func users() *forward.Security {
	return &forward.Security{Hostname: "server", SharedKey: "key", UserAuth: true, Users: []forward.User{{Name: "alice", Password: "wonder"}}}
}

// TestSend: what a server acknowledged is what it has, each event once.
func TestSend(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "ours")
	server := &tls.Config{Certificates: []tls.Certificate{ca.issue("server", time.Hour)}}
	mutual := server.Clone()
	mutual.ClientAuth, mutual.ClientCAs = tls.RequireAndVerifyClientCert, ca.pool()
	client := &tls.Config{RootCAs: ca.pool()}
	shown := &tls.Config{RootCAs: ca.pool(), Certificates: []tls.Certificate{ca.issue("client", time.Hour)}}
	key := &forward.Security{Hostname: "server", SharedKey: "key"}
	alice := Options{SharedKey: "key", User: "alice", Password: "wonder", Hostname: "client"}
	for _, c := range []struct {
		name    string
		server  forward.Options
		tls     *tls.Config
		o       Options
		network string
	}{
		{"plain", forward.Options{}, nil, Options{}, "tcp"},
		{"socket", forward.Options{}, nil, Options{}, "unix"},
		{"no keepalive", forward.Options{DenyKeepalive: true}, nil, Options{Attempts: 1}, "tcp"},
		{"TLS", forward.Options{}, server, Options{TLS: client}, "tcp"},
		{"TLS, any certificate", forward.Options{}, server, Options{TLS: &tls.Config{InsecureSkipVerify: true}}, "tcp"},
		{"client certificate", forward.Options{}, mutual, Options{TLS: shown}, "tcp"},
		{"shared key", forward.Options{Security: key}, nil, Options{SharedKey: "key", Hostname: "client"}, "tcp"},
		{"shared key, socket", forward.Options{Security: key}, nil, Options{SharedKey: "key", Hostname: "client"}, "unix"},
		{"shared key, no keepalive", forward.Options{Security: key, DenyKeepalive: true}, nil, Options{SharedKey: "key", Hostname: "client", Attempts: 1}, "tcp"},
		{"user nobody asks for", forward.Options{Security: key}, nil, alice, "tcp"},
		{"user", forward.Options{Security: users()}, nil, alice, "tcp"},
		{"all", forward.Options{Security: users()}, mutual, Options{TLS: shown, SharedKey: "key", User: "alice", Password: "wonder", Hostname: "client"}, "tcp"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			k, at := listen(t, c.server, c.tls, c.network)
			c.o.Network, c.o.Address, c.o.Timeout = c.network, at, 2*time.Minute
			s, err := Dial(t.Context(), c.o)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			const n = 5
			for i := range n {
				if err := s.Send(t.Context(), "a.tag", time.Now(), map[string]any{"i": int64(i)}); err != nil {
					t.Fatalf("event %d: %v", i, err)
				}
			}
			k.mu.Lock()
			defer k.mu.Unlock()
			if got := strings.Join(k.tags, " "); got != strings.TrimSpace(strings.Repeat("a.tag ", n)) || len(k.ids) != n {
				t.Errorf("the server has %q with %d ids, want %d events", got, len(k.ids), n)
			}
		})
	}
}

// TestRefused: what keeps an event from being acknowledged is named, at once,
// and nothing arrives.
func TestRefused(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t, "ours"), newAuthority(t, "theirs")
	with := func(c tls.Certificate) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{c}} }
	server := with(ca.issue("server", time.Hour))
	mutual := server.Clone()
	mutual.ClientAuth, mutual.ClientCAs = tls.RequireAndVerifyClientCert, ca.pool()
	client := func(c ...tls.Certificate) *tls.Config { return &tls.Config{RootCAs: ca.pool(), Certificates: c} }
	old := client()
	old.MaxVersion = tls.VersionTLS12
	key := func(k, user, password string) Options {
		return Options{SharedKey: k, User: user, Password: password, Hostname: "client"}
	}
	for _, c := range []struct {
		name   string
		server *forward.Security
		tls    *tls.Config
		o      Options
		is     error
		says   string
	}{
		{"wrong key", users(), nil, key("kex", "alice", "wonder"), ErrSharedKey, "shared_key mismatch"},
		{"no key", users(), nil, Options{}, ErrSecured, ""},
		{"wrong password", users(), nil, key("key", "alice", "land"), ErrUser, "username/password mismatch"},
		{"unknown user", users(), nil, key("key", "bob", "wonder"), ErrUser, "username/password mismatch"},
		{"no user", users(), nil, key("key", "", ""), ErrUser, "username/password mismatch"},
		{"address", &forward.Security{Hostname: "server", SharedKey: "key", DenyAnonymous: true}, nil, key("key", "", ""), ErrDenied, "anonymous source host '127.0.0.1' denied"},
		{"own name", &forward.Security{Hostname: "client", SharedKey: "key"}, nil, key("key", "", ""), ErrSameName, `"client"`},
		{"key nobody asks for", nil, nil, Options{SharedKey: "key", Hostname: "client", Timeout: 3 * time.Second}, ErrNoHello, ""},
		{"wrong authority", nil, with(other.issue("stranger", time.Hour)), Options{TLS: client()}, ErrCertificate, "unknown authority (subject CN=stranger)"},
		{"expired", nil, with(ca.issue("old", -time.Minute)), Options{TLS: client()}, ErrCertificate, "certificate has expired"},
		{"other host", nil, server, Options{TLS: &tls.Config{RootCAs: ca.pool(), ServerName: "gateway.example"}}, ErrCertificate, "gateway.example"},
		{"TLS to a plain server", nil, nil, Options{TLS: client()}, ErrClosed, "TLS: "},
		{"TLS to a plain server with a key", users(), nil, Options{TLS: client()}, ErrPlain, ""},
		{"plain to a TLS server", nil, server, Options{}, ErrClosed, ""},
		{"no client certificate", users(), mutual, Options{TLS: client(), SharedKey: "key", Hostname: "client"}, ErrAlert, "certificate required"},
		{"no client certificate, no key", nil, mutual, Options{TLS: client()}, ErrAlert, "certificate required"},
		{"no client certificate, TLS 1.2", nil, mutual, Options{TLS: old}, ErrAlert, ""},
		{"expired client certificate", nil, mutual, Options{TLS: client(ca.issue("old client", -time.Minute))}, ErrAlert, "expired certificate"},
		{"strange client certificate", nil, mutual, Options{TLS: client(other.issue("strange client", time.Hour))}, ErrAlert, "certificate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			k, at := listen(t, forward.Options{Security: c.server}, c.tls, "tcp")
			c.o.Address, c.o.Pause = at, time.Millisecond
			if c.o.Timeout == 0 {
				c.o.Timeout = 2 * time.Minute
			}
			s, err := Dial(t.Context(), c.o)
			if err == nil {
				defer s.Close()
				err = s.Send(t.Context(), "a.tag", time.Now(), map[string]any{"a": "record"})
			}
			if !errors.Is(err, c.is) || !strings.Contains(fmt.Sprint(err), c.says) {
				t.Errorf("error %v, want %v with %q", err, c.is, c.says)
			}
			k.mu.Lock()
			defer k.mu.Unlock()
			if len(k.tags) != 0 {
				t.Errorf("the server keeps %d events", len(k.tags))
			}
		})
	}
}

// TestNobody: a server that is not there is named.
func TestNobody(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	l.Close()
	if _, err := Dial(t.Context(), Options{Address: at}); err == nil || !strings.Contains(err.Error(), at) {
		t.Errorf("error %v, want one that names %s", err, at)
	}
}

// TestCancelled: an end from outside does not wait for an ack.
func TestCancelled(t *testing.T) {
	t.Parallel()
	got := make(chan struct{})
	at, _ := lie(t, func(c net.Conn) {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			close(got)
		}
		io.Copy(io.Discard, c)
	})
	s, err := Dial(t.Context(), Options{Address: at, Timeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-got; cancel() }()
	if err := s.Send(ctx, "a.tag", time.Now(), map[string]any{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// TestCancelledHandshake: an end from outside does not wait for a handshake.
func TestCancelledHandshake(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	at, _ := lie(t, func(c net.Conn) {
		cancel()
		io.Copy(io.Discard, c)
	})
	if _, err := Dial(ctx, Options{Address: at, SharedKey: "key", Hostname: "client", Timeout: time.Hour}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
