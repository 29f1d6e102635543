package httpapi

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"strings"

	"github.com/valyala/fasthttp"

	"weir/policies"
)

// An ingestion is what the head of an ingestion request asks for.
type ingestion struct {
	policy policies.Policy
	query  ingestQuery
	limit  int64 // bytes of the chunk
}

// checkIngest refuses what the head of the request already shows to be wrong.
func (r *request) checkIngest() error {
	if r.isLake() {
		return r.checkLake()
	}
	in, err := r.ingestion()
	if err != nil {
		return err
	}
	if length := r.body.length; length > in.wireLimit(r) {
		return tooLarge(in.limit)
	}
	if err := r.mayClaim(in); err != nil {
		return err
	}
	if err := r.s.Policies.Takes(in.policy.Name, in.query.tag); err != nil {
		return err
	}
	return r.checkSpace()
}

// ingestion reads the head of the request.
func (r *request) ingestion() (ingestion, error) {
	var in ingestion
	if !r.ctx.IsPost() {
		p := refuse(400, "bad-method", "Only POST request is allowed.")
		p.allow = fasthttp.MethodPost
		return in, p
	}
	escaped, _ := r.target.policy()
	name, err := unescape(escaped)
	if err != nil {
		return in, refuse(400, "bad-encoding", "the policy %q in the address is badly percent-encoded", escaped)
	}
	var known bool
	if in.policy, known = r.s.Policies.Policy(name); !known {
		return in, refuse(404, "unknown-policy", "there is no ingestion policy %q; there are: %s", name, r.s.policyNames())
	}
	in.query = parseIngestQuery(r.target.query)
	if !in.query.hasTag || in.query.tag == "" {
		return in, refuse(400, "missing-reference",
			"the query has no reference; send …/%s/ingest?reference=TAG", name)
	}
	in.limit = r.s.MaxBody
	if in.policy.MaxBytes > 0 {
		in.limit = min(in.limit, in.policy.MaxBytes)
	}
	return in, nil
}

// wireLimit is the limit of a body before a form's escapes, which triple a
// byte at most, are undone.
func (in ingestion) wireLimit(r *request) int64 {
	if r.contentType() == typeForm {
		return 3*in.limit + int64(len(fieldChunk))
	}
	return in.limit
}

// policyNames lists policies for the text of an error.
func (s *Server) policyNames() string {
	const most = 20
	var names []string
	for i, p := range s.Policies.Policies() {
		if i == most {
			names = append(names, "…")
			break
		}
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}

// ingest keeps a chunk under a policy: Wendelin's one way in.
func (r *request) ingest() error {
	if r.isLake() {
		return r.pushLake()
	}
	in, err := r.ingestion()
	if err != nil {
		return err
	}
	if err := r.mayClaim(in); err != nil {
		return err
	}
	c, err := r.chunk(in)
	if err != nil {
		return err
	}
	defer c.discard()
	if c.empty() {
		return refuse(400, "empty-body", "there is no data: send the chunk as the body, or as the form field data_chunk")
	}
	return r.keep(in, c)
}

// keep stores the chunk; the answer is the router's.
func (r *request) keep(in ingestion, c chunk) error {
	id, err := r.idempotencyKey()
	if err != nil {
		return err
	}
	if len(id) > 0 { // with the bytes: a key that comes again with others is another append
		sum := c.sum()
		id = append(sum[:], id...)
	}
	batch := [1]policies.Batch{{
		Tag: in.query.tag, Policy: in.policy.Name, Entries: c.data, Body: c.body, Take: r.hold, Raw: true, ID: id,
		Peer: r.ctx.RemoteAddr().String(),
	}}
	var kept [1]policies.Kept
	r.s.Policies.Keep(r.s.ctx, batch[:], kept[:], false)
	if err := kept[0].Err; err != nil {
		r.counted = true
		return err
	}
	if kept[0].Duplicate {
		r.ctx.Response.Header.Set(headerDuplicate, "true")
	}
	r.ctx.SetStatusCode(fasthttp.StatusNoContent)
	return nil
}

// headerDuplicate tells that what was sent had been kept before.
const headerDuplicate = "Weir-Duplicate"

// maxID is the longest Idempotency-Key, in bytes.
const maxID = 256

// idempotencyKey gives the sender's identity of the body; nil is none.
func (r *request) idempotencyKey() ([]byte, error) {
	id := r.ctx.Request.Header.Peek("Idempotency-Key")
	if len(id) > maxID {
		return nil, refuse(400, "bad-key", "the Idempotency-Key is longer than %d bytes", maxID)
	}
	return id, nil
}

// Content types of forms.
const (
	typeForm      = "application/x-www-form-urlencoded"
	typeMultipart = "multipart/form-data"
)

// contentType is the request's type without parameters, in lower case.
func (r *request) contentType() string {
	t, _, _ := bytes.Cut(r.ctx.Request.Header.ContentType(), []byte(";"))
	return strings.ToLower(string(bytes.TrimSpace(t)))
}

// chunk gives the data of an ingestion: the field data_chunk of the query or
// of a form where there is one, else the body as it is.
func (r *request) chunk(in ingestion) (chunk, error) {
	if in.query.inQuery && in.query.chunk != "" {
		data, err := unescapeInPlace([]byte(in.query.chunk), true)
		if err != nil {
			return chunk{}, refuse(400, "bad-encoding", "the field data_chunk of the query is badly percent-encoded")
		}
		return chunk{data: data}, nil
	}
	encoding := string(r.ctx.Request.Header.ContentEncoding())
	src, release, err := r.s.decoders.open(encoding, &r.body)
	if err != nil {
		return chunk{}, err
	}
	defer release()
	known := r.body.length
	if src != io.Reader(&r.body) {
		known = -1
	}
	switch r.contentType() {
	case typeMultipart:
		return r.multipartChunk(src, in.limit)
	case typeForm:
		return r.formChunk(src, known, in)
	default:
		return r.receive(src, known, in.limit)
	}
}

// formChunk gives the field data_chunk of an urlencoded form. A body without it
// is no form, whatever its type says: curl calls everything one.
func (r *request) formChunk(src io.Reader, known int64, in ingestion) (chunk, error) {
	form, more, err := r.beginning(src, known, in.wireLimit(r), in.limit)
	if err != nil {
		return chunk{}, err
	}
	if !more {
		data, err := formField(form, in.limit)
		return chunk{data: data}, err
	}
	rest := io.MultiReader(bytes.NewReader(form), src)
	field := newFieldReader(rest)
	field.plus = true
	c, err := r.spool(nil, field, in.limit)
	if err != nil {
		return c, err
	}
	if _, err := io.Copy(io.Discard, src); err != nil { // other fields behind it
		c.discard()
		return chunk{}, err
	}
	return c, nil
}

// formField gives the field data_chunk of an urlencoded form, decoded in place.
func formField(form []byte, limit int64) ([]byte, error) {
	at := fieldAt(form)
	if at < 0 {
		return within(form, limit)
	}
	value, _, _ := bytes.Cut(form[at:], []byte("&"))
	data, err := unescapeInPlace(value, true)
	if err != nil {
		return nil, refuse(400, "bad-encoding", "the form field data_chunk is badly percent-encoded")
	}
	return within(data, limit)
}

func within(data []byte, limit int64) ([]byte, error) {
	if int64(len(data)) > limit {
		return nil, tooLarge(limit)
	}
	return data, nil
}

// multipartChunk gives the field data_chunk of a multipart form.
func (r *request) multipartChunk(src io.Reader, limit int64) (chunk, error) {
	part, form, err := r.multipartField(src)
	if err != nil {
		return chunk{}, err
	}
	c, err := r.receive(part, -1, limit)
	if err != nil {
		return c, r.formError(err)
	}
	if err := r.finishForm(form); err != nil {
		c.discard()
		return chunk{}, err
	}
	return c, nil
}

// multipartField gives the field data_chunk of a multipart form as it comes,
// and the form, which may go on behind it.
func (r *request) multipartField(src io.Reader) (io.Reader, *multipart.Reader, error) {
	_, params, err := mime.ParseMediaType(string(r.ctx.Request.Header.ContentType()))
	if err != nil || params["boundary"] == "" {
		return nil, nil, refuse(400, "bad-form", "the Content-Type of the form names no boundary")
	}
	form := multipart.NewReader(src, params["boundary"])
	for {
		part, err := form.NextRawPart()
		if err == io.EOF {
			return nil, nil, refuse(400, "bad-form", "the form has no field data_chunk")
		}
		if err != nil {
			return nil, nil, r.formError(err)
		}
		if part.FormName() == "data_chunk" {
			return part, form, nil
		}
	}
}

// finishForm makes sure that the form came to its end before its field counts.
func (r *request) finishForm(form *multipart.Reader) error {
	for {
		if _, err := form.NextRawPart(); err == io.EOF {
			return nil
		} else if err != nil {
			return r.formError(err)
		}
	}
}

// formError tells a broken connection from a broken form.
func (r *request) formError(err error) error {
	if r.body.err != nil {
		return r.body.err
	}
	if p := problemOf(err); p.status != 500 {
		return p
	}
	return refuse(400, "bad-form", "the multipart form is broken: %v", fmt.Errorf("%w", err))
}
