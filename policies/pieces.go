package policies

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"weir/forward"
	"weir/streams"
)

// Errors of Pieces that callers test for.
var (
	// ErrNoRecords: the policy of a stream keeps bytes of which it does not
	// know where a record ends.
	ErrNoRecords = errors.New("policies: the stream has no records")
	// ErrNotRecord: at an offset no record begins.
	ErrNotRecord = errors.New("policies: no record begins there")
)

// maxPiece bounds a record, and a frame, that is read back.
const maxPiece = 8 << 20

// A Piece is the least part of a stream after which reading can go on: an
// entry, a frame of entries, or a line.
type Piece struct {
	Start, End int64 // in the stream
	// Entries are msgpack entries back to back, one unless they came in a
	// frame. They and Line are valid until the next Next.
	Entries []byte
	Line    []byte // without its end; nil where there are Entries
}

// Pieces reads a stream record by record.
type Pieces struct {
	// Grow is asked before a large record takes more memory, with the bytes
	// of the buffer that replaces the one before; its error ends the reading.
	// nil is never asked.
	Grow func(bytes int64) error

	off    int64 // of buf in the stream
	buf    []byte
	in     io.ReadCloser
	ended  bool
	text   bool
	frames *opened // with check: envelope
}

// Pieces reads the records of a stream's generation in the bytes [from, to).
// A record that is not whole at the end is left for a later call, which begins
// at the End of the last piece. From must be such an End, or the stream's
// beginning; for lines it is verified.
func (r *Router) Pieces(ctx context.Context, st *streams.Stream, generation uint64, from, to int64) (*Pieces, error) {
	p, _ := r.Of(st)
	if p.Keep == Bytes || p.Keep == Decoded {
		return nil, fmt.Errorf("%w: policy %q keeps bytes as they come; read them with format=raw", ErrNoRecords, p.Name)
	}
	text := p.Keep == Text
	if text && from > 0 && from != st.State().Begin {
		var before [1]byte
		if _, err := st.ReadAt(generation, before[:], from-1); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if before[0] != '\n' {
			return nil, fmt.Errorf("%w: byte %d of stream %q is inside a line", ErrNotRecord, from, st.Name())
		}
	}
	in, err := st.Reader(generation, from, to)
	if err != nil {
		return nil, err
	}
	x := &Pieces{off: from, in: in, text: text}
	if p.Check == CheckEnvelope {
		x.frames = &opened{r: r, ctx: ctx, st: st, policy: p.Name, generation: generation, in: in, off: from,
			opener: forward.NewOpener(forward.Options{AnyRecord: true})}
	}
	return x, nil
}

// Close ends the reading.
func (x *Pieces) Close() error { return x.in.Close() }

// Next gives the next piece, or io.EOF when no other is whole. ErrNotRecord
// tells where something else stands.
func (x *Pieces) Next() (Piece, error) {
	if x.frames != nil {
		return x.nextFrame()
	}
	for {
		p, ok, err := x.cut()
		if ok || err != nil {
			return p, err
		}
		if x.ended {
			return Piece{}, io.EOF
		}
		if err := x.fill(); err != nil {
			return Piece{}, err
		}
	}
}

// cut takes a piece from the buffer; ok is false when it needs more bytes.
func (x *Pieces) cut() (p Piece, ok bool, err error) {
	var n int
	if x.text {
		if n = bytes.IndexByte(x.buf, '\n') + 1; n > 0 {
			p.Line = bytes.TrimSuffix(x.buf[:n-1:n-1], []byte("\r"))
		}
	} else if len(x.buf) > 0 {
		e, rest, bad := forward.Next(x.buf)
		if bad != nil && !errors.Is(bad, forward.ErrShort) {
			return p, false, fmt.Errorf("%w: at byte %d: %w; read it with format=raw", ErrNotRecord, x.off, bad)
		}
		if bad == nil {
			n, p.Entries = len(x.buf)-len(rest), e.Raw
		}
	}
	if n == 0 {
		if len(x.buf) >= maxPiece {
			err = fmt.Errorf("%w: the record at byte %d has more than %d bytes; read it with format=raw", ErrNotRecord, x.off, maxPiece)
		}
		return p, false, err
	}
	p.Start, p.End = x.off, x.off+int64(n)
	x.buf, x.off = x.buf[n:], p.End
	return p, true, nil
}

// pieceBytes is how much is read at first; more only for a record that is
// larger.
const pieceBytes = 64 << 10

// fill reads more of the stream behind what is left in the buffer.
func (x *Pieces) fill() error {
	size := len(x.buf) + max(pieceBytes, len(x.buf))
	if len(x.buf) >= pieceBytes && x.Grow != nil {
		if err := x.Grow(int64(size)); err != nil {
			return err
		}
	}
	grown := make([]byte, size)
	n := copy(grown, x.buf)
	k, err := io.ReadFull(x.in, grown[n:])
	x.buf = grown[:n+k]
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		x.ended, err = true, nil
	}
	return err
}

// nextFrame opens the next frame that has entries.
func (x *Pieces) nextFrame() (Piece, error) {
	start := x.frames.off
	for x.frames.out = nil; len(x.frames.out) == 0; {
		start = x.frames.off
		if err := x.frames.open(); err != nil {
			return Piece{}, err
		}
	}
	return Piece{Start: start, End: x.frames.off, Entries: x.frames.out}, nil
}
