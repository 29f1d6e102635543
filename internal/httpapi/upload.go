package httpapi

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"

	"weir/streams"
)

// An upload is what the head of a PUT or POST to a stream asks for.
type upload struct {
	name    string
	stream  *streams.Stream // nil when it does not exist yet
	state   streams.State
	options streams.UploadOptions
	part    contentRange // with a Content-Range
	ranged  bool
}

// keyed tells whether the sender would be recognised by its Idempotency-Key.
func (u upload) keyed() bool { return u.options.Key != streams.Key{} }

// checkUpload refuses what the head of the request already shows to be wrong.
func (r *request) checkUpload() error {
	u, err := r.uploadHead()
	if err != nil {
		return err
	}
	if _, ok := r.s.Policies.Route(u.name); !ok && u.stream == nil {
		return refuse(404, "unmatched-tag", "no policy takes a stream named %q", u.name)
	}
	if u.ranged && u.part.kind == rangeStatus {
		return nil
	}
	return r.checkSpace()
}

// spare is what an upload may not take of the disk, in bytes.
const spare = 64 << 20

// checkSpace refuses a body that the disk has no room for, or any while
// appends fail.
func (r *request) checkSpace() error {
	stats := r.s.Streams.Stats()
	if r.body.length > 0 && stats.Free < math.MaxInt64-spare && r.body.length > stats.Free-spare {
		return refuse(507, "no-space", "the disk has %d bytes free, too few for a body of %d", stats.Free, r.body.length)
	}
	if stats.Failed != "" {
		p := refuse(503, "failing", "appends fail now: %s", stats.Failed)
		p.retry = retrySeconds
		return p
	}
	return nil
}

// uploadHead reads the head of the request.
func (r *request) uploadHead() (upload, error) {
	var u upload
	var err error
	if u.name, err = r.streamName(); err != nil {
		return u, err
	}
	escaped, _ := r.target.under("/streams")
	if strings.HasSuffix(escaped, chunksSuffix) {
		p := refuse(405, "bad-method", "a name that ends in %s is the list of chunks, which can only be read; for a stream of that name write its slash as %%2F", chunksSuffix)
		p.allow = "GET, HEAD"
		return u, p
	}
	u.stream, u.state = r.s.existing(u.name)
	id, err := r.idempotencyKey()
	if err != nil {
		return u, err
	}
	if len(id) > 0 {
		u.options.Key = streams.KeyOf([]byte("upload"), id)
	}
	u.options.Length = r.body.length
	if r.encoded() {
		u.options.Length = -1
	}
	u.options.Reset = r.ctx.IsPut()
	if err := r.preconditions(&u); err != nil {
		return u, err
	}
	return u, r.contentRange(&u)
}

// streamName gives the stream that the address names.
func (r *request) streamName() (string, error) {
	escaped, _ := r.target.under("/streams")
	name, err := unescape(escaped)
	if err != nil {
		return "", refuse(400, "bad-encoding", "the name %q is badly percent-encoded", escaped)
	}
	if name == "" {
		return "", refuse(400, "bad-tag", "the address names no stream; use /streams/NAME")
	}
	return name, nil
}

// existing gives a stream that has been written to, and what it is now.
func (s *Server) existing(name string) (*streams.Stream, streams.State) {
	st, ok := s.Streams.Stream(name)
	if !ok || slices.Contains(s.Private, name) {
		return nil, streams.State{}
	}
	state := st.State()
	if state.Records == 0 && state.Length == 0 {
		return nil, state
	}
	return st, state
}

// encoded tells whether the body is not the bytes that are kept.
func (r *request) encoded() bool {
	e := strings.ToLower(string(r.ctx.Request.Header.ContentEncoding()))
	return e != "" && e != "identity"
}

// preconditions holds If-None-Match: * and If-Match against the stream.
func (r *request) preconditions(u *upload) error {
	h := &r.ctx.Request.Header
	if none := string(h.Peek(fasthttp.HeaderIfNoneMatch)); none != "" {
		if none != "*" {
			return refuse(400, "bad-condition", "If-None-Match can only be * when a stream is written")
		}
		// A repetition of what made the stream is known by its key.
		if u.stream != nil && (u.state.Length == 0 || !u.keyed()) {
			return refuse(412, "exists", "the stream %q exists; it was left as it is", u.name)
		}
		u.options.Conditional, u.options.Expect = true, 0
	}
	if match := string(h.Peek(fasthttp.HeaderIfMatch)); match != "" {
		if u.stream == nil || match != "*" && !matchesETag(match, etagOf(u.state), false) {
			return refuse(412, "changed", "the stream %q is not what If-Match asks for; it was left as it is", u.name)
		}
		if match != "*" {
			u.options.Conditional, u.options.Expect, u.options.Within = true, u.state.Length, u.state.Generation
		}
	}
	return nil
}

// contentRange holds a Content-Range against the stream: Wendelin's rules and
// its words.
func (r *request) contentRange(u *upload) error {
	all := r.ctx.Request.Header.PeekAll(fasthttp.HeaderContentRange)
	if len(all) == 0 {
		return nil
	}
	u.ranged = true
	part, ok := parseContentRange(string(all[0]))
	switch {
	case !ok || len(all) > 1: // an empty one, too: without a range the body would replace what is there
		return explained("Can not parse range")
	case part.kind == rangeStatus:
	case r.encoded():
		return refuse(400, "bad-range", "a range of a compressed body cannot be appended; send it as it is")
	case part.first != u.state.Length && !u.keyed(): // a repetition is known by its key
		return explained("Can only append data")
	case part.last+1 != part.total:
		return explained("Total size unexpected")
	case part.last+1-part.first != r.body.length:
		return explained("Content length unexpected")
	}
	u.part = part
	u.options.Reset = false
	u.options.Conditional, u.options.Expect, u.options.Within = true, part.first, u.state.Generation
	return nil
}

func explained(text string) *problem {
	return &problem{status: 400, reason: "bad-range", text: text, explain: text}
}

// upload keeps a body in a stream: PUT replaces, POST appends.
func (r *request) upload() error {
	if !r.ctx.IsPut() && !r.ctx.IsPost() {
		return r.notFound()
	}
	u, err := r.uploadHead()
	if err != nil {
		return err
	}
	if u.ranged && u.part.kind == rangeStatus {
		r.resumeStatus(u.state.Length)
		return nil
	}
	stream, _, err := r.s.Policies.Target(u.name)
	if err != nil {
		return err
	}
	src, release, err := r.s.decoders.open(string(r.ctx.Request.Header.ContentEncoding()), &r.body)
	if err != nil {
		return err
	}
	defer release()
	kept, err := stream.Upload(r.s.ctx, src, u.options)
	if err != nil {
		return r.uploadError(u, err)
	}
	return r.uploaded(u, kept)
}

// uploadError says what a failed upload means.
func (r *request) uploadError(u upload, err error) error {
	switch {
	case r.body.err != nil:
		return r.body.err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errTruncated
	case !errors.Is(err, streams.ErrExpect):
		return err
	case u.ranged:
		return explained("Can only append data")
	default:
		return refuse(412, "changed", "the stream %q changed meanwhile; it was left as it is", u.name)
	}
}

// resumeStatus answers how much of an upload is there, in Wendelin's words; an
// empty stream gives its odd "bytes 0--1".
func (r *request) resumeStatus(length int64) {
	r.ctx.SetStatusCode(fasthttp.StatusPermanentRedirect)
	h := &r.ctx.Response.Header
	h.Set(fasthttp.HeaderRange, fmt.Sprintf("bytes 0-%d", length-1))
	h.Set("X-Explanation", "Resume incomplete")
}

// An uploaded is the answer to an upload.
type uploaded struct {
	Stream     string `json:"stream"`
	Generation uint64 `json:"generation"`
	Offset     int64  `json:"offset"`
	Bytes      int64  `json:"bytes"`
	SHA256     string `json:"sha256,omitempty"`
	Duplicate  bool   `json:"duplicate,omitempty"`
}

func (r *request) uploaded(u upload, kept streams.Upload) error {
	answer := uploaded{
		Stream: u.name, Generation: kept.Generation, Offset: kept.Offset, Bytes: kept.Length,
		SHA256: hex.EncodeToString(kept.SHA256[:]), Duplicate: kept.Duplicate,
	}
	r.s.uploads.Add(1)
	h := &r.ctx.Response.Header
	h.Set(fasthttp.HeaderETag, etag(kept.Generation, kept.Offset+kept.Length))
	h.Set("Weir-SHA256", answer.SHA256) // a part's answer has no body
	if kept.Duplicate {
		h.Set(headerDuplicate, "true")
	}
	switch {
	case u.ranged:
		r.ctx.SetStatusCode(fasthttp.StatusNoContent)
		return nil
	case u.stream == nil && !kept.Duplicate:
		r.ctx.SetStatusCode(fasthttp.StatusCreated)
	}
	if wantsJSON(r.ctx) {
		return r.json(answer)
	}
	r.ctx.SetContentType("text/plain; charset=utf-8")
	r.ctx.SetBodyString(answer.text())
	return nil
}

// text is the answer for people: two lines.
func (u uploaded) text() string {
	what := fmt.Sprintf("kept %d bytes at offset %d", u.Bytes, u.Offset)
	if u.Duplicate {
		what = fmt.Sprintf("was kept before, at offset %d; nothing was stored now", u.Offset)
	}
	return fmt.Sprintf("stream %s, generation %d: %s\nsha256 %s\n", u.Stream, u.Generation, what, u.SHA256)
}

// json answers with a value as JSON.
func (r *request) json(v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	r.ctx.SetContentType("application/json")
	r.ctx.Response.SetBodyRaw(append(body, '\n'))
	return nil
}
