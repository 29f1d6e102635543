package httpapi

import (
	"bytes"
	"crypto/sha256"
	"io"
	"time"

	"weir/streams"
)

const (
	// spoolBytes is the size, in bytes, of a chunk from which it goes to the
	// disk as it comes; smaller ones are in memory.
	spoolBytes = 1 << 20
	// spoolMemory is what a chunk occupies of the budget while it does, in bytes.
	spoolMemory = 64 << 10
	// spoolAfter is how long a chunk of more than spoolMemory may occupy its
	// memory while it comes.
	spoolAfter = time.Second
)

// A chunk is the data of an ingestion: in memory, or in a file.
type chunk struct {
	data []byte
	body *streams.Staged // instead of data
}

func (c chunk) empty() bool { return len(c.data) == 0 && c.body == nil }

// sum is the SHA-256 of the data.
func (c chunk) sum() [sha256.Size]byte {
	if c.body != nil {
		return c.body.SHA256()
	}
	return sha256.Sum256(c.data)
}

// discard deletes the file unless a stream has it.
func (c chunk) discard() {
	if c.body != nil {
		c.body.Discard()
	}
}

// receive gives all that comes from src, decoded, if it is no larger than
// limit bytes: known of them, or -1 where that is not known. What is large, or
// comes slowly, is written to a file meanwhile.
func (r *request) receive(src io.Reader, known, limit int64) (chunk, error) {
	data, more, err := r.beginning(src, known, limit, limit)
	switch {
	case err != nil:
		return chunk{}, err
	case !more:
		return chunk{data: data}, nil
	}
	return r.spool(data, src, limit)
}

// beginning gives a body that may be in memory, or, with more, what came so far
// of one that is for the disk. Most is how long it may be, limit what the sender
// is told of that, both in bytes.
func (r *request) beginning(src io.Reader, known, most, limit int64) (data []byte, more bool, err error) {
	switch {
	case known > most:
		return nil, false, tooLarge(limit)
	case known > spoolBytes:
		return nil, true, nil
	}
	data, more, err = r.fill(src, known, min(most, spoolBytes), true)
	if int64(len(data)) > most {
		return nil, false, tooLarge(limit)
	}
	return data, more, err
}

// spool writes a body, whose beginning came before, to a file.
func (r *request) spool(head []byte, src io.Reader, limit int64) (c chunk, err error) {
	if err := r.checkSpace(); err != nil {
		return c, err
	}
	if c.body, err = r.s.Streams.NewStaged(); err != nil {
		return chunk{}, err
	}
	defer func() {
		if err != nil {
			c.body.Discard()
		}
	}()
	if _, err = c.body.Write(head); err != nil {
		return c, err
	}
	r.letGo()
	if err = r.hold(spoolMemory); err != nil {
		return c, err
	}

	n, err := c.body.ReadFrom(io.LimitReader(src, limit+1-int64(len(head))))
	if err == nil && n+int64(len(head)) > limit {
		err = tooLarge(limit)
	}
	if err != nil || c.body.Length() >= spoolBytes {
		return c, err
	}
	return r.load(c)
}

// load takes a chunk that only came slowly back into memory: the log is the
// better place for it.
func (r *request) load(c chunk) (chunk, error) {
	if err := r.hold(c.body.Length()); err != nil {
		return c, err
	}
	data := bytes.NewBuffer(make([]byte, 0, c.body.Length()+bytes.MinRead))
	if _, err := data.ReadFrom(c.body.Reader()); err != nil {
		return c, err
	}
	c.body.Discard()
	return chunk{data: data.Bytes()}, nil
}

// letGo gives the memory of the body back.
func (r *request) letGo() {
	if r.held > 0 {
		r.s.budget.give(r.held)
	}
	r.held, r.buf = 0, nil
}

// slow tells whether a body occupies too much memory for too long.
func (r *request) slow(buf []byte) bool {
	return cap(buf) > spoolMemory && r.body.moved.Sub(r.body.begun) > spoolAfter
}
