package main

import (
	"crypto/tls"
	"crypto/x509"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/slap/authority"
	"weir/slap/master"
	"weir/streams"
)

// TestSlapConfigureClient: a person gets a certificate, by which the other
// commands are known until it is revoked.
func TestSlapConfigureClient(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store, err := streams.Open(filepath.Join(dir, "data"), streams.Options{SegmentBytes: 1 << 20, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	a, err := authority.Open(filepath.Join(dir, "slap"), nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := master.New(master.Options{Streams: store, Authority: a, Access: master.Access{Token: "secret"}})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := a.Listener([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(m)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: a.Pool()}
	s.StartTLS()
	t.Cleanup(s.Close)
	ca, token, cfg := filepath.Join(dir, "slap", authority.CertificateFile), filepath.Join(dir, "token"), filepath.Join(dir, "home", "client.cfg")
	for name, text := range map[string]string{token: "secret\n", filepath.Join(dir, "empty"): ""} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	configure := []string{"configure", "client", "--master-url", s.URL, "--cfg", cfg}
	for _, c := range []struct {
		args []string
		code int
		text string
	}{
		{[]string{"configure"}, 0, "local"},
		{[]string{"configure", "client", "--cfg", cfg}, 1, "--master-url is missing"},
		{append(configure, "--ca", ca), 1, "one of --token and --token-file"},
		{append(configure, "--ca", ca, "--token-file", filepath.Join(dir, "empty")), 1, "is empty"},
		{append(configure, "--ca", ca, "--token", "wrong"), 1, "403"},
		{append(configure, "--token", "secret"), 1, "certificate"},
		{append(configure, "--ca", ca, "--token-file", token), 0, "wrote " + cfg},
		{append(configure, "--ca", ca, "--token-file", token), 1, "is there"},
		{[]string{"list", "--cfg", cfg}, 0, ""},
		{[]string{"show", "--cfg", cfg}, 0, "certificate  user  user-1"},
		{[]string{"revoke", "planet", "x", "--cfg", cfg}, 1, "names no certificate"},
		{[]string{"revoke", "instance", "x", "--cfg", cfg}, 1, "names no certificate"},
		{[]string{"revoke", "user", "user-9", "--cfg", cfg}, 1, "has no certificate"},
		{[]string{"revoke", "user", "user-1", "--cfg", cfg}, 0, "is revoked"},
		{[]string{"list", "--cfg", cfg}, 1, "was revoked"},
		{[]string{"list", "--cfg", filepath.Join(dir, "absent")}, 1, "no such file"},
	} {
		if out, code := slapRun(t, "", c.args...); code != c.code || !strings.Contains(out, c.text) {
			t.Errorf("weir slap %s: %d %s; want %d and %q", strings.Join(c.args, " "), code, out, c.code, c.text)
		}
	}
	for _, name := range []string{cfg, filepath.Join(dir, "home", "client.key")} {
		if i, err := os.Stat(name); err != nil || i.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, i, err)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "home", "client.crt"))
	if err != nil || !x509.NewCertPool().AppendCertsFromPEM(b) {
		t.Errorf("the certificate: %v", err)
	}
}

// TestSlapConfigureLocal: the files are what the master and the tools read, and
// are not replaced.
func TestSlapConfigureLocal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	args := []string{"configure", "local", "--slapos-instance-root", at("inst"), "--slapos-software-root", at("soft"), "--slapos-buildout-directory", at("home"),
		"--slapos-configuration-directory", at("etc"), "--daemon-listen-port", "5055", "--partition-number", "3"}
	if out, code := slapRun(t, "", append(args, "--partition-number", "0")...); code != 1 || !strings.Contains(out, "one at least") {
		t.Errorf("without partitions: %d %s", code, out)
	}
	out, code := slapRun(t, "", args...)
	if code != 0 || !strings.Contains(out, "weir slap master --cfg "+at("etc/slapos-proxy.cfg")) {
		t.Fatalf("%d %s", code, out)
	}
	c, err := master.LoadConfig(at("etc/slapos-proxy.cfg"))
	if err != nil || c.Listen != "127.0.0.1:5055" || c.Computer != "local_computer" || c.Data != at("home/slapproxy.db.weir") {
		t.Errorf("%+v, %v", c, err)
	}
	b, err := os.ReadFile(at("etc/slapos.cfg"))
	if err != nil || !strings.Contains(string(b), "master_url = http://127.0.0.1:5055/\n") || !strings.Contains(string(b), "partition_amount = 3\n") || strings.Contains(string(b), "{") {
		t.Errorf("%s, %v", b, err)
	}
	if out, code := slapRun(t, "", args...); code != 1 || !strings.Contains(out, "is there") {
		t.Errorf("again: %d %s", code, out)
	}
}
