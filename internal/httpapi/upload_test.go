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
	} {
		var headers []string
		if step.contentRange != "" {
			headers = []string{"Content-Range", step.contentRange}
		}
		a := w.put(at, step.body, headers...)
		if a.status != step.status {
			t.Errorf("%s: status %d %q, not %d", step.name, a.status, a.body, step.status)
		}
		a.wantHeader(t, "X-Explanation", step.explain)
		a.wantHeader(t, "Range", step.held)
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
	a.wantHeader(t, "ETag", `"2-5"`)
	if lines := strings.Split(strings.TrimSuffix(a.body, "\n"), "\n"); len(lines) != 2 || !strings.Contains(lines[0], "up.a") || !strings.Contains(lines[0], "5 bytes") {
		t.Errorf("the answer is not two readable lines: %q", a.body)
	}
	a = w.put("/streams/up.a", "hello", "Accept", "application/json")
	a.want(t, 200, "")
	var got uploaded
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		t.Fatal(err)
	}
	if want := (uploaded{Stream: "up.a", Generation: 3, Offset: 0, Bytes: 5, SHA256: sha}); got != want {
		t.Errorf("the answer is %+v, not %+v", got, want)
	}
	a = w.do("POST", "/streams/up.a", strings.NewReader(" world"))
	a.want(t, 200, "offset 5")
	a.wantHeader(t, "ETag", `"3-11"`)
	if got := w.content("up.a"); got != "hello world" {
		t.Errorf("the stream holds %q", got)
	}
}
