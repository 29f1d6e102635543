package vfs

import "unsafe"

const (
	// block is what direct writes are aligned to: offset, length and memory.
	block = 4096
	// pieceBytes is how much a Sequential holds back.
	pieceBytes = 1 << 20
	// leastDirect is the least that is worth a direct write: the disk's answer
	// is waited for.
	leastDirect = 256 << 10
)

// A Piece is memory that Sequentials write from, one at a time.
type Piece struct{ b []byte }

// NewPiece makes one, aligned for direct writes.
func NewPiece() *Piece {
	b := make([]byte, pieceBytes+block)
	skip := -int(uintptr(unsafe.Pointer(&b[0]))) & (block - 1)
	return &Piece{b[skip : skip+pieceBytes : skip+pieceBytes]}
}

// A Sequential writes one after the other what will not be read soon. Large
// pieces go to the disk past the page cache where the file system can do so,
// which spares memory and, with it, most of the processor's time. It is for
// one goroutine.
type Sequential struct {
	fs     FS
	name   string
	file   File
	direct File // nil until it is needed, or where there is none
	tried  bool // to open direct
	piece  []byte
	n      int   // bytes of piece that are held back
	at     int64 // where they belong
}

// A directFS can open files past the page cache.
type directFS interface {
	OpenDirect(name string) (File, error)
}

// NewSequential goes on writing an open file at an offset. It does not own
// the file, and uses the piece until Close.
func NewSequential(fs FS, name string, file File, at int64, p *Piece) *Sequential {
	return &Sequential{fs: fs, name: name, file: file, piece: p.b, at: at}
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
	whole := s.n &^ (block - 1)
	if whole < leastDirect || s.at%block != 0 || !s.writeDirect(s.piece[:whole]) {
		whole = 0 // the page cache will do
	}
	if whole < s.n {
		if _, err := s.file.WriteAt(s.piece[whole:s.n], s.at+int64(whole)); err != nil {
			return err
		}
	}
	s.at += int64(s.n)
	s.n = 0
	return nil
}

// writeDirect writes blocks past the page cache, if that can be done.
func (s *Sequential) writeDirect(b []byte) bool {
	if d, ok := s.fs.(directFS); ok && !s.tried {
		s.tried = true
		if f, err := d.OpenDirect(s.name); err == nil {
			s.direct = f
		}
	}
	if s.direct == nil {
		return false
	}
	_, err := s.direct.WriteAt(b, s.at)
	return err == nil
}

// Close writes what is held back and lets go of the file.
func (s *Sequential) Close() error {
	err := s.Flush()
	if s.direct != nil {
		if cerr := s.direct.Close(); err == nil {
			err = cerr
		}
	}
	return err
}
