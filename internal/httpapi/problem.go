package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"weir/arrays"
	"weir/buckets"
	"weir/catalog"
	"weir/lake"
	"weir/policies"
	"weir/streams"
)

// A problem is why a request is refused. Its reason is a stable word that
// refusals are counted by; its text says what to do.
type problem struct {
	status  int
	reason  string
	text    string
	allow   string // methods, with a 400 or 405 for the method
	retry   int    // seconds after which a repetition makes sense
	explain string // X-Explanation, which Wendelin's clients read
	asks    bool   // with a 401, for credentials
	size    int64  // with a 416, the size of what the range was asked of
	begin   int64  // with a 410 or 416, the first byte that was not trimmed
}

func (p *problem) Error() string { return p.text }

func refuse(status int, reason, format string, args ...any) *problem {
	return &problem{status: status, reason: reason, text: fmt.Sprintf(format, args...)}
}

// retrySeconds is what a sender is told to wait when the cause is a passing one.
const retrySeconds = 5

// conditions lists what an error of the stores means to a client.
var conditions = []struct {
	err    error
	status int
	reason string
}{
	{policies.ErrUnknownPolicy, 404, "unknown-policy"},
	{policies.ErrUnmatched, 404, "unmatched-tag"},
	{policies.ErrTag, 400, "bad-tag"},
	{streams.ErrName, 400, "bad-tag"},
	{policies.ErrTooLarge, 413, "body-too-large"},
	{policies.ErrData, 400, "bad-data"},
	{policies.ErrConflict, 409, "other-policy"},
	{policies.ErrNoRecords, 400, "no-records"},
	{policies.ErrNotRecord, 422, "not-a-record"},
	{catalog.ErrUnknownSupply, 404, "unknown-supply"},
	{catalog.ErrUnknownProduct, 404, "unknown-product"},
	{catalog.ErrState, 409, "not-open"},
	{catalog.ErrFull, 409, "catalog-full"},
	{catalog.ErrNotFound, 404, "not-found"},
	{buckets.ErrNotFound, 404, "not-found"},
	{catalog.ErrConflict, 409, "conflict"},
	{catalog.ErrInvalid, 400, "bad-data"},
	{catalog.ErrClosed, 503, "closing"},
	{streams.ErrNoSpace, 507, "no-space"},
	{streams.ErrUnknown, 503, "outcome-unknown"},
	{streams.ErrClosed, 503, "closing"},
	{streams.ErrTrimmed, 410, "trimmed"},
	{streams.ErrHole, 500, "damaged"},
	{arrays.ErrNotFound, 404, "not-found"},
	{arrays.ErrSelection, 400, "bad-query"},
	{arrays.ErrChanged, 503, "changed"},
	{lake.ErrReference, 400, "bad-reference"},
	{lake.ErrMismatch, 400, "mismatch"},
	{lake.ErrNotFound, 404, "not-found"},
	{lake.ErrExists, 409, "exists"},
	{lake.ErrOrder, 409, "part-order"},
	{lake.ErrState, 409, "bad-state"},
	{lake.ErrBusy, 503, "busy"},
	{errTruncated, 400, "truncated-body"},
	{errEscape, 400, "bad-encoding"},
	{context.DeadlineExceeded, 503, "busy"},
	{context.Canceled, 503, "closing"},
}

// problemOf says what an error means to a client.
func problemOf(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	for _, c := range conditions {
		if errors.Is(err, c.err) {
			p := &problem{status: c.status, reason: c.reason, text: err.Error()}
			if c.status == 503 || c.status == 507 {
				p.retry = retrySeconds
			}
			return p
		}
	}
	if isTimeout(err) {
		return refuse(408, "slow-body", "the body came too slowly; nothing of it was kept")
	}
	return refuse(500, "internal", "%v", err)
}

// fail answers with a problem, counts it and logs it, the same one not often.
func (r *request) fail(err error) {
	p := problemOf(err)
	takes := r.route == nil || r.route.takes
	if (takes || doors[p.reason]) && !r.counted {
		r.s.refused(p.reason, max(r.body.got, announced(r.body.length)))
	}
	if takes || p.status >= 500 {
		r.s.report(r.ctx, p)
	}
	p.write(r.ctx)
}

// report logs why a request was refused.
func (s *Server) report(ctx *fasthttp.RequestCtx, p *problem) {
	silent, ok := s.refusals.tell(p.reason, time.Now())
	if !ok {
		return
	}
	level := slog.LevelWarn
	if p.status >= 500 {
		level = slog.LevelError
	}
	s.Log.Log(s.ctx, level, "http request refused", "reason", p.reason, "status", p.status, "error", p.text,
		"method", string(ctx.Method()), "path", string(ctx.Request.Header.RequestURI()),
		"peer", ctx.RemoteAddr().String(), "more_since_last", silent)
}

// mostAnnounced is where the sizes that clients announce stop to count, so that
// lies about them do not fill the counters.
const mostAnnounced = 1 << 40

// announced is a refused body's size as it is counted.
func announced(length int64) int64 { return min(max(0, length), mostAnnounced) }

// refused counts a request whose data was refused.
func (s *Server) refused(reason string, bytes int64) {
	s.refusals.add(reason)
	s.Policies.CountRefused(reason, 0, bytes)
}

// write makes the problem the answer.
func (p *problem) write(ctx *fasthttp.RequestCtx) {
	ctx.Response.Reset()
	ctx.SetStatusCode(p.status)
	h := &ctx.Response.Header
	if p.retry > 0 {
		h.Set(fasthttp.HeaderRetryAfter, strconv.Itoa(p.retry))
	}
	if p.allow != "" {
		h.Set(fasthttp.HeaderAllow, p.allow)
	}
	if p.asks {
		h.Set(fasthttp.HeaderWWWAuthenticate, challenge)
	}
	if p.explain != "" {
		h.Set("X-Explanation", p.explain)
	}
	if p.status == 416 {
		h.Set(fasthttp.HeaderContentRange, "bytes */"+strconv.FormatInt(p.size, 10))
	}
	if p.begin > 0 {
		h.Set(headerBegin, strconv.FormatInt(p.begin, 10))
	}
	if wantsJSON(ctx) {
		p.writeJSON(ctx)
		return
	}
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.SetBodyString(p.text + "\n")
}

// writeJSON is RFC 9457 with the reason as type.
func (p *problem) writeJSON(ctx *fasthttp.RequestCtx) {
	ctx.SetContentType("application/problem+json")
	body, _ := json.Marshal(struct {
		Type       string `json:"type"`
		Title      string `json:"title"`
		Status     int    `json:"status"`
		Detail     string `json:"detail"`
		RetryAfter int    `json:"retry_after,omitempty"`
		Begin      int64  `json:"begin,omitempty"`
	}{"urn:weir:" + p.reason, fasthttp.StatusMessage(p.status), p.status, p.text, p.retry, p.begin}) // cannot fail: no cycles, no funcs
	ctx.SetBody(body)
}

// wantsJSON tells a program, which asks for JSON, from curl, which does not.
func wantsJSON(ctx *fasthttp.RequestCtx) bool {
	return bytes.Contains(ctx.Request.Header.Peek(fasthttp.HeaderAccept), []byte("json"))
}

// clientBytes is where fasthttp's messages begin to repeat what the client sent.
const clientBytes = ": buffer size="

// plainError is fasthttp's message without the client's bytes: passwords among
// them belong into no log.
func plainError(err error) string {
	const most = 120
	text, _, _ := strings.Cut(err.Error(), clientBytes)
	text = strings.TrimPrefix(text, "error when reading request headers: ")
	if before, _, ok := strings.Cut(text, " \""); ok {
		text = before
	}
	return strings.ToValidUTF8(text[:min(len(text), most)], "")
}

// unreadable answers a request that fasthttp could not read to its body.
func (s *Server) unreadable(ctx *fasthttp.RequestCtx, err error) {
	p := refuse(400, "bad-request", "this is no HTTP request: %s", plainError(err))
	if _, ok := errors.AsType[*fasthttp.ErrSmallBuffer](err); ok {
		p = refuse(431, "header-too-large", "the request's header is larger than %d bytes", s.http.ReadBufferSize)
	} else if isTimeout(err) {
		p = refuse(408, "slow-request", "the request did not come within %s", s.HeaderTimeout)
	} else if errors.Is(err, io.ErrUnexpectedEOF) {
		p = refuse(400, "truncated-body", "the request ended early; nothing of it was kept")
	}
	if c := ctx.Conn().(*conn); c.heard.Load() { // else it is a connection that was opened for later
		c.linger.Store(true)
		s.refused(p.reason, c.got.Load())
		s.report(ctx, p)
		s.count.answer(nil, p.status)
	}
	p.write(ctx)
}
