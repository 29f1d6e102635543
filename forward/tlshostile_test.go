package forward

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"

	"strings"
	"syscall"
	"testing"
	"time"
)

// TestTLSReloadAgain: changed files that could not be read for a reason that
// passes, such as too many open files, are read once it has passed, though
// they do not change again; and a reason is told once.
func TestTLSReloadAgain(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "authority")
	ca.issue("server", time.Hour)
	var log lockedBuffer
	r, err := TLS{CertFile: ca.path("server.crt"), KeyFile: ca.path("server.key")}.open(slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	r.patience = 2 * time.Minute
	first := r.config.Load()
	read, fails := r.read, true
	r.read = func() (*tls.Config, error) {
		if fails {
			return nil, syscall.EMFILE
		}
		return read()
	}
	ca.issue("server", 2*time.Hour)
	for range 3 {
		if looked(t, r) != first {
			t.Error("what could not be read took effect")
		}
	}
	if n := strings.Count(log.String(), "the former ones stay"); n != 1 {
		t.Errorf("told %d times: %q", n, log.String())
	}
	fails = false
	if looked(t, r) == first || !strings.Contains(log.String(), "read changed TLS files") {
		t.Errorf("the new certificate is not used; log %q", log.String())
	}
	if c := r.config.Load(); looked(t, r) != c {
		t.Error("files that did not change were read again")
	}
}

// looked gives the configuration for a client that comes when it is time to
// look at the files.
func looked(t *testing.T, r *reloader) *tls.Config {
	t.Helper()
	r.mu.Lock()
	r.looked = time.Time{}
	r.mu.Unlock()
	c, err := r.get(nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestTLSReloadHangs: clients are served with the former files while a disk
// does not answer.
func TestTLSReloadHangs(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "authority")
	ca.issue("server", time.Hour)
	r, err := TLS{CertFile: ca.path("server.crt"), KeyFile: ca.path("server.key")}.open(nil)
	if err != nil {
		t.Fatal(err)
	}
	r.patience = time.Millisecond
	first, read := r.config.Load(), r.read
	disk, begun := make(chan struct{}), make(chan struct{}, 8)
	r.read = func() (*tls.Config, error) {
		begun <- struct{}{}
		<-disk
		return read()
	}
	ca.issue("server", 2*time.Hour)
	for range 3 {
		if looked(t, r) != first {
			t.Error("the new certificate is used before it is read")
		}
	}
	<-begun
	r.mu.Lock()
	loading := r.loading
	r.mu.Unlock()
	close(disk)
	<-loading
	if c, err := r.get(nil); err != nil || c == first || len(begun) > 0 {
		t.Errorf("new configuration %v, %v; read %d times more", c != first, err, len(begun))
	}
}

// TestTLSAlertArrives: a client without the certificate that it needs is told
// so, also when it has sent messages already, as clients of TLS 1.3 do.
func TestTLSAlertArrives(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "authority")
	ca.issue("server", time.Hour)
	k := &keeper{}
	s, err := NewServer(Options{Handler: k, Linger: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	raw := dialTLS(t, s, TLS{CertFile: ca.path("server.crt"), KeyFile: ca.path("server.key"), ClientCAFile: ca.path("authority.pem")})
	raw.SetDeadline(time.Now().Add(2 * time.Minute))
	// The end of the client's handshake and its messages leave in one write, so
	// that messages wait when the server refuses.
	held := &heldWrites{Conn: raw}
	c := tls.Client(held, &tls.Config{RootCAs: ca.pool(), ServerName: "127.0.0.1", MinVersion: tls.VersionTLS13})
	held.from = 2
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	message := pack(list{"t", at, pairs{"a", strings.Repeat("a", 1<<20)}, chunk})
	if _, err := c.Write(message); err != nil {
		t.Fatal(err)
	}
	if _, err := raw.Write(held.bytes); err != nil {
		t.Errorf("the server does not hear the client out: %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("the client is told %v", err)
	}
	if _, err := raw.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the connection ends with %v, not in order", err)
	}
	raw.Close()
	s.done.Wait()
	if len(k.kept()) > 0 {
		t.Error("a client without a certificate had messages kept")
	}
}

// heldWrites keeps what is written, from one write on.
type heldWrites struct {
	net.Conn
	writes, from int
	bytes        []byte
}

func (h *heldWrites) Write(b []byte) (int, error) {
	if h.writes++; h.writes < h.from {
		return h.Conn.Write(b)
	}
	h.bytes = append(h.bytes, b...)
	return len(b), nil
}

// TestLongSubject: the certificate of a stranger makes no long line of the log.
func TestLongSubject(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t, "authority"), newAuthority(t, "other authority")
	ca.issue("server", time.Hour)
	der, key := other.make(strings.Repeat("long ", 4000), time.Hour, other.cert)
	var log lockedBuffer
	s, err := NewServer(Options{Handler: &keeper{}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	config, err := TLS{CertFile: ca.path("server.crt"), KeyFile: ca.path("server.key"), ClientCAFile: ca.path("authority.pem")}.Config(nil)
	if err != nil {
		t.Fatal(err)
	}
	client, server := newPipe()
	s.slots <- struct{}{}
	s.start(tls.Server(server, config))
	c := tls.Client(client, &tls.Config{RootCAs: ca.pool(), ServerName: "127.0.0.1", GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil // though the server does not ask for its authority
	}})
	c.Handshake()
	c.Read(make([]byte, 1))
	client.Close()
	s.done.Wait()
	if !strings.Contains(log.String(), "subject CN=long") || len(log.String()) > 2000 {
		t.Errorf("log of %d bytes: %.200q", len(log.String()), log.String())
	}
}
