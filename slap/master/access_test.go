package master

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"weir/slap"
)

// certificate makes a certificate for a name, signed by itself.
func signedCertificate(t *testing.T, cn string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: cn}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// TestAccess: a computer's certificate speaks for that computer only, a token
// for a person, and nothing for nobody.
func TestAccess(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := newBench(t, Options{Access: Access{Token: "secret", Certificates: true}})
	mine, stranger := signedCertificate(t, theNode), signedCertificate(t, theNode)
	s := httptest.NewUnstartedServer(b.master)
	pool := x509.NewCertPool()
	pool.AddCert(mine.Leaf)
	s.TLS = &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool}
	s.StartTLS()
	t.Cleanup(s.Close)
	client := func(token string, certs ...tls.Certificate) *slap.Client {
		h := *s.Client()
		transport := h.Transport.(*http.Transport).Clone()
		transport.TLSClientConfig.Certificates = certs
		h.Transport = transport
		t.Cleanup(transport.CloseIdleConnections)
		c, err := slap.NewClient(slap.ClientOptions{URL: s.URL, Token: token, HTTP: &h})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	person, node, nobody := client("secret"), client("", mine), client("")
	describe := func(id string) map[string]any {
		return map[string]any{"reference": id, "partition_list": []any{
			map[string]any{"reference": "p", "address_list": []any{}}, map[string]any{"reference": "free", "address_list": []any{}}}}
	}
	ask := slap.Request{Reference: "r", Software: sr}
	b.must(node.Format(ctx, describe(theNode)))
	b.must(person.Format(ctx, describe("other")))
	b.must(person.Format(ctx, describe("None")))
	if _, err := person.Request(ctx, ask); err != nil {
		t.Error(err)
	}
	if _, err := node.Computer(ctx, theNode); err != nil {
		t.Error(err)
	}
	own, free := slap.Place{Computer: theNode, Partition: "p"}, slap.Place{Computer: theNode, Partition: "free"}
	if _, err := node.On(own).Request(ctx, slap.Request{Reference: "child", Software: other, Filter: map[string]any{"computer_guid": "nowhere"}}); !errors.Is(err, slap.ErrNotFound) {
		t.Errorf("a computer's own partition, without room: %v", err)
	}
	before := b.dump()
	foreign := slap.Place{Computer: "other", Partition: "p"}
	for name, call := range map[string]func() error{
		"nobody":               func() error { _, err := nobody.Computer(ctx, theNode); return err },
		"a wrong token":        func() error { _, err := client("Secret").RunID(ctx); return err },
		"supply by a computer": func() error { return node.Supply(ctx, sr, theNode, slap.Available) },
		"request as a person":  func() error { _, err := node.Request(ctx, ask); return err },
		"request for another":  func() error { _, err := node.On(foreign).Request(ctx, ask); return err },
		"a person's, for a partition that is free": func() error { _, err := node.On(free).Request(ctx, ask); return err },
		"a computer called None": func() error {
			_, err := node.Computer(ctx, "None")
			return err
		},
		"another's information": func() error { _, err := node.Computer(ctx, "other"); return err },
		"another's partition":   func() error { _, err := node.Partition(ctx, foreign); return err },
		"another's report":      func() error { _, err := node.Report(ctx, foreign, slap.ReportStarted, ""); return err },
		"another's connection":  func() error { return node.Publish(ctx, foreign, nil, "") },
		"another's format":      func() error { return node.Format(ctx, describe("other")) },
		"JSON by a computer":    func() error { return node.Call(ctx, "allDocs.v0.instance_tree_list", map[string]any{}, nil) },
	} {
		if err := call(); !errors.Is(err, slap.ErrForbidden) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := client("", stranger).RunID(ctx); err == nil {
		t.Error("a certificate that nobody signed is taken")
	}
	if b.dump() != before {
		t.Error("calls that were refused changed something")
	}
}

// TestForeignPage: a page of another site, shown by a browser that reaches a
// master, changes nothing there.
func TestForeignPage(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{})
	supply := "url=x&state=available&computer_id=" + theNode
	for _, c := range []struct {
		name   string
		header []string
		want   int
	}{
		{"another site", []string{"Sec-Fetch-Site", "cross-site", "Origin", "http://evil.example"}, 403},
		{"an old browser", []string{"Origin", "http://evil.example"}, 403},
		{"a page from a file", []string{"Origin", "null"}, 403},
		{"its own page", []string{"Sec-Fetch-Site", "same-origin", "Origin", b.http.URL}, 200},
		{"no browser", nil, 200},
	} {
		before := b.dump()
		h := formType.Clone()
		for k := 0; k < len(c.header); k += 2 {
			h.Set(c.header[k], c.header[k+1])
		}
		status, body := b.raw(http.MethodPost, "/supplySupply", supply, h)
		if status != c.want {
			t.Errorf("%s: %d %s, want %d", c.name, status, body, c.want)
		}
		if c.want == 403 && b.dump() != before {
			t.Errorf("%s: something changed", c.name)
		}
	}
}
