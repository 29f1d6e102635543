package policies

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/tinylib/msgp/msgp"

	"weir/forward"
	"weir/streams"
)

// frame makes a frame of entries that came without one, as by HTTP: the tag
// and the entries as binary.
func (w *work) frame(tag string, entries []byte) []byte {
	from := len(w.text)
	w.text = append(w.text, 0x92) // an array of 2
	w.text = msgp.AppendString(w.text, tag)
	w.text = msgp.AppendBytes(w.text, entries)
	return w.text[from:]
}

// ChecksEnvelope tells whether the policy of a tag keeps messages in their
// frames.
func (r *Router) ChecksEnvelope(tag []byte) bool {
	rt, err := r.find(target{tag: string(tag)})
	return err == nil && rt.rule.Check == CheckEnvelope
}

// HasEnvelopes tells whether any policy keeps messages in their frames.
func (r *Router) HasEnvelopes() bool {
	for _, ru := range r.rules {
		if ru.Check == CheckEnvelope {
			return true
		}
	}
	return false
}

const (
	readBytes = 1 << 20
	// maxDeadFrame is how much of a broken frame goes to the dead letters; all
	// of it stays in the stream.
	maxDeadFrame = 64 << 10
)

// Entries reads the entries of a stream's generation, [time, record] back to
// back, in the bytes [from, to), from being the stream's beginning or where an
// entry begins: the bytes themselves, or with check: envelope what its frames
// hold. What of a frame cannot be decoded is kept as a dead letter,
// once however often it is read, and counted.
func (r *Router) Entries(ctx context.Context, st *streams.Stream, generation uint64, from, to int64) (io.ReadCloser, error) {
	in, err := st.Reader(generation, from, to)
	if err != nil {
		return nil, err
	}
	p, _ := r.Of(st)
	if p.Check != CheckEnvelope {
		return in, nil
	}
	return &opened{r: r, ctx: ctx, st: st, policy: p.Name, generation: generation, in: in, off: from,
		opener: forward.NewOpener(forward.Options{AnyRecord: true})}, nil
}

// An opened reads the entries of frames.
type opened struct {
	r          *Router
	ctx        context.Context
	st         *streams.Stream
	policy     string
	generation uint64
	in         io.ReadCloser
	opener     *forward.Opener

	buf   []byte // frames not opened yet
	off   int64  // of buf in the stream
	out   []byte // entries not read yet, part of the opener's memory
	ended bool   // in has no more
}

func (o *opened) Close() error { return o.in.Close() }

func (o *opened) Read(p []byte) (int, error) {
	for len(o.out) == 0 {
		if err := o.open(); err != nil {
			return 0, err
		}
	}
	n := copy(p, o.out)
	o.out = o.out[n:]
	return n, nil
}

// open takes the next frame.
func (o *opened) open() error {
	if len(o.buf) == 0 && o.ended {
		return io.EOF
	}
	m, rest, err := o.opener.Next(o.buf)
	n := len(o.buf) - len(rest)
	switch {
	case err == nil:
		o.out = m.Entries
		err = o.refused(&m, o.buf[:n])
	case n > 0:
		err = o.bury("bad-frame", err.Error(), 0, o.buf[:n])
	case !o.ended:
		return o.fill()
	default: // no frame begins here: all that is left is none
		n = len(o.buf)
		err = o.bury("cut-frame", err.Error(), 0, o.buf)
	}
	if err != nil {
		return err
	}
	o.buf, o.off = o.buf[n:], o.off+int64(n)
	return nil
}

// fill reads more of the stream; the buffer grows to the size of a frame.
func (o *opened) fill() error {
	room := max(readBytes, len(o.buf))
	grown := make([]byte, len(o.buf)+room)
	n := copy(grown, o.buf)
	k, err := io.ReadFull(o.in, grown[n:])
	o.buf = grown[:n+k]
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		o.ended, err = true, nil
	}
	return err
}

// refused keeps what of a frame is no entry.
func (o *opened) refused(m *forward.Message, frame []byte) error {
	if m.Signal != 0 {
		o.out = nil
		return o.bury("signal", "the frame holds a signal that is no log", 0, frame)
	}
	for i, b := range m.Bad {
		if err := o.bury(b.Reason, b.Detail, i, b.Data); err != nil {
			return err
		}
	}
	return nil
}

// bury keeps a part of the frame at o.off as a dead letter.
func (o *opened) bury(reason, detail string, part int, data []byte) error {
	name := o.st.Name()
	id := fmt.Appendf(nil, "%s\x00%d\x00%d\x00%s\x00%s", name, o.generation, o.off, reason, strconv.Itoa(part))
	return o.r.DeadLetter(o.ctx, Dead{
		Policy: o.policy, Tag: name, Reason: reason, Detail: detail,
		Stream: name, Generation: o.generation, Offset: o.off, Length: int64(len(data)),
		Data: data[:min(len(data), maxDeadFrame)], ID: id,
	})
}
