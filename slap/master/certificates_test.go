package master

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"weir/slap"
	"weir/slap/authority"
)

// A guarded bench is a master with an authority behind TLS.
type guarded struct {
	*bench
	url string
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	a, err := authority.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, Options{Authority: a, Access: Access{Token: "secret"}})
	secure, err := TLS{Names: []string{"127.0.0.1"}}.Config(a)
	b.must(err)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { b.master.ServeHTTP(w, r) }))
	s.TLS = secure
	s.StartTLS()
	t.Cleanup(s.Close)
	return &guarded{b, s.URL}
}

// as gives a client with a certificate, which verifies the master.
func (g *guarded) as(token, certificate, key string) *slap.Client {
	g.t.Helper()
	c := &tls.Config{RootCAs: g.o.Authority.Pool()}
	if certificate != "" {
		pair, err := tls.X509KeyPair([]byte(certificate), []byte(key))
		g.must(err)
		c.Certificates = []tls.Certificate{pair}
	}
	transport := &http.Transport{TLSClientConfig: c}
	g.t.Cleanup(transport.CloseIdleConnections)
	client, err := slap.NewClient(slap.ClientOptions{URL: g.url, Token: token, HTTP: &http.Client{Transport: transport}})
	g.must(err)
	return client
}

func (g *guarded) with(c slap.Certificate) *slap.Client { return g.as("", c.Certificate, c.Key) }

// TestCertificates: computers, users and instances get certificates that speak
// for them until they are revoked or their subject is gone, also after a
// restart.
func TestCertificates(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := newGuarded(t)
	person := g.as("secret", "", "")
	ours, err := person.RegisterComputer(ctx, "first")
	g.must(err)
	if !strings.Contains(ours.Certificate, "CN=COMP-1/email") {
		t.Errorf("slapos cannot read the name from %.80q", ours.Certificate)
	}
	if _, err := person.RegisterComputer(ctx, "first"); err == nil || !strings.Contains(err.Error(), "Certificate still active.") {
		t.Errorf("registered again: %v", err)
	}
	node := g.with(ours)
	describe := map[string]any{"reference": "COMP-1", "partition_list": []any{
		map[string]any{"reference": "p0", "address_list": []any{}}, map[string]any{"reference": "p1", "address_list": []any{}}}}
	g.must(node.Format(ctx, describe))
	user, err := person.UserCertificate(ctx)
	g.must(err)
	mine := g.with(user)
	if _, err := mine.Request(ctx, slap.Request{Reference: "root", Software: sr, Filter: map[string]any{"computer_guid": "COMP-1"}}); err != nil {
		t.Fatal(err)
	}
	here, there := slap.Place{Computer: "COMP-1", Partition: "p0"}, slap.Place{Computer: "COMP-1", Partition: "p1"}
	own, err := node.PartitionCertificate(ctx, here)
	g.must(err)
	if again, err := node.PartitionCertificate(ctx, here); err != nil || again != own {
		t.Errorf("asked again, another certificate: %v", err)
	}
	if free, err := node.PartitionCertificate(ctx, there); err != nil || free.Certificate != "" {
		t.Errorf("a free partition's: %+v, %v", free, err)
	}
	g.restart()
	instance := g.with(own)
	if _, err := instance.Partition(ctx, here); err != nil {
		t.Error(err)
	}
	g.must(instance.Publish(ctx, here, map[string]any{"url": "x"}, ""))
	before := g.dump()
	for name, call := range map[string]func() error{
		"another partition": func() error { _, err := instance.Partition(ctx, there); return err },
		"in another's name": func() error {
			_, err := instance.On(there).Request(ctx, slap.Request{Reference: "x", Software: sr})
			return err
		},
		"the whole computer":      func() error { _, err := instance.Computer(ctx, "COMP-1"); return err },
		"a format":                func() error { return instance.Format(ctx, describe) },
		"another's end":           func() error { _, err := instance.Report(ctx, there, slap.ReportDestroyed, ""); return err },
		"its own end":             func() error { _, err := instance.Report(ctx, here, slap.ReportDestroyed, ""); return err },
		"a supply":                func() error { return instance.Supply(ctx, sr, "COMP-1", slap.Available) },
		"a list of all":           func() error { _, err := node.Get(ctx, "/weir/show", nil); return err },
		"a computer's user":       func() error { _, err := node.UserCertificate(ctx); return err },
		"nobody":                  func() error { _, err := g.as("", "", "").RunID(ctx); return err },
		"a token of registration": func() error { _, err := g.as(g.o.Authority.Token(), "", "").UserCertificate(ctx); return err },
	} {
		if err := call(); !errors.Is(err, slap.ErrForbidden) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if g.dump() != before {
		t.Error("what was refused changed something")
	}
	if _, err := g.as(g.o.Authority.Token(), "", "").RegisterComputer(ctx, "second"); err != nil {
		t.Errorf("with a token of registration: %v", err)
	}

	// Ends: of the instance, and by revocation.
	if _, err := node.Report(ctx, here, slap.ReportDestroyed, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := instance.RunID(ctx); !errors.Is(err, slap.ErrForbidden) || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("the certificate of an instance that is gone: %v", err)
	}
	g.must(person.RevokeComputer(ctx, "COMP-1"))
	if _, err := node.Computer(ctx, "COMP-1"); !errors.Is(err, slap.ErrForbidden) {
		t.Errorf("a certificate that was revoked: %v", err)
	}
	renewed, err := person.ComputerCertificate(ctx, "COMP-1")
	g.must(err)
	if _, err := g.with(renewed).Computer(ctx, "COMP-1"); err != nil {
		t.Error(err)
	}
	_, err = person.Post(ctx, "/weir/revoke", url.Values{"kind": {"user"}, "name": {"user-1"}})
	g.must(err)
	if _, err := mine.Services(ctx); !errors.Is(err, slap.ErrForbidden) {
		t.Errorf("a user's certificate that was revoked: %v", err)
	}
	for _, bad := range []url.Values{{"kind": {"user"}, "name": {"user-1"}}, {"kind": {"planet"}, "name": {"x"}}} {
		if _, err := person.Post(ctx, "/weir/revoke", bad); err == nil {
			t.Errorf("revoking %v is a success", bad)
		}
	}
}

// TestNoAuthority: a master without one says so, and gives partitions the
// empty texts of slapproxy.
func TestNoAuthority(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := newBench(t, Options{})
	b.formatNode(theNode, 1)
	for name, call := range map[string]func() error{
		"user":     func() error { _, err := b.UserCertificate(ctx); return err },
		"register": func() error { _, err := b.RegisterComputer(ctx, "x"); return err },
		"computer": func() error { _, err := b.ComputerCertificate(ctx, theNode); return err },
	} {
		if err := call(); !errors.Is(err, slap.ErrNotFound) || !strings.Contains(err.Error(), "without an authority") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if c, err := b.PartitionCertificate(ctx, at(0)); err != nil || c != (slap.Certificate{}) {
		t.Errorf("a partition's: %+v, %v", c, err)
	}
	if id, err := b.ComputerNamed(ctx, "a title"); err != nil || id != "COMP-1" {
		t.Errorf("a computer by its title: %q, %v", id, err)
	}
	if id, err := b.ComputerNamed(ctx, "a title"); err != nil || id != "COMP-1" {
		t.Errorf("the same title again: %q, %v", id, err)
	}
}

// TestShow: all that a master knows, as JSON.
func TestShow(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{})
	b.formatNode(theNode, 2)
	b.ask(b.Client, slap.Request{Reference: "root"})
	b.ask(b.Client, slap.Request{Reference: "front", Shared: true})
	body, err := b.Get(context.Background(), "/weir/show", nil)
	b.must(err)
	var v struct {
		Computers, Partitions, Shared []map[string]any
	}
	b.must(json.Unmarshal(body, &v))
	if len(v.Computers) != 1 || len(v.Partitions) != 2 || len(v.Shared) != 1 || v.Shared[0]["title"] != "front" {
		t.Errorf("%s", body)
	}
}
