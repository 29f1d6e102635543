package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/vfs"
	"weir/streams"
)

func TestBodyLimits(t *testing.T) {
	t.Parallel()
	w := start(t, func(o *Options) { o.MaxBody = 10000 })
	at := "/portal_ingestion_policies/raw/ingest?reference=raw.big"
	small := "/portal_ingestion_policies/small/ingest?reference=small.big"
	zeros := make([]byte, 1<<20)
	for _, tc := range []struct {
		name, target, body string
		chunked            bool
		headers            []string
		status             int
	}{
		{"at the limit", at, strings.Repeat("\x01", 10000), false, nil, 204},
		{"beyond it", at, strings.Repeat("\x01", 10001), false, nil, 413},
		{"chunked at the limit", at, strings.Repeat("\x01", 10000), true, nil, 204},
		{"chunked beyond it", at, strings.Repeat("\x01", 10001), true, nil, 413},
		{"form at the limit", at, fieldChunk + strings.Repeat("%01", 10000), false, []string{"Content-Type", typeForm}, 204},
		{"form beyond it", at, fieldChunk + strings.Repeat("x", 10001), false, []string{"Content-Type", typeForm}, 413},
		{"gzip bomb", at, string(gzipped(zeros)), false, []string{"Content-Encoding", "gzip"}, 413},
		{"zstd bomb", at, string(zstded(zeros)), false, []string{"Content-Encoding", "zstd"}, 413},
		{"policy's limit", small, strings.Repeat("\x01", 1000), false, nil, 204},
		{"beyond the policy's", small, strings.Repeat("\x01", 1001), false, nil, 413},
		{"gzip beyond the policy's", small, string(gzipped(zeros[:1001])), false, []string{"Content-Encoding", "gzip"}, 413},
	} {
		var body interface {
			Read([]byte) (int, error)
		} = strings.NewReader(tc.body)
		if tc.chunked {
			body = struct{ *bytes.Reader }{bytes.NewReader([]byte(tc.body))}
		}
		a := w.do("POST", tc.target, body, append([]string{"Content-Type", "application/octet-stream"}, tc.headers...)...)
		if a.status != tc.status {
			t.Errorf("%s: %d %q, not %d", tc.name, a.status, a.body, tc.status)
		}
		if a.status == 413 && !strings.Contains(a.body, "max_body") {
			t.Errorf("%s: the answer names no key to change: %q", tc.name, a.body)
		}
	}
	if got := len(w.content("raw.big")); got != 30000 {
		t.Errorf("the stream has %d bytes, not 30000", got)
	}
	if got := len(w.content("small.big")); got != 1000 {
		t.Errorf("the small stream has %d bytes, not 1000", got)
	}
	if _, ok := w.refused("body-too-large"); !ok {
		t.Error("they were not counted")
	}
}

// An upload has no limit, and takes no memory for its length.
func TestUploadBeyondMaxBody(t *testing.T) {
	t.Parallel()
	w := start(t, func(o *Options) { o.MaxBody, o.BodyMemory = 1000, 1000 })
	body := strings.Repeat("0123456789", 300_000)
	w.put("/streams/up.big", body).want(t, 201, "3000000 bytes")
	if w.content("up.big") != body {
		t.Error("the stream is not the body")
	}
	if got := w.get("/streams/up.big", "Range", "bytes=2999990-"); got.body != "0123456789" {
		t.Errorf("its end is %q", got.body)
	}
}

// When bodies use all the memory that they may, others wait, and those that
// waited too long are told to come again.
func TestBodyMemory(t *testing.T) {
	t.Parallel()
	w := start(t, func(o *Options) { o.MaxBody, o.BodyMemory, o.BodyWait = 10000, 10000, 3*time.Second })
	c := w.dial()
	head := "POST /portal_ingestion_policies/raw/ingest?reference=raw.first HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n"
	c.say(head + strings.Repeat("x", 8999))
	waitFor(t, func() bool { return w.s.Stats().BodyBytes == 9000 })
	a := w.ingest("raw", "raw.second", make([]byte, 2000))
	a.want(t, 503, "too many bodies")
	a.wantHeader(t, "Retry-After", "5")
	w.absent("raw.second")
	w.ingest("raw", "raw.small", make([]byte, 500)).want(t, 204, "")

	done := make(chan answer, 1)
	go func() { done <- w.ingest("raw", "raw.third", make([]byte, 2000)) }()
	waitFor(t, func() bool {
		w.s.budget.mu.Lock()
		defer w.s.budget.mu.Unlock()
		return w.s.budget.waiters.Len() == 1
	})
	c.say("x")
	c.hear("POST").want(t, 204, "")
	(<-done).want(t, 204, "")
	waitFor(t, func() bool { return w.s.Stats().BodyBytes == 0 })
}

// With Expect, a request is refused before its body; the body never comes.
func TestExpectContinue(t *testing.T) {
	t.Parallel()
	w := start(t, func(o *Options) { o.MaxBody = 10000 })
	w.put("/streams/up.there", "x").want(t, 201, "")
	for _, tc := range []struct {
		name, head string
		status     int
		text       string
	}{
		{"unknown policy", "POST /portal_ingestion_policies/none/ingest?reference=x", 404, "none"},
		{"no reference", "POST /portal_ingestion_policies/raw/ingest", 400, "reference"},
		{"too large", "POST /portal_ingestion_policies/raw/ingest?reference=raw.x", 413, "max_body"},
		{"not taken", "PUT /streams/unmatched.name", 404, "unmatched.name"},
		{"exists", "PUT /streams/up.there", 412, "exists"},
		{"no route", "PUT /somewhere", 404, "somewhere"},
		{"wrong method", "PATCH /streams/up.there", 405, "PATCH"},
	} {
		c := w.dial()
		c.say(tc.head + " HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\nExpect: 100-Continue\r\nContent-Length: 20000\r\n\r\n")
		a := c.hear("PUT")
		if a.status != tc.status || !strings.Contains(a.body, tc.text) {
			t.Errorf("%s: %d %q, not %d with %q", tc.name, a.status, a.body, tc.status, tc.text)
		}
		a.wantHeader(t, "Connection", "close")
	}
	for _, target := range []string{"/streams/up.expected", "/streams/up.there"} {
		c := w.dial()
		c.say("PUT " + target + " HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
		line, err := c.r.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "HTTP/1.1 100 ") {
			t.Fatalf("the first line is %q, %v", line, err)
		}
		if _, err := c.r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		c.say("hello")
		c.hear("PUT").want(t, map[bool]int{true: 200, false: 201}[target == "/streams/up.there"], "5 bytes")
	}
	c := w.dial()
	c.say("PUT /streams/up.other HTTP/1.1\r\nHost: x\r\nExpect: miracles\r\nContent-Length: 5\r\n\r\nhello")
	c.hear("PUT").want(t, 417, "miracles")
	w.absent("up.other")
}

// A fullFS has no space left, once it is told.
type fullFS struct {
	vfs.FS
	full   atomic.Bool
	broken atomic.Bool // its files fail to sync
}

func (f *fullFS) OpenFile(name string) (vfs.File, error) { return f.wrap(f.FS.OpenFile(name)) }
func (f *fullFS) Create(name string) (vfs.File, error)   { return f.wrap(f.FS.Create(name)) }

func (f *fullFS) Usage(dir string) (vfs.Usage, error) {
	u, err := f.FS.Usage(dir)
	if f.full.Load() {
		u.Free = 0
	}
	return u, err
}

func (f *fullFS) wrap(file vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &fullFile{file, f}, nil
}

type fullFile struct {
	vfs.File
	fs *fullFS
}

func (f *fullFile) Datasync() error {
	if f.fs.broken.Load() {
		return errors.New("the disk is broken")
	}
	return f.File.Datasync()
}

// On a full disk nothing is promised, and data flows again when it has room.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	fs := &fullFS{FS: vfs.OS{}}
	w := startOn(t, fs, streams.Options{})
	w.ingest("raw", "raw.before", entry("x")).want(t, 204, "")
	fs.full.Store(true)
	waitFor(t, func() bool { return w.ingest("raw", "raw.filling", entry("x")).status >= 500 })
	for name, a := range map[string]answer{
		"ingest": w.ingest("raw", "raw.full", entry("x")),
		"upload": w.put("/streams/up.full", strings.Repeat("x", 1000)),
		"large":  w.put("/streams/up.large", strings.Repeat("x", 3<<20)),
	} {
		if a.status != 507 || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %q %v, not 507 with Retry-After", name, a.status, a.body, a.header)
		}
	}
	c := w.dial()
	c.say("PUT /streams/up.expect HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5000000\r\n\r\n")
	c.hear("PUT").want(t, 507, "")
	w.get("/ready").want(t, 503, "FAIL appends")
	w.get("/health").want(t, 200, "")
	if got := w.content("raw.before"); got != string(entry("x")) {
		t.Errorf("what was kept before is %x", got)
	}
	fs.full.Store(false)
	waitFor(t, func() bool { return w.get("/ready").status == 200 })
	w.put("/streams/up.full", "again").want(t, 201, "5 bytes")
}

// When a sync fails nothing is acknowledged, in no route.
func TestBrokenDiskWithholdsEveryAck(t *testing.T) {
	t.Parallel()
	fs := &fullFS{FS: vfs.OS{}}
	w := startOn(t, fs, streams.Options{})
	w.ingest("raw", "raw.before", entry("x")).want(t, 204, "")
	fs.broken.Store(true)
	for name, a := range map[string]answer{
		"ingest":       w.ingest("raw", "raw.broken", entry("x"), "Idempotency-Key", "k"),
		"form":         w.ingest("raw", "raw.broken", []byte(fieldChunk+url.QueryEscape(string(entry("x")))), "Content-Type", typeForm),
		"put":          w.put("/streams/up.broken", "x"),
		"large put":    w.put("/streams/up.broken", strings.Repeat("x", 3<<20)),
		"post":         w.do("POST", "/streams/up.broken", strings.NewReader("x")),
		"part":         w.put("/streams/up.broken", "x", "Content-Range", "bytes 0-0/1"),
		"conditional":  w.put("/streams/up.broken", "x", "If-None-Match", "*"),
		"with a key":   w.put("/streams/up.broken", "x", "Idempotency-Key", "k"),
		"and repeated": w.put("/streams/up.broken", "x", "Idempotency-Key", "k"),
	} {
		if a.status < 500 {
			t.Errorf("%s: %d %q; it cannot be durable", name, a.status, a.body)
		}
	}
	w.absent("up.broken")
	w.absent("raw.broken")
	w.get("/ready").want(t, 503, "FAIL appends")
}

// A closing store and a closing server refuse with a time to come again.
func TestClosedStore(t *testing.T) {
	t.Parallel()
	w := start(t)
	if err := w.streams.Close(); err != nil {
		t.Fatal(err)
	}
	for _, a := range []answer{w.ingest("raw", "raw.closed", entry("x")), w.put("/streams/up.closed", "x")} {
		a.want(t, 503, "closed")
		a.wantHeader(t, "Retry-After", fmt.Sprint(retrySeconds))
	}
}

func TestCompressedBodies(t *testing.T) {
	t.Parallel()
	w := start(t)
	text := strings.Repeat("some text, ", 100_000)
	for _, encoding := range []string{"gzip", "zstd", "GZIP", "x-gzip", "identity"} {
		body := map[bool][]byte{true: gzipped([]byte(text)), false: zstded([]byte(text))}[encoding != "zstd"]
		if encoding == "identity" {
			body = []byte(text)
		}
		a := w.do("PUT", "/streams/up."+encoding, bytes.NewReader(body), "Content-Encoding", encoding)
		a.want(t, 201, fmt.Sprintf("%d bytes", len(text)))
		if w.content("up."+encoding) != text {
			t.Errorf("%s: the stream is not the text", encoding)
		}
	}
	gz, zs := gzipped([]byte(text)), zstded([]byte(text))
	flip := bytes.Clone(gz)
	flip[len(flip)-5] ^= 1 // in the checksum
	for name, tc := range map[string]struct {
		encoding string
		body     []byte
		status   int
	}{
		"unknown":           {"br", gz, 415},
		"two":               {"gzip, zstd", gz, 415},
		"not gzip":          {"gzip", []byte("plain text"), 400},
		"not zstd":          {"zstd", []byte("plain text"), 400},
		"empty gzip":        {"gzip", nil, 400},
		"cut gzip":          {"gzip", gz[:len(gz)/2], 400},
		"cut zstd":          {"zstd", zs[:len(zs)/2], 400},
		"cut trailer":       {"gzip", gz[:len(gz)-1], 400},
		"broken checksum":   {"gzip", flip, 400},
		"rubbish after it":  {"gzip", append(bytes.Clone(gz), "rubbish"...), 400},
		"zstd, then gzip":   {"zstd", append(bytes.Clone(zs), gz...), 400},
		"a part compressed": {"gzip", gz, 400},
	} {
		headers := []string{"Content-Encoding", tc.encoding}
		if name == "a part compressed" {
			headers = append(headers, "Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(gz)-1, len(gz)))
		}
		for _, method := range []string{http.MethodPut, http.MethodPost} {
			a := w.do(method, "/streams/up.bad", bytes.NewReader(tc.body), headers...)
			if a.status != tc.status {
				t.Errorf("%s: %s: %d %q, not %d", name, method, a.status, a.body, tc.status)
			}
		}
		if name != "a part compressed" {
			a := w.ingest("files", "up.bad", tc.body, headers...)
			if a.status != tc.status {
				t.Errorf("%s: ingest: %d %q, not %d", name, a.status, a.body, tc.status)
			}
		}
		w.absent("up.bad")
	}
}

// Who gives up waiting lets those behind go on, who want less.
func TestBudgetLeave(t *testing.T) {
	t.Parallel()
	b := newBudget(10)
	if err := b.take(t.Context(), 8, time.Minute); err != nil {
		t.Fatal(err)
	}
	waiting := func(n int) {
		waitFor(t, func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.waiters.Len() == n
		})
	}
	much, leave := context.WithCancel(t.Context())
	left, got := make(chan error, 1), make(chan error, 1)
	go func() { left <- b.take(much, 5, patience) }()
	waiting(1)
	go func() { got <- b.take(t.Context(), 2, patience) }()
	waiting(2)
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the first one: %v", err)
	}
	waiting(0)
	if err := <-got; err != nil || b.used() != 10 {
		t.Errorf("the second one: %v, %d bytes are taken", err, b.used())
	}
}
