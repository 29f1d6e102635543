package httpapi

import (
	"io"
	"math"
	"net/url"
	"strconv"

	"github.com/valyala/fasthttp"

	"weir/buckets"
	"weir/policies"
	"weir/streams"
)

// bucketsFolder is where streams of buckets and messages are read.
const bucketsFolder = "/buckets"

// serveBuckets answers below /buckets/NAME: GET gives a bucket by ?key= or
// ?index=, or a list; DELETE ends a key.
func (r *request) serveBuckets() error {
	st, messages, err := r.bucketStream()
	if err != nil {
		return err
	}
	key := r.target.value("key")
	switch {
	case string(r.ctx.Method()) == fasthttp.MethodDelete:
		return r.deleteBucket(st, messages, key)
	case !r.ctx.IsGet() && !r.ctx.IsHead():
		p := refuse(405, "bad-method", "%s is not possible here; use GET, HEAD, DELETE", r.ctx.Method())
		p.allow = "GET, HEAD, DELETE"
		return p
	case key != "":
		v, err := r.s.buckets.ByKey(st, messages, key)
		if err != nil {
			return err
		}
		return r.sendBucket(st, v)
	case r.target.value("index") != "":
		i := r.number("index", 0, &err)
		if err != nil {
			return err
		}
		v, err := r.s.buckets.ByIndex(st, messages, int(i))
		if err != nil {
			return err
		}
		return r.sendBucket(st, v)
	}
	return r.listBuckets(st, messages)
}

// bucketStream gives the stream that the address names, and whether it holds
// messages.
func (r *request) bucketStream() (*streams.Stream, bool, error) {
	escaped, _ := r.target.under(bucketsFolder)
	name, err := unescape(escaped)
	if err != nil {
		return nil, false, refuse(400, "bad-encoding", "the name %q is badly percent-encoded", escaped)
	}
	st, _ := r.s.existing(name)
	if st == nil {
		return nil, false, noStream(name)
	}
	p, _ := r.s.Policies.Of(st)
	if p.Keep != policies.Buckets && p.Keep != policies.Messages {
		return nil, false, refuse(400, "no-buckets", "the stream %q holds no buckets: its policy says keep: %s", name, p.Keep)
	}
	return st, p.Keep == policies.Messages, nil
}

// policyOfBuckets is the policy whose stream is asked for.
func (r *request) policyOfBuckets() []string {
	escaped, _ := r.target.under(bucketsFolder)
	name, _ := unescape(escaped) // a broken one belongs to no policy
	return []string{r.s.policyOf(name)}
}

// sendBucket answers with a value, of which ranges can be asked for.
func (r *request) sendBucket(st *streams.Stream, v buckets.Value) error {
	h := &r.ctx.Response.Header
	h.Set("Weir-Key", url.PathEscape(v.Key))
	h.Set("Weir-Index", strconv.Itoa(v.Index))
	return r.send(resource{
		size: v.Size, etag: etag(v.Generation, v.Offset), modified: v.Time, kind: "application/octet-stream",
		open: func(sp span) (io.ReadCloser, error) {
			return st.Reader(v.Generation, v.Offset+sp.start, v.Offset+sp.end)
		},
	})
}

// listBuckets lists buckets: ?order=index with ?start= and ?stop=, or
// ?order=key with keys there; ?limit=.
func (r *request) listBuckets(st *streams.Stream, messages bool) error {
	limit, err := r.limit()
	if err != nil {
		return err
	}
	ask := buckets.Range{Limit: limit, IsMessages: messages}
	switch order := r.target.value("order"); order {
	case "key":
		ask.ByKey, ask.FirstKey, ask.BeforeKey = true, r.target.value("start"), r.target.value("stop")
	case "", "index":
		ask.Start = int(min(r.number("start", 0, &err), math.MaxInt32))
		ask.Stop = int(min(r.number("stop", math.MaxInt32, &err), math.MaxInt32))
	default:
		return refuse(400, "bad-query", "order=%s is not known; write index or key", order)
	}
	if err != nil {
		return err
	}
	l, err := r.s.buckets.List(st, ask)
	if err != nil {
		return err
	}
	return r.json(struct {
		Keys    int            `json:"keys"`
		Count   int            `json:"count"`
		Buckets []buckets.Item `json:"buckets"`
	}{l.Keys, l.Buckets, l.Items})
}

// deleteBucket ends a key with all its indices.
func (r *request) deleteBucket(st *streams.Stream, messages bool, key string) error {
	if key == "" {
		return refuse(400, "bad-query", "the query names no key; use DELETE …?key=KEY")
	}
	if err := r.s.buckets.Delete(r.s.ctx, st, messages, key); err != nil {
		return err
	}
	r.ctx.SetStatusCode(fasthttp.StatusNoContent)
	return nil
}
