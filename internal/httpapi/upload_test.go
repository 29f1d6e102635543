package httpapi

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
)

// The table of Wendelin's own upload test, A31: sizes 0, 1, 3 and 5, a
// replacement, an appended part, and six ranges that are wrong, with the words
// that its clients get to see.
func TestUploadVectorA31(t *testing.T) {
	t.Parallel()
	w := start(t)
	const at = "/streams/up.file"
	w.put(at, "").want(t, 201, "0 bytes")
	empty := w.get(at)
	empty.want(t, 200, "")
	w.get(at, "Range", "bytes=0-").want(t, 416, "")
	w.get(at, "Range", "bytes=0-").wantHeader(t, "Content-Range", "bytes */0")
	for _, step := range []struct {
		name, body, contentRange string
		status                   int
		explain, held            string // X-Explanation, and the Range of a status
		content                  string
	}{
		{"status of nothing", "", "bytes */*", 308, "Resume incomplete", "bytes 0--1", ""},
		{"first byte", "x", "bytes 0-0/1", 204, "", "", "x"},
		{"two more", "yz", "bytes 1-2/3", 204, "", "", "xyz"},
		{"status of three", "", "bytes */*", 308, "Resume incomplete", "bytes 0-2", "xyz"},
		{"two more again", "01", "bytes 3-4/5", 204, "", "", "xyz01"},
		{"status of five", "", "bytes */*", 308, "Resume incomplete", "bytes 0-4", "xyz01"},
		{"replace", "abc", "", 200, "", "", "abc"},
		{"append", "defgh", "bytes 3-7/8", 204, "", "", "abcdefgh"},
		{"too early", "x", "bytes 3-3/4", 400, "Can only append data", "", "abcdefgh"},
		{"a gap", "x", "bytes 9-9/10", 400, "Can only append data", "", "abcdefgh"},
		{"wrong total", "x", "bytes 8-8/10", 400, "Total size unexpected", "", "abcdefgh"},
		{"wrong length", "xx", "bytes 8-8/9", 400, "Content length unexpected", "", "abcdefgh"},
		{"no numbers", "x", "bytes a-b/c", 400, "Can not parse range", "", "abcdefgh"},
		{"other unit", "x", "lines 8-8/9", 400, "Can not parse range", "", "abcdefgh"},
		{"reversed", "x", "bytes 8-7/8", 400, "Can not parse range", "", "abcdefgh"},
		{"unknown total", "x", "bytes 8-8/*", 400, "Can not parse range", "", "abcdefgh"},
		{"empty", "x", " ", 400, "Can not parse range", "", "abcdefgh"},
	} {
		var headers []string
		if step.contentRange != "" {
			headers = []string{"Content-Range", strings.TrimSpace(step.contentRange)}
		}
		a := w.put(at, step.body, headers...)
		if a.status != step.status {
			t.Errorf("%s: status %d %q, not %d", step.name, a.status, a.body, step.status)
		}
		a.wantHeader(t, "X-Explanation", step.explain)
		a.wantHeader(t, "Range", step.held)
		if sum := sha256.Sum256([]byte(step.body)); a.status/100 == 2 {
			a.wantHeader(t, "Weir-SHA256", hex.EncodeToString(sum[:]))
		}
		if got := w.content("up.file"); got != step.content {
			t.Fatalf("%s: the stream holds %q, not %q", step.name, got, step.content)
		}
	}
}

func TestUploadAnswers(t *testing.T) {
	t.Parallel()
	w := start(t)
	sum := sha256.Sum256([]byte("hello"))
	sha := hex.EncodeToString(sum[:])

	a := w.put("/streams/up.a", "hello")
	a.want(t, 201, "sha256 "+sha)
	a.wantHeader(t, "ETag", `"1-5"`)
	if lines := strings.Split(strings.TrimSuffix(a.body, "\n"), "\n"); len(lines) != 2 || !strings.Contains(lines[0], "up.a") || !strings.Contains(lines[0], "5 bytes") {
		t.Errorf("the answer is not two readable lines: %q", a.body)
	}
	a = w.put("/streams/up.a", "hello", "Accept", "application/json")
	a.want(t, 200, "")
	var got uploaded
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		t.Fatal(err)
	}
	if want := (uploaded{Stream: "up.a", Generation: 2, Offset: 0, Bytes: 5, SHA256: sha}); got != want {
		t.Errorf("the answer is %+v, not %+v", got, want)
	}
	a = w.do("POST", "/streams/up.a", strings.NewReader(" world"))
	a.want(t, 200, "offset 5")
	a.wantHeader(t, "ETag", `"2-11"`)
	if got := w.content("up.a"); got != "hello world" {
		t.Errorf("the stream holds %q", got)
	}
}

// A repetition with the same key is answered and not stored again, whatever
// the request's form, also after the stream went on.
func TestUploadIdempotency(t *testing.T) {
	t.Parallel()
	w := start(t)
	for _, headers := range [][]string{
		{"Idempotency-Key", "put"},
		{"Idempotency-Key", "new", "If-None-Match", "*"},
		{"Idempotency-Key", "part", "Content-Range", "bytes 0-4/5"},
	} {
		name := "up." + headers[1]
		first := w.put("/streams/"+name, "hello", headers...)
		if first.status != 201 && first.status != 204 {
			t.Fatalf("%s: %d %q", name, first.status, first.body)
		}
		first.wantHeader(t, "Weir-Duplicate", "")
		w.do("POST", "/streams/"+name, strings.NewReader(" world")).want(t, 200, "")
		again := w.put("/streams/"+name, "hello", headers...)
		if again.status != 200 && again.status != 204 {
			t.Errorf("%s: the repetition is answered with %d %q", name, again.status, again.body)
		}
		again.wantHeader(t, "Weir-Duplicate", "true")
		if got := w.content(name); got != "hello world" {
			t.Errorf("%s: the stream holds %q", name, got)
		}
	}
	a := w.put("/streams/up.put", "hello", "Idempotency-Key", "put", "Accept", "application/json")
	a.want(t, 200, `"duplicate":true`)
	w.put("/streams/up.long", "x", "Idempotency-Key", strings.Repeat("k", maxID+1)).want(t, 400, "Idempotency-Key")

	// What is acknowledged is kept: a key with other bytes is another body.
	a = w.put("/streams/up.put", "other", "Idempotency-Key", "put")
	a.want(t, 200, "")
	a.wantHeader(t, "Weir-Duplicate", "")
	if got := w.content("up.put"); got != "other" {
		t.Errorf("after other bytes with the same key the stream holds %q", got)
	}
	w.ingest("raw", "raw.reused", entry("x"), "Idempotency-Key", "chunk").want(t, 204, "")
	w.ingest("raw", "raw.reused", entry("y"), "Idempotency-Key", "chunk").want(t, 204, "")
	if got := w.content("raw.reused"); got != string(entry("x"))+string(entry("y")) {
		t.Errorf("two chunks with one key became %q", got)
	}

	w.ingest("raw", "raw.once", entry("x"), "Idempotency-Key", "chunk").want(t, 204, "")
	a = w.ingest("raw", "raw.once", entry("x"), "Idempotency-Key", "chunk")
	a.want(t, 204, "")
	a.wantHeader(t, "Weir-Duplicate", "true")
	if got := w.content("raw.once"); got != string(entry("x")) {
		t.Errorf("the stream holds %x", got)
	}
}

func TestUploadPreconditions(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.put("/streams/up.p", "one", "If-Match", "*").want(t, 412, "")
	w.put("/streams/up.p", "one", "If-Match", `"1-3"`).want(t, 412, "")
	w.absent("up.p")
	w.put("/streams/up.p", "one", "If-None-Match", "*").want(t, 201, "")
	w.put("/streams/up.p", "two", "If-None-Match", "*").want(t, 412, "exists")
	w.put("/streams/up.p", "two", "If-None-Match", `"1-3"`).want(t, 400, "If-None-Match")
	w.put("/streams/up.p", "two", "If-Match", `"1-4"`).want(t, 412, "")
	w.put("/streams/up.p", "two", "If-Match", `W/"1-3"`).want(t, 412, "")
	if got := w.content("up.p"); got != "one" {
		t.Errorf("the stream holds %q", got)
	}
	w.put("/streams/up.p", "two", "If-Match", `"1-3"`).want(t, 200, "")
	w.put("/streams/up.p", "three", "If-Match", "*").want(t, 200, "")
	w.do("POST", "/streams/up.p", strings.NewReader("!"), "If-Match", `"3-5"`).want(t, 200, "")
	if got := w.content("up.p"); got != "three!" {
		t.Errorf("the stream holds %q", got)
	}
}

// Of many who create a stream at once, one does.
func TestOneCreates(t *testing.T) {
	t.Parallel()
	w := start(t)
	answers := make(chan int, 8)
	for i := range cap(answers) {
		go func() {
			answers <- w.put("/streams/up.one", strings.Repeat("x", 100+i), "If-None-Match", "*").status
		}()
	}
	counts := map[int]int{}
	for range cap(answers) {
		counts[<-answers]++
	}
	if counts[201] != 1 || counts[412] != cap(answers)-1 {
		t.Errorf("the answers are %v", counts)
	}
}

// Of many who append the same part at once, one does.
func TestOneAppends(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.put("/streams/up.part", "abc").want(t, 201, "")
	answers := make(chan answer, 8)
	for range cap(answers) {
		go func() { answers <- w.put("/streams/up.part", "def", "Content-Range", "bytes 3-5/6") }()
	}
	counts := map[int]int{}
	for range cap(answers) {
		a := <-answers
		counts[a.status]++
		if a.status == 400 {
			a.wantHeader(t, "X-Explanation", "Can only append data")
		}
	}
	if counts[204] != 1 || counts[400] != cap(answers)-1 || w.content("up.part") != "abcdef" {
		t.Errorf("the answers are %v, the stream holds %q", counts, w.content("up.part"))
	}
}

func TestUploadNames(t *testing.T) {
	t.Parallel()
	w := start(t)
	for escaped, name := range map[string]string{
		"up.plain":               "up.plain",
		"up.with%20space":        "up.with space",
		"up.caf%C3%A9":           "up.café",
		"up.100%25":              "up.100%",
		"up.q%3Fx%23y":           "up.q?x#y",
		"up.plus+sign":           "up.plus+sign",
		"files/a/b.wav":          "files/a/b.wav",
		"files%2Fa%2Fc.wav":      "files/a/c.wav",
		"files/a%2Fchunks":       "files/a/chunks",
		"up.scheme://x":          "up.scheme://x",
		"files/.hidden/../x":     "files/.hidden/../x",
		"up.quote%22%3Cb%3E%27x": "up.quote\"<b>'x",
	} {
		c := w.dial()
		c.say("PUT /streams/" + escaped + " HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
		if a := c.hear("PUT"); a.status != 201 {
			t.Errorf("%s: %d %q", escaped, a.status, a.body)
			continue
		}
		if got := w.content(name); got != "hello" {
			t.Errorf("%s: the stream %q holds %q", escaped, name, got)
		}
		c.say("GET /streams/" + escaped + " HTTP/1.1\r\nHost: x\r\n\r\n")
		c.hear("GET").want(t, 200, "hello")
	}
	for escaped, status := range map[string]int{
		"":                                405,
		"%zz":                             400,
		"up.x%":                           400,
		"up.a/chunks":                     405,
		"_dead":                           400,
		"_jobs":                           400,
		"up." + strings.Repeat("x", 2000): 400,
		"unmatched":                       404,
	} {
		c := w.dial()
		c.say("PUT /streams/" + escaped + " HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
		if a := c.hear("PUT"); a.status != status {
			t.Errorf("%s: %d %q, not %d", escaped, a.status, a.body, status)
		}
	}
	w.put("/streams/small.x", "x").want(t, 201, "")
}

func TestContentRangeOfMissingStream(t *testing.T) {
	t.Parallel()
	w := start(t)
	a := w.put("/streams/up.none", "", "Content-Range", "bytes */*")
	a.want(t, 308, "")
	a.wantHeader(t, "Range", "bytes 0--1")
	w.absent("up.none")
	w.put("/streams/up.none", "abc", "Content-Range", "bytes 0-2/3").want(t, 204, "")
	if got := w.content("up.none"); got != "abc" {
		t.Errorf("the stream holds %q", got)
	}
}
