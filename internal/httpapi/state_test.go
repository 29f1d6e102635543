package httpapi

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"weir/jobs/cimi"
	"weir/policies"
	"weir/streams"
)

func TestListStreams(t *testing.T) {
	t.Parallel()
	w := start(t)
	for _, name := range []string{"up.a", "up.b", "up.c", "raw.x"} {
		st, _, err := w.router.Target(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Upload(t.Context(), strings.NewReader("hello"), streams.UploadOptions{Length: -1}); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := w.router.Target("up.never"); err != nil { // a handle, no data
		t.Fatal(err)
	}
	list := func(query string) (names []string, next string) {
		var a struct {
			Streams []streamInfo
			Next    string
		}
		unmarshal(t, w.get("/streams/"+query), &a)
		for _, s := range a.Streams {
			if s.Length != 5 || s.Records != 1 || s.Modified.IsZero() {
				t.Errorf("%+v is not what was kept", s)
			}
			names = append(names, s.Name)
		}
		return names, a.Next
	}
	for _, tc := range []struct{ query, names, next string }{
		{"", "raw.x up.a up.b up.c", ""},
		{"?prefix=up.", "up.a up.b up.c", ""},
		{"?prefix=up.&limit=2", "up.a up.b", "up.b"},
		{"?prefix=up.&limit=2&after=up.b", "up.c", ""},
		{"?prefix=up%2Ea", "up.a", ""},
		{"?prefix=none", "", ""},
	} {
		if names, next := list(tc.query); strings.Join(names, " ") != tc.names || next != tc.next {
			t.Errorf("%s lists %v, then %q; not %s, then %q", tc.query, names, next, tc.names, tc.next)
		}
	}
	w.get("/streams/?prefix=none").want(t, 200, `"streams":[]`)
	for _, query := range []string{"?limit=0", "?limit=-1", "?limit=x", "?limit=10001"} {
		w.get("/streams/"+query).want(t, 400, "limit")
	}
	w.get("/streams/up.never").want(t, 404, "up.never")
	w.get("/streams/up.never/chunks").want(t, 404, "up.never")
	w.get("/streams/up.a/chunks").want(t, 200, `"chunks":[{"offset":0,"length":5`)
}

func TestStatus(t *testing.T) {
	t.Parallel()
	w := withNumbers(t, "numbers.n", "1\n2\n")
	w.ingest("raw", "raw.r", entry("x")).want(t, 204, "")
	w.ingest("raw", "raw.r", nil).want(t, 400, "")
	var s status
	unmarshal(t, w.get("/api/status"), &s)
	if s.Totals.Streams != 2 || s.Totals.Groups != 1 || s.Totals.Rows != 2 || s.Totals.Records != 2 || s.Totals.Appends != 2 || s.Totals.Bytes != 4+int64(len(entry("x"))) {
		t.Errorf("the totals are %+v", s.Totals)
	}
	if len(s.Refused) != 1 || s.Refused[0] != (refusedCount{Reason: "empty-body", Requests: 1}) {
		t.Errorf("the refused are %+v", s.Refused)
	}
	if len(s.Streams) != 2 || len(s.Arrays) != 1 || len(s.Policies) != len(testPolicies()) || s.Policies[0].Batches != 1 {
		t.Errorf("the status is %+v", s)
	}
	if s.HTTP["ingest"] != [6]int64{2: 1, 4: 1} || s.HTTP["upload"] != [6]int64{2: 1} {
		t.Errorf("the answers are %v", s.HTTP)
	}
}

func TestExplainRoute(t *testing.T) {
	t.Parallel()
	w := start(t)
	var e policies.Explanation
	unmarshal(t, w.get("/api/route?tag=numbers.a%20b"), &e)
	if e.Tag != "numbers.a b" || e.Policy != "numbers" || e.Stream != "numbers.a b" {
		t.Errorf("the explanation is %+v", e)
	}
	unmarshal(t, w.get("/api/route?tag=other"), &e)
	if e.Error == "" {
		t.Errorf("an unmatched tag is explained as %+v", e)
	}
	w.get("/api/route").want(t, 400, "tag")
}

func TestHealthAndReady(t *testing.T) {
	t.Parallel()
	var bound atomic.Bool
	w := start(t, func(o *Options) {
		o.Conditions = func() []Condition {
			return []Condition{{Name: "listening", OK: bound.Load(), Text: "forward on 127.0.0.1:24224"}}
		}
	})
	w.get("/health").want(t, 200, "ok")
	w.get("/ready").want(t, 503, "FAIL listening: forward on 127.0.0.1:24224")
	bound.Store(true)
	w.get("/ready").want(t, 200, "ok   listening")
	w.get("/ready", "Accept", "application/json").want(t, 200, `{"name":"appends","ok":true}`)
	w.s.Drain()
	w.get("/ready").want(t, 503, "FAIL accepting")
	w.get("/health").want(t, 200, "ok")
}

func TestMetricsRoute(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.get("/metrics").want(t, 404, "")
	w = start(t, func(o *Options) {
		o.Metrics = func(to io.Writer) error {
			_, err := io.WriteString(to, "weir_x 1\n")
			return err
		}
	})
	a := w.get("/metrics")
	a.want(t, 200, "weir_x 1\n")
	a.wantHeader(t, "Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w = start(t, func(o *Options) { o.Metrics = func(io.Writer) error { return errors.New("no luck") } })
	w.get("/metrics").want(t, 500, "no luck")
}

func TestPageFiles(t *testing.T) {
	t.Parallel()
	w := start(t)
	for target, kind := range map[string]string{
		"/": "text/html; charset=utf-8", "/web/app.js": "text/javascript; charset=utf-8", "/web/style.css": "text/css; charset=utf-8",
		"/web/uplot.js": "text/javascript; charset=utf-8", "/web/uplot.css": "text/css; charset=utf-8",
		"/web/uplot.license": "text/plain; charset=utf-8", "/web/icon.svg": "image/svg+xml", "/favicon.ico": "image/svg+xml",
	} {
		a := w.get(target)
		a.want(t, 200, "")
		a.wantHeader(t, "Content-Type", kind)
		a.wantHeader(t, "X-Content-Type-Options", "nosniff")
		if csp := a.header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; script-src 'self'; ") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: the policy is %q", target, csp)
		}
		if len(a.body) < 100 {
			t.Errorf("%s has %d bytes", target, len(a.body))
		}
		w.get(target, "If-None-Match", a.header.Get("ETag")).want(t, 304, "")
	}
	if page := w.get("/").body; strings.Contains(page, "style=") || strings.Contains(page, "onclick") || strings.Contains(page, "://") {
		t.Error("the page has what its policy forbids, or something from elsewhere")
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	w := start(t)
	for target, allow := range map[string]string{
		"/health": "GET, HEAD", "/": "GET, HEAD", "/arrays/": "GET, HEAD", "/arrays/x/zarr.json": "GET, HEAD",
		"/api/status": "GET, HEAD", "/streams/x": "GET, HEAD, PUT, POST",
	} {
		for _, method := range []string{http.MethodDelete, http.MethodPatch, http.MethodOptions} {
			a := w.do(method, target, nil)
			a.want(t, 405, method)
			a.wantHeader(t, "Allow", allow)
		}
	}
	w.do("PUT", "/arrays/x/zarr.json", strings.NewReader("{}")).want(t, 405, "PUT")
	w.do("POST", "/health", nil).want(t, 405, "POST")
}

// fakeJobs says back what it was asked.
type fakeJobs struct{}

func (fakeJobs) Serve(_ context.Context, r cimi.Request) cimi.Response {
	return cimi.Response{Status: 201, Location: "job/1", Body: []byte(r.Method + " " + r.Path + "?" + r.Query + " " + string(r.Body))}
}

func TestJobsRoute(t *testing.T) {
	t.Parallel()
	w := start(t, func(o *Options) { o.Jobs = fakeJobs{} })
	a := w.do("PUT", "/api/job?$last=0", strings.NewReader("filter"))
	a.want(t, 201, "PUT job?$last=0 filter")
	a.wantHeader(t, "Location", "job/1")
	w.do("PUT", "/api/job", strings.NewReader(strings.Repeat("x", maxJobBody+1))).want(t, 413, "")
	start(t).get("/api/job").want(t, 404, "")
}

func TestNumbersAsJSON(t *testing.T) {
	t.Parallel()
	b, err := numbers{1, math.NaN(), -0.5, math.Inf(1), math.Inf(-1), 1e300, 0}.MarshalJSON()
	if err != nil || string(b) != "[1,null,-0.5,null,null,1e+300,0]" {
		t.Errorf("the numbers are %s, %v", b, err)
	}
}

func TestNewRefusesNonsense(t *testing.T) {
	t.Parallel()
	w := start(t)
	for name, o := range map[string]Options{
		"nothing":   {},
		"no arrays": {Streams: w.streams, Policies: w.router},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: there is no error", name)
		}
	}
}

// A page of another site cannot write through its reader's browser; reading is
// the browser's own matter, since no answer allows it.
func TestForeignPages(t *testing.T) {
	t.Parallel()
	w := start(t)
	for _, tc := range []struct {
		headers []string
		status  int
	}{
		{nil, 200},
		{[]string{"Sec-Fetch-Site", "same-origin", "Origin", w.base}, 200},
		{[]string{"Sec-Fetch-Site", "none"}, 200},
		{[]string{"Origin", w.base}, 200},
		{[]string{"Sec-Fetch-Site", "cross-site", "Origin", "http://evil.example"}, 403},
		{[]string{"Sec-Fetch-Site", "same-site", "Origin", "http://other.example"}, 403},
		{[]string{"Origin", "http://evil.example"}, 403},
		{[]string{"Origin", "null"}, 403},
		{[]string{"Origin", "http://" + w.addr + ".evil.example"}, 403},
	} {
		w.put("/streams/up.csrf", "before")
		a := w.put("/streams/up.csrf", "after", tc.headers...)
		if a.status != tc.status || (w.content("up.csrf") == "after") != (tc.status == 200) {
			t.Errorf("%v: %d %q, the stream holds %q", tc.headers, a.status, a.body, w.content("up.csrf"))
		}
		if a := w.get("/streams/up.csrf", tc.headers...); a.status != 200 || a.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%v: reading gives %d %v", tc.headers, a.status, a.header)
		}
	}
}
