package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"weir/internal/vfs"
	"weir/policies"
	"weir/streams"
)

// startTrimmed starts a weir whose stream numbers.a has the lines 0 to 3999,
// of seven bytes each, from trimmedLine on; raw.a has entries, of seven bytes,
// too.
func startTrimmed(t *testing.T) *weir {
	t.Helper()
	so := streams.Options{SegmentBytes: 64 << 10, LiveSegments: 1, ChunkBytes: 4 << 10, LargeBytes: 4 << 10, MinFree: 1}
	w := startPolicies(t, vfs.OS{}, so, testPolicies())
	for name, form := range map[string]string{"numbers.a": "%06d\n", "raw.a": "\x92\x01\xa4%04d"} {
		policy, _, _ := strings.Cut(name, ".")
		for i := 0; i < 4000; i += 100 {
			var b []byte
			for j := range 100 {
				b = fmt.Appendf(b, form, i+j)
			}
			w.append(name, policy, b)
		}
		st, _ := w.streams.Stream(name)
		for st.State().Begin != trimmedBegin { // until it has left the log
			w.append("files/other", "files", make([]byte, 3000))
			if err := w.streams.Trim(t.Context(), []streams.Cut{{Stream: st, Generation: 1, Before: trimmedBegin}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	return w
}

const (
	trimmedLine  = 1234
	trimmedBegin = 7 * trimmedLine
	trimmedSize  = 7 * 4000
)

func (w *weir) append(name, policy string, b []byte) {
	w.t.Helper()
	st, err := w.streams.Create(name, policy)
	if err == nil {
		err = w.streams.Append(w.t.Context(), []streams.Record{{Stream: st, Data: b}}, make([]streams.Result, 1))
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func trimmedLines(from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, "%06d\n", i)
	}
	return b.String()
}

// TestTrimmedBytes: the bytes that there are keep their places; of others the
// answer says where the stream begins.
func TestTrimmedBytes(t *testing.T) {
	t.Parallel()
	w := startTrimmed(t)
	begin, all := fmt.Sprint(trimmedBegin), trimmedLines(trimmedLine, 4000)
	for _, c := range []struct {
		what, ranges string
		status       int
		body, place  string
	}{
		{"all", "", 410, "Range: bytes=" + begin + "-", ""},
		{"the first byte", "bytes=0-0", 416, begin, "bytes */28000"},
		{"all as a range", "bytes=0-", 416, begin, "bytes */28000"},
		{"up to the beginning", "bytes=0-" + begin, 416, begin, "bytes */28000"},
		{"from the beginning", "bytes=" + begin + "-", 206, all, fmt.Sprintf("bytes %d-27999/28000", trimmedBegin)},
		{"a line", "bytes=14000-14006", 206, "002000\n", "bytes 14000-14006/28000"},
		{"the end", "bytes=-7", 206, "003999\n", "bytes 27993-27999/28000"},
		{"more than there is", "bytes=-1000000", 206, all, fmt.Sprintf("bytes %d-27999/28000", trimmedBegin)},
		{"what there is of two", "bytes=0-6,14000-14006", 206, "002000\n", "bytes 14000-14006/28000"},
		{"behind the end", "bytes=28000-", 416, begin, "bytes */28000"},
	} {
		var h []string
		if c.ranges != "" {
			h = []string{"Range", c.ranges}
		}
		a := w.do("GET", "/streams/numbers.a", nil, h...)
		if a.status != c.status || c.status == 206 && a.body != c.body || !strings.Contains(a.body, c.body) || a.header.Get("Content-Range") != c.place {
			t.Errorf("%s: %d, Content-Range %q, %d bytes: %.80s", c.what, a.status, a.header.Get("Content-Range"), len(a.body), a.body)
		}
		a.wantHeader(t, "Weir-Begin", begin)
	}
	a := w.do("HEAD", "/streams/numbers.a", nil)
	if a.status != 200 || a.header.Get("Content-Length") != "28000" || a.header.Get("Weir-Begin") != begin {
		t.Errorf("HEAD: %d %v", a.status, a.header)
	}
	a = w.do("GET", "/streams/numbers.a", nil, "Accept", "application/json")
	var p struct {
		Type  string
		Begin int64
	}
	if err := json.Unmarshal([]byte(a.body), &p); err != nil || p.Type != "urn:weir:trimmed" || p.Begin != trimmedBegin {
		t.Errorf("the problem is %s: %v", a.body, err)
	}
	a = w.do("GET", "/streams/numbers.a", nil, "If-None-Match", w.do("HEAD", "/streams/numbers.a", nil).header.Get("ETag"))
	if a.status != 304 {
		t.Errorf("who has it gets %d", a.status)
	}
}

// TestTrimmedLists: lists show the beginning, and the chunks that there are.
func TestTrimmedLists(t *testing.T) {
	t.Parallel()
	w := startTrimmed(t)
	var list struct {
		Begin, Length int64
		Chunks        []streams.Chunk
	}
	if err := json.Unmarshal([]byte(w.get("/streams/numbers.a/chunks").body), &list); err != nil {
		t.Fatal(err)
	}
	if c := list.Chunks[0]; list.Begin != trimmedBegin || list.Length != trimmedSize || c.Offset > trimmedBegin || c.Offset+c.Length <= trimmedBegin || c.Since.IsZero() || c.Until.Before(c.Since) {
		t.Errorf("%+v", list)
	}
	w.get("/streams/?prefix=numbers").want(t, 200, fmt.Sprintf(`"begin":%d`, trimmedBegin))
	w.get("/api/status").want(t, 200, fmt.Sprintf(`"begin":%d`, trimmedBegin))
}

// TestTrimmedRecords: views of records start at the beginning.
func TestTrimmedRecords(t *testing.T) {
	t.Parallel()
	w := startTrimmed(t)
	begin := fmt.Sprint(trimmedBegin)
	for _, c := range []struct {
		query  string
		status int
		first  string
		n      int // lines
	}{
		{"numbers.a?format=jsonl", 200, "\"001234\"\n", 4000 - trimmedLine},
		{"numbers.a?format=jsonl&limit=2", 200, "\"001234\"\n\"001235\"\n", 2},
		{"numbers.a?format=jsonl&offset=begin&limit=1", 200, "\"001234\"\n", 1},
		{"numbers.a?format=jsonl&offset=" + begin + "&limit=1", 200, "\"001234\"\n", 1},
		{"numbers.a?format=jsonl&offset=14000&limit=1", 200, "\"002000\"\n", 1},
		{"numbers.a?format=jsonl&offset=0", 410, "the bytes before " + begin, 1},
		{"numbers.a?format=jsonl&offset=14001", 422, "", 1},
		{"numbers.a?format=csv", 200, "line\n001234\n", 4000 - trimmedLine + 1},
		{"raw.a?format=jsonl&limit=1", 200, `{"time":"1970-01-01T00:00:01Z","record":"1234"}`, 1},
		{"raw.a?format=msgpack&limit=1", 200, "\x92\x01\xa41234", 0},
		{"raw.a?format=msgpack", 200, "\x92\x01\xa41234", 0},
	} {
		a := w.get("/streams/" + c.query)
		if a.status != c.status || !strings.HasPrefix(a.body, c.first) || strings.Count(a.body, "\n") != c.n {
			t.Errorf("%s: %d, %d lines: %.60q", c.query, a.status, strings.Count(a.body, "\n"), a.body)
		}
	}
	if a := w.get("/streams/raw.a?format=msgpack"); len(a.body) != trimmedSize-trimmedBegin {
		t.Errorf("%d bytes of entries", len(a.body))
	}
	w.get("/streams/numbers.a?format=jsonl&limit=1").wantHeader(t, "Weir-Begin", begin)
}

// TestTrimmedEvents: a tail begins where the stream does, and says so to who
// was behind.
func TestTrimmedEvents(t *testing.T) {
	t.Parallel()
	w := startTrimmed(t)
	head := func(target, last string, n int) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "GET", w.base+target, nil)
		if err != nil {
			t.Fatal(err)
		}
		if last != "" {
			req.Header.Set("Last-Event-ID", last)
		}
		resp, err := w.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b := make([]byte, n)
		if _, err := io.ReadFull(resp.Body, b); err != nil {
			t.Fatalf("%s: %v: %q", target, err, bytes.TrimRight(b, "\x00"))
		}
		return string(b)
	}
	trimmed := fmt.Sprintf("event: trimmed\nid: 1-%d\ndata: {\"begin\":%d}\n\nid: 1-%d\ndata: \"001234\"\n\n", trimmedBegin, trimmedBegin, trimmedBegin+7)
	if got := head("/streams/numbers.a?format=events", "1-7", 150); !strings.Contains(got, trimmed) {
		t.Errorf("who was behind gets %q", got)
	}
	if got := head("/streams/numbers.a?format=events&offset=begin", "", 60); strings.Contains(got, "trimmed") || !strings.Contains(got, `data: "001234"`) {
		t.Errorf("from the beginning: %q", got)
	}
	w.get("/streams/numbers.a?format=events&offset=7").want(t, 410, fmt.Sprint(trimmedBegin))
}

// TestTrimmedToLineStart: the beginning of a line that has no end is not looked
// for before the stream's.
func TestTrimmedToLineStart(t *testing.T) {
	t.Parallel()
	w := startTrimmed(t)
	st, _ := w.streams.Stream("numbers.a")
	for st.State().Begin != trimmedSize {
		w.append("files/other", "files", make([]byte, 3000))
		if err := w.streams.Trim(t.Context(), []streams.Cut{{Stream: st, Generation: 1, Before: trimmedSize}}); err != nil {
			t.Fatal(err)
		}
	}
	tail := &tail{s: w.s, st: st, at: position{1, trimmedSize, 0}}
	if err := tail.toLineStart(trimmedSize); err != nil || tail.at.offset != trimmedSize {
		t.Errorf("%v, at %d", err, tail.at.offset)
	}
	w.append("numbers.a", "numbers", []byte("12"))
	tail.at.offset += 2
	if err := tail.toLineStart(trimmedSize); err != nil || tail.at.offset != trimmedSize {
		t.Errorf("%v, at %d", err, tail.at.offset)
	}
	var p *policies.Pieces
	p, err := w.router.Pieces(t.Context(), st, 1, trimmedSize, trimmedSize+2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Next(); err != io.EOF {
		t.Errorf("half a line: %v", err)
	}
}
