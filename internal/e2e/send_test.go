package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sending runs weir send on lines, with a file that holds the shared key.
func sending(t *testing.T, key, lines string, args ...string) (said string, code int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "shared_key")
	if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, append([]string{"send", "--shared-key-file", file, "--user", "alice"}, args...)...)
	cmd.Env = append(cmd.Environ(), "WEIR_PASSWORD=a password of hers")
	cmd.Stdin = strings.NewReader(lines)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// TestSendSecured: weir send reaches a gateway with TLS, a shared key and
// users; what keeps it from it is named on both sides, and nothing arrives.
func TestSendSecured(t *testing.T) {
	t.Parallel()
	fresh, old := 0, 1
	cert, args := secured(t)
	foreign, _ := selfSigned(t, time.Hour)
	outdated, late := securedFor(t, -time.Minute)
	gateways := []*weir{start(t, args...), start(t, late...)}
	for _, c := range []struct {
		name, key, ca string
		to            int
		code          int
		says, log     string
	}{
		{"right", "a key of some length", cert, fresh, 0, "2 acknowledged\n", ""},
		{"wrong key", "another key", cert, fresh, 1, "shared_key mismatch", "check=shared-key"},
		{"wrong authority", "a key of some length", foreign, fresh, 1, "certificate signed by unknown authority", "check=tls"},
		{"expired", "a key of some length", outdated, old, 1, "certificate has expired", "check=tls"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := gateways[c.to]
			tag := "to." + strings.ReplaceAll(c.name, " ", "-")
			said, code := sending(t, c.key, "{\"seq\":0}\n{\"seq\":1}\n", "--tls", "--ca-file", c.ca, "--to", w.Forward, tag)
			if code != c.code || !strings.Contains(said, c.says) {
				t.Errorf("exit code %d, it says %q; want %d, %q", code, said, c.code, c.says)
			}
			if c.code == 0 {
				if got := events(t, w.stream(tag)); len(got) != 2 {
					t.Errorf("%d events arrived", len(got))
				}
				return
			}
			if strings.Contains(said, "acknowledged") {
				t.Errorf("it says %q", said)
			}
			if got := w.status("/streams/" + tag); got != 404 {
				t.Errorf("the stream's status is %d", got)
			}
			w.await("the gateway names what failed", func() bool { return strings.Contains(w.tail(), c.log) })
		})
	}
}

// TestSendToFluentSecured: weir send passes the handshakes of a real fluentd
// and a real Fluent Bit, by TLS, and believes only those who know the key.
func TestSendToFluentSecured(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, variable, config string
		args                   []string
	}{
		{"fluentd", "WEIR_FLUENTD", `<source>
  @type forward
  bind 127.0.0.1
  port PORT
  <transport tls>
    cert_path CERT
    private_key_path KEY
  </transport>
  <security>
    self_hostname receiver
    shared_key a key of some length
    user_auth true
    <user>
      username alice
      password a password of hers
    </user>
  </security>
</source>
<match to.fluent>
  @type stdout
</match>
`, []string{"--no-supervisor", "-c"}},
		{"fluent-bit", "WEIR_FLUENT_BIT", `[SERVICE]
    flush 0.2
    grace 1
[INPUT]
    name forward
    listen 127.0.0.1
    port PORT
    tls on
    tls.crt_file CERT
    tls.key_file KEY
    self_hostname receiver
    shared_key a key of some length
[OUTPUT]
    name stdout
    match to.fluent
    format json_lines
`, []string{"-c"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			command := real(t, c.variable, c.name)
			cert, key := selfSigned(t, time.Hour)
			addr := freeAddress(t)
			_, port, _ := net.SplitHostPort(addr)
			dir := t.TempDir()
			text := strings.NewReplacer("PORT", port, "CERT", cert, "KEY", key).Replace(c.config)
			log := receiver(t, dir, addr, text, append(command, c.args...))
			sent := []string{`{"seq":0,"text":"Grüße"}`, `{"seq":1}`}
			to := []string{"--tls", "--ca-file", cert, "--to", addr, "to.fluent"}
			if said, code := sending(t, "a key of some length", strings.Join(sent, "\n"), to...); code != 0 || said != fmt.Sprintf("%d acknowledged\n", len(sent)) {
				t.Fatalf("weir send: exit code %d\n%s", code, said)
			}
			if said, code := sending(t, "another key", sent[0], to...); code != 1 || !strings.Contains(said, "shared key") || strings.Contains(said, "acknowledged") {
				t.Errorf("with another key: exit code %d\n%s", code, said)
			}
			mustHandOn(t, log, sent)
		})
	}
}
