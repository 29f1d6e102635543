package httpapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"weir/arrays"
	"weir/internal/vfs"
	"weir/policies"
	"weir/streams"
)

// A weir is a server on loopback with real stores in a temporary folder.
type weir struct {
	t       *testing.T
	s       *Server
	streams *streams.Store
	router  *policies.Router
	arrays  *arrays.Store
	base    string // http://127.0.0.1:PORT
	addr    string
	client  *http.Client
}

// testPolicies are those of the acceptance configuration, and one with a
// small bound.
func testPolicies() []policies.Policy {
	return []policies.Policy{
		{Name: "raw", Match: "raw.**", Keep: policies.Verbatim},
		{Name: "numbers", Match: "numbers.** numbers/**", Keep: policies.Text, Array: &arrays.Spec{Kind: "numbers"}},
		{Name: "wavs", Match: "wavs.**", Keep: policies.Bytes, Array: &arrays.Spec{Kind: "wav"}},
		{Name: "small", Match: "small.**", Keep: policies.Bytes, MaxBytes: 1000},
		{Name: "files", Match: "files/** up.**", Keep: policies.Bytes},
	}
}

func start(t *testing.T, change ...func(*Options)) *weir {
	t.Helper()
	return startOn(t, vfs.OS{}, streams.Options{}, change...)
}

// startWith starts a weir with more policies than the usual ones.
func startWith(t *testing.T, more ...policies.Policy) *weir {
	t.Helper()
	return startPolicies(t, vfs.OS{}, streams.Options{}, append(testPolicies(), more...))
}

// startOn starts a weir on a file system.
func startOn(t *testing.T, fs vfs.FS, so streams.Options, change ...func(*Options)) *weir {
	t.Helper()
	return startPolicies(t, fs, so, testPolicies(), change...)
}

func startPolicies(t *testing.T, fs vfs.FS, so streams.Options, list []policies.Policy, change ...func(*Options)) *weir {
	t.Helper()
	w := &weir{t: t}
	dir := t.TempDir()
	so.FS = fs
	var err error
	if w.streams, err = streams.Open(dir+"/streams", so); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.streams.Close() })
	if w.arrays, err = arrays.Open(dir+"/arrays", arrays.Options{ChunkBytes: 64 << 10, CacheBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.arrays.Close() })
	w.router, err = policies.New(policies.Options{Policies: list, Streams: w.streams, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Streams: w.streams, Policies: w.router, Arrays: w.arrays}
	for _, c := range change {
		c(&o)
	}
	if w.s, err = New(o); err != nil {
		t.Fatal(err)
	}
	w.listen()
	return w
}

// build brings the arrays of a stream up to its end.
func (w *weir) build(name string) {
	w.t.Helper()
	st, ok := w.streams.Stream(name)
	if !ok {
		w.t.Fatalf("there is no stream %q", name)
	}
	policy, ok := w.router.Of(st)
	if !ok || policy.Array == nil {
		w.t.Fatalf("stream %q has no array", name)
	}
	for more := true; more; {
		var err error
		if more, err = w.arrays.Advance(w.t.Context(), st, *policy.Array); err != nil {
			w.t.Fatal(err)
		}
	}
}

// patience is how long a test waits for what must happen: in vain on a machine
// that is broken, not on one that is slow.
const patience = 2 * time.Minute

func (w *weir) listen() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- w.s.Serve(l) }()
	w.addr = l.Addr().String()
	w.base = "http://" + w.addr
	transport := &http.Transport{DisableCompression: true, ExpectContinueTimeout: patience}
	w.client = &http.Client{Transport: transport, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	w.t.Cleanup(func() {
		transport.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := w.s.Shutdown(ctx); err != nil {
			w.t.Errorf("shutdown: %v", err)
		}
		if err := <-done; err != nil {
			w.t.Errorf("serve: %v", err)
		}
	})
}

// An answer is a response read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request; headers are name and value in turn.
func (w *weir) do(method, target string, body io.Reader, headers ...string) answer {
	w.t.Helper()
	req, err := http.NewRequest(method, w.base+target, body)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	return w.send(req)
}

// send may be called in any goroutine: after a failure the answer is empty.
func (w *weir) send(req *http.Request) answer {
	w.t.Helper()
	resp, err := w.client.Do(req)
	if err != nil {
		w.t.Errorf("%s %s: %v", req.Method, req.URL, err)
		return answer{}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Errorf("%s %s: %v", req.Method, req.URL, err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

func (w *weir) get(target string, headers ...string) answer {
	w.t.Helper()
	return w.do("GET", target, nil, headers...)
}

func (w *weir) put(target, body string, headers ...string) answer {
	w.t.Helper()
	return w.do("PUT", target, strings.NewReader(body), headers...)
}

// ingest posts a body as fluentd does.
func (w *weir) ingest(policy, tag string, body []byte, headers ...string) answer {
	w.t.Helper()
	headers = append([]string{"Content-Type", "application/octet-stream"}, headers...)
	return w.do("POST", "/erp5/portal_ingestion_policies/"+policy+"/ingest?reference="+tag, bytes.NewReader(body), headers...)
}

// content gives the bytes of a stream from the store itself.
func (w *weir) content(name string) string {
	w.t.Helper()
	st, ok := w.streams.Stream(name)
	if !ok {
		w.t.Fatalf("there is no stream %q", name)
	}
	state := st.State()
	r, err := st.Reader(state.Generation, 0, state.Length)
	if err != nil {
		w.t.Fatal(err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

// absent checks that a stream holds nothing.
func (w *weir) absent(name string) {
	w.t.Helper()
	if st, _ := w.s.existing(name); st != nil {
		w.t.Errorf("stream %q exists with %d bytes; it must not", name, st.State().Length)
	}
}

// want checks a status and that the body holds a text.
func (a answer) want(t *testing.T, status int, text string) {
	t.Helper()
	if a.status != status || !strings.Contains(a.body, text) {
		t.Errorf("answer is %d %q, not %d with %q", a.status, a.body, status, text)
	}
}

func (a answer) wantHeader(t *testing.T, name, value string) {
	t.Helper()
	if got := a.header.Get(name); got != value {
		t.Errorf("header %s is %q, not %q", name, got, value)
	}
}

// raw sends bytes as they are on a connection of their own and gives all that
// comes back.
func (w *weir) raw(text string) string {
	w.t.Helper()
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		w.t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		w.t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		w.t.Fatal(err)
	}
	back, err := io.ReadAll(c)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(back)
}

// refusedBytes gives what the router counted for a reason.
func (w *weir) refused(reason string) (policies.Count, bool) {
	c, ok := w.router.Stats().Refused[reason]
	return c, ok
}

func basicHeader(name, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
}
