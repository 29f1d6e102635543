package streams

import (
	"errors"
	"io"
)

// A Staged is a body in a file of its own, to which no record refers yet: what
// is too large for memory is written to it first and judged after. Append
// takes it as a record's bytes and makes it durable; Discard deletes it
// otherwise, as the next start of the store does. It is not safe for
// concurrent use.
type Staged struct {
	g    *stager
	body *staged // once Append has made the file durable
	gone bool
}

// NewStaged begins an empty file.
func (s *Store) NewStaged() (*Staged, error) {
	g, err := s.newStager()
	if err != nil {
		return nil, err
	}
	return &Staged{g: g}, nil
}

// Sibling begins another file in the same store, for what is made of this one.
func (b *Staged) Sibling() (*Staged, error) { return b.g.s.NewStaged() }

// Write adds bytes; ErrNoSpace where the disk has no room.
func (b *Staged) Write(p []byte) (int, error) { return b.g.Write(p) }

// stagedBuffer is the memory of a body that comes slowly, in bytes.
const stagedBuffer = 64 << 10

// ReadFrom adds all that comes from r, in bounded memory.
func (b *Staged) ReadFrom(r io.Reader) (int64, error) {
	before := b.g.up.length
	err := b.g.receive(r, make([]byte, stagedBuffer))
	return b.g.up.length - before, err
}

// Length is the number of bytes.
func (b *Staged) Length() int64 { return b.g.up.length }

// SHA256 is that of the bytes so far.
func (b *Staged) SHA256() (sum [32]byte) {
	b.g.sha.Sum(sum[:0])
	return sum
}

// Reader reads the bytes from the first one. It must not be used after Append
// or Discard.
func (b *Staged) Reader() io.Reader {
	return io.NewSectionReader(b.g.file, 0, b.g.up.length)
}

// Discard deletes the file unless a record has it.
func (b *Staged) Discard() {
	if b.gone || b.body != nil && b.body.taken {
		return
	}
	b.gone = true
	b.g.discard()
}

// seal makes the file durable for a record.
func (b *Staged) seal() (*staged, error) {
	if b.gone || b.body != nil {
		return nil, errors.New("streams: append of a staged body that was used before")
	}
	if err := b.g.seal(); err != nil {
		b.Discard() // what was written to it is not known any more
		return nil, err
	}
	b.body = &staged{upload: b.g.up}
	return b.body, nil
}
