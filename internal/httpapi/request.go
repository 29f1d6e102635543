package httpapi

import (
	"bytes"
	"fmt"
	"io"
	"runtime/debug"
	"sync"

	"github.com/valyala/fasthttp"

	"weir/access"
)

// A request is one request in hand.
type request struct {
	s      *Server
	ctx    *fasthttp.RequestCtx
	target target
	body   body
	route  *route // nil before it is known
	held   int64  // bytes taken from the budget
	buf    []byte // of the body, from the pool
	// counted says that the router has counted the refusal.
	counted bool
	caller  *access.Caller // who is bounded to some policies; else nil
}

// The smallest buffer of a body, and the largest that is kept for another one.
const (
	minBuffer  = 4 << 10
	keepBuffer = 1 << 20
)

// serve answers one request; it is fasthttp's handler.
func (s *Server) serve(ctx *fasthttp.RequestCtx) {
	r := s.newRequest(ctx)
	defer r.end()
	if e := ctx.Request.Header.Peek(fasthttp.HeaderExpect); len(e) > 0 && string(e) != expectContinue {
		r.fail(refuse(417, "bad-expectation", "the only expectation that is met here is %s, not %q", expectContinue, e))
		return
	}
	if r.ambiguous() {
		r.body.err = errTruncated // what follows cannot be trusted, so the connection ends
		r.fail(refuse(400, "bad-request", "the end of the body is not clear: send either Content-Length or Transfer-Encoding: chunked"))
		return
	}
	if err := r.find(); err != nil {
		r.fail(err)
		return
	}
	if err := r.authorize(); err != nil {
		r.fail(err)
		return
	}
	if r.foreign() {
		r.fail(refuse(403, "foreign-origin", "a page of another site may not write here"))
		return
	}
	if err := r.route.serve(r); err != nil {
		r.fail(err)
	}
}

// foreign tells whether a browser sends the request for a page of another
// site, which could else write to a weir that its user's machine can reach.
// Other clients send neither header.
func (r *request) foreign() bool {
	if !r.route.takes && (r.ctx.IsGet() || r.ctx.IsHead()) {
		return false
	}
	h := &r.ctx.Request.Header
	if site := h.Peek("Sec-Fetch-Site"); len(site) > 0 {
		return string(site) != "same-origin" && string(site) != "none"
	}
	origin := h.Peek(fasthttp.HeaderOrigin)
	_, host, _ := bytes.Cut(origin, []byte("://"))
	return len(origin) > 0 && !bytes.EqualFold(host, h.Host())
}

// ambiguous tells whether the head gives the body's end in two ways, or in one
// that is not followed here. A server in front may have followed the other.
func (r *request) ambiguous() bool {
	other := []byte(fasthttp.HeaderTransferEncoding)
	if r.body.length < 0 {
		other = []byte(fasthttp.HeaderContentLength)
	}
	for line := range bytes.Lines(r.ctx.Request.Header.RawHeaders()) {
		if name, _, _ := bytes.Cut(line, []byte(":")); bytes.EqualFold(name, other) {
			return true
		}
	}
	return false
}

func (s *Server) newRequest(ctx *fasthttp.RequestCtx) *request {
	r := s.requests.Get().(*request)
	*r = request{s: s, ctx: ctx, buf: r.buf, target: parseTarget(string(ctx.Request.Header.RequestURI()))}
	r.body = body{src: ctx.RequestBodyStream(), conn: ctx.Conn().(*conn), stall: s.StallTimeout,
		length: int64(ctx.Request.Header.ContentLength())}
	if r.body.length < 0 && r.body.src == nil {
		r.body.length = 0
	}
	return r
}

// end gives back what the request held, and closes the connection when part
// of the body was left in it. A panic is this request's alone.
func (r *request) end() {
	if p := recover(); p != nil {
		r.s.Log.Error("http handler panicked", "path", r.target.path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		r.fail(refuse(500, "internal", "weir failed here; its log says why"))
	}
	if !r.body.drain() {
		r.ctx.SetConnectionClose()
		r.ctx.Conn().(*conn).linger.Store(true)
	}
	r.ctx.Conn().(*conn).got.Store(0)
	r.s.count.answer(r.route, r.ctx.Response.StatusCode())
	if r.held > 0 {
		r.s.budget.give(r.held)
	}
	if cap(r.buf) > keepBuffer {
		r.buf = nil
	}
	s := r.s
	*r = request{buf: r.buf}
	s.requests.Put(r)
}

func newRequestPool() sync.Pool {
	return sync.Pool{New: func() any { return new(request) }}
}

// hold takes n more bytes from the budget for this request's body.
func (r *request) hold(n int64) error {
	if r.held+n > r.s.budget.size {
		return refuse(413, "body-too-large", "a body in memory is bounded by %d bytes; %s", r.s.budget.size, hintBody)
	}
	if err := r.s.budget.take(r.s.ctx, n, r.s.BodyWait); err != nil {
		return busy("bodies")
	}
	r.held += n
	return nil
}

// busy refuses what would find room in a moment.
func busy(what string) *problem {
	p := refuse(503, "busy", "too many %s are in hand; try again in a moment", what)
	p.retry = retrySeconds
	return p
}

const hintBody = "raise http.max_body or http.body_memory, or send it in parts, or upload it with PUT /streams/NAME, which has no bound"

// read gives the whole body, decoded, if it is no larger than limit bytes. The
// bytes are valid until the request ends.
func (r *request) read(src io.Reader, known int64, limit int64) ([]byte, error) {
	if known > limit {
		return nil, tooLarge(limit)
	}
	data, more, err := r.fill(src, known, limit, false)
	if err == nil && more {
		err = tooLarge(limit)
	}
	return data, err
}

// fill reads a body to its end, or until there is more of it than limit bytes;
// with impatience also until it turns out to be slow.
func (r *request) fill(src io.Reader, known, limit int64, impatient bool) (data []byte, more bool, err error) {
	r.body.minRate = minRate
	if known >= 0 {
		if err := r.hold(known); err != nil {
			return nil, false, err
		}
	}
	r.reuse(known)
	buf := r.buf[:0]
	for {
		if len(buf) == cap(buf) {
			grown, err := r.grow(buf, known, limit)
			if err != nil {
				return nil, false, err
			}
			buf = grown
		}
		n, err := src.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		r.buf = buf
		switch {
		case int64(len(buf)) > limit:
			return buf, true, nil
		case err == io.EOF:
			return buf, false, nil
		case err != nil:
			return nil, false, err
		case impatient && r.slow(buf):
			return buf, true, nil
		}
	}
}

// reuse counts what the buffer of an earlier body has beyond this one's known
// bytes; where memory is short the body does without.
func (r *request) reuse(known int64) {
	switch more := int64(cap(r.buf)) - max(known+1, minBuffer); {
	case more <= 0:
	case r.s.budget.spare(more):
		r.held += more
	default:
		r.buf = nil
	}
}

func tooLarge(limit int64) *problem {
	return refuse(413, "body-too-large", "the body is larger than %d bytes; %s", limit, hintBody)
}

// grow doubles a buffer, at first to a size that suits, at last to one byte
// more than is allowed.
func (r *request) grow(buf []byte, known, limit int64) ([]byte, error) {
	size := max(2*int64(cap(buf)), minBuffer)
	if known >= 0 && known < keepBuffer {
		size = max(size, known+1)
	}
	if known < 0 {
		if err := r.hold(size - r.held); err != nil {
			return nil, err
		}
	}
	grown := make([]byte, len(buf), min(size, max(limit+1, known+1)))
	copy(grown, buf)
	return grown, nil
}
