package httpapi

import (
	"context"

	"github.com/valyala/fasthttp"

	"weir/jobs/cimi"
)

// Jobs answers the requests of job engines; cimi.Service is one.
type Jobs interface {
	Serve(ctx context.Context, r cimi.Request) cimi.Response
}

// maxJobBody bounds the body of a request for jobs, in bytes.
const maxJobBody = 2 << 20

// isJobs tells whether a path belongs to the job engine.
func (t target) isJobs() bool {
	escaped, ok := t.under("/api")
	path, err := unescape(escaped)
	return ok && err == nil && cimi.Handles(path)
}

// serveJobs hands a request to the job engine.
func (r *request) serveJobs() error {
	if r.s.Jobs == nil {
		return r.notFound()
	}
	escaped, _ := r.target.under("/api")
	path, err := unescape(escaped)
	if err != nil {
		return refuse(400, "bad-encoding", "the address %q is badly percent-encoded", escaped)
	}
	body, err := r.read(&r.body, r.body.length, maxJobBody)
	if err != nil {
		return err
	}
	h := &r.ctx.Request.Header
	a := r.s.Jobs.Serve(r.s.ctx, cimi.Request{
		Method: string(r.ctx.Method()), Path: path, Query: r.target.query, ContentType: string(h.ContentType()),
		Cookie: string(h.Peek(fasthttp.HeaderCookie)), Host: string(h.Host()), Bulk: string(h.Peek("Bulk")), Body: body,
	})
	r.ctx.SetStatusCode(a.Status)
	r.ctx.SetContentType("application/json")
	if a.Text {
		r.ctx.SetContentType("text/plain; charset=utf-8")
	}
	r.ctx.Response.Header.Set(fasthttp.HeaderCacheControl, "no-store")
	for name, value := range map[string]string{
		fasthttp.HeaderLocation: a.Location, fasthttp.HeaderSetCookie: a.SetCookie, fasthttp.HeaderAllow: a.Allow,
	} {
		if value != "" {
			r.ctx.Response.Header.Set(name, value)
		}
	}
	r.ctx.SetBody(a.Body)
	return nil
}
