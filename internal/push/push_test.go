package push

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/arrays"
	"weir/internal/httpapi"
	"weir/policies"
	"weir/streams"
)

// A world is a real server, a client whose connections a test may break, and
// a folder of files.
type world struct {
	t      *testing.T
	base   string
	dir    string
	client *Client
	// fault, when set, stands between the client and the server.
	fault atomic.Pointer[func(*http.Request, http.RoundTripper) (*http.Response, error)]
	puts  atomic.Int64 // requests that brought data
}

func start(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	st, err := streams.Open(dir+"/streams", streams.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ar, err := arrays.Open(dir+"/arrays", arrays.Options{})
	if err != nil {
		t.Fatal(err)
	}
	router, err := policies.New(policies.Options{Policies: []policies.Policy{policies.Default()}, Streams: st, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s, err := httpapi.New(httpapi.Options{Streams: st, Policies: router, Arrays: ar})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	w := &world{t: t, base: "http://" + l.Addr().String() + "/streams/", dir: t.TempDir()}
	transport := &http.Transport{ExpectContinueTimeout: time.Minute}
	w.client = &Client{HTTP: &http.Client{Transport: through{w, transport}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if err := errors.Join(s.Shutdown(ctx), <-done, ar.Close(), st.Close()); err != nil {
			t.Error(err)
		}
	})
	return w
}

type through struct {
	w     *world
	inner http.RoundTripper
}

func (r through) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodPut {
		r.w.puts.Add(1)
	}
	if f := r.w.fault.Load(); f != nil {
		return (*f)(req, r.inner)
	}
	return r.inner.RoundTrip(req)
}

// breaks makes the next n PUTs fail: every other one before it arrives, in the
// middle of its body, or after it was kept.
func (w *world) breaks(n int) {
	gone := errors.New("connection reset")
	f := func(req *http.Request, inner http.RoundTripper) (*http.Response, error) {
		if req.Method != http.MethodPut || n == 0 {
			return inner.RoundTrip(req)
		}
		n--
		switch n % 3 {
		case 0:
			return nil, gone
		case 1:
			req.Body = io.NopCloser(io.MultiReader(io.LimitReader(req.Body, req.ContentLength/2), errReader{gone}))
			resp, err := inner.RoundTrip(req)
			if err == nil {
				w.t.Errorf("half a body is answered with %s", resp.Status)
			}
			return nil, gone
		}
		if resp, err := inner.RoundTrip(req); err == nil {
			resp.Body.Close()
		}
		return nil, gone
	}
	w.fault.Store(&f)
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// content reads a stream.
func (w *world) content(name string) []byte {
	w.t.Helper()
	w.fault.Store(nil)
	resp, err := http.Get(w.base + name)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		w.t.Fatalf("%s: %s %v", name, resp.Status, err)
	}
	return b
}

func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}

func (w *world) write(name string, data []byte) string {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

func (w *world) put(path, name string, part int64) (Result, error) {
	w.t.Helper()
	f, err := os.Open(path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	return w.client.Put(w.t.Context(), File{File: f, Part: part, Patience: 20 * time.Second}, w.base+name)
}

// A file arrives whatever was there: nothing, a beginning of it, the whole of
// it, more, or something else.
func TestPut(t *testing.T) {
	t.Parallel()
	w := start(t)
	data := noise(1, 3<<20+77)
	path := w.write("f", data)
	for name, c := range map[string]struct {
		before  []byte
		part    int64
		parts   int
		existed int64
	}{
		"nothing":          {nil, 0, 1, 0},
		"nothing in parts": {nil, 1 << 20, 4, 0},
		"a beginning":      {data[:2<<20], 1 << 20, 2, 2 << 20},
		"a small one":      {data[:1000], 1 << 20, 3, 1000},
		"all":              {data, 1 << 20, 0, int64(len(data))},
		"more":             {append(bytes.Clone(data), 'x'), 1 << 20, 4, 0},
		"another":          {noise(2, 2<<20), 0, 1, 0},
		"a small other":    {[]byte("other"), 2 << 20, 2, 0},
	} {
		name = strings.ReplaceAll(name, " ", "-")
		if c.before != nil {
			if _, err := w.client.PutPipe(t.Context(), bytes.NewReader(c.before), w.base+name); err != nil {
				t.Fatal(err)
			}
		}
		r, err := w.put(path, name, c.part)
		if err != nil || r.Parts != c.parts || r.Before != c.existed || r.Bytes != int64(len(data)) {
			t.Errorf("%s: %+v, %v, want %d parts and %d before", name, r, err, c.parts, c.existed)
		}
		if !bytes.Equal(w.content(name), data) {
			t.Errorf("%s: other bytes arrived", name)
		}
	}
	empty := w.write("empty", nil)
	for i := range 2 {
		if r, err := w.put(empty, "empty", 1<<20); err != nil || r.Parts != 1-i {
			t.Errorf("an empty file: %+v, %v", r, err)
		}
	}
}

// Breaks of each kind lose nothing and store nothing twice.
func TestPutBreaks(t *testing.T) {
	t.Parallel()
	w := start(t)
	data := noise(3, 2<<20)
	path := w.write("f", data)
	for _, part := range []int64{0, 500_000} {
		name := fmt.Sprint("part", part)
		w.breaks(5)
		broken := 0
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.client.Put(t.Context(), File{File: f, Part: part, Patience: 20 * time.Second, Broken: func(error) { broken++ }}, w.base+name)
		f.Close()
		if err != nil || broken == 0 {
			t.Errorf("%s: %v after %d breaks", name, err, broken)
		}
		if got := w.content(name); !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes arrived, or others", name, len(got))
		}
	}
}

func TestPutGivesUp(t *testing.T) {
	t.Parallel()
	w := start(t)
	path := w.write("f", []byte("hello"))
	gone := errors.New("connection refused")
	f := func(*http.Request, http.RoundTripper) (*http.Response, error) { return nil, gone }
	w.fault.Store(&f)
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := w.client.Put(t.Context(), File{File: file, Patience: time.Millisecond}, w.base+"x"); !errors.Is(err, gone) {
		t.Errorf("no server: %v", err)
	}
	w.fault.Store(nil)
	// What is wrong with the request is told at once.
	_, err = w.put(path, "_dead", 0)
	if r, ok := errors.AsType[*Refusal](err); !ok || r.Status != 404 {
		t.Errorf("a name that is not allowed: %v", err)
	}
	// A file that changes is not mixed.
	changing := func(req *http.Request, inner http.RoundTripper) (*http.Response, error) {
		if req.Method == http.MethodPut {
			if err := os.WriteFile(path, []byte("other bytes"), 0o600); err != nil {
				t.Error(err)
			}
		}
		return inner.RoundTrip(req)
	}
	w.fault.Store(&changing)
	if _, err := w.put(path, "x", 0); err == nil || !strings.Contains(err.Error(), "changed") {
		t.Errorf("a file that changed: %v", err)
	}
}

// Errors name no password.
func TestPutSecret(t *testing.T) {
	t.Parallel()
	w := start(t)
	path := w.write("f", []byte("hello"))
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = w.client.Put(t.Context(), File{File: f}, "http://alice:wonderland@127.0.0.1:1/streams/x")
	if err == nil || strings.Contains(err.Error(), "wonderland") {
		t.Errorf("the error: %v", err)
	}
}
