package httpapi

import (
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseRange(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		header string
		size   int64
		ok     bool
		spans  []span
	}{
		{"bytes=0-0", 10, true, []span{{0, 1}}},
		{"bytes=0-9", 10, true, []span{{0, 10}}},
		{"bytes=0-99", 10, true, []span{{0, 10}}},
		{"bytes=3-", 10, true, []span{{3, 10}}},
		{"bytes=-3", 10, true, []span{{7, 10}}},
		{"bytes=-30", 10, true, []span{{0, 10}}},
		{"BYTES=1-2", 10, true, []span{{1, 3}}},
		{"bytes= 0-1 , 4-5 ,", 10, true, []span{{0, 2}, {4, 6}}},
		{"bytes=9-9,0-0", 10, true, []span{{9, 10}, {0, 1}}},
		{"bytes=10-", 10, true, nil},
		{"bytes=-0", 10, true, nil},
		{"bytes=0-", 0, true, nil},
		{"bytes=-5", 0, true, nil},
		{"bytes=20-30,1-1", 10, true, []span{{1, 2}}},
		{"bytes=0-9,0-9", 10, false, nil}, // more than there is
		{"bytes=", 10, false, nil},
		{"bytes=,", 10, false, nil},
		{"bytes=-", 10, false, nil},
		{"bytes=a-b", 10, false, nil},
		{"bytes=1", 10, false, nil},
		{"bytes=5-4", 10, false, nil},
		{"bytes=+1-2", 10, false, nil},
		{"bytes=1--2", 10, false, nil},
		{"bytes=0x1-2", 10, false, nil},
		{"bytes 0-1", 10, false, nil},
		{"items=0-1", 10, false, nil},
		{"bytes=0-99999999999999999999", 10, false, nil},
		{"bytes=0-9223372036854775807", 10, false, nil},
		{"bytes=0-9223372036854775806", 10, true, []span{{0, 10}}},
		{"bytes=" + strings.Repeat("0-0,", 65), 1000, false, nil},
		{"bytes=" + strings.Repeat("0-0,", 64), 1000, true, slices.Repeat([]span{{0, 1}}, 64)},
	} {
		spans, ok := parseRange(tc.header, 0, tc.size)
		if ok != tc.ok || !reflect.DeepEqual(spans, tc.spans) {
			t.Errorf("parseRange(%q, %d) is %v, %t; not %v, %t", tc.header, tc.size, spans, ok, tc.spans, tc.ok)
		}
	}
}

// Whatever is asked, the spans lie within the resource and ask for no more
// than it has.
func FuzzParseRange(f *testing.F) {
	for _, seed := range []string{"bytes=0-1", "bytes=-5", "bytes=3-,1-2", "bytes=a", "bytes=9223372036854775806-"} {
		f.Add(seed, int64(0), int64(10))
		f.Add(seed, int64(2), int64(10))
	}
	f.Fuzz(func(t *testing.T, header string, begin, size int64) {
		if begin < 0 || size < begin {
			return
		}
		spans, ok := parseRange(header, begin, size)
		if !ok && spans != nil {
			t.Error("spans of a header that is ignored")
		}
		var sum int64
		for _, s := range spans {
			if s.start < begin || s.start >= s.end || s.end > size {
				t.Errorf("the span %v is not in the bytes %d to %d", s, begin, size)
			}
			sum += s.end - s.start
		}
		if sum > size-begin {
			t.Errorf("%d bytes are asked of %d", sum, size-begin)
		}
	})
}

// A Content-Range that is read names bytes that can be; written again it is
// read as the same.
func FuzzParseContentRange(f *testing.F) {
	for _, seed := range []string{"bytes 0-1/2", "bytes */*", "bytes 5-4/3", "bytes 0-1/*", "bytes  0-1/2", "BYTES 1-1/2", "bytes 0-9223372036854775807/1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		r, ok := parseContentRange(header)
		if !ok || r.kind == rangeStatus {
			if r.first != 0 || r.last != 0 || r.total != 0 {
				t.Errorf("%q is %+v", header, r)
			}
			return
		}
		if r.first < 0 || r.last < r.first || r.total < 0 || r.last+1 <= 0 {
			t.Errorf("%q is read as %+v", header, r)
		}
		again, ok := parseContentRange(fmt.Sprintf("bytes %d-%d/%d", r.first, r.last, r.total))
		if !ok || again != r {
			t.Errorf("%q is read as %+v, then as %+v", header, r, again)
		}
	})
}

const alphabet = "abcdefghijklmnopqrstuvwxyz"

func TestReadStreamRanges(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.put("/streams/up.abc", alphabet[:10]).want(t, 201, "")
	w.do("POST", "/streams/up.abc", strings.NewReader(alphabet[10:])).want(t, 200, "")
	whole := w.get("/streams/up.abc")
	whole.want(t, 200, alphabet)
	tag, modified := whole.header.Get("ETag"), whole.header.Get("Last-Modified")
	if tag != `"1-26"` || modified == "" || whole.header.Get("Accept-Ranges") != "bytes" {
		t.Errorf("the head is %v", whole.header)
	}
	past := time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)
	for _, tc := range []struct {
		headers      []string
		status       int
		body         string
		contentRange string
	}{
		{[]string{"Range", "bytes=0-2"}, 206, "abc", "bytes 0-2/26"},
		{[]string{"Range", "bytes=8-11"}, 206, "ijkl", "bytes 8-11/26"}, // over two appends
		{[]string{"Range", "bytes=-3"}, 206, "xyz", "bytes 23-25/26"},
		{[]string{"Range", "bytes=24-"}, 206, "yz", "bytes 24-25/26"},
		{[]string{"Range", "bytes=26-"}, 416, "range", "bytes */26"},
		{[]string{"Range", "bytes=nonsense"}, 200, alphabet, ""},
		{[]string{"Range", "bytes=0-2", "If-Range", tag}, 206, "abc", "bytes 0-2/26"},
		{[]string{"Range", "bytes=0-2", "If-Range", `"2-25"`}, 200, alphabet, ""},
		{[]string{"Range", "bytes=0-2", "If-Range", "W/" + tag}, 200, alphabet, ""},
		{[]string{"Range", "bytes=0-2", "If-Range", past}, 200, alphabet, ""},
		{[]string{"If-None-Match", tag}, 304, "", ""},
		{[]string{"If-None-Match", `"x", W/` + tag}, 304, "", ""},
		{[]string{"If-None-Match", "*"}, 304, "", ""},
		{[]string{"If-None-Match", `"2-25"`}, 200, alphabet, ""},
		{[]string{"If-None-Match", `"2-25"`, "If-Modified-Since", modified}, 200, alphabet, ""},
		{[]string{"If-Modified-Since", modified}, 304, "", ""},
		{[]string{"If-Modified-Since", past}, 200, alphabet, ""},
		{[]string{"If-Modified-Since", "yesterday"}, 200, alphabet, ""},
		{[]string{"If-Match", tag}, 200, alphabet, ""},
		{[]string{"If-Match", "*"}, 200, alphabet, ""},
		{[]string{"If-Match", `"2-25", ` + tag, "Range", "bytes=0-2"}, 206, "abc", "bytes 0-2/26"},
		{[]string{"If-Match", `"2-25"`, "If-None-Match", tag}, 412, "", ""},
		{[]string{"If-Match", "W/" + tag}, 412, "", ""},
		{[]string{"If-Unmodified-Since", modified}, 200, alphabet, ""},
		{[]string{"If-Unmodified-Since", past}, 412, "", ""},
		{[]string{"If-Unmodified-Since", past, "If-Match", tag}, 200, alphabet, ""},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			a := w.do(method, "/streams/up.abc", nil, tc.headers...)
			body := tc.body
			if method == "HEAD" {
				body = ""
			}
			if method == "HEAD" && slices.Contains(tc.headers, "Range") { // which HEAD does not have: RFC 9110, 14.2
				tc.status, tc.body, tc.contentRange = 200, alphabet, ""
			}
			if a.status != tc.status || !strings.HasPrefix(a.body, body) && tc.status != 416 || method == "HEAD" && a.body != "" {
				t.Errorf("%s %v: %d %q, not %d %q", method, tc.headers, a.status, a.body, tc.status, body)
			}
			if tc.status < 300 && len(a.body) != len(body) {
				t.Errorf("%s %v: %d bytes, not %d", method, tc.headers, len(a.body), len(body))
			}
			if method == "HEAD" && tc.status < 300 && a.header.Get("Content-Length") != fmt.Sprint(len(tc.body)) {
				t.Errorf("HEAD %v: Content-Length is %q", tc.headers, a.header.Get("Content-Length"))
			}
			a.wantHeader(t, "Content-Range", tc.contentRange)
		}
	}
}

// A date means the resource only when no other one may have it.
func TestIfRangeByDate(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 21, 12, 0, 0, 300_000_000, time.UTC)
	res, date := resource{modified: at, etag: `"1-2"`}, at.Format(http.TimeFormat)
	for _, c := range []struct {
		cond  string
		later time.Duration
		want  bool
	}{
		{date, 0, false},
		{date, 600 * time.Millisecond, false},
		{date, 800 * time.Millisecond, true},
		{date, time.Hour, true},
		{at.Add(-time.Second).Format(http.TimeFormat), time.Hour, false},
		{`"1-2"`, 0, true},
		{"soon", time.Hour, false},
	} {
		if got := validIfRange(c.cond, res, at.Add(c.later)); got != c.want {
			t.Errorf("%s after %s: %v", c.cond, c.later, got)
		}
	}
}

// Range's old name means the same, and its parts have the old type.
func TestRequestRange(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.put("/streams/up.old", alphabet).want(t, 201, "")
	a := w.get("/streams/up.old", "Request-Range", "bytes=0-2")
	if a.status != 206 || a.body != "abc" {
		t.Errorf("one range: %d %q", a.status, a.body)
	}
	for headers, want := range map[string]string{"Request-Range": "multipart/x-byteranges; ", "Range": "multipart/byteranges; "} {
		a := w.get("/streams/up.old", headers, "bytes=0-0,2-2")
		if kind := a.header.Get("Content-Type"); a.status != 206 || !strings.HasPrefix(kind, want) || !strings.Contains(a.body, "bytes 2-2/26\r\n\r\nc\r\n") {
			t.Errorf("two ranges by %s: %d %s %q", headers, a.status, kind, a.body)
		}
	}
	if a := w.get("/streams/up.old", "Range", "bytes=1-1", "Request-Range", "bytes=0-2"); a.body != "b" {
		t.Errorf("both: %q", a.body)
	}
	w.get("/streams/up.old", "Request-Range", "bytes=99-").want(t, 416, "")
}

// Wendelin's addresses of streams and arrays mean ours, with any prefix.
func TestModules(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.put("/erp5/data_stream_module/numbers.m", "1\n2\n").want(t, 201, "stream numbers.m,")
	w.get("/a/b/erp5/data_stream_module/numbers.m?format=raw").want(t, 200, "1\n2\n")
	w.do("PUT", "/data_stream_module/numbers.m", strings.NewReader("3\n"), "Content-Range", "bytes 4-5/6").want(t, 204, "")
	if got := w.content("numbers.m"); got != "1\n2\n3\n" {
		t.Errorf("the stream is %q", got)
	}
	w.build("numbers.m")
	want := w.get("/arrays/numbers.m/value?format=npy")
	want.want(t, 200, "")
	if a := w.get("/erp5/data_array_module/numbers.m/value?format=npy"); a.body != want.body {
		t.Errorf("the array by its old address: %d, %d bytes", a.status, len(a.body))
	}
	for _, at := range []string{"/streams/x/data_stream_module/numbers.m", "/lake/data_array_module/numbers.m", "/erp5/data_stream_module", "/api/x/data_stream_module/numbers.m"} {
		w.get(at).want(t, 404, "")
	}
}

// Who may not look at a stream may not by another address either.
func TestModulesAreGuarded(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	w.do("PUT", "/erp5/data_stream_module/raw.there", strings.NewReader("x"), as("admin")...).want(t, 201, "")
	for _, c := range []struct {
		who    string
		status int
	}{{"", 401}, {"sender", 403}, {"files", 403}, {"reader", 200}} {
		if a := w.get("/erp5/data_stream_module/raw.there", as(c.who)...); a.status != c.status {
			t.Errorf("%q: %d, want %d", c.who, a.status, c.status)
		}
	}
}

// Any list of ranges of any stream gives exactly those bytes.
func TestReadAnyRanges(t *testing.T) {
	t.Parallel()
	w := start(t)
	content := strings.Repeat(alphabet, 400)
	for i := 0; i < len(content); i += 2600 {
		w.do("POST", "/streams/up.any", strings.NewReader(content[i:i+2600]))
	}
	rapid.Check(t, func(rt *rapid.T) {
		var specs []string
		var want []string
		var sum int
		for range rapid.IntRange(1, 5).Draw(rt, "ranges") {
			from := rapid.IntRange(0, len(content)+10).Draw(rt, "from")
			to := rapid.IntRange(from, len(content)+20).Draw(rt, "to")
			specs = append(specs, fmt.Sprintf("%d-%d", from, to))
			if from < len(content) {
				part := content[from:min(to+1, len(content))]
				want, sum = append(want, part), sum+len(part)
			}
		}
		a := w.get("/streams/up.any", "Range", "bytes="+strings.Join(specs, ","))
		switch {
		case sum > len(content):
			if a.status != 200 || a.body != content {
				rt.Fatalf("too much is answered with %d and %d bytes", a.status, len(a.body))
			}
		case len(want) == 0:
			if a.status != 416 {
				rt.Fatalf("nothing is answered with %d", a.status)
			}
		case len(want) == 1:
			if a.status != 206 || a.body != want[0] {
				rt.Fatalf("one is answered with %d and %d bytes", a.status, len(a.body))
			}
		default:
			if got := byteranges(rt, a); !slices.Equal(got, want) {
				rt.Fatalf("the parts differ: %d, not %d", len(got), len(want))
			}
		}
	})
}

func byteranges(t interface{ Fatal(...any) }, a answer) (parts []string) {
	_, params, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	if err != nil || a.status != 206 {
		t.Fatal(a.status, err)
	}
	if a.header.Get("Content-Length") != fmt.Sprint(len(a.body)) {
		t.Fatal("Content-Length is ", a.header.Get("Content-Length"))
	}
	r := multipart.NewReader(strings.NewReader(a.body), params["boundary"])
	for {
		p, err := r.NextRawPart()
		if err == io.EOF {
			return parts
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, string(text))
	}
}
