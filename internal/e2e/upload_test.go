package e2e

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// noise gives n bytes that depend on the seed only.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)}).Read(b)
	return b
}

// TestCurl uploads files with curl -T and reads them back whole and by range.
func TestCurl(t *testing.T) {
	t.Parallel()
	curl := command(t, "curl")
	w := start(t)
	for _, size := range []int{0, 1, 4095, 70_000, 3 << 20} {
		name := fmt.Sprintf("up.%d", size)
		data := noise(uint64(size), size)
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(curl, "-sS", "--fail-with-body", "-T", file, w.url("/streams/"+name)).CombinedOutput()
		if err != nil {
			t.Fatalf("curl -T of %d bytes: %v\n%s", size, err, out)
		}
		if got := w.stream(name); !bytes.Equal(got, data) {
			t.Errorf("upload of %d bytes: %d bytes came back, or others", size, len(got))
		}
		if size > 4000 {
			ranges(t, w, "/streams/"+name, data)
		}
	}
}

// ranges compares byte ranges of a resource with its data.
func ranges(t *testing.T, w *weir, path string, data []byte) {
	t.Helper()
	n := len(data)
	for _, c := range []struct {
		spec        string
		first, last int // last is inclusive
	}{
		{"bytes=0-0", 0, 0},
		{"bytes=100-299", 100, 299},
		{fmt.Sprintf("bytes=%d-", n-7), n - 7, n - 1},
		{"bytes=-5", n - 5, n - 1},
		{fmt.Sprintf("bytes=10-%d", 2*n), 10, n - 1},
	} {
		a := w.do("GET", path, nil, "Range", c.spec)
		want := fmt.Sprintf("bytes %d-%d/%d", c.first, c.last, n)
		if a.Status != http.StatusPartialContent || a.Header.Get("Content-Range") != want || !bytes.Equal(a.Body, data[c.first:c.last+1]) {
			t.Errorf("%s of %s: %d, Content-Range %q (want %q), %d bytes", c.spec, path, a.Status, a.Header.Get("Content-Range"), want, len(a.Body))
		}
	}
	a := w.do("GET", path, nil, "Range", fmt.Sprintf("bytes=%d-", n))
	if a.Status != http.StatusRequestedRangeNotSatisfiable || a.Header.Get("Content-Range") != fmt.Sprintf("bytes */%d", n) {
		t.Errorf("range beyond the end of %s: %d, Content-Range %q", path, a.Status, a.Header.Get("Content-Range"))
	}
}

// TestLargeUpload: a large body passes through in bounded memory, up and down.
func TestLargeUpload(t *testing.T) {
	t.Parallel()
	const size, limit = 1 << 30, 96 << 20
	w := start(t)
	peak := w.watchMemory()
	sum := sha256.New()
	body := io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{7}), size), sum)
	curl := exec.Command(command(t, "curl"), "-sS", "--fail-with-body", "-T", "-", w.url("/streams/up.large"))
	curl.Stdin = body
	if out, err := curl.CombinedOutput(); err != nil {
		t.Fatalf("curl -T - of %d bytes: %v\n%s", size, err, out)
	}
	resp, err := http.Get(w.url("/streams/up.large"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	back := sha256.New()
	n, err := io.Copy(back, resp.Body)
	most := peak()
	if err != nil || n != size || !bytes.Equal(back.Sum(nil), sum.Sum(nil)) {
		t.Errorf("%d bytes came back, %v; want %d with the same SHA-256", n, err, size)
	}
	if most > limit {
		t.Errorf("memory rose to %d MiB, want at most %d", most>>20, limit>>20)
	}
	t.Logf("memory at its peak: %d MiB", most>>20)
}

// TestSlowUploads: two hundred uploads that come slowly, all at once, cost
// little memory each, and all arrive.
func TestSlowUploads(t *testing.T) {
	t.Parallel()
	w := start(t)
	sendSlowly(t, w, slowBodies{
		head: func(i int) string { return fmt.Sprintf("PUT /streams/up.slow%d HTTP/1.1\r\n", i) },
		data: noise(11, 750_000), first: 700_000, status: http.StatusCreated,
		stream: "up.slow",
		halfway: func() {
			if a := w.do("GET", "/streams/up.slow0", nil); a.Status != http.StatusNotFound {
				t.Errorf("half an upload can be read: %d", a.Status)
			}
		},
	})
}

// TestSlowChunks: two hundred large chunks that are posted slowly, all at once,
// cost little memory each, and all arrive.
func TestSlowChunks(t *testing.T) {
	t.Parallel()
	sendSlowly(t, start(t), slowBodies{
		head: func(i int) string {
			return fmt.Sprintf("POST /erp5/portal_ingestion_policies/default/ingest?reference=slow.%d HTTP/1.1\r\n"+
				"Content-Type: application/octet-stream\r\n", i)
		},
		data: noise(12, 2_010_000), first: 1_960_000, status: http.StatusNoContent,
		stream:  "slow.",
		halfway: func() {},
	})
}

// slowBodies are two hundred requests with the same body.
type slowBodies struct {
	head    func(i int) string // of request i: its line and what headers it has of its own
	data    []byte             // the body
	first   int                // bytes of it, whole steps, that come slowly; the rest comes at once
	halfway func()             // runs when the first bytes of all have been sent
	status  int                // of each answer
	stream  string             // what the name of the body's stream begins with; the request's number ends it
}

// sendSlowly sends all the requests at once, and each in turn a little of its
// body. All must arrive, and memory must stay low meanwhile.
func sendSlowly(t *testing.T, w *weir, s slowBodies) {
	t.Helper()
	const requests, limit = 200, 160 << 20
	peak := w.watchMemory()
	conns := make([]net.Conn, requests)
	for i := range conns {
		c, err := net.Dial("tcp", w.HTTP)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns[i] = c
		if _, err := fmt.Fprintf(c, "%sHost: x\r\nContent-Length: %d\r\n\r\n", s.head(i), len(s.data)); err != nil {
			t.Fatal(err)
		}
	}
	const step = 35_000 // of each in turn: none of them is ever quick
	for at := 0; at < s.first; at += step {
		for i, c := range conns {
			if _, err := c.Write(s.data[at : at+step]); err != nil {
				t.Fatalf("request %d at %d: %v", i, at, err)
			}
		}
	}
	s.halfway()
	for i, c := range conns {
		if _, err := c.Write(s.data[s.first:]); err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
	}
	for i, c := range conns {
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != s.status {
			t.Fatalf("request %d: %v %v", i, resp, err)
		}
	}
	most := peak()
	for _, i := range []int{0, 99, 199} {
		if got := w.stream(fmt.Sprint(s.stream, i)); !bytes.Equal(got, s.data) {
			t.Errorf("request %d: %d bytes came back, or others", i, len(got))
		}
	}
	if most > limit {
		t.Errorf("memory rose to %d MiB, want at most %d", most>>20, limit>>20)
	}
	t.Logf("memory at its peak: %d MiB", most>>20)
}

// TestLargeChunk: a large POST, of which a policy keeps the records' text,
// passes through in bounded memory, plain and compressed.
func TestLargeChunk(t *testing.T) {
	t.Parallel()
	const records, limit = 6000, 128 << 20 // of 64 KiB
	w := start(t, acceptance()...)
	peak := w.watchMemory()
	line := strings.Repeat("1234567,", 8<<10-1) + "1234567\n"
	one := encode(entry{1_700_000_000, 0, map[string]any{"message": line}})
	for _, compressed := range []bool{false, true} {
		body, feed := io.Pipe()
		go func() {
			var to io.WriteCloser = feed
			if compressed {
				to = gzip.NewWriter(feed)
			}
			for range records {
				if _, err := to.Write(one); err != nil {
					return // the request ended, and tells why
				}
			}
			to.Close()
			feed.Close()
		}()
		tag := fmt.Sprintf("numbers.posted%v", compressed)
		req, err := http.NewRequest("POST", w.url("/portal_ingestion_policies/numbers/ingest?reference="+tag), body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/octet-stream")
		if compressed {
			req.Header.Set("Content-Encoding", "gzip")
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNoContent {
			t.Fatalf("compressed %v: %s", compressed, resp.Status)
		}
		head := w.do("HEAD", "/streams/"+tag, nil)
		if got, want := head.Header.Get("Content-Length"), fmt.Sprint(records*len(line)); got != want {
			t.Errorf("compressed %v: the stream has %s bytes, want %s", compressed, got, want)
		}
	}
	most := peak()
	if most > limit {
		t.Errorf("memory rose to %d MiB, want at most %d", most>>20, limit>>20)
	}
	t.Logf("memory at its peak: %d MiB", most>>20)
}

// watchMemory samples the memory of the process until the function that it
// gives is called, which tells the most, or the test ends.
func (w *weir) watchMemory() func() int64 {
	var peak int64
	var end sync.Once
	done, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		for {
			peak = max(peak, w.memory())
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	stop := func() int64 {
		end.Do(func() { close(done) })
		<-watched
		return peak
	}
	w.t.Cleanup(func() { stop() }) // before the process is ended
	return stop
}

// TestLargeSound: a long sound becomes an array in bounded memory.
func TestLargeSound(t *testing.T) {
	t.Parallel()
	const limit = 160 << 20
	w := start(t, acceptance()...)
	peak := w.watchMemory()
	s := sound{name: "long", frames: 12_000_000, channels: 2, bits: 16, dtype: "int16"}
	file, samples := s.file(5)
	w.put("wavs.long", file)
	w.awaitRows("wavs.long", "pcm", s.frames)
	checkArrays(t, w, group{Name: "wavs.long", Arrays: map[string]array{
		"pcm": {Dtype: s.dtype, Shape: []int{s.frames, s.channels}, Values: samples},
	}})
	if most := peak(); most > limit {
		t.Errorf("memory rose to %d MiB, want at most %d", most>>20, limit>>20)
	} else {
		t.Logf("memory at its peak: %d MiB", most>>20)
	}
}

// TestReplace: a PUT replaces the whole of a stream, and readers of a range
// see the old bytes or the new ones.
func TestReplace(t *testing.T) {
	t.Parallel()
	w := start(t)
	first, second := bytes.Repeat([]byte("a"), 100_000), bytes.Repeat([]byte("b"), 50_000)
	w.put("up.replaced", first)
	w.put("up.replaced", second)
	if got := w.stream("up.replaced"); !bytes.Equal(got, second) {
		t.Errorf("after a replacement the stream has %d bytes beginning %.10q", len(got), got)
	}
	w.kill()
	w.up()
	if got := w.stream("up.replaced"); !bytes.Equal(got, second) {
		t.Errorf("after a restart the stream has %d bytes beginning %.10q", len(got), got)
	}
}

// TestChunkList: the chunks of a stream cover it without holes.
func TestChunkList(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.put("up.chunks", noise(3, 300_000))
	a := w.do("GET", "/streams/up.chunks/chunks", nil)
	if a.Status != http.StatusOK || !strings.Contains(a.Header.Get("Content-Type"), "json") {
		t.Fatalf("chunks: %d %s %s", a.Status, a.Header.Get("Content-Type"), a.Body)
	}
	var at int64
	for _, c := range chunks(t, a.Body) {
		if c.Offset != at || c.Length <= 0 {
			t.Errorf("chunk at %d of length %d, want one at %d", c.Offset, c.Length, at)
		}
		at += c.Length
	}
	if at != 300_000 {
		t.Errorf("chunks cover %d bytes, want 300000", at)
	}
}
