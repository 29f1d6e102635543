package vfs

import "unsafe"

const (
	// block is what direct writes are aligned to: offset, length and memory.
	block = 4096
	// leastDirect is the least that is worth a direct write: the disk's answer
	// is waited for.
	leastDirect = 256 << 10
)

// A Piece is memory for direct writes.
type Piece struct{ b []byte }

// NewPiece makes one of a multiple of 4 KiB, aligned for direct writes.
func NewPiece(size int) *Piece {
	b := make([]byte, size+block)
	skip := -int(uintptr(unsafe.Pointer(&b[0]))) & (block - 1)
	return &Piece{b[skip : skip+size : skip+size]}
}

// Bytes are the whole piece.
func (p *Piece) Bytes() []byte { return p.b }

// A Sequential writes one after the other what will not be read soon, in
// large pieces and as a Direct does. It is for one goroutine.
type Sequential struct {
	out   *Direct
	piece []byte
	n     int   // bytes of piece that are held back
	at    int64 // where they belong
}

// NewSequential goes on writing an open file at an offset. It does not own
// the file, and uses the piece until Close.
func NewSequential(fs FS, name string, file File, at int64, p *Piece) *Sequential {
	return &Sequential{out: NewDirect(fs, name, file), piece: p.b, at: at}
}

// Next gives room for up to n bytes; Advance says how many were put there.
// The error is that of writing what was there before.
func (s *Sequential) Next(n int64) ([]byte, error) {
	room := len(s.piece)
	if off := int(s.at % block); off != 0 {
		room = block - off // up to the boundary
	}
	if s.n == room {
		if err := s.Flush(); err != nil {
			return nil, err
		}
		return s.Next(n)
	}
	return s.piece[s.n:min(int64(room), int64(s.n)+n)], nil
}

// Advance says that n bytes of what Next gave are to be written.
func (s *Sequential) Advance(n int) { s.n += n }

// Flush writes what is held back; it is durable after the file's Datasync.
func (s *Sequential) Flush() error {
	if _, err := s.out.WriteAt(s.piece[:s.n], s.at); err != nil {
		return err
	}
	s.at += int64(s.n)
	s.n = 0
	return nil
}

// Close writes what is held back and lets go of the file.
func (s *Sequential) Close() error {
	err := s.Flush()
	if cerr := s.out.Close(); err == nil {
		err = cerr
	}
	return err
}
