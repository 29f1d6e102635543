package streams

import (
	"runtime"

	"weir/internal/vfs"
)

// blockBytes is the unit of page caches and file systems. A part of one that
// is written must be read first, so the log is written in whole ones.
const blockBytes = 4096

// A blockWriter writes a segment in whole blocks, one write after the other.
type blockWriter struct {
	file vfs.File
	size int64
	tail []byte // what the block in which the next write begins has before it
}

// begin writes the header of the segment to its two places.
func (w *blockWriter) begin(header []byte) error {
	last := (w.size - sectorBytes) &^ (blockBytes - 1)
	end := make([]byte, w.size-last)
	copy(end[len(end)-sectorBytes:], header)
	if _, err := w.file.WriteAt(end, last); err != nil {
		return err
	}
	first := make([]byte, blockBytes)
	copy(first, header)
	if _, err := w.file.WriteAt(first, 0); err != nil {
		return err
	}
	w.tail = append(w.tail[:0], first[:sectorBytes]...)
	return nil
}

// write puts at pos, where the write before ended, what mem holds behind room
// for one block. It fills of that room what the first block has already, and
// adds zeros up to the end of the last.
func (w *blockWriter) write(mem []byte, pos int64) error {
	room := blockBytes - len(w.tail)
	copy(mem[room:], w.tail)
	from, end := pos-int64(len(w.tail)), pos+int64(len(mem)-blockBytes)
	pad := min((end+blockBytes-1)&^(blockBytes-1), w.size-sectorBytes) - end
	mem = append(mem, make([]byte, pad)...)[room:]
	if _, err := w.file.WriteAt(mem, from); err != nil {
		return err
	}
	next := alignSector(end)
	block := next &^ (blockBytes - 1)
	w.tail = append(w.tail[:0], mem[block-from:next-from]...)
	return nil
}

// writeZeros fills a new file, past the page cache where that can be done, and
// lets others have the disk in between.
func writeZeros(fs vfs.FS, name string, f vfs.File, size int64) error {
	out := vfs.NewSequential(fs, name, f, 0, vfs.NewPiece(fewPiece))
	for left := size; left > 0; {
		part, err := out.Next(left)
		if err != nil {
			out.Close()
			return err
		}
		out.Advance(len(part))
		left -= int64(len(part))
		runtime.Gosched()
	}
	return out.Close()
}
