package httpapi

import (
	"encoding/base64"
	"errors"
	"io"

	"github.com/valyala/fasthttp"

	"weir/lake"
)

// isLake tells whether an ingestion request is for the data lake.
func (r *request) isLake() bool {
	if r.s.Lake == nil {
		return false
	}
	escaped, _ := r.target.policy()
	name, err := unescape(escaped)
	return err == nil && name == r.s.LakePolicy
}

// lakeReference reads the head of an upload to the data lake.
func (r *request) lakeReference() (lake.Reference, ingestQuery, error) {
	if !r.ctx.IsPost() {
		p := refuse(400, "bad-method", "Only POST request is allowed.")
		p.allow = fasthttp.MethodPost
		return lake.Reference{}, ingestQuery{}, p
	}
	query := parseIngestQuery(r.target.query)
	ref, err := lake.ParseReference(query.tag)
	return ref, query, err
}

// checkLake refuses what the head of an upload to the data lake already shows
// to be wrong.
func (r *request) checkLake() error {
	if _, _, err := r.lakeReference(); err != nil {
		return err
	}
	return r.checkSpace()
}

// pushLake keeps a file, or a part of one, in the data lake. Its bytes come as
// Base64 in the field data_chunk, or as the body itself, of any size.
func (r *request) pushLake() error {
	ref, query, err := r.lakeReference()
	if err != nil {
		return err
	}
	src, release, err := r.lakeText(query)
	if err != nil {
		return err
	}
	defer release()
	pushed, err := r.s.Lake.Push(r.s.ctx, ref, &base64Text{r: base64.NewDecoder(base64.StdEncoding, noSpaces{src}), body: &r.body})
	switch {
	case r.body.err != nil:
		return r.body.err
	case err != nil:
		return err
	}
	r.s.uploads.Add(1)
	if pushed.Duplicate {
		r.ctx.Response.Header.Set(headerDuplicate, "true")
	}
	r.ctx.SetStatusCode(fasthttp.StatusNoContent)
	return nil
}

// lakeText gives the Base64 text of an upload.
func (r *request) lakeText(query ingestQuery) (src io.Reader, release func(), err error) {
	if query.inQuery && query.chunk != "" {
		text, err := unescapeInPlace([]byte(query.chunk), false)
		if err != nil {
			return nil, nil, refuse(400, "bad-encoding", "the field data_chunk of the query is badly percent-encoded")
		}
		return &fieldReader{r: emptyReader{}, buf: text, state: fieldPlain}, func() {}, nil
	}
	src, release, err = r.s.decoders.open(string(r.ctx.Request.Header.ContentEncoding()), &r.body)
	if err != nil {
		return nil, nil, err
	}
	switch r.contentType() {
	case typeForm:
		src = newFieldReader(src)
	case typeMultipart:
		src, _, err = r.multipartField(src)
	}
	if err != nil {
		release()
	}
	return src, release, err
}

// A base64Text tells what is no Base64 from a connection that broke.
type base64Text struct {
	r    io.Reader
	body *body
}

func (t *base64Text) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if err == nil || err == io.EOF {
		return n, err
	}
	if t.body.err != nil {
		return n, t.body.err
	}
	if _, bad := errors.AsType[base64.CorruptInputError](err); bad || err == io.ErrUnexpectedEOF {
		return n, refuse(400, "bad-encoding", "the data is not whole Base64 (%v); the data lake takes the file's bytes as Base64", err)
	}
	return n, err
}

// A noSpaces leaves out the white space that encoders put between lines.
type noSpaces struct{ r io.Reader }

func (s noSpaces) Read(p []byte) (int, error) {
	for {
		n, err := s.r.Read(p)
		kept := p[:0]
		for _, c := range p[:n] {
			if c != ' ' && c != '\n' && c != '\r' && c != '\t' {
				kept = append(kept, c)
			}
		}
		if len(kept) > 0 || err != nil || n == 0 {
			return len(kept), err
		}
	}
}

// An emptyReader has nothing.
type emptyReader struct{}

func (emptyReader) Read([]byte) (int, error) { return 0, io.EOF }
