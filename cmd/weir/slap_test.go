package main

import (
	"bytes"
	"context"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/slap"
	"weir/slap/master"
	"weir/streams"
)

// testMaster serves a master with one computer of one partition.
func testMaster(t *testing.T, o master.Options) string {
	t.Helper()
	store, err := streams.Open(t.TempDir(), streams.Options{SegmentBytes: 1 << 20, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	o.Streams = store
	m, err := master.New(o)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(m)
	t.Cleanup(s.Close)
	c, err := slap.NewClient(slap.ClientOptions{URL: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	err = c.Format(context.Background(), map[string]any{"reference": "local", "partition_list": []any{
		map[string]any{"reference": "slappart0", "address_list": []any{}}}})
	if err != nil {
		t.Fatal(err)
	}
	return s.URL
}

// slapRun runs a command and gives what it printed and its exit code.
func slapRun(t *testing.T, url string, args ...string) (string, int) {
	t.Helper()
	var out bytes.Buffer
	root := newRoot()
	root.SetOut(&out)
	args = append([]string{"slap"}, args...)
	if url != "" {
		args = append(args, "--master", url)
	}
	root.SetArgs(spread(args))
	err := root.ExecuteContext(context.Background())
	var e exit
	switch {
	case errors.As(err, &e):
		return out.String() + e.text, e.code
	case err != nil:
		return out.String() + err.Error(), exitFailure
	}
	return out.String(), 0
}

func TestSlapCommands(t *testing.T) {
	t.Parallel()
	url := testMaster(t, master.Options{Async: true, Products: map[string]string{"monitor": "http://sr/monitor.cfg"}})
	file := filepath.Join(t.TempDir(), "p.json")
	if err := os.WriteFile(file, []byte(`{"size": 3}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		text string
	}{
		{"supply product.monitor local", 0, "http://sr/monitor.cfg is to be available on local"},
		{"supply product.none local", 1, `no product "none"`},
		{"supply x", 1, "accepts 2 arg(s)"},
		{"request first product.monitor --bad", 1, "unknown flag"},
		{"request first product.monitor --parameters a", 1, `"a" is no NAME=VALUE`},
		{"request first product.monitor --parameters a=1 --parameters-file " + file, 1, "not both"},
		{"request first product.monitor --parameters item=True", 2, "please wait"},
		{"request first product.monitor --parameters item=True", 0, "first  started  local slappart0"},
		{"request first product.monitor --parameters-file " + file + " --json", 0, `"partition": "slappart0"`},
		{"request second product.monitor --wait 1s", 1, "No free computer partition"},
		{"request first product.monitor --state sleeping", 1, "sleeping"},
		{"list", 0, "first  http://sr/monitor.cfg"},
		{"list --json", 0, `"title": "first"`},
		{"info first", 0, `_ = {"size":3}`},
		{"info absent", 2, "no service absent"},
		{`info a"b`, 1, "quotes"},
		{"status local", 0, "0 of 1 partitions are free"},
		{"status absent", 1, "not registered"},
		{"show", 0, "instance  local  slappart0  -  first  started  -  http://sr/monitor.cfg"},
		{"show --json", 0, `"Certificates": []`},
		{"revoke computer local", 1, "has no certificate"},
		{"remove product.monitor local", 0, "is to be destroyed"},
	} {
		if out, code := slapRun(t, url, strings.Fields(c.args)...); code != c.code || !strings.Contains(out, c.text) {
			t.Errorf("weir slap %s: exit code %d, %s; want %d and %q", c.args, code, out, c.code, c.text)
		}
	}
	if out, code := slapRun(t, "http://127.0.0.1:1/", "list"); code != 1 || !strings.Contains(out, "cannot be reached") {
		t.Errorf("without a master: %d %s", code, out)
	}
}

func TestSpread(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"request a b --parameters x=1 y=2 --node c=d": "request a b --parameters=x=1 --parameters=y=2 --node=c=d",
		"request --parameters x=1 a b":                "request --parameters=x=1 a b",
		"request --parameters":                        "request --parameters",
		"request --parameters a":                      "request --parameters a",
		"request --parameters --node c=d e":           "request --parameters --node=c=d e",
	} {
		if got := strings.Join(spread(strings.Fields(in)), " "); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestSlapMasterSettings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := filepath.Join(dir, "slapos.cfg")
	text := `# comment
[slapos]
computer_id = COMP-1
[other]
x: y
[slapproxy]
port = 5555
host = ::1
database_uri = ` + dir + `/proxy.db
software_product_list =
  monitor http://sr/monitor.cfg
  # not this one
  web    http://sr/web.cfg
[multimaster/https://far.example/]
cert = c
key = k
software_release_list =
  http://a
  http://b
`
	if err := os.WriteFile(cfg, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := (&slapMaster{config: cfg}).settings()
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "[::1]:5555" || c.Computer != "COMP-1" || c.Data != dir+"/proxy.db.weir" || len(c.Products) != 2 || c.Products["web"] != "http://sr/web.cfg" {
		t.Errorf("%+v", c)
	}
	if len(c.Forward) != 1 || c.Forward[0].URL != "https://far.example/" || len(c.Forward[0].Releases) != 2 || c.Forward[0].Key != "k" {
		t.Errorf("%+v", c.Forward)
	}
	if c, err = (&slapMaster{config: cfg, listen: "127.0.0.1:1", data: "d", computer: "x"}).settings(); err != nil || c.Listen != "127.0.0.1:1" || c.Data != "d" || c.Computer != "x" {
		t.Errorf("flags before the file: %+v, %v", c, err)
	}
	for _, bad := range []string{"x = y\n", "[slapos]\nnonsense\n", "[slapproxy]\nport = 1\n", "[slapos]\ncomputer_id = c\n[slapproxy]\nsoftware_product_list = alone\n"} {
		if err := os.WriteFile(cfg, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if c, err := (&slapMaster{config: cfg}).settings(); err == nil {
			t.Errorf("%q gives %+v", bad, c)
		}
	}
}

// TestSlapMasterAccess: a master has somebody who may ask as a person.
func TestSlapMasterAccess(t *testing.T) {
	t.Parallel()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	computers := master.TLS{ClientCAFile: "ca.crt"}
	if a, err := (&slapMaster{tls: computers}).access(); err == nil || !strings.Contains(err.Error(), "--token-file") {
		t.Errorf("computers alone: %+v, %v", a, err)
	}
	if a, err := (&slapMaster{tls: computers, token: token}).access(); err != nil || a != (master.Access{Token: "secret", Certificates: true}) {
		t.Errorf("computers and a person: %+v, %v", a, err)
	}
	if a, err := (&slapMaster{}).access(); err != nil || a != (master.Access{}) {
		t.Errorf("an open one: %+v, %v", a, err)
	}
}
