package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// hash makes the hash of a password with weir hash-password.
func hash(t *testing.T, password string, args ...string) string {
	t.Helper()
	cmd := exec.Command(program, append([]string{"hash-password"}, args...)...)
	cmd.Stdin = strings.NewReader(password + "\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// guarded starts a weir with the users alice, who may bring and read data of
// the policy raw, and carol, who may read all.
func guarded(t *testing.T) *weir {
	t.Helper()
	config := filepath.Join(t.TempDir(), "weir.yaml")
	text := fmt.Sprintf(`
http:
  users:
    - {username: alice, password: %q, policies: [raw]}
    - {username: carol, password: %q, rights: [read], token: carols-token-of-24-bytes}
policies:
  - {name: raw, match: raw.**, keep: verbatim}
  - {name: other, match: "**", keep: bytes}
`, hash(t, "wonderland"), hash(t, "lewis", "--argon2id"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, "--config", config)
}

// TestCurlAsAUser: Basic auth as curl does it, refused before the body too.
func TestCurlAsAUser(t *testing.T) {
	t.Parallel()
	curl := command(t, "curl")
	w := guarded(t)
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, noise(1, 3<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	ingest := w.url("/erp5/portal_ingestion_policies/raw/ingest?reference=raw.c")
	for _, c := range []struct {
		what   string
		args   []string
		status string
		sent   bool // the body
	}{
		{"upload", []string{"-u", "alice:wonderland", "-T", file, w.url("/streams/raw.up")}, "201", true},
		{"nobody", []string{"-T", file, w.url("/streams/raw.no")}, "401", false},
		{"wrong password", []string{"-u", "alice:looking-glass", "-T", file, w.url("/streams/raw.no")}, "401", false},
		{"another policy", []string{"-u", "alice:wonderland", "-T", file, w.url("/streams/other")}, "403", false},
		{"no right", []string{"-u", "carol:lewis", "-T", file, w.url("/streams/raw.no")}, "403", false},
		{"ingest", []string{"-u", "alice:wonderland", "--data-binary", "@" + file, ingest}, "204", true},
		{"ingest with Expect", []string{"-u", "alice:wonderland", "-H", "Expect: 100-continue", "--data-binary", "@" + file, ingest}, "204", true},
		{"ingest by nobody", []string{"-H", "Expect: 100-continue", "--data-binary", "@" + file, ingest}, "401", false},
		{"unknown policy", []string{"-u", "alice:wonderland", "-H", "Expect: 100-continue", "--data-binary", "@" + file,
			w.url("/portal_ingestion_policies/none/ingest?reference=raw.c")}, "403", false},
		{"negotiated", []string{"--anyauth", "-u", "alice:wonderland", w.url("/streams/raw.up")}, "200", false},
		{"token", []string{"-H", "Authorization: Bearer carols-token-of-24-bytes", w.url("/streams/")}, "200", false},
		{"health", []string{w.url("/health")}, "200", false},
	} {
		args := append([]string{"-sS", "-o", os.DevNull, "-w", "%{http_code} %{size_upload}"}, c.args...)
		out, err := exec.Command(curl, args...).Output()
		status, size, _ := strings.Cut(string(out), " ")
		if status != c.status || err != nil && status[0] == '2' {
			t.Errorf("%s: %s, %v, want %s", c.what, out, err, c.status)
		}
		if c.sent != (size == fmt.Sprint(3<<20)) {
			t.Errorf("%s: curl sent %s bytes", c.what, size)
		}
	}
	put := exec.Command(program, "put", file, strings.Replace(w.url("/streams/raw.put"), "http://", "http://alice:wonderland@", 1))
	if out, err := put.CombinedOutput(); err != nil {
		t.Errorf("weir put: %v\n%s", err, out)
	}
	for i, c := range []struct {
		flags, env []string
		want       string
	}{
		{[]string{"--user", "alice:wonderland"}, nil, ""},
		{[]string{"--user", "alice"}, []string{"WEIR_PASSWORD=wonderland", "WEIR_TOKEN=other"}, ""},
		{nil, []string{"WEIR_USER=alice:wonderland"}, ""},
		{nil, []string{"WEIR_TOKEN=carols-token-of-24-bytes"}, "403"}, // she may read alone
		{[]string{"--user", "alice:looking-glass"}, nil, "401"},
		{[]string{"--user", "alice"}, nil, "no password"},
	} {
		put := exec.Command(program, append(append([]string{"put"}, c.flags...), file, w.url(fmt.Sprint("/streams/raw.user", i)))...)
		put.Env = append(os.Environ(), c.env...)
		out, err := put.CombinedOutput()
		if (err == nil) != (c.want == "") || !strings.Contains(string(out), c.want) {
			t.Errorf("weir put %v with %v: %v\n%s", c.flags, c.env, err, out)
		}
	}
}

// TestRequestsAsAUser: Basic auth as Python's requests does it, in the shapes
// of body that Wendelin's Python clients send.
func TestRequestsAsAUser(t *testing.T) {
	t.Parallel()
	python := registryPeer(t, "WEIR_PYTHON", "Python with requests")
	w := guarded(t)
	script := `
import requests, sys
base = sys.argv[1]
url = base + "/erp5/portal_ingestion_policies/raw//ingest"
alice, carol = ("alice", "wonderland"), ("carol", "lewis")
data = bytes([0x92, 0, 0xa1, 0x78])  # [0, "x"]
def expect(r, status):
    assert r.status_code == status and not r.history, (r.status_code, r.text)
    return r
with requests.Session() as s:  # one connection
    s.auth = alice
    for i in range(3):
        expect(s.post(url, params={"reference": "raw.a"}, data=data, headers={"Content-Type": "application/octet-stream"}), 204)
    expect(s.post(url, params={"reference": "raw.a"}, data={"data_chunk": data}), 204)
    expect(s.post(url, params={"reference": "raw.a", "data_chunk": data}, headers={"CONTENT_TYPE": "application/octet-stream"}), 204)
    expect(s.post(url, params={"reference": "raw.a"}, data={"data_chunk": data}, headers={"CONTENT_TYPE": "application/octet-stream"}), 204)
    got = expect(s.get(base + "/streams/raw.a"), 200).content
    assert got == data * 6, got
r = expect(requests.post(url, params={"reference": "raw.a"}, data=data), 401)
assert r.headers["WWW-Authenticate"].startswith("Basic "), r.headers
expect(requests.post(url, params={"reference": "raw.a"}, data=data, auth=("alice", "no")), 401)
expect(requests.post(url, params={"reference": "raw.a"}, data=data, auth=carol), 403)
assert expect(requests.get(base + "/streams/raw.a", auth=carol), 200).content == data * 6
`
	if out, err := exec.Command(python, "-c", script, w.url("")).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
