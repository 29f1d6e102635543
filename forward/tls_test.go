package forward

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// An authority signs certificates for a test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// newAuthority makes one, with its certificate in the file NAME.pem.
func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	der, key := a.make(name, time.Hour, nil)
	a.key = key
	a.cert, _ = x509.ParseCertificate(der)
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	a.write(name+".pem", a.pem)
	return a
}

func (a *authority) write(name string, b []byte) {
	a.t.Helper()
	if err := os.WriteFile(a.path(name), b, 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

// make signs a certificate that is valid for a time from an hour ago on.
func (a *authority) make(name string, valid time.Duration, parent *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<60))
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(valid),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  parent == nil,
		BasicConstraintsValid: true,
	}
	signer := a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	return der, key
}

// issue writes NAME.crt and NAME.key.
func (a *authority) issue(name string, valid time.Duration) {
	a.t.Helper()
	der, key := a.make(name, valid, a.cert)
	b, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	a.write(name+".key", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: b}))
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

func (a *authority) load(name string) tls.Certificate {
	a.t.Helper()
	c, err := tls.LoadX509KeyPair(a.path(name+".crt"), a.path(name+".key"))
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t, "authority"), newAuthority(t, "other authority")
	ca.issue("server", time.Hour)
	ca.issue("client", time.Hour)
	ca.issue("late client", -time.Minute)
	other.issue("strange client", time.Hour)
	plain := TLS{CertFile: ca.path("server.crt"), KeyFile: ca.path("server.key")}
	mutual := plain
	mutual.ClientCAFile = ca.path("authority.pem")
	old, recent := mutual, mutual
	old.MaxVersion, recent.MinVersion = tls.VersionTLS12, tls.VersionTLS13
	client := func(c ...tls.Certificate) *tls.Config { return &tls.Config{RootCAs: ca.pool(), Certificates: c} }
	only := func(v uint16) *tls.Config {
		c := client(ca.load("client"))
		c.MinVersion, c.MaxVersion = v, v
		return c
	}
	for _, c := range []struct {
		name   string
		server TLS
		client *tls.Config
		ok     bool
		log    string
	}{
		{"plain", plain, client(), true, ""},
		{"wrong authority", plain, &tls.Config{RootCAs: other.pool()}, false, "check=tls"},
		{"client certificate", mutual, client(ca.load("client")), true, ""},
		{"no client certificate", mutual, client(), false, "didn't provide a certificate"},
		{"expired client certificate", mutual, client(ca.load("late client")), false, "subject CN=late client"},
		{"client of another authority", mutual, client(other.load("strange client")), false, ""},
		{"1.2 with 1.2", old, only(tls.VersionTLS12), true, ""},
		{"1.3 with 1.3", recent, only(tls.VersionTLS13), true, ""},
		{"1.3 with 1.2", old, only(tls.VersionTLS13), false, "check=tls"},
		{"1.2 with 1.3", recent, only(tls.VersionTLS12), false, "check=tls"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var log lockedBuffer
			k := &keeper{}
			s, err := NewServer(Options{Handler: k, Security: &Security{Hostname: "server", SharedKey: "key"}, Log: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			raw := dialTLS(t, s, c.server)
			c.client.ServerName = "127.0.0.1"
			got := secured(t, tls.Client(raw, c.client))
			if ok := string(got) == ack("id"); ok != c.ok || ok != (len(k.kept()) == 1) {
				t.Errorf("answer %q, kept %d", got, len(k.kept()))
			}
			raw.Close()
			s.done.Wait()
			if c.ok != (log.String() == "") || !strings.Contains(log.String(), c.log) {
				t.Errorf("log %q, want %q", log.String(), c.log)
			}
			if n := s.Stats(); (n.Handshakes["tls"] == 1) == c.ok {
				t.Errorf("stats %+v", n)
			}
		})
	}
}

// dialTLS has a server listen with certificates, and connects to it; of the
// client's TLS nothing is done yet.
func dialTLS(t *testing.T, s *Server, files TLS) net.Conn {
	t.Helper()
	config, err := files.Config(nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go s.Serve(tls.NewListener(l, config))
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	return raw
}

// secured makes the handshake over TLS, sends a message and gives its ack.
func secured(t *testing.T, c *tls.Conn) []byte {
	t.Helper()
	c.SetDeadline(time.Now().Add(2 * time.Minute))
	helo := make([]byte, 65)
	if _, err := io.ReadFull(c, helo); err != nil {
		return nil
	}
	c.Write(append(pinged(helo[15:31], helo[38:54], "key", "", ""), pack(list{"t", at, record(1), chunk})...))
	c.CloseWrite()
	all, err := io.ReadAll(c)
	if err != nil {
		t.Errorf("the server did not close in order: %v", err)
	}
	return bytes.TrimPrefix(all, pong("", "server", hexDigest([]byte("salt\xff"), []byte("server"), helo[15:31], []byte("key"))))
}

// TestTLSShutdownDuringHandshake has a sender without acks that has all of the
// server's part of the handshake, and whose own end of it, and message, come
// only when the shutdown has begun.
func TestTLSShutdownDuringHandshake(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "authority")
	ca.issue("server", time.Hour)
	k := &keeper{}
	s, err := NewServer(Options{Handler: k})
	if err != nil {
		t.Fatal(err)
	}
	s.quiet = time.Minute
	config, err := TLS{CertFile: ca.path("server.crt"), KeyFile: ca.path("server.key"), MinVersion: tls.VersionTLS13}.Config(nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(tls.NewListener(l, config)) }()
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	slow := &slowSender{Conn: raw, waits: make(chan struct{}), gate: make(chan struct{})}
	sent := make(chan error, 1)
	go func() {
		c := tls.Client(slow, &tls.Config{RootCAs: ca.pool(), ServerName: "127.0.0.1"})
		_, err := c.Write(pack(list{"t", at, record(1)}))
		sent <- errors.Join(err, c.Close())
	}()
	<-slow.waits
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(context.Background()) }()
	<-s.drained
	s.mu.Lock() // until the connections have their deadline
	close(slow.gate)
	s.mu.Unlock()
	if err := <-sent; err != nil {
		t.Errorf("sender: %v", err)
	}
	if err := <-down; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-served; !errors.Is(err, ErrClosed) || len(k.kept()) != 1 {
		t.Errorf("Serve: %v; kept %d of 1", err, len(k.kept()))
	}
}

// A slowSender's second write waits, and what follows it.
type slowSender struct {
	net.Conn
	writes      int
	waits, gate chan struct{}
}

func (s *slowSender) Write(b []byte) (int, error) {
	if s.writes++; s.writes == 2 {
		close(s.waits)
		<-s.gate
	}
	return s.Conn.Write(b)
}

func TestTLSReload(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "authority")
	ca.issue("server", time.Hour)
	var log lockedBuffer
	r, err := TLS{CertFile: ca.path("server.crt"), KeyFile: ca.path("server.key")}.open(slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	r.patience = 2 * time.Minute
	get := func() []byte { return looked(t, r).Certificates[0].Certificate[0] }
	first := get()
	ca.write("server.crt", []byte("no certificate"))
	if !bytes.Equal(get(), first) || !strings.Contains(log.String(), "the former ones stay") {
		t.Errorf("a broken file took effect; log %q", log.String())
	}
	lines := strings.Count(log.String(), "\n")
	if get(); strings.Count(log.String(), "\n") != lines {
		t.Errorf("told again: %q", log.String())
	}
	ca.issue("server", 2*time.Hour)
	if bytes.Equal(get(), first) || !strings.Contains(log.String(), "read changed TLS files") {
		t.Errorf("the new certificate is not used; log %q", log.String())
	}
}

func TestTLSNamed(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "authority")
	ca.issue("server", time.Hour)
	good := TLS{CertFile: ca.path("server.crt"), KeyFile: ca.path("server.key")}
	for want, change := range map[string]func(*TLS){
		"cert_path":        func(c *TLS) { c.CertFile = "" },
		"private_key_path": func(c *TLS) { c.KeyFile = "" },
		"min_version":      func(c *TLS) { c.MinVersion = tls.VersionTLS11 },
		"max_version":      func(c *TLS) { c.MaxVersion = 7 },
		"nosuch.crt":       func(c *TLS) { c.CertFile = ca.path("nosuch.crt") },
		"nosuch.pem":       func(c *TLS) { c.ClientCAFile = ca.path("nosuch.pem") },
		"no certificate":   func(c *TLS) { c.ClientCAFile = ca.path("server.key") },
	} {
		c := good
		change(&c)
		if _, err := c.Config(nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if bad := (TLS{CertFile: "c", KeyFile: "k", MinVersion: tls.VersionTLS13, MaxVersion: tls.VersionTLS12}).Validate(); bad["min_version"] == nil {
		t.Error("a range that is empty is taken")
	}
}
