package httpapi

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tinylib/msgp/msgp"

	"weir/internal/vfs"
	"weir/policies"
	"weir/streams"
)

// startSpool starts a weir with few bytes for bodies, and gives a function
// that counts the files of bodies.
func startSpool(t *testing.T, change ...func(*Options)) (*weir, func() int) {
	t.Helper()
	var dir string
	fs := &vfs.Faulty{FS: vfs.OS{}, Rule: func(op vfs.Op) *vfs.Fault {
		if op.Kind == "MkdirAll" && filepath.Base(op.Name) == "uploads" {
			dir = op.Name
		}
		return nil
	}}
	w := startPolicies(t, fs, streams.Options{}, append(testPolicies(),
		policies.Policy{Name: "equal", Match: "equal.**", Keep: policies.Verbatim, Dedupe: policies.DedupeContent},
		policies.Policy{Name: "boxes", Match: "boxes.**", Keep: policies.Buckets}),
		append([]func(*Options){func(o *Options) { o.BodyMemory = 4 << 20 }}, change...)...)
	return w, func() int {
		names, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
}

func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(b)
	return b
}

// boxEntry is an entry of a bucket, of 1 KB.
func boxEntry() []byte {
	b := msgp.AppendMapHeader([]byte{0x92, 0}, 2)
	b = msgp.AppendString(msgp.AppendString(b, "filepath"), "f")
	return msgp.AppendString(msgp.AppendString(b, "message"), strings.Repeat("x", 1000))
}

// A large chunk is kept in all shapes of bodies, larger than all memory that
// bodies may occupy.
func TestLargeChunks(t *testing.T) {
	t.Parallel()
	w, _ := startSpool(t)
	data := bytes.Repeat(entry("some text, 100 % + one\n"), 160_000)
	text := strings.Repeat("some text, 100 % + one\n", 160_000)
	var form bytes.Buffer
	parts := multipart.NewWriter(&form)
	field, err := parts.CreateFormField("data_chunk")
	if err != nil {
		t.Fatal(err)
	}
	field.Write(data)
	parts.WriteField("other", "x")
	parts.Close()
	escaped := url.QueryEscape(string(data))
	for _, tc := range []struct {
		name   string
		body   io.Reader
		header []string
	}{
		{"plain", bytes.NewReader(data), nil},
		{"chunked", io.MultiReader(bytes.NewReader(data)), nil},
		{"gzip", bytes.NewReader(gzipped(data)), []string{"Content-Encoding", "gzip"}},
		{"zstd", bytes.NewReader(zstded(data)), []string{"Content-Encoding", "zstd"}},
		{"form", strings.NewReader("a=b&data_chunk=" + escaped + "&c=d"), []string{"Content-Type", typeForm}},
		{"form, chunked", io.MultiReader(strings.NewReader("data_chunk=" + escaped)), []string{"Content-Type", typeForm}},
		{"form that is none", bytes.NewReader(data), []string{"Content-Type", typeForm}},
		{"multipart", &form, []string{"Content-Type", parts.FormDataContentType()}},
	} {
		for policy, want := range map[string]string{"raw": string(data), "numbers": text} {
			if form.Len() == 0 && tc.body == &form {
				continue // it was sent
			}
			if s, ok := tc.body.(io.Seeker); ok {
				s.Seek(0, io.SeekStart)
			} else if policy == "numbers" {
				continue // read once, by the other policy
			}
			tag := policy + "." + strings.ReplaceAll(tc.name, " ", "")
			header := tc.header
			if len(header) == 0 || header[0] != "Content-Type" {
				header = append([]string{"Content-Type", "application/octet-stream"}, header...)
			}
			w.do("POST", "/portal_ingestion_policies/"+policy+"/ingest?reference="+tag, tc.body, header...).want(t, 204, "")
			if got := w.content(tag); got != want {
				t.Errorf("%s: the stream has %d bytes, or others than the %d", tag, len(got), len(want))
			}
		}
	}
	waitFor(t, func() bool { return w.s.Stats().BodyBytes == 0 })
}

// What is refused of a large chunk leaves neither bytes nor a file.
func TestLargeChunksRefused(t *testing.T) {
	t.Parallel()
	w, files := startSpool(t, func(o *Options) { o.MaxBody = 3 << 20 })
	two := bytes.Repeat(entry(strings.Repeat("x", 20)), 60_000)
	for _, tc := range []struct {
		name, policy string
		body         io.Reader
		header       []string
		status       int
		text         string
	}{
		{"too large", "raw", bytes.NewReader(make([]byte, 3<<20+1)), nil, 413, "max_body"},
		{"too large, chunked", "raw", io.MultiReader(bytes.NewReader(make([]byte, 3<<20+1))), nil, 413, "max_body"},
		{"a bomb", "raw", bytes.NewReader(gzipped(make([]byte, 64<<20))), []string{"Content-Encoding", "gzip"}, 413, "max_body"},
		{"a form's field", "raw", strings.NewReader("data_chunk=" + strings.Repeat("%00", 3<<20+1)), []string{"Content-Type", typeForm}, 413, "max_body"},
		{"cut gzip", "raw", bytes.NewReader(gzipped(noise(3 << 20))[:2<<20]), []string{"Content-Encoding", "gzip"}, 400, "not whole gzip"},
		{"broken escape", "raw", strings.NewReader("data_chunk=" + strings.Repeat("x", 2<<20) + "%0"), []string{"Content-Type", typeForm}, 400, "percent-encoding"},
		{"a bad record", "numbers", bytes.NewReader(append(bytes.Clone(two), []byte{0x92, 0, 0xc3}...)), nil, 400, "entry 60000"},
		{"cut entries", "numbers", bytes.NewReader(two[:len(two)-1]), nil, 400, "takes msgpack entries"},
		{"a policy's bound", "small", bytes.NewReader(two), nil, 413, "larger than 1000"},
		{"an entry beyond memory", "numbers", bytes.NewReader(entry(strings.Repeat("x", 2900<<10))), nil, 413, "body_memory"},
		{"buckets beyond memory", "boxes", bytes.NewReader(bytes.Repeat(boxEntry(), 2000)), nil, 413, "body_memory"},
	} {
		header := tc.header
		if len(header) == 0 || header[0] != "Content-Type" {
			header = append([]string{"Content-Type", "application/octet-stream"}, header...)
		}
		a := w.do("POST", "/portal_ingestion_policies/"+tc.policy+"/ingest?reference="+tc.policy+".refused", tc.body, header...)
		if a.status != tc.status || !strings.Contains(a.body, tc.text) {
			t.Errorf("%s: %d %q, not %d with %q", tc.name, a.status, a.body, tc.status, tc.text)
		}
		w.absent(tc.policy + ".refused")
		if n := files(); n != 0 {
			t.Errorf("%s: %d files are left", tc.name, n)
		}
	}
	c := w.dial()
	c.say("POST /portal_ingestion_policies/raw/ingest?reference=raw.refused HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n" + strings.Repeat("x", 1_500_000))
	waitFor(t, func() bool { return files() == 1 })
	c.Close()
	waitFor(t, func() bool { return files() == 0 && w.s.Stats().BodyBytes == 0 })
	w.absent("raw.refused")
	data := strings.Repeat("x", 1_500_000)
	for kind, form := range map[string]string{ // that end early behind their field
		typeForm:                       "data_chunk=" + data + "&other=x",
		typeMultipart + "; boundary=b": "--b\r\nContent-Disposition: form-data; name=data_chunk\r\n\r\n" + data + "\r\n--b\r\n",
	} {
		c := w.dial()
		c.say("POST /portal_ingestion_policies/raw/ingest?reference=raw.refused HTTP/1.1\r\nHost: x\r\nContent-Type: " + kind + "\r\nContent-Length: 2000000\r\n\r\n" + form)
		waitFor(t, func() bool { return files() == 1 })
		if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		c.hear("POST").want(t, 400, "ended early")
		w.absent("raw.refused")
		if n := files(); n != 0 {
			t.Errorf("%d files are left of a form", n)
		}
	}
}

// A large chunk that comes again is known.
func TestLargeChunkAgain(t *testing.T) {
	t.Parallel()
	w, _ := startSpool(t)
	data := noise(3 << 20)
	for _, tc := range []struct {
		policy string
		header []string
	}{{"equal", nil}, {"raw", []string{"Idempotency-Key", "k1"}}} {
		tag := tc.policy + ".again"
		for i := range 3 {
			a := w.ingest(tc.policy, tag, data, tc.header...)
			a.want(t, 204, "")
			if again := a.header.Get(headerDuplicate) == "true"; again != (i > 0) {
				t.Errorf("%s, time %d: duplicate %v", tag, i, again)
			}
		}
		if got := w.content(tag); got != string(data) {
			t.Errorf("%s has %d bytes", tag, len(got))
		}
	}
	w.ingest("raw", "raw.again", append(data, 'x'), "Idempotency-Key", "k1").want(t, 204, "")
	if got := len(w.content("raw.again")); got != 2*len(data)+1 {
		t.Errorf("a key with other bytes: the stream has %d bytes", got)
	}
}

// A chunk that comes slowly gives its memory back meanwhile, and is no file in
// the end.
func TestSlowChunkLeavesMemory(t *testing.T) {
	t.Parallel()
	w, files := startSpool(t)
	data := noise(160_000)
	c := w.dial()
	c.say(fmt.Sprintf("POST /portal_ingestion_policies/raw/ingest?reference=raw.slow HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", len(data)))
	sent := 0
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for files() == 0 && sent < 290_000 {
		c.say(string(data[sent : sent+1000]))
		sent += 1000
		<-tick.C
	}
	waitFor(t, func() bool { return w.s.Stats().BodyBytes == spoolMemory })
	c.say(string(data[sent:]))
	c.hear("POST").want(t, 204, "")
	if got := w.content("raw.slow"); got != string(data) {
		t.Errorf("the stream has %d bytes", len(got))
	}
	if n := files(); n != 0 {
		t.Errorf("%d files are left", n)
	}
}

// Of two who replace, or go on with, the same state at once one alone does,
// also when what the other leaves is as long as what both found.
func TestSameLengthIsNotTheSame(t *testing.T) {
	t.Parallel()
	for name, head := range map[string]string{"up.match": "If-Match: ", "up.part": "Content-Range: bytes 5-400004/400005"} {
		w, files := startSpool(t)
		target := "/streams/" + name
		a := w.put(target, "first")
		a.want(t, 201, "")
		if name == "up.match" {
			head += a.header.Get("ETag")
		}
		c := w.dial()
		c.say("PUT " + target + " HTTP/1.1\r\nHost: x\r\n" + head + "\r\nContent-Length: 400000\r\n\r\n" + strings.Repeat("b", 399_999))
		waitFor(t, func() bool { return files() == 1 }) // it has looked at the stream
		w.put(target, "other", "If-Match", a.header.Get("ETag")).want(t, 200, "")
		c.say("b")
		if late := c.hear("PUT"); late.status != 412 && late.status != 400 {
			t.Errorf("%s: the later one got %d %q", name, late.status, late.body)
		}
		if got := w.content(name); got != "other" {
			t.Errorf("%s has %d bytes, not what was kept", name, len(got))
		}
	}
}
