package conf

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certificate writes a certificate of its own that holds until the time, and
// its key.
func certificate(t *testing.T, dir string, until time.Time) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: until.Add(-time.Hour), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return writePEM(t, filepath.Join(dir, "crt.pem"), "CERTIFICATE", der), writePEM(t, filepath.Join(dir, "key.pem"), "PRIVATE KEY", secret)
}

func writePEM(t *testing.T, name, kind string, der []byte) string {
	t.Helper()
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// parseFor gives a configuration that is checked against the machine.
func parseFor(t *testing.T, format string, args ...any) *Config {
	t.Helper()
	c, ds := Parse("f.yaml", fmt.Appendf(nil, format, args...), testSource())
	if ds != nil {
		t.Fatal(ds)
	}
	return c
}

func TestCheckGood(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := certificate(t, dir, time.Now().Add(time.Hour))
	c := parseFor(t, `
data: %s/not/there/yet
http: {listen: "127.0.0.1:0"}
forward:
  listen: "127.0.0.1:0"
  unix: %[1]s/weir.sock
  tls: {cert_file: %s, key_file: %s, client_ca_file: %[2]s}
`, dir, cert, key)
	if ds := Check(c); ds != nil {
		t.Error(ds)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("the check left %v, %v", left, err)
	}
}

func TestCheckBad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	cert, key := certificate(t, dir, time.Now().Add(-time.Hour))
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	sock, err := net.Listen("unix", filepath.Join(dir, "taken.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	for _, c := range []struct{ text, want string }{
		{"data: " + file, "f.yaml:3:7: data: " + file + " cannot be written"},
		{"data: " + file + "/below", "f.yaml:3:7: data: "},
		{"http: {listen: '" + taken.Addr().String() + "'}", "f.yaml:3:16: http.listen: " + taken.Addr().String() + " cannot be bound"},
		{"forward: {listen: '192.0.2.1:1'}", "f.yaml:3:19: forward.listen[0]: 192.0.2.1:1 cannot be bound"},
		{"forward: {listen: [], unix: " + file + "}", "forward.unix: " + file + " is there and no socket"},
		{"forward: {listen: [], unix: " + dir + "/taken.sock}", "forward.unix: another process listens"},
		{"forward: {listen: [], tls: {cert_file: " + cert + ", key_file: " + key + "}}", "forward.tls.cert_file: the certificate expired"},
		{"forward: {listen: [], tls: {cert_file: " + key + ", key_file: " + cert + "}}", "forward.tls.cert_file: certificate and key cannot be used"},
		{"forward: {listen: [], tls: {cert_file: a, key_file: b, client_ca_file: " + file + "}}", "holds no certificate"},
		{"forward: {listen: [], tls: {cert_file: a, key_file: b, client_ca_file: no-such-file}}", "client_ca_file: open no-such-file"},
	} {
		base := "\n\n"
		if !strings.Contains(c.text, "http:") {
			c.text += "\nhttp: {listen: '127.0.0.1:0'}"
		}
		if !strings.Contains(c.text, "forward:") {
			c.text += "\nforward: {listen: []}"
		}
		if !strings.Contains(c.text, "data:") {
			c.text += "\ndata: " + dir
		}
		if ds := Check(parseFor(t, "%s", base+c.text)); !strings.Contains(ds.Error(), c.want) {
			t.Errorf("%s:\ngot  %v\nwant %s", c.text, ds, c.want)
		}
	}
}

// Two listeners of one address are found, though each is free.
func TestCheckSameAddress(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	c := parseFor(t, "data: %s\nhttp: {listen: '%s'}\nforward: {listen: '%[2]s', udp_heartbeat: false}", t.TempDir(), address)
	if ds := Check(c); len(ds) != 1 || !strings.Contains(ds.Error(), "f.yaml:3:19: forward.listen[0]") {
		t.Errorf("got %v", ds)
	}
}

// What the machine lacks is told at once, secrets and all else, in the order
// of the file; of a file with mistakes in itself only those are told.
func TestVerify(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "f.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("http: {listen: 127.0.0.1:0}\nforward:\n  listen: []\n  tls: {cert_file: /none/crt, key_file: /none/key}\n" +
		"  security: {self_hostname: x, shared_key: file:none}\npolicies: [{name: a, match: \"**\"}]\n")
	_, found := Verify(file, Source{})
	if len(found) != 2 || found[0].Line != 4 || found[1].Line != 5 {
		t.Errorf("found %v, not the certificate in line 4 and the secret in line 5", found)
	}
	write("http: {listen: nowhere}\nforward: {tls: {cert_file: /none/crt, key_file: /none/key}}\n")
	if _, found = Verify(file, Source{}); len(found) != 1 || found[0].Line != 1 {
		t.Errorf("found %v, not the address in line 1", found)
	}
}
