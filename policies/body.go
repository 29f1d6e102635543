package policies

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"weir/forward"
	"weir/streams"
)

// blockBytes is how much of a large body is looked at at once; more only for
// an entry that is larger.
const blockBytes = 256 << 10

// extractBody is extract for a body in a file.
func (ru *rule) extractBody(w *work, b *Batch) (extracted, error) {
	asIs := extracted{body: b.Body}
	if ru.Check == CheckEnvelope {
		return ru.frames(w, b)
	}
	if ru.unseen() {
		return asIs, nil
	}
	var first byte
	n := 0
	err := b.blocks(&first, func(_ []byte, entries int) error { n += entries; return nil })
	switch {
	case err == nil && ru.Policy.Keep == Verbatim:
		asIs.records = n
		return asIs, nil
	case err == nil && ru.Policy.Keep == Buckets:
		return ru.collectBody(w, b)
	case err == nil:
		return ru.derive(w, b)
	case !errors.Is(err, errNotEntries) || ru.mustBeEntries(first):
		return extracted{}, ru.unread(err)
	}
	return asIs, nil
}

// errNotEntries: a body is not made of entries from the first byte to the last.
var errNotEntries = errors.New("not entries alone")

// unread is the error for a body that had to be entries, or whose file could
// not be read.
func (ru *rule) unread(err error) error {
	if errors.Is(err, errNotEntries) {
		return ru.noEntries(err)
	}
	return fmt.Errorf("policies: read a large body: %w", err)
}

// blocks gives each the whole entries of a body, some at a time, and how many
// they are; first is the body's first byte. What each gets is valid until it
// returns.
func (b *Batch) blocks(first *byte, each func(entries []byte, n int) error) error {
	in := b.Body.Reader()
	buf := make([]byte, 0, blockBytes)
	for at, ended := int64(0), false; !ended; {
		n, err := io.ReadFull(in, buf[len(buf):cap(buf)])
		ended = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !ended {
			return err
		}
		buf = buf[:len(buf)+n]
		if at == 0 && len(buf) > 0 {
			*first = buf[0]
		}
		entries, off, err := forward.Check(buf)
		short := errors.Is(err, forward.ErrShort) && forward.KindOf(buf[off:]) == forward.KindArray
		if err != nil && (ended || !short) {
			return fmt.Errorf("%w: from byte %d on: %w", errNotEntries, at, err)
		}
		if err := each(buf[:off:off], entries); err != nil {
			return err
		}
		at += int64(off)
		if buf, err = b.remaining(buf, off); err != nil {
			return err
		}
	}
	return nil
}

// remaining moves what follows off to the beginning of the buffer, of a larger
// one where an entry fills it.
func (b *Batch) remaining(buf []byte, off int) ([]byte, error) {
	rest := buf[off:]
	if len(rest) < cap(buf) {
		return buf[:copy(buf[:cap(buf)], rest)], nil
	}
	size := 2 * cap(buf)
	if b.Take != nil {
		if err := b.Take(int64(size)); err != nil {
			return nil, err
		}
	}
	return append(make([]byte, 0, size), rest...), nil
}

// maxMarkers bounds what of a large body is kept as dead letters, in bytes.
const maxMarkers = 1 << 20

// derive writes what the policy keeps of a body's entries to another file.
func (ru *rule) derive(w *work, b *Batch) (extracted, error) {
	var out extracted
	var first byte
	made, err := w.rewrite(b, func(to io.Writer) error {
		return b.blocks(&first, func(entries []byte, _ int) error {
			start := len(w.text)
			x := ru.take(w, entries, out.seen)
			w.text = w.text[:start]
			if err := firstRefused(ru, b, x); err != nil {
				return err
			}
			for _, m := range x.bad {
				out.refuse(m.reason, m.detail, append([]byte(nil), m.data...))
				if len(out.bad[0].data) > maxMarkers {
					return fmt.Errorf("%w: it has more than %d bytes of group markers: send smaller chunks", ErrTooLarge, maxMarkers)
				}
			}
			out.records, out.seen = out.records+x.records, x.seen
			_, err := to.Write(x.data)
			return err
		})
	})
	out.body = made
	return out, err
}

// frames makes frames of a body's entries, some in each, so that no reader
// needs memory for the whole.
func (ru *rule) frames(w *work, b *Batch) (out extracted, err error) {
	var first byte
	out.body, err = w.rewrite(b, func(to io.Writer) error {
		return b.blocks(&first, func(entries []byte, n int) error {
			if len(entries) == 0 {
				return nil
			}
			start := len(w.text)
			frame := w.frame(b.Tag, entries)
			w.text = w.text[:start]
			out.records += n
			_, err := to.Write(frame)
			return err
		})
	})
	if errors.Is(err, errNotEntries) {
		err = ru.noEntries(err)
	}
	return out, err
}

// rewrite makes a file of a body; nil where nothing was written to it.
func (w *work) rewrite(b *Batch, write func(io.Writer) error) (*streams.Staged, error) {
	made, err := b.Body.Sibling()
	if err != nil {
		return nil, err
	}
	w.made = append(w.made, made)
	to := bufio.NewWriterSize(made, blockBytes)
	if err := write(to); err != nil {
		return nil, err
	}
	if err := to.Flush(); err != nil || made.Length() == 0 {
		return nil, err
	}
	return made, nil
}

// bucketCopies is how often a body is in memory while buckets are made of it:
// as it came, by key, and as it is kept.
const bucketCopies = 3

// collectBody makes buckets of a body, whose records of one key may be far
// apart, so that all of it is in memory.
func (ru *rule) collectBody(w *work, b *Batch) (extracted, error) {
	n := b.Body.Length()
	if b.Take != nil {
		if err := b.Take(bucketCopies * n); err != nil {
			return extracted{}, err
		}
	}
	entries := make([]byte, n)
	if _, err := io.ReadFull(b.Body.Reader(), entries); err != nil {
		return extracted{}, fmt.Errorf("policies: read a large body: %w", err)
	}
	return ru.collect(w, entries, 0), nil
}
