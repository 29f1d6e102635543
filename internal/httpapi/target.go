package httpapi

import (
	"bytes"
	"errors"
	"strings"

	"github.com/valyala/fasthttp"
)

// A target is a request's address as it was sent, not decoded.
type target struct {
	path  string // begins with a slash
	query string
}

// parseTarget splits a request's address; an absolute one loses its host.
func parseTarget(uri string) target {
	if !strings.HasPrefix(uri, "/") {
		if _, rest, ok := strings.Cut(uri, "://"); ok {
			if i := strings.IndexAny(rest, "/?"); i >= 0 {
				uri = rest[i:]
			} else {
				uri = "/"
			}
		}
	}
	path, query, _ := strings.Cut(uri, "?")
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return target{path: inModule(path), query: query}
}

// modules are Wendelin's folders of streams and arrays, and ours.
var modules = [...]struct{ theirs, ours string }{
	{"/data_stream_module/", "/streams/"},
	{"/data_array_module/", "/arrays/"},
}

// inModule gives our address for one of Wendelin's: any prefix, then the module
// and the name. Our own folders are none of its prefixes.
func inModule(path string) string {
	for _, m := range modules {
		at := strings.Index(path, m.theirs)
		if at < 0 {
			continue
		}
		switch first, _, _ := strings.Cut(path[1:], "/"); "/" + first {
		case "/streams", "/arrays", bucketsFolder, lakeFolder, "/api":
			return path
		}
		return m.ours + path[at+len(m.theirs):]
	}
	return path
}

// under gives what follows a folder such as "/streams" in the path; ok says
// whether the path is the folder, with or without its slash, or below it.
func (t target) under(folder string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(t.path, folder)
	if !ok || rest != "" && rest[0] != '/' {
		return "", false
	}
	return strings.TrimPrefix(rest, "/"), true
}

// value gives a field of the query, decoded; "" when it is missing or badly
// encoded.
func (t target) value(name string) string {
	for field, text := range t.fields {
		if field == name {
			return text
		}
	}
	return ""
}

// has tells whether the query has a field.
func (t target) has(name string) bool {
	for field := range t.fields {
		if field == name {
			return true
		}
	}
	return false
}

// fields gives the fields of the query in their order, decoded, with "+" for a
// space; "" for a value that is badly encoded.
func (t target) fields(yield func(name, value string) bool) {
	for rest := t.query; rest != ""; {
		var field string
		field, rest, _ = strings.Cut(rest, "&")
		key, value, _ := strings.Cut(field, "=")
		plain, err := unescape(key)
		if err != nil {
			continue
		}
		text, err := unescape(strings.ReplaceAll(value, "+", " "))
		if err != nil {
			text = ""
		}
		if !yield(plain, text) {
			return
		}
	}
}

var errEscape = errors.New("bad percent-encoding")

// unescape decodes %XX and nothing else.
func unescape(s string) (string, error) {
	if !strings.Contains(s, "%") {
		return s, nil
	}
	b, err := unescapeInPlace([]byte(s), false)
	return string(b), err
}

// unescapeInPlace decodes %XX, and with plus "+" as a space, in b itself.
func unescapeInPlace(b []byte, plus bool) ([]byte, error) {
	out := b[:0]
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '%':
			if i+2 >= len(b) || !isHex(b[i+1]) || !isHex(b[i+2]) {
				return nil, errEscape
			}
			out = append(out, fromHex(b[i+1])<<4|fromHex(b[i+2]))
			i += 2
		case c == '+' && plus:
			out = append(out, ' ')
		default:
			out = append(out, c)
		}
	}
	return out, nil
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func fromHex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c >= 'a':
		return c - 'a' + 10
	default:
		return c - 'A' + 10
	}
}

// An ingestQuery is the query of an ingestion request.
type ingestQuery struct {
	tag     string
	hasTag  bool
	chunk   string // the field data_chunk, still encoded
	inQuery bool   // there is such a field
}

const (
	fieldTag   = "reference="
	fieldChunk = "data_chunk="
)

// parseIngestQuery takes the tag as fluentd's plugin sends it: the text after
// "reference=" as it stands, which may hold "/", ":", "&" or "=", up to a
// field data_chunk or the end. A tag in which every "%" begins an escape was
// encoded by another client, and is decoded. "+" stays what it is.
func parseIngestQuery(query string) ingestQuery {
	var q ingestQuery
	tagAt := fieldIndex(query, fieldTag)
	chunkAt := fieldIndex(query, fieldChunk)
	if chunkAt >= 0 {
		q.inQuery = true
		q.chunk, _, _ = strings.Cut(query[chunkAt+len(fieldChunk):], "&")
	}
	if tagAt < 0 {
		return q
	}
	tag := query[tagAt+len(fieldTag):]
	if chunkAt > tagAt {
		tag = query[tagAt+len(fieldTag) : chunkAt-1]
	}
	q.hasTag = true
	if text, err := unescape(tag); err == nil {
		tag = text
	}
	q.tag = tag
	return q
}

// fieldIndex finds where a field such as "reference=" begins, or -1.
func fieldIndex(query, field string) int {
	if strings.HasPrefix(query, field) {
		return 0
	}
	if i := strings.Index(query, "&"+field); i >= 0 {
		return i + 1
	}
	return -1
}

// beforeBody mends two things in a header that fasthttp would stumble over: a
// colon in the query, which makes it take the path for a scheme, and an
// expectation in capitals.
func beforeBody(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	if uri := h.RequestURI(); len(uri) > 0 && uri[0] == '/' && bytes.Contains(uri, []byte("://")) {
		h.SetRequestURIBytes(bytes.ReplaceAll(uri, []byte("://"), []byte("%3A//")))
	}
	if e := h.Peek(fasthttp.HeaderExpect); len(e) > 0 && strings.EqualFold(string(e), expectContinue) {
		h.Set(fasthttp.HeaderExpect, expectContinue)
	}
	return fasthttp.RequestConfig{}
}

const expectContinue = "100-continue"
