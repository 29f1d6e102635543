package httpapi

import (
	"net/url"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// The tag is what fluentd's plugin puts between "reference=" and the end, as
// it stands; what another client has encoded is decoded.
func TestParseIngestQuery(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]ingestQuery{
		"":                              {},
		"reference":                     {},
		"reference=":                    {hasTag: true},
		"reference=a.b":                 {hasTag: true, tag: "a.b"},
		"reference=a/b:c=d":             {hasTag: true, tag: "a/b:c=d"},
		"reference=a&b":                 {hasTag: true, tag: "a&b"},
		"reference=a&b=c&reference=d":   {hasTag: true, tag: "a&b=c&reference=d"},
		"reference=a+b":                 {hasTag: true, tag: "a+b"},
		"reference=a%2Fb%20c":           {hasTag: true, tag: "a/b c"},
		"reference=100%":                {hasTag: true, tag: "100%"},
		"reference=100%25":              {hasTag: true, tag: "100%"},
		"reference=50%2Fx%":             {hasTag: true, tag: "50%2Fx%"},
		"reference=\xc3\xa9":            {hasTag: true, tag: "é"},
		"user=x&reference=a":            {hasTag: true, tag: "a"},
		"preference=x":                  {},
		"preference=x&reference=a":      {hasTag: true, tag: "a"},
		"reference=a&data_chunk=b":      {hasTag: true, tag: "a", inQuery: true, chunk: "b"},
		"data_chunk=b&reference=a":      {hasTag: true, tag: "a", inQuery: true, chunk: "b"},
		"reference=a&data_chunk=":       {hasTag: true, tag: "a", inQuery: true},
		"reference=a&x=y&data_chunk=b":  {hasTag: true, tag: "a&x=y", inQuery: true, chunk: "b"},
		"reference=a&data_chunk=b&c=d":  {hasTag: true, tag: "a", inQuery: true, chunk: "b"},
		"data_chunk=b":                  {inQuery: true, chunk: "b"},
		"reference=a&metadata_chunk=b":  {hasTag: true, tag: "a&metadata_chunk=b"},
		"reference=data_chunk=x":        {hasTag: true, tag: "data_chunk=x"},
		"reference=a%26data_chunk%3Dxx": {hasTag: true, tag: "a&data_chunk=xx"},
	} {
		if got := parseIngestQuery(query); got != want {
			t.Errorf("parseIngestQuery(%q) is %+v, not %+v", query, got, want)
		}
	}
}

// A tag encoded as any library would comes back; the parser never fails.
func FuzzIngestQuery(f *testing.F) {
	for _, seed := range []string{"a.b", "", "a/b&c", "%", "%41", "a b+c", "reference=", "&data_chunk=", "\xff\x00"} {
		f.Add(seed, "chunk")
	}
	f.Fuzz(func(t *testing.T, tag, chunk string) {
		parseIngestQuery(tag + chunk)
		escaped := strings.ReplaceAll(url.QueryEscape(tag), "+", "%20")
		for _, query := range []string{
			"reference=" + escaped + "&data_chunk=" + url.QueryEscape(chunk),
			"data_chunk=" + url.QueryEscape(chunk) + "&reference=" + escaped,
		} {
			q := parseIngestQuery(query)
			if !q.hasTag || q.tag != tag || !q.inQuery {
				t.Errorf("%q is read as %+v", query, q)
			}
			data, err := unescapeInPlace([]byte(q.chunk), true)
			if err != nil || string(data) != chunk {
				t.Errorf("the chunk is read as %q, %v; not %q", data, err, chunk)
			}
		}
	})
}

func TestUnescape(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"": "", "a": "a", "%41%62": "Ab", "%2f": "/", "+": "+", "%00": "\x00", "%e2%82%ac": "€"} {
		if got, err := unescape(in); got != want || err != nil {
			t.Errorf("unescape(%q) is %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"%", "%4", "%zz", "a%", "%%41", "%4g", "%-1"} {
		if got, err := unescape(in); err == nil {
			t.Errorf("unescape(%q) is %q, no error", in, got)
		}
	}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		method, uri string
		want        *route
	}{
		{"POST", "/portal_ingestion_policies/p/ingest?reference=x", routeIngest},
		{"GET", "/erp5/portal_ingestion_policies/p//ingest", routeIngest},
		{"POST", "//portal_ingestion_policies/p/ingest/", routeIngest},
		{"POST", "http://host:1/erp5/portal_ingestion_policies/p/ingest?reference=a://b", routeIngest},
		{"POST", "/portal_ingestion_policies/p", routeNone},
		{"POST", "/portal_ingestion_policies//ingest", routeNone},
		{"PUT", "/streams/a", routeUpload},
		{"POST", "/streams/a/b", routeUpload},
		{"PUT", "/streams/a/chunks", routeUpload},
		{"GET", "/streams/a", routeStream},
		{"DELETE", "/streams/a", routeStream},
		{"GET", "/streams/a/chunks", routeChunks},
		{"GET", "/streams/a%2Fchunks", routeStream},
		{"GET", "/streams", routeStreams},
		{"GET", "/streams/", routeStreams},
		{"GET", "/streams/?prefix=a", routeStreams},
		{"GET", "/streamsx", routeNone},
		{"GET", "/arrays", routeArrays},
		{"GET", "/arrays/", routeArrays},
		{"GET", "/arrays/zarr.json", routeArray},
		{"GET", "/arrays/a/zarr.json", routeArray},
		{"GET", "/api/status", routeAPI},
		{"GET", "/health", routeHealth},
		{"GET", "/health/", routeNone},
		{"GET", "/ready", routeReady},
		{"GET", "/metrics", routeMetrics},
		{"GET", "/", routePage},
		{"GET", "", routePage},
		{"GET", "http://host", routePage},
		{"GET", "*", routeNone},
		{"GET", "/web/app.js", routePage},
		{"GET", "/web/../server.go", routeNone},
	} {
		if got := routeFor(tc.method, parseTarget(tc.uri)); got != tc.want {
			t.Errorf("%s %s goes to %q, not %q", tc.method, tc.uri, got.name, tc.want.name)
		}
	}
}

// Any address finds a route, and fasthttp's mended form finds the same.
func FuzzTarget(f *testing.F) {
	for _, seed := range []string{"/", "/streams/a?b=c", "http://h/x", "/a?b=c://d", "*", "?", "//", "/portal_ingestion_policies/p/ingest?reference=x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		at := parseTarget(uri)
		if !strings.HasPrefix(at.path, "/") {
			t.Errorf("%q has the path %q", uri, at.path)
		}
		if routeFor("GET", at) == nil || routeFor("PUT", at) == nil {
			t.Errorf("%q has no route", uri)
		}
		at.value("limit")
		splitZarr(at.path)
		var h fasthttp.RequestHeader
		h.SetRequestURI(uri)
		beforeBody(&h)
		mended := parseTarget(string(h.RequestURI()))
		if strings.HasPrefix(uri, "/") && routeFor("PUT", mended).takes != routeFor("PUT", at).takes {
			t.Errorf("%q goes elsewhere when mended", uri)
		}
	})
}
