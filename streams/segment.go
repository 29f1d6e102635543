package streams

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync/atomic"

	"weir/internal/vfs"
)

const (
	segmentMagic   = 0x31475357 // "WSG1"
	segmentVersion = 3          // 2 had no records of runs, 1 no trims either
	segmentHeader  = 64
)

// A cut says up to where a segment counts.
type cut struct {
	generation, salt uint64
	pos              int64
}

// A segHeader is the beginning of a segment, and its last sector.
type segHeader struct {
	generation, salt uint64
	prev             cut
	time             int64
}

// A segment is a file of the log.
type segment struct {
	segHeader
	file    vfs.File
	name    string
	pos     int64  // the end of what is committed
	seq     uint64 // of the next batch
	records int
	aside   int64 // bytes that its records say to be in chunk files
	size    int64
	pins    atomic.Int32 // readers
}

func (h segHeader) encode() []byte {
	le := binary.LittleEndian
	b := make([]byte, sectorBytes)
	le.PutUint32(b, segmentMagic)
	le.PutUint32(b[8:], segmentVersion)
	le.PutUint64(b[16:], h.generation)
	le.PutUint64(b[24:], h.salt)
	le.PutUint64(b[32:], h.prev.generation)
	le.PutUint64(b[40:], h.prev.salt)
	le.PutUint64(b[48:], uint64(h.prev.pos))
	le.PutUint64(b[56:], uint64(h.time))
	putHeaderCRC(b)
	return b
}

func putHeaderCRC(b []byte) {
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[8:segmentHeader], castagnoli))
}

var errVersion = errors.New("written by a newer version of weir")

func parseSegHeader(b []byte) (segHeader, bool, error) {
	le := binary.LittleEndian
	if len(b) < segmentHeader || le.Uint32(b) != segmentMagic || le.Uint32(b[4:]) != crc32.Checksum(b[8:segmentHeader], castagnoli) {
		return segHeader{}, false, nil
	}
	if v := le.Uint32(b[8:]); v == 0 || v > segmentVersion {
		return segHeader{}, false, fmt.Errorf("segment format %d: %w", v, errVersion)
	}
	return segHeader{
		generation: le.Uint64(b[16:]), salt: le.Uint64(b[24:]), time: int64(le.Uint64(b[56:])),
		prev: cut{le.Uint64(b[32:]), le.Uint64(b[40:]), int64(le.Uint64(b[48:]))},
	}, true, nil
}

// readSegHeader gives the newer of the header and its copy in the last
// sector; false when neither is whole.
func readSegHeader(f vfs.File, size int64) (h segHeader, ok bool, err error) {
	buf := make([]byte, sectorBytes)
	for _, at := range []int64{0, alignSector(size) - sectorBytes} {
		if at < 0 {
			continue
		}
		c, good, verr := parseSegHeader(buf[:readSome(f, buf, at)])
		if verr != nil {
			return h, false, verr
		}
		if good && (!ok || c.generation > h.generation) {
			h, ok = c, true
		}
	}
	return h, ok, nil
}

// A badRange is a part of a segment whose batches are damaged.
type badRange struct{ from, to int64 }

// A scanner reads the batches of a segment.
type scanner struct {
	file       vfs.File
	size       int64
	generation uint64
	salt       uint64
	limit      int64 // up to where the segment surely counts; 0 is unknown
	buf        []byte
	window     []byte
	unreadable bool // the disk did not give bytes that it has: what they were is not known
}

// scan calls each for every batch, whole or with damaged data, in order; buf
// is valid until each returns. It gives the end of the last batch and the
// ranges that hold damage.
func (s *scanner) scan(each func(pos int64, b batchInfo, buf []byte) error) (end int64, bad []badRange, err error) {
	pos, seq := int64(sectorBytes), uint64(0)
	max := s.size - sectorBytes
	if s.limit > 0 {
		max = min(max, s.limit)
	}
	for pos+batchHeader <= max {
		s.unreadable = false
		b, ok := s.read(pos, max)
		if !ok || b.seq < seq || b.damaged {
			unreadable := s.unreadable
			next := s.find(pos+sectorBytes, max, seq)
			if next < 0 && s.limit <= pos && !unreadable {
				break // a commit that was cut off, or old bytes
			}
			if !ok || b.seq < seq {
				if next < 0 {
					next = max
				}
				bad = append(bad, badRange{pos, next})
				pos = next
				continue
			}
			bad = append(bad, badRange{pos, pos + b.size()})
			if b, ok = s.read(pos, max); !ok { // find used the buffer
				return pos, bad, fmt.Errorf("read the log: bytes at %d changed meanwhile", pos)
			}
		}
		if err := each(pos, b, s.buf); err != nil {
			return pos, bad, err
		}
		pos, seq = alignSector(pos+b.size()), b.seq+1
	}
	return pos, bad, nil
}

// read reads the batch at pos into buf.
func (s *scanner) read(pos, max int64) (batchInfo, bool) {
	s.buf = sized(s.buf, batchHeader)
	if s.readSome(pos) < batchHeader {
		return batchInfo{}, false
	}
	b, ok := parseBatchHeader(s.buf)
	if !ok || b.generation != s.generation || b.salt != s.salt || pos+b.size() > max {
		return batchInfo{}, false
	}
	s.buf = sized(s.buf, int(b.size()))
	if int64(s.readSome(pos)) < b.size() {
		return batchInfo{}, false
	}
	ok = checkBatch(s.buf, &b)
	return b, ok
}

// readSome fills buf with what can be read at pos, and notes when that is less
// than the file has.
func (s *scanner) readSome(pos int64) int {
	n := readSome(s.file, s.buf, pos)
	if pos+int64(n) < min(pos+int64(len(s.buf)), s.size) {
		s.unreadable = true
	}
	return n
}

// find gives where the next batch from seq on begins whose records are whole, or -1.
func (s *scanner) find(pos, limit int64, seq uint64) int64 {
	const step = 1 << 18
	s.window = sized(s.window, int(max(0, min(step, limit-pos))))
	for ; pos < limit; pos += step {
		n := readSome(s.file, s.window[:min(step, limit-pos)], pos)
		for at := 0; at+batchHeader <= n; at += sectorBytes {
			h, ok := parseBatchHeader(s.window[at:n])
			if !ok || h.generation != s.generation || h.salt != s.salt || h.seq < seq {
				continue
			}
			if _, ok := s.read(pos+int64(at), limit); ok {
				return pos + int64(at)
			}
		}
	}
	return -1
}

func sized(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n, n+n/4)
	}
	return b[:n]
}

// readSome reads what can be read at a position. It insists, since what
// cannot be read counts as damaged.
func readSome(f vfs.File, p []byte, at int64) int {
	best := 0
	for range attempts {
		n, err := f.ReadAt(p, at)
		if err == nil || err == io.EOF {
			return n
		}
		best = max(best, n)
	}
	return best
}

// torn gives how many bytes of a batch that was cut off lie at pos.
func (s *scanner) torn(pos int64) int64 {
	var h [batchHeader]byte
	b, ok := parseBatchHeader(h[:readSome(s.file, h[:], pos)])
	if !ok || b.generation != s.generation || b.salt != s.salt {
		return 0
	}
	return min(b.size(), s.size-pos)
}
