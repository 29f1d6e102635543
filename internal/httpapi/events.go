package httpapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"weir/policies"
	"weir/records"
	"weir/streams"
)

const typeEvents = "text/event-stream"

// heartbeatTime is how often a comment is sent while nothing happens: it keeps
// proxies from closing, and finds clients that went away.
const heartbeatTime = 15 * time.Second

// A position is a place in a stream after which reading goes on: the first
// skip entries of the piece at offset were read, too. As text, the id of an
// event, it is GENERATION-OFFSET or GENERATION-OFFSET.SKIP.
type position struct {
	generation uint64
	offset     int64
	skip       int
}

func (p position) String() string {
	if p.skip == 0 {
		return fmt.Sprintf("%d-%d", p.generation, p.offset)
	}
	return fmt.Sprintf("%d-%d.%d", p.generation, p.offset, p.skip)
}

func parsePosition(s string) (p position, ok bool) {
	generation, rest, _ := strings.Cut(s, "-")
	offset, skip, skips := strings.Cut(rest, ".")
	g, err := strconv.ParseUint(generation, 10, 64)
	o, valid := parseBytes(offset)
	if skips {
		n, err := strconv.ParseUint(skip, 10, 31)
		p.skip = int(n)
		valid = valid && err == nil
	}
	p.generation, p.offset = g, o
	return p, err == nil && valid
}

// wantsEvents tells whether the request is one of a live tail.
func (r *request) wantsEvents(format string) bool {
	accept := r.ctx.Request.Header.Peek(fasthttp.HeaderAccept)
	return format == "events" || format == "" && bytes.Contains(accept, []byte(typeEvents))
}

// sendEvents answers with the records of a stream as they come, as server-sent
// events, until the client goes or the server stops. It begins behind
// Last-Event-ID, at ?offset=, or with what comes from now on.
func (r *request) sendEvents(st *streams.Stream, state streams.State) error {
	t := &tail{s: r.s, st: st, at: position{state.Generation, state.Length, 0}}
	if id := string(r.ctx.Request.Header.Peek("Last-Event-ID")); id != "" {
		var ok bool
		if t.at, ok = parsePosition(id); !ok {
			return refuse(400, "bad-query", "the Last-Event-ID %q is none of this stream's", id)
		}
	} else if r.target.has("offset") {
		q, err := r.recordQuery(state)
		if err != nil {
			return err
		}
		t.at.offset = q.offset
	} else if err := t.toLineStart(state.Begin); err != nil {
		return err
	}
	if t.at.generation == state.Generation && t.at.offset > state.Length {
		return refuse(400, "bad-query", "byte %d is beyond the %d of the stream", t.at.offset, state.Length)
	}
	if err := t.verify(state); err != nil {
		return err
	}
	r.ctx.SetContentType(typeEvents)
	r.ctx.Response.Header.Set(fasthttp.HeaderCacheControl, "no-store")
	r.ctx.Response.Header.Set("X-Accel-Buffering", "no") // for nginx, which would collect them
	if r.ctx.IsHead() {
		r.ctx.Response.SkipBody = true
		return nil
	}
	if r.s.watch.waiting() >= max(r.s.MaxConns/4, 1) {
		return busy("live tails")
	}
	t.grew, t.leave = r.s.watch.join(st)
	t.out = fmt.Appendf(nil, "retry: 2000\nid: %s\n\n", t.at)
	r.ctx.Response.ImmediateHeaderFlush = true
	r.ctx.SetBodyStream(t, -1)
	return nil
}

// A tail reads a stream as events. It holds what one answer of the store
// gives and no queue: a client that does not take it is not read for, and cut
// off when it takes nothing for the stall time.
type tail struct {
	s      *Server
	st     *streams.Stream
	at     position
	tried  int64          // the length up to which was read; the last record may not be whole
	pieces *boundedPieces // nil when all was read
	out    []byte
	ended  bool
	grew   <-chan struct{}
	leave  func()
}

// lineSearch is how far back the beginning of a line is looked for.
const lineSearch = 64 << 10

// toLineStart goes back to where the last line begins, if it has no end yet.
func (t *tail) toLineStart(begin int64) error {
	there := t.at.offset - begin
	if p, _ := t.s.Policies.Of(t.st); p.Keep != policies.Text || there == 0 {
		return nil
	}
	b := make([]byte, min(there, lineSearch))
	if _, err := t.st.ReadAt(t.at.generation, b, t.at.offset-int64(len(b))); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if i := bytes.LastIndexByte(b, '\n'); i >= 0 || int64(len(b)) == there {
		t.at.offset -= int64(len(b) - 1 - i)
	}
	return nil
}

// verify makes sure that records can be read from there.
func (t *tail) verify(state streams.State) error {
	if t.at.generation != state.Generation || t.at.offset < state.Begin {
		return nil // told by an event
	}
	pieces, err := t.s.Policies.Pieces(t.s.ctx, t.st, t.at.generation, t.at.offset, t.at.offset)
	if err != nil {
		return err
	}
	return pieces.Close()
}

// Read gives the next events and waits where there are none.
func (t *tail) Read(b []byte) (int, error) {
	for len(t.out) == 0 {
		if t.ended {
			return 0, io.EOF
		}
		t.out = t.out[:0]
		if err := t.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(b, t.out)
	t.out = t.out[n:]
	return n, nil
}

// fill makes events of what there is, or waits.
func (t *tail) fill() error {
	select {
	case <-t.s.ending:
		t.ended = true
		return nil
	default:
	}
	if t.pieces == nil {
		if more, err := t.open(); !more {
			return err
		}
	}
	const enough = 32 << 10
	for len(t.out) < enough {
		p, err := t.pieces.Next()
		switch {
		case err == nil:
			t.event(p)
			continue
		case errors.Is(err, io.EOF):
		case errors.Is(err, streams.ErrGeneration), errors.Is(err, streams.ErrTrimmed): // meanwhile; open tells it
		default:
			t.fail(err)
		}
		err = t.pieces.Close()
		t.pieces = nil
		return err
	}
	return nil
}

// open begins to read what came since the last time, or waits for it; more is
// false when there is nothing to read now.
func (t *tail) open() (more bool, err error) {
	state := t.st.State()
	if state.Generation != t.at.generation {
		t.at, t.tried = position{generation: state.Generation}, 0
		t.out = fmt.Appendf(t.out, "event: replaced\nid: %s\ndata: {\"generation\":%d}\n\n", t.at, state.Generation)
		return false, nil
	}
	if t.at.offset < state.Begin {
		t.at = position{generation: state.Generation, offset: state.Begin}
		t.out = fmt.Appendf(t.out, "event: trimmed\nid: %s\ndata: {\"begin\":%d}\n\n", t.at, state.Begin)
		return false, nil
	}
	if max(t.at.offset, t.tried) >= state.Length {
		t.wait()
		return false, nil
	}
	t.tried = state.Length
	t.pieces, err = t.s.pieces(t.st, state.Generation, t.at.offset, state.Length)
	if errors.Is(err, streams.ErrGeneration) || errors.Is(err, streams.ErrTrimmed) {
		return false, nil
	}
	if err != nil {
		t.fail(err)
	}
	return err == nil, nil
}

// wait waits until the stream grows or the server stops; after a while it
// makes a comment.
func (t *tail) wait() {
	timer := time.NewTimer(t.s.heartbeat)
	defer timer.Stop()
	select {
	case <-t.grew:
	case <-t.s.ending:
		t.ended = true
	case <-timer.C:
		t.out = append(t.out, ":\n\n"...)
	}
}

// event makes the events of a piece.
func (t *tail) event(p policies.Piece) {
	if p.Line != nil {
		t.one(position{t.at.generation, p.End, 0}, records.AppendLine(nil, p.Line))
		return
	}
	n, skip := int(countOf(p)), t.at.skip
	i := 0
	for e := range entriesOf(p) {
		if i++; i <= skip {
			continue
		}
		at := position{t.at.generation, p.Start, i}
		if i == n {
			at = position{t.at.generation, p.End, 0}
		}
		t.one(at, records.AppendEntry(nil, e))
	}
	t.at = position{t.at.generation, p.End, 0}
}

func (t *tail) one(at position, data []byte) {
	t.at = at
	t.out = fmt.Appendf(t.out, "id: %s\ndata: %s\n\n", at, data)
}

// fail tells what cannot be read and ends the answer.
func (t *tail) fail(err error) {
	t.ended = true
	t.out = append(t.out, "event: error\ndata: "...)
	t.out = append(records.AppendLine(t.out, []byte("cannot go on: "+err.Error())), "\n\n"...)
}

// Close ends the waiting.
func (t *tail) Close() error {
	t.leave()
	if t.pieces == nil {
		return nil
	}
	return t.pieces.Close()
}
