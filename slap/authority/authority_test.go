package authority

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func open(t *testing.T, dir string) *Authority {
	t.Helper()
	a, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// verified gives the chain of a certificate, which has to end at the authority.
func verified(t *testing.T, a *Authority, certificate string, usage x509.ExtKeyUsage) []*x509.Certificate {
	t.Helper()
	c, err := parse([]byte(certificate))
	if err != nil {
		t.Fatal(err)
	}
	chains, err := c.Verify(x509.VerifyOptions{Roots: a.Pool(), KeyUsages: []x509.ExtKeyUsage{usage}})
	if err != nil {
		t.Fatal(err)
	}
	return chains[0]
}

// TestIssue: what is issued is verified by the authority, also by the same one
// opened again, belongs to its key, and bears its number.
func TestIssue(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := open(t, dir)
	serial, err := NewSerial()
	if err != nil {
		t.Fatal(err)
	}
	certificate, key, err := a.Issue(serial, Instance, "COMP-1-slappart0")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(certificate, "Subject: O=weir, OU=instance, CN=COMP-1-slappart0/email") {
		t.Errorf("the text before the certificate: %.60q", certificate)
	}
	if _, err := tls.X509KeyPair([]byte(certificate), []byte(key)); err != nil {
		t.Errorf("certificate and key: %v", err)
	}
	again := open(t, dir)
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
		chain := verified(t, again, certificate, usage)
		if !again.Issued(chain) || Serial(chain[0]) != serial {
			t.Errorf("issued %v, number %s, want %s", again.Issued(chain), Serial(chain[0]), serial)
		}
	}
	if same, err := again.Key(serial); err != nil || same != key {
		t.Errorf("the key of the same number is another one: %v", err)
	}
	if other, err := again.Key(strings.Repeat("41", 16)); err != nil || other == key {
		t.Errorf("the key of another number is the same: %v", err)
	}
	stranger := open(t, t.TempDir())
	if chain := verified(t, again, certificate, x509.ExtKeyUsageClientAuth); stranger.Issued(chain) || stranger.Issued(chain[:1]) {
		t.Error("another authority takes it for its own")
	}
	i, err := os.Stat(filepath.Join(dir, KeyFile))
	if err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", i.Mode(), err)
	}
}

// TestListener: a server's certificate names what it is reached by, and does
// not count as a client's.
func TestListener(t *testing.T) {
	t.Parallel()
	a := open(t, t.TempDir())
	pair, err := a.Listener([]string{"localhost", "::1", ""})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := leaf.VerifyHostname("::1"); err != nil {
		t.Error(err)
	}
	if err := leaf.VerifyHostname("other.example"); err == nil {
		t.Error("it is good for any name")
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: a.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err == nil {
		t.Error("it is good for a client")
	}
}

// TestHalfMade: a key without its certificate is what a crash leaves, and is
// used; files that do not belong together, or are none, are told.
func TestHalfMade(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open(t, dir)
	key, crt := filepath.Join(dir, KeyFile), filepath.Join(dir, CertificateFile)
	before, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(crt); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
	if after, err := os.ReadFile(key); err != nil || string(after) != string(before) {
		t.Errorf("the key was made anew: %v", err)
	}
	for name, change := range map[string]func(){
		"another key": func() { os.Remove(key) },
		"no key":      func() { os.WriteFile(key, []byte("x"), 0o600) },
		"a broken key": func() {
			os.WriteFile(key, []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), 0o600)
		},
		"no certificate":  func() { os.WriteFile(key, before, 0o600); os.WriteFile(crt, []byte("x"), 0o600) },
		"a folder for it": func() { os.Remove(crt); os.Mkdir(crt, 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			os.WriteFile(key, before, 0o600)
			os.RemoveAll(crt)
			open(t, dir)
			change()
			if _, err := Open(dir, nil); err == nil || !strings.Contains(err.Error(), "authority: ") {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestToken: a registration token counts for its time, and only as it is.
func TestToken(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	a := open(t, t.TempDir())
	a.now = func() time.Time { return now }
	token := a.Token()
	if !a.CheckToken(token) {
		t.Errorf("%q is refused", token)
	}
	for _, bad := range []string{"", "x", token[1:], token + "a", "b" + token[1:], open(t, t.TempDir()).Token()} {
		if bad != token && a.CheckToken(bad) {
			t.Errorf("%q is taken", bad)
		}
	}
	now = now.Add(tokenLasts + time.Second)
	if a.CheckToken(token) {
		t.Error("it is taken when its time is over")
	}
}
