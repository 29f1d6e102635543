package httpapi

import (
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"weir/forward"
	"weir/policies"
	"weir/records"
	"weir/streams"
)

// Bounds of a page of records.
const (
	pageMost  = 1 << 20  // records
	pageBytes = 16 << 20 // of the stream
)

// A recordView is a form in which the records of a stream are shown.
type recordView struct {
	kind string
	// make gives what appends a piece to the answer; with learn the pieces are
	// shown to it before.
	make func(columns []string) renderer
}

// A renderer writes pieces of a stream.
type renderer interface {
	head(b []byte) []byte
	piece(b []byte, p policies.Piece) []byte
	// learn takes note of a piece that will come; needs tells whether it must.
	learn(p policies.Piece)
	needs() bool
	check() error // after learning
}

// recordViews are the forms by their names.
var recordViews = map[string]recordView{
	"msgpack": {"application/msgpack", func([]string) renderer { return asMsgpack{} }},
	"jsonl":   {"application/jsonl", func([]string) renderer { return asJSON{} }},
	"csv":     {"text/csv; charset=utf-8", func(c []string) renderer { return &asCSV{records.NewTable(c), len(c) == 0} }},
}

type asMsgpack struct{}

func (asMsgpack) head(b []byte) []byte { return b }
func (asMsgpack) learn(policies.Piece) {}
func (asMsgpack) needs() bool          { return false }
func (asMsgpack) check() error         { return nil }
func (asMsgpack) piece(b []byte, p policies.Piece) []byte {
	if p.Line != nil {
		return appendMsgpackText(b, p.Line)
	}
	return append(b, p.Entries...)
}

// appendMsgpackText appends a line as a msgpack string.
func appendMsgpackText(b, text []byte) []byte {
	n := len(text)
	return append(append(b, 0xdb, byte(n>>24), byte(n>>16), byte(n>>8), byte(n)), text...)
}

type asJSON struct{}

func (asJSON) head(b []byte) []byte { return b }
func (asJSON) learn(policies.Piece) {}
func (asJSON) needs() bool          { return false }
func (asJSON) check() error         { return nil }
func (asJSON) piece(b []byte, p policies.Piece) []byte {
	if p.Line != nil {
		return append(records.AppendLine(b, p.Line), '\n')
	}
	for e := range entriesOf(p) {
		b = append(records.AppendEntry(b, e), '\n')
	}
	return b
}

type asCSV struct {
	table  *records.Table
	learns bool
}

func (c *asCSV) head(b []byte) []byte { return c.table.AppendHead(b) }
func (c *asCSV) needs() bool          { return c.learns }
func (c *asCSV) check() error {
	if names, full := c.table.Columns(); full {
		return refuse(400, "too-many-columns", "the records have more than %d fields; say which with columns=A,B", len(names))
	}
	return nil
}

func (c *asCSV) learn(p policies.Piece) {
	if p.Line != nil {
		c.table.LearnLine()
	}
	for e := range entriesOf(p) {
		c.table.Learn(e)
	}
}

func (c *asCSV) piece(b []byte, p policies.Piece) []byte {
	if p.Line != nil {
		return c.table.AppendLine(b, p.Line)
	}
	for e := range entriesOf(p) {
		b = c.table.AppendEntry(b, e)
	}
	return b
}

// entriesOf walks the entries of a piece. What a frame holds beside entries
// was refused when it was opened.
func entriesOf(p policies.Piece) func(yield func(forward.Entry) bool) {
	return func(yield func(forward.Entry) bool) {
		for b := p.Entries; len(b) > 0; {
			e, rest, err := forward.Next(b)
			if len(rest) == len(b) {
				return
			}
			if b = rest; err == nil && !yield(e) {
				return
			}
		}
	}
}

// A recordQuery is which records of a stream are asked for.
type recordQuery struct {
	offset int64
	limit  int64
	paged  bool // an offset or a limit is given
	names  []string
}

// asksRecords tells whether the query has what only views of records take.
func (t target) asksRecords() bool {
	return t.has("offset") || t.has("limit") || t.has("generation") || t.has("columns")
}

// fromBegin is the offset at which a stream begins, as a word.
const fromBegin = "begin"

func (r *request) recordQuery(state streams.State) (q recordQuery, err error) {
	q.paged = r.target.has("offset") || r.target.has("limit")
	if q.offset = state.Begin; r.target.value("offset") != fromBegin {
		q.offset = r.number("offset", state.Begin, &err)
	}
	q.limit = r.number("limit", pageMost, &err)
	generation := r.number("generation", int64(state.Generation), &err)
	if c := r.target.value("columns"); c != "" {
		q.names = strings.Split(c, ",")
	}
	switch {
	case err != nil:
		return q, err
	case generation != int64(state.Generation):
		return q, refuse(412, "replaced", "the stream was replaced: its generation is %d; leave offset out", state.Generation)
	case q.offset < 0 || q.limit < 1 || q.limit > pageMost:
		return q, refuse(400, "bad-query", "offset=%d&limit=%d: an offset is not negative, a limit between 1 and %d", q.offset, q.limit, pageMost)
	case q.offset < state.Begin:
		return q, trimmed(state.Begin)
	case q.offset > state.Length:
		p := refuse(416, "bad-offset", "offset=%d is beyond the %d bytes of the stream", q.offset, state.Length)
		p.size = state.Length
		return q, p
	}
	return q, nil
}

// boundedPieces are pieces whose large records share the memory of answers.
type boundedPieces struct {
	*policies.Pieces
	s    *Server
	held int64
}

func (s *Server) pieces(st *streams.Stream, generation uint64, from, to int64) (*boundedPieces, error) {
	x, err := s.Policies.Pieces(s.ctx, st, generation, from, to)
	if err != nil {
		return nil, err
	}
	b := &boundedPieces{Pieces: x, s: s}
	x.Grow = func(n int64) error { // what was taken for the buffer before is this one's
		if n <= b.held {
			return nil
		}
		if err := s.answers.take(s.ctx, n-b.held, s.BodyWait); err != nil {
			return busy("large records")
		}
		b.held = n
		return nil
	}
	return b, nil
}

// Close ends the reading and gives the memory back.
func (b *boundedPieces) Close() error {
	b.s.answers.give(b.held)
	b.held = 0
	return b.Pieces.Close()
}

// sendRecords answers with the records of a stream: all of them, or a page
// whose head says where the next one begins.
func (r *request) sendRecords(st *streams.Stream, state streams.State, view recordView) error {
	q, err := r.recordQuery(state)
	if err != nil {
		return err
	}
	render := view.make(q.names)
	open := func(to int64) (*boundedPieces, error) {
		return r.s.pieces(st, state.Generation, q.offset, to)
	}
	first, err := open(state.Length)
	if err != nil {
		return err
	}
	end, n, err := measure(first, q, render)
	if err = errors.Join(err, first.Close(), render.check()); err != nil {
		return err
	}
	r.ctx.SetContentType(view.kind)
	h := &r.ctx.Response.Header
	h.Set("Weir-Generation", strconv.FormatUint(state.Generation, 10))
	h.Set(headerBegin, strconv.FormatInt(state.Begin, 10))
	h.Set("Weir-Length", strconv.FormatInt(state.Length, 10))
	h.Set(fasthttp.HeaderCacheControl, "no-cache")
	if q.paged {
		h.Set("Weir-Records", strconv.FormatInt(n, 10))
		h.Set("Weir-Next-Offset", strconv.FormatInt(end, 10))
	} else {
		end = state.Length
	}
	if r.ctx.IsHead() {
		r.ctx.Response.SkipBody = true
		return nil
	}
	pieces, err := open(end)
	if err != nil {
		return err
	}
	r.ctx.SetBodyStream(&recordReader{pieces: pieces, render: render, out: render.head(nil)}, -1)
	return nil
}

// measure finds where a page ends and how many records it has. Of an answer
// that is no page it looks at the first piece, so that what is no record is
// told before the answer begins, and at all where the renderer must learn.
func measure(pieces *boundedPieces, q recordQuery, render renderer) (end, n int64, err error) {
	end = q.offset
	for !q.paged || n < q.limit && end-q.offset < pageBytes {
		p, err := pieces.Next()
		if errors.Is(err, io.EOF) || errors.Is(err, policies.ErrNotRecord) && n > 0 && q.paged { // the next page tells it
			return end, n, nil
		}
		if err != nil {
			return end, n, err
		}
		render.learn(p)
		end, n = p.End, n+countOf(p)
		if !q.paged && !render.needs() {
			return end, n, nil
		}
	}
	return end, n, nil
}

func countOf(p policies.Piece) (n int64) {
	if p.Line != nil {
		return 1
	}
	for range entriesOf(p) {
		n++
	}
	return n
}

// A recordReader reads pieces as a renderer writes them.
type recordReader struct {
	pieces *boundedPieces
	render renderer
	out    []byte // not read yet
	buf    []byte
}

func (x *recordReader) Read(b []byte) (int, error) {
	const enough = 32 << 10
	for len(x.out) == 0 {
		x.buf = x.buf[:0]
		for len(x.buf) < enough {
			p, err := x.pieces.Next()
			if err != nil && len(x.buf) > 0 { // it comes again, after what is made
				break
			}
			if err != nil {
				return 0, err
			}
			x.buf = x.render.piece(x.buf, p)
		}
		x.out = x.buf
	}
	n := copy(b, x.out)
	x.out = x.out[n:]
	return n, nil
}

// Close ends the reading.
func (x *recordReader) Close() error { return x.pieces.Close() }
