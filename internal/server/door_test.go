package server

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
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/conf"
)

// A pair is a certificate that signed itself, in files.
type pair struct {
	cert, key string
	pool      *x509.CertPool
	tls       tls.Certificate
}

// newPair writes NAME.crt and NAME.key for a server at loopback, or a client.
func newPair(t *testing.T, dir, name string) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	p := pair{cert: filepath.Join(dir, name+".crt"), key: filepath.Join(dir, name+".key"), pool: x509.NewCertPool()}
	for file, block := range map[string]*pem.Block{p.cert: {Type: "CERTIFICATE", Bytes: der}, p.key: {Type: "EC PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	p.pool.AddCert(leaf)
	if p.tls, err = tls.LoadX509KeyPair(p.cert, p.key); err != nil {
		t.Fatal(err)
	}
	return p
}

// client trusts one certificate and shows those of its own.
func client(t *testing.T, trusted pair, own ...tls.Certificate) *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted.pool, Certificates: own}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

func startChanged(t *testing.T, change func(*conf.Config)) *Server {
	t.Helper()
	c := config(t, t.TempDir())
	change(c)
	s, err := Start(Options{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop(context.Background()) })
	return s
}

func TestHTTPS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := newPair(t, dir, "server")
	s := startChanged(t, func(c *conf.Config) { c.HTTP.TLS.CertFile, c.HTTP.TLS.KeyFile = first.cert, first.key })
	at := s.Addresses()
	if at.URL() != "https://"+at.HTTP || !at.TLS {
		t.Errorf("the address is %s", at.URL())
	}
	body := bytes.Repeat([]byte("over TLS\n"), 1<<20/9)
	for range 2 { // the second time on the same connection, in the first one's place
		c := client(t, first)
		req, err := http.NewRequest("PUT", at.URL()+"/streams/raw.tls", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode/100 != 2 {
			t.Fatal(answer.Status)
		}
		if answer, err = c.Get(at.URL() + "/streams/raw.tls"); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("%d bytes came back, or others: %v", len(got), err)
		}
	}

	second := newPair(t, dir, "server") // takes the first one's place, without a restart
	deadline := time.Now().Add(patience)
	for {
		answer, err := client(t, second).Get(at.URL() + "/health")
		if err == nil {
			answer.Body.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the new certificate is not shown: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestAClientThatSpeaksNoTLSIsTold(t *testing.T) {
	t.Parallel()
	p := newPair(t, t.TempDir(), "server")
	s := startChanged(t, func(c *conf.Config) { c.HTTP.TLS.CertFile, c.HTTP.TLS.KeyFile = p.cert, p.key })
	at := s.Addresses()
	answer, err := http.Get("http://" + at.HTTP + "/health")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	if answer.StatusCode != 400 || !strings.Contains(string(text), "https") || err != nil {
		t.Errorf("%s %q, %v", answer.Status, text, err)
	}
	if n := s.http.Stats().Refused["tls-handshake"]; n != 1 {
		t.Errorf("%d handshakes are counted as failed", n)
	}
}

func TestClientCertificates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server, known, strange := newPair(t, dir, "server"), newPair(t, dir, "known"), newPair(t, dir, "strange")
	s := startChanged(t, func(c *conf.Config) {
		c.HTTP.TLS = conf.TLS{CertFile: server.cert, KeyFile: server.key, ClientCAFile: known.cert, MinVersion: "1.2"}
	})
	for _, c := range []struct {
		name  string
		certs []tls.Certificate
		ok    bool
	}{{"known", []tls.Certificate{known.tls}, true}, {"strange", []tls.Certificate{strange.tls}, false}, {"none", nil, false}} {
		answer, err := client(t, server, c.certs...).Get(s.Addresses().URL() + "/health")
		if err == nil {
			answer.Body.Close()
		}
		if (err == nil) != c.ok {
			t.Errorf("a client with certificate %s: %v", c.name, err)
		}
	}
}

func TestUsersOfTheConfiguration(t *testing.T) {
	t.Parallel()
	c, found := conf.Parse("users.yaml", []byte(policyFile), conf.Source{})
	if len(found) > 0 {
		t.Fatal(found)
	}
	c.HTTP.Users = []conf.HTTPUser{{Username: "alice", Rights: []string{"ingest"}, Policies: []string{"numbers"}}}
	c.Data = t.TempDir()
	if _, err := Start(Options{Config: c}); err == nil || !strings.Contains(err.Error(), "http.users") {
		t.Errorf("a user without a password: %v", err)
	}
	c, found = conf.Parse("users.yaml", []byte(strings.Replace(policyFile, `http: {listen: "127.0.0.1:0"}`, `
http:
  listen: "127.0.0.1:0"
  users: [{username: alice, password: "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", policies: [numbers]}]
`, 1)), conf.Source{})
	if len(found) > 0 {
		t.Fatal(found)
	}
	c.Data = t.TempDir()
	s, err := Start(Options{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop(context.Background()) })
	for _, q := range []struct {
		password, policy string
		status           int
	}{{"U*U", "numbers", 204}, {"U*u", "numbers", 401}, {"U*U", "raw", 403}} {
		target := "/portal_ingestion_policies/" + q.policy + "/ingest?reference=" + q.policy + ".a"
		req, err := http.NewRequest("POST", "http://"+s.Addresses().HTTP+target, strings.NewReader("1\n"))
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("alice", q.password)
		answer, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != q.status {
			t.Errorf("%+v: %s", q, answer.Status)
		}
	}
}
