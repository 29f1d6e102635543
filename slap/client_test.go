package slap

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// answering gives a client of a server that always answers the same.
func answering(t *testing.T, status int, body string) *Client {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return clientOf(t, ClientOptions{URL: s.URL})
}

func clientOf(t *testing.T, o ClientOptions) *Client {
	t.Helper()
	c, err := NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestStatus(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]error{
		404: ErrNotFound, 408: ErrNotReady, 401: ErrForbidden, 403: ErrForbidden, 500: ErrServer, 502: ErrServer, 503: ErrServer, 523: ErrServer, 526: ErrServer,
	} {
		c := answering(t, status, "<!doctype html>\n<h1>x</h1>\n<p>No free  computer\npartition</p>\n")
		_, err := c.Request(context.Background(), Request{Reference: "r", Software: "s"})
		if !errors.Is(err, want) || !strings.Contains(err.Error(), "No free computer partition") {
			t.Errorf("%d: %v", status, err)
		}
	}
	for _, body := range []string{"", "nonsense", "<marshal><none/></marshal>", `<marshal><object id="i2" module="slapos.slap.slap" class="Computer"><tuple><string>a</string></tuple><dictionary id="i3"/></object></marshal>`} {
		if i, err := answering(t, 200, body).Request(context.Background(), Request{}); !errors.Is(err, ErrMarshal) {
			t.Errorf("the answer %q: %v, %v", body, i, err)
		}
	}
	var out map[string]any
	err := answering(t, 200, `{"message":"x","name":"SoftwareInstanceNotReady","status":102}`).Call(context.Background(), "post.v0.software_instance", nil, &out)
	if !errors.Is(err, ErrNotReady) {
		t.Errorf("please wait, in JSON: %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	if err := clientOf(t, ClientOptions{URL: s.URL}).Supply(context.Background(), "s", "c", Available); !errors.Is(err, ErrUnreachable) {
		t.Errorf("nobody listens: %v", err)
	}
	cut := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "<marshal>")
	}))
	defer cut.Close()
	if _, err := clientOf(t, ClientOptions{URL: cut.URL}).Computer(context.Background(), "c"); !errors.Is(err, ErrUnreachable) {
		t.Errorf("an answer that breaks off: %v", err)
	}
	for _, bad := range []string{"", "ftp://x", "127.0.0.1:5000", "http://"} {
		if _, err := NewClient(ClientOptions{URL: bad}); err == nil {
			t.Errorf("%q is taken for a master", bad)
		}
	}
}

// TestTLS: the master is verified, which the original's client does not do.
func TestTLS(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "id") }))
	defer s.Close()
	if id, err := clientOf(t, ClientOptions{URL: s.URL}).RunID(context.Background()); err == nil {
		t.Errorf("a master that nobody vouches for answered %q", id)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if id, err := clientOf(t, ClientOptions{URL: s.URL, CA: ca}).RunID(context.Background()); err != nil || id != "id" {
		t.Errorf("a master whose certificate is known: %q, %v", id, err)
	}
	empty := filepath.Join(t.TempDir(), "empty.pem")
	os.WriteFile(empty, nil, 0o600)
	for _, o := range []ClientOptions{{CA: empty}, {CA: empty + ".none"}, {Cert: empty, Key: empty}} {
		o.URL = s.URL
		if _, err := NewClient(o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

// wire answers in memory, so that time can be synctest's.
type wire func(*http.Request) (int, string)

func (w wire) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := w(r)
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body)), Header: http.Header{}, Request: r}, nil
}

const instance = `<marshal><object id="i2" module="slapos.slap.slap" class="SoftwareInstance"><tuple/><dictionary id="i3"><string>_requested_state</string><string>started</string><string>slap_computer_id</string><string>c</string><string>slap_computer_partition_id</string><string>p</string></dictionary></object></marshal>`

func TestUntilReady(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		c := clientOf(t, ClientOptions{URL: "http://master", As: Place{"c", "p"}, HTTP: &http.Client{Transport: wire(func(r *http.Request) (int, string) {
			if a := r.Header.Get("Authorization"); a != "X-SlapPartition computer_id=c, computer_partition_id=p" {
				t.Errorf("Authorization: %s", a)
			}
			if asked.Add(1) < 12 {
				return 408, ""
			}
			return 200, instance
		})}})
		began := time.Now()
		i, err := c.RequestUntilReady(context.Background(), Request{Reference: "r"})
		if took := time.Since(began); err != nil || i.Place != (Place{"c", "p"}) || took < 3*time.Minute || took > 10*time.Minute {
			t.Errorf("%+v, %v after %v", i, err, took)
		}
		asked.Store(-1000)
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		if _, err := c.RequestUntilReady(ctx, Request{Reference: "r"}); !errors.Is(err, ErrNotReady) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a master that is never ready: %v", err)
		}
	})
}

// TestFollow: a token goes to the master alone, and never in the clear to one
// that is reached by TLS; what is no web address is not followed.
func TestFollow(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		master, names string
		token         bool
	}{
		{"http://master", "http://panel/hateoas/", false},
		{"https://master", "http://master/hateoas/", false},
		{"https://master", "https://master/hateoas/", true},
		{"http://master", "http://master/hateoas/", true},
	} {
		c := clientOf(t, ClientOptions{URL: v.master, Token: "secret", HTTP: &http.Client{
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: wire(func(r *http.Request) (int, string) {
				if r.URL.Path == "/getHateoasUrl" {
					return 200, v.names
				}
				if sent := r.Header.Get("X-Access-Token") != ""; sent != v.token {
					t.Errorf("master %s: %s was sent the token: %t", v.master, r.URL, sent)
				}
				return 200, `{"_links":{"raw_search":{"href":"file:///etc/passwd"}}}`
			})}})
		if list, err := c.Services(context.Background()); err == nil || !strings.Contains(err.Error(), "file:") {
			t.Errorf("%v, %v", list, err)
		}
	}
}
