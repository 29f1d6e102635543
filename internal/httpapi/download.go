package httpapi

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"weir/streams"
)

// A resource is bytes with a validator, of which any range can be read.
type resource struct {
	begin    int64 // of the first byte that there is
	size     int64 // offset of the end
	etag     string
	modified time.Time
	kind     string // media type
	// open reads the bytes of a span.
	open func(span) (io.ReadCloser, error)
	// close lets go of what the spans are read from; nil is nothing.
	close func() error
}

// done lets go of the resource.
func (res resource) done() error {
	if res.close == nil {
		return nil
	}
	return res.close()
}

func etagOf(s streams.State) string { return etag(s.Generation, s.Length) }

func etag(generation uint64, length int64) string {
	return `"` + strconv.FormatUint(generation, 10) + "-" + strconv.FormatInt(length, 10) + `"`
}

// readStream answers with a stream's bytes.
func (r *request) readStream() error {
	name, err := r.streamName()
	if err != nil {
		return err
	}
	const attempts = 3 // a stream may be replaced, or trimmed, between a look and a read
	for range attempts {
		st, state := r.s.existing(name)
		if st == nil {
			return noStream(name)
		}
		format := r.target.value("format")
		view, known := recordViews[format]
		switch {
		case r.wantsEvents(format):
			err = r.sendEvents(st, state)
		case format == "msgpack" && !r.target.has("offset") && !r.target.has("limit"):
			err = r.sendEntries(st, state)
		case known:
			err = r.sendRecords(st, state, view)
		case (format == "" || format == "raw") && r.target.asksRecords():
			return refuse(400, "bad-query", "offset, limit, generation and columns are for records: add format=jsonl, csv, msgpack or events; bytes have the header Range")
		case format == "" || format == "raw":
			err = r.send(resource{
				begin: state.Begin, size: state.Length, etag: etagOf(state), modified: state.Modified, kind: "application/octet-stream",
				open: func(sp span) (io.ReadCloser, error) { return st.Reader(state.Generation, sp.start, sp.end) },
			})
		default:
			return refuse(400, "bad-format", "there is no format %q; write raw, msgpack, jsonl, csv or events", format)
		}
		if !errors.Is(err, streams.ErrGeneration) && !errors.Is(err, streams.ErrTrimmed) {
			return err
		}
	}
	return err
}

// headerBegin says where a stream begins: offsets and lengths count what was
// trimmed, too.
const headerBegin = "Weir-Begin"

// trimmed refuses what lies before a stream's beginning.
func trimmed(begin int64) *problem {
	p := refuse(410, "trimmed", "the bytes before %d were given up; ask for the header Range: bytes=%d-, for records leave offset out", begin, begin)
	p.begin = begin
	return p
}

// sendEntries answers with the msgpack entries of a stream, which are its
// bytes unless its policy keeps frames. Their length is not known before.
func (r *request) sendEntries(st *streams.Stream, state streams.State) error {
	r.ctx.SetContentType("application/msgpack")
	if r.ctx.IsHead() {
		r.ctx.Response.SkipBody = true
		return nil
	}
	entries, err := r.s.Policies.Entries(r.s.ctx, st, state.Generation, state.Begin, state.Length)
	if err != nil {
		return err
	}
	r.ctx.SetBodyStream(entries, -1)
	return nil
}

func noStream(name string) *problem {
	return refuse(404, "not-found", "there is no stream %q; /streams/ lists them", name)
}

// send answers with a resource, whole or in ranges, or says that the client
// has it.
func (r *request) send(res resource) error {
	err := r.choose(res)
	if !r.ctx.Response.IsBodyStream() {
		err = errors.Join(err, res.done())
	}
	return err
}

// choose sets the answer's head and, unless there is none, its body, which
// then owns the resource.
func (r *request) choose(res resource) error {
	h := &r.ctx.Response.Header
	h.Set(fasthttp.HeaderETag, res.etag)
	h.Set(fasthttp.HeaderAcceptRanges, "bytes")
	h.Set(fasthttp.HeaderCacheControl, "no-cache")
	if res.begin > 0 {
		h.Set(headerBegin, strconv.FormatInt(res.begin, 10))
	}
	if !res.modified.IsZero() {
		h.Set(fasthttp.HeaderLastModified, res.modified.UTC().Format(http.TimeFormat))
	}
	if r.other(res) {
		return refuse(412, "changed", "it is not what the condition of the request asks for; its ETag is %s", res.etag)
	}
	if r.unmodified(res) {
		r.ctx.SetStatusCode(fasthttp.StatusNotModified)
		return nil
	}
	spans, ok := r.spans(res)
	switch {
	case !ok && res.begin > 0 && !r.ctx.IsHead(): // HEAD tells the length
		return trimmed(res.begin)
	case !ok:
		r.ctx.SetContentType(res.kind)
		return r.sendSpan(res, span{0, res.size})
	case len(spans) == 0:
		p := refuse(416, "bad-range", "the range is outside of the %d bytes that there are", res.size)
		if res.begin > 0 {
			p = refuse(416, "bad-range", "the range is outside of the bytes %d to %d that there are; those before were given up", res.begin, res.size)
		}
		p.size, p.begin = res.size, res.begin
		return p
	case len(spans) == 1:
		r.ctx.SetStatusCode(fasthttp.StatusPartialContent)
		r.ctx.SetContentType(res.kind)
		h.Set(fasthttp.HeaderContentRange, contentRangeOf(spans[0], res.size))
		return r.sendSpan(res, spans[0])
	default:
		return r.sendSpans(res, spans)
	}
}

// other tells whether a condition asks for another state of the resource.
func (r *request) other(res resource) bool {
	h := &r.ctx.Request.Header
	if match := h.Peek(fasthttp.HeaderIfMatch); len(match) > 0 {
		return !matchesETag(string(match), res.etag, false)
	}
	t, err := http.ParseTime(string(h.Peek(fasthttp.HeaderIfUnmodifiedSince)))
	return err == nil && !res.modified.IsZero() && res.modified.Truncate(time.Second).After(t)
}

// unmodified tells whether the client's copy is the resource.
func (r *request) unmodified(res resource) bool {
	h := &r.ctx.Request.Header
	if none := h.Peek(fasthttp.HeaderIfNoneMatch); len(none) > 0 {
		return matchesETag(string(none), res.etag, true)
	}
	since := h.Peek(fasthttp.HeaderIfModifiedSince)
	if len(since) == 0 || res.modified.IsZero() {
		return false
	}
	t, err := http.ParseTime(string(since))
	return err == nil && !res.modified.Truncate(time.Second).After(t)
}

// matchesETag tells whether a list of tags has the tag; weak lets weak ones count.
func matchesETag(list, tag string, weak bool) bool {
	for one := range strings.SplitSeq(list, ",") {
		one = strings.TrimSpace(one)
		if weak {
			one = strings.TrimPrefix(one, "W/")
		}
		if one == tag || one == "*" {
			return true
		}
	}
	return false
}

// spans gives the ranges that are wanted; ok is false for the whole. Only GET
// has ranges (RFC 9110, 14.2).
func (r *request) spans(res resource) (spans []span, ok bool) {
	h := &r.ctx.Request.Header
	ranges := h.Peek(fasthttp.HeaderRange)
	if len(ranges) == 0 {
		ranges = h.Peek(headerRequestRange)
	}
	if len(ranges) == 0 || !r.ctx.IsGet() {
		return nil, false
	}
	if cond := string(h.Peek(fasthttp.HeaderIfRange)); cond != "" && !validIfRange(cond, res, time.Now()) {
		return nil, false
	}
	return parseRange(string(ranges), res.begin, res.size)
}

// validIfRange tells whether If-Range, a strong tag or a date, means the
// resource as it is. A date does when its second is over: within it the
// resource may be replaced again (RFC 9110, 8.8.2.2).
func validIfRange(cond string, res resource, now time.Time) bool {
	if strings.HasPrefix(cond, `"`) {
		return cond == res.etag
	}
	t, err := http.ParseTime(cond)
	return err == nil && t.Equal(res.modified.Truncate(time.Second)) && now.Sub(t) > time.Second
}

func contentRangeOf(sp span, size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", sp.start, sp.end-1, size)
}

// sendSpan sets the answer's body to one span.
func (r *request) sendSpan(res resource, sp span) error {
	if sp.start == sp.end {
		return nil
	}
	if r.ctx.IsHead() {
		r.ctx.Response.SkipBody = true
		r.ctx.Response.Header.SetContentLength(int(sp.end - sp.start))
		return nil
	}
	body, err := res.open(sp)
	if err != nil {
		return err
	}
	r.ctx.SetBodyStream(&whole{ReadCloser: body, res: res}, int(sp.end-sp.start))
	return nil
}

// A whole reads one span and then lets go of its resource.
type whole struct {
	io.ReadCloser
	res resource
}

// WriteTo leaves the copy to the span, which may leave it to the kernel.
func (w *whole) WriteTo(to io.Writer) (int64, error) { return io.Copy(to, w.ReadCloser) }

// Close ends the span and lets go of the resource.
func (w *whole) Close() error { return errors.Join(w.ReadCloser.Close(), w.res.done()) }

// headerRequestRange is what Range was called before it had a standard; its
// clients know the parts by another type, as Wendelin answers them.
const headerRequestRange = "Request-Range"

// sendSpans sets the answer's body to several spans, as multipart/byteranges.
func (r *request) sendSpans(res resource, spans []span) error {
	boundary := rand.Text()
	parts := &parts{res: res}
	for _, sp := range spans {
		head := fmt.Sprintf("\r\n--%s\r\nContent-Type: %s\r\nContent-Range: %s\r\n\r\n",
			boundary, res.kind, contentRangeOf(sp, res.size))
		parts.list = append(parts.list, part{text: head}, part{span: sp})
	}
	parts.list = append(parts.list, part{text: "\r\n--" + boundary + "--\r\n"})
	r.ctx.SetStatusCode(fasthttp.StatusPartialContent)
	kind := "byteranges"
	if len(r.ctx.Request.Header.Peek(fasthttp.HeaderRange)) == 0 {
		kind = "x-byteranges"
	}
	r.ctx.SetContentType("multipart/" + kind + "; boundary=" + boundary)
	r.ctx.SetBodyStream(parts, int(parts.size()))
	return nil
}

// A parts reads texts and spans one after the other.
type parts struct {
	res  resource
	list []part
	now  io.ReadCloser
}

type part struct {
	text string
	span span
}

func (p *parts) size() int64 {
	var n int64
	for _, part := range p.list {
		n += int64(len(part.text)) + part.span.end - part.span.start
	}
	return n
}

func (p *parts) Read(b []byte) (int, error) {
	for {
		if p.now == nil {
			if len(p.list) == 0 {
				return 0, io.EOF
			}
			if err := p.next(); err != nil {
				return 0, err
			}
		}
		n, err := p.now.Read(b)
		if err != io.EOF {
			return n, err
		}
		err = p.end()
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (p *parts) next() error {
	part := p.list[0]
	p.list = p.list[1:]
	if part.text != "" {
		p.now = io.NopCloser(strings.NewReader(part.text))
		return nil
	}
	var err error
	p.now, err = p.res.open(part.span)
	return err
}

// end ends the part that is read.
func (p *parts) end() error {
	if p.now == nil {
		return nil
	}
	err := p.now.Close()
	p.now = nil
	return err
}

// Close ends the part that is read and lets go of the resource.
func (p *parts) Close() error { return errors.Join(p.end(), p.res.done()) }
