package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// real gives the command of a program that no registry has, or skips.
func real(t *testing.T, variable, name string) []string {
	t.Helper()
	if v := os.Getenv(variable); v != "" {
		return strings.Fields(v)
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("no %s on PATH and %s is not set; no package registry has it", name, variable)
	}
	return []string{path}
}

const fluentdConfig = `
<system>
  log_level info
</system>
<source>
  @type tail
  path DIR/in.log
  pos_file DIR/in.pos
  tag TAG
  read_from_head true
  refresh_interval 1s
  <parse>
    @type none
  </parse>
</source>
<match **>
  @type forward
  require_ack_response true
  ack_response_timeout 5s
  EXTRA
  <buffer tag>
    @type BUFFER
    flush_mode interval
    flush_interval 0.2s
    flush_thread_count 2
    retry_type periodic
    retry_wait 0.2s
  </buffer>
  <server>
    host HOST
    port PORT
    SERVER
  </server>
  MORE
</match>
`

// fluentdSecure is what a server with TLS, a shared key and users asks of fluentd.
const fluentdSecure = `transport tls
  tls_ca_cert_path CERT
  tls_verify_hostname false
  <security>
    self_hostname sender
    shared_key a key of some length
  </security>`

// fluentdUser goes with it, to the server.
const fluentdUser = "username alice\n    password a password of hers"

// TestFluentd: a real fluentd sends a file with acknowledgements, mostly while
// weir is killed; every line arrives once.
func TestFluentd(t *testing.T) {
	t.Parallel()
	command := real(t, "WEIR_FLUENTD", "fluentd")
	for _, c := range []struct {
		name, extra, server, buffer string
		kill                        bool
	}{
		{"memory", "heartbeat_type none", "", "memory", true},
		{"gzip-file", "heartbeat_type none\n  compress gzip", "", "file\n    path DIR/buffer", true},
		{"zstd", "heartbeat_type none\n  compress zstd", "", "memory", true},
		{"udp", "heartbeat_type udp\n  recover_wait 1s\n  keepalive true", "", "memory", false},
		{"secure", "heartbeat_type none\n  " + fluentdSecure, fluentdUser, "memory", true},
		{"secure-keepalive", "heartbeat_type transport\n  recover_wait 1s\n  keepalive true\n  " + fluentdSecure, fluentdUser, "memory", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.name == "zstd" && !atLeast(t, command, 1, 19) {
				t.Skip("fluentd has zstd since 1.19")
			}
			var args []string
			cert := ""
			if strings.HasPrefix(c.name, "secure") {
				cert, args = secured(t)
			}
			w := start(t, args...)
			config := strings.NewReplacer("EXTRA", c.extra, "BUFFER", c.buffer, "SERVER", c.server, "MORE", "").Replace(fluentdConfig)
			config = strings.ReplaceAll(config, "CERT", cert)
			tailFile(t, w, "fluentd."+c.name, config, append(command, "--no-supervisor", "-c"), c.kill)
		})
	}
}

// atLeast tells whether the program says that its version is major.minor or later.
func atLeast(t *testing.T, command []string, major, minor int) bool {
	t.Helper()
	out, err := exec.Command(command[0], append(command[1:], "--version")...).Output()
	if err != nil {
		t.Fatalf("%s --version: %v", command[0], err)
	}
	m := regexp.MustCompile(`(\d+)\.(\d+)`).FindSubmatch(out)
	if m == nil {
		t.Fatalf("%s --version says %q", command[0], out)
	}
	a, _ := strconv.Atoi(string(m[1]))
	b, _ := strconv.Atoi(string(m[2]))
	return a > major || a == major && b >= minor
}

// secured gives a certificate's file, and the arguments for a forward listener
// with it, a shared key and a user.
func secured(t *testing.T) (cert string, args []string) {
	t.Helper()
	return securedFor(t, time.Hour)
}

// securedFor does so with a certificate that is valid for a time from an hour
// ago on.
func securedFor(t *testing.T, valid time.Duration) (cert string, args []string) {
	t.Helper()
	cert, key := selfSigned(t, valid)
	config := filepath.Join(filepath.Dir(cert), "secure.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, `forward:
  tls: {cert_file: %s, key_file: %s}
  security:
    self_hostname: receiver
    shared_key: a key of some length
    user_auth: true
    users: [{username: alice, password: a password of hers}]
`, cert, key), 0o600); err != nil {
		t.Fatal(err)
	}
	return cert, []string{"--config", config}
}

// selfSigned gives the files of a certificate for this machine and of its key.
func selfSigned(t *testing.T, valid time.Duration) (cert, key string) {
	t.Helper()
	dir := t.TempDir()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "receiver"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(valid),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, b []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", encoded)
}

const fluentBitConfig = `
[SERVICE]
    Flush 0.2
    Grace 2
    Log_Level info
    scheduler.base 1
    scheduler.cap 2
[INPUT]
    Name tail
    Path DIR/in.log
    Tag TAG
    Read_from_Head On
    DB DIR/in.db
    Key message
[OUTPUT]
    Name forward
    Match *
    Host HOST
    Port PORT
    Retry_Limit False
    EXTRA
`

// TestFluentBit: a real Fluent Bit, with its defaults and with
// acknowledgements; the latter while weir is killed. It gives a chunk another
// id when it repeats it, so that a line may come twice then.
func TestFluentBit(t *testing.T) {
	t.Parallel()
	command := real(t, "WEIR_FLUENT_BIT", "fluent-bit")
	for _, c := range []struct {
		name, extra string
		kill        bool
	}{
		{"default", "", false},
		{"ack", "Require_ack_response On", true},
		{"gzip", "Require_ack_response On\n    Compress gzip", false},
		{"secure", "Require_ack_response On\n    tls On\n    tls.verify On\n    tls.ca_file CERT\n" +
			"    Shared_Key a key of some length\n    Self_Hostname sender\n    Username alice\n    Password a password of hers", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var args []string
			cert := ""
			if c.name == "secure" {
				cert, args = secured(t)
			}
			w := start(t, args...)
			config := strings.NewReplacer("EXTRA", c.extra).Replace(fluentBitConfig)
			config = strings.ReplaceAll(config, "CERT", cert)
			tailFile(t, w, "fluentbit."+c.name, config, append(command, "-c"), c.kill)
		})
	}
}

// follow runs a program that follows the file it gives, until the test ends.
func follow(t *testing.T, w *weir, tag, config string, command []string) (in *os.File) {
	t.Helper()
	dir := t.TempDir()
	host, port, err := net.SplitHostPort(w.Forward)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "sender.conf")
	config = strings.NewReplacer("DIR", dir, "TAG", tag, "HOST", host, "PORT", port).Replace(config)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	in, err = os.Create(filepath.Join(dir, "in.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	peer(t, dir, append(command, file))
	return in
}

// peer runs a program in a folder until the test ends, and gives the file that
// it writes to.
func peer(t *testing.T, dir string, command []string) (log string) {
	t.Helper()
	log = filepath.Join(dir, "peer.log")
	out, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = out, out, dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop := time.AfterFunc(patience, func() { cmd.Process.Kill() })
		defer stop.Stop()
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if b, err := os.ReadFile(log); t.Failed() && err == nil {
			t.Logf("log of the peer:\n%.8000s", b)
		}
	})
	return log
}

// tailFile runs a program that follows a file, writes lines to the file, and
// compares the stream with them.
func tailFile(t *testing.T, w *weir, tag, config string, command []string, kill bool) {
	t.Helper()
	in := follow(t, w, tag, config, command)
	const lines = 3000
	for i := range lines {
		fmt.Fprintf(in, "line %d of the file\n", i)
		if i%100 == 99 {
			time.Sleep(50 * time.Millisecond)
		}
		if i == 100 {
			awaitFor(t, 2*patience, "the sender has begun", func() bool { return len(w.stream(tag)) > 0 })
		}
		if kill && (i == 1000 || i == 2000) {
			w.kill()
			w.up()
		}
	}
	seen := map[string]int{}
	awaitFor(t, 2*patience, fmt.Sprintf("all %d lines are there", lines), func() bool {
		clear(seen)
		for _, e := range events(t, w.stream(tag)) {
			m, _ := e.record.(map[string]any)
			seen[string(rawBytes(m["message"]))]++
		}
		return len(seen) >= lines
	})
	twice := 0
	for i := range lines {
		switch n := seen[fmt.Sprintf("line %d of the file", i)]; {
		case n == 0:
			t.Errorf("line %d is missing", i)
		case n > 1:
			twice++
		}
	}
	if again := strings.HasPrefix(tag, "fluentbit.") && kill; twice > 0 && !again {
		t.Errorf("%d lines are there more than once", twice)
	}
}
