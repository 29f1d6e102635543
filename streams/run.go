package streams

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"path"
	"slices"
	"time"

	"weir/internal/vfs"
)

const (
	// mostRuns is how many streams have a run at the same time: each takes a
	// flush of its own in a commit.
	mostRuns = 4
	// runPiece is the memory in which the bytes of a run wait for their commit.
	runPiece = 1 << 20
	// sparePieces is how many such pieces are kept for the next batch.
	sparePieces = 18
	// runEager is how many bytes in busy batches, one after the other, make a
	// run begin: so that a file is not made for less.
	runEager = 8 * busyBytes
	// busyBytes is what a batch must have for a stream to count as busy.
	busyBytes = 256 << 10
	// runLazy is after how many batches that had little for it a run ends.
	runLazy = 16
	// runRest is for how long no run begins after a failure to write to one:
	// the log has room of its own.
	runRest = 10 * time.Second
)

// A run is a chunk file that commits write themselves, for a stream that much
// comes for: the log then says only how much it is, where, and its checksum.
// It ends when the file is large enough, when too little comes, and when
// something comes that is not for it. Its file is never taken up again.
type run struct {
	st         *Stream
	generation uint64
	start      int64 // the offset at which the file begins

	lazy int // batches one after the other that had little; Store.mu guards it

	// The committer's:
	broken bool // nothing more is written to it
	file   vfs.File
	out    *vfs.Direct
	tail   []byte // what the last block of the file has
	kept   int64  // how many bytes of the file are durable and in the log
}

// A runData is what a batch has for a run, as it will lie in the file: from
// the beginning of the block in which the file ends.
type runData struct {
	run       *run
	from, end int64 // offsets in the stream
	pieces    []*vfs.Piece
	size      int64 // of each
}

// base is the place in the file where the first piece goes.
func (d *runData) base() int64 { return (d.from - d.run.start) &^ (blockBytes - 1) }

// at gives the place of an offset of the stream in the pieces.
func (d *runData) at(off int64) int64 { return off - d.run.start - d.base() }

// add puts p behind what is there.
func (d *runData) add(p []byte, more func() *vfs.Piece) {
	for len(p) > 0 {
		at := d.at(d.end)
		if at/d.size == int64(len(d.pieces)) {
			d.pieces = append(d.pieces, more())
		}
		n := copy(d.pieces[at/d.size].Bytes()[at%d.size:], p)
		p = p[n:]
		d.end += int64(n)
	}
}

// each calls f for the parts of a range of offsets.
func (d *runData) each(off, end int64, f func([]byte)) {
	for off < end {
		at := d.at(off)
		part := d.pieces[at/d.size].Bytes()[at%d.size:]
		part = part[:min(int64(len(part)), end-off)]
		f(part)
		off += int64(len(part))
	}
}

// write puts the data into the file, in whole blocks. What the first block has
// already is written again, the same bytes; what the last one has beyond the
// end is zeros, and does not count.
func (d *runData) write() error {
	r, at := d.run, d.base()
	copy(d.pieces[0].Bytes(), r.tail)
	for i, p := range d.pieces {
		part := p.Bytes()
		if i == len(d.pieces)-1 {
			n := d.at(d.end) - int64(i)*d.size
			part = part[:(n+blockBytes-1)&^(blockBytes-1)]
			clear(part[n:])
		}
		if _, err := r.out.WriteAt(part, at); err != nil {
			return err
		}
		at += int64(len(part))
	}
	return r.file.Datasync()
}

// done notes that the data counts.
func (d *runData) done() {
	r := d.run
	r.kept = d.end - r.start
	n := r.kept % blockBytes
	last := (d.at(d.end) - n) / d.size
	r.tail = r.tail[:0]
	if n > 0 {
		at := d.at(d.end) - n - last*d.size
		r.tail = append(r.tail, d.pieces[last].Bytes()[at:at+n]...)
	}
}

// takeRun adds the data of a record to the run of its stream. The caller holds mu.
func (s *Store) takeRun(b *batch, r *run, p []byte, off int64) {
	var d *runData
	for _, x := range b.runs {
		if x.run == r {
			d = x
		}
	}
	if d == nil {
		d = &runData{run: r, from: off, end: off, size: s.o.runPiece}
		b.runs = append(b.runs, d)
	}
	d.add(p, s.piece)
	b.aside += len(p)
}

// piece gives memory for a run. The caller holds mu.
func (s *Store) piece() *vfs.Piece {
	n := len(s.pieces)
	if n == 0 {
		return vfs.NewPiece(int(s.o.runPiece))
	}
	p := s.pieces[n-1]
	s.pieces = s.pieces[:n-1]
	return p
}

// giveBack takes back the memory of a batch. The caller holds mu.
func (s *Store) giveBack(b *batch) {
	for _, d := range b.runs {
		s.pieces = append(s.pieces, d.pieces[:min(len(d.pieces), sparePieces-len(s.pieces))]...)
	}
	b.runs, b.aside = nil, 0
	if len(s.runs) == 0 {
		s.pieces = nil
	}
}

// busy counts bytes that a batch takes for a stream. The caller holds mu.
func (s *Store) busy(b *batch, st *Stream, n int64) {
	if st.busyOrder != b.order {
		if st.busyOrder != b.order-1 || st.busyBytes < s.o.busyBytes {
			st.busySum = 0
		}
		st.busyOrder, st.busyBytes = b.order, 0
	}
	before := st.busyBytes
	st.busyBytes += n
	st.busySum += n
	if before < s.o.busyBytes && st.busyBytes >= s.o.busyBytes {
		b.busy = append(b.busy, st)
	}
}

// turnRuns ends and begins runs between two batches: b is taken away, and the
// next one is empty still. The caller holds mu, and is the committer.
func (s *Store) turnRuns(b *batch) {
	// After a failure, the log has to say first what does not count.
	may := s.log.cur != nil && len(s.doomedRuns) == 0 && s.lastTime >= s.runsAfter
	for _, r := range slices.Clone(s.runs) {
		if r.st.busyOrder == b.order && r.st.busyBytes >= s.o.busyBytes/4 {
			r.lazy = 0
		} else {
			r.lazy++
		}
		full := r.st.tip.length-r.start >= s.o.ChunkBytes
		if r.lazy > runLazy || full {
			s.endRun(b, r.st)
		}
		if full && may {
			s.beginRun(r.st)
		}
	}
	for _, st := range b.busy {
		if may && st.run == nil && st.busySum >= s.o.runEager && len(s.runs) < mostRuns {
			s.beginRun(st)
		}
	}
}

// beginRun begins a run where a stream ends. The caller holds mu.
func (s *Store) beginRun(st *Stream) {
	st.run = &run{st: st, generation: st.tip.generation, start: st.tip.length}
	s.runs = append(s.runs, st.run)
	st.mu.Lock()
	st.writing = append(st.writing, st.run)
	st.mu.Unlock()
}

// endRun ends the run of a stream, if there is one; b, or the batch before it,
// is the last that has data for it. The caller holds mu.
func (s *Store) endRun(b *batch, st *Stream) {
	r := st.run
	if r == nil {
		return
	}
	st.run = nil
	s.runs = slices.DeleteFunc(s.runs, func(x *run) bool { return x == r })
	b.ended = append(b.ended, r)
}

// closeRuns lets go of the files that no later batch writes to. The zeros at
// the end of each are cut off when the fold seals the chunk.
func (b *batch) closeRuns() {
	for _, r := range b.ended {
		r.close()
	}
	b.ended = nil
}

// closeRuns lets go of all, at the end.
func (s *Store) closeRuns() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range slices.Clone(s.runs) {
		s.endRun(s.filling, r.st)
	}
	s.filling.closeRuns()
}

func (r *run) close() {
	if r.file != nil {
		r.out.Close()
		r.file.Close()
		r.file = nil
	}
	r.st.mu.Lock()
	r.st.writing = slices.DeleteFunc(r.st.writing, func(x *run) bool { return x == r })
	r.st.mu.Unlock()
}

// writeRuns makes durable what a batch has for runs, and puts the checksums
// into its records. Only then may the log say that it is there.
func (s *Store) writeRuns(b *batch) error {
	for _, d := range b.runs {
		if d.run.broken {
			return errBroken
		}
		if err := s.openRun(d.run); err != nil {
			return err
		}
		if err := d.write(); err != nil {
			return err
		}
	}
	for i := range b.recs {
		r := &b.recs[i]
		if d := b.runOf(r); d != nil {
			d.each(r.offset, r.offset+r.length, func(p []byte) { r.crc = crc32.Update(r.crc, castagnoli, p) })
			binary.LittleEndian.PutUint32(b.meta[r.body+16:], r.crc)
		}
	}
	return nil
}

var errBroken = errors.New("the commit before could not be written to it")

// runOf gives where the batch has the bytes of a record that is in a run; nil
// when there are none.
func (b *batch) runOf(r *takenRecord) *runData {
	for _, d := range b.runs {
		if r.inRun && d.run.st == r.st && d.run.start == r.start && d.run.generation == r.generation {
			return d
		}
	}
	return nil
}

// toLog moves what a batch has for runs to where it goes into the log, and
// ends these runs, and those that began behind them: the batch being filled may
// have something for both. What their files have of it does not count.
func (s *Store) toLog(b *batch) {
	mem := make([]byte, blockBytes+batchHeader, len(b.mem)+b.aside+len(b.meta)+blockBytes)
	meta, rest := make([]byte, 0, len(b.meta)), b.meta
	for i := range b.recs {
		r := &b.recs[i]
		var told logRecord
		told, rest, _ = parseRecord(rest) // with name and keys
		at := len(mem) - blockBytes
		if d := b.runOf(r); d != nil {
			d.each(r.offset, r.offset+r.length, func(p []byte) { mem = append(mem, p...) })
		} else if r.inline() {
			mem = append(mem, b.mem[blockBytes+r.data:][:r.length]...)
		}
		r.inRun, told.inRun, r.data = false, false, at
		from := len(meta)
		meta = append(appendRecord(meta, &told), told.keys...)
		binary.LittleEndian.PutUint32(meta[from+32:], uint32(len(told.keys)/keyFixed))
	}
	b.mem, b.meta = mem, meta
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range b.runs {
		d.run.broken = true
		if next := d.run.st.run; next != nil {
			next.broken = true
		}
		s.endRun(b, d.run.st)
		s.doomedRuns = append(s.doomedRuns, d.run)
	}
	s.giveBack(b)
}

// openRun opens the file of a run. One that is there has nothing that counts:
// a commit that failed, or a crash, left it.
func (s *Store) openRun(r *run) error {
	if r.file != nil {
		return nil
	}
	name := s.chunkFile(r.st.name, r.generation, r.start)
	dir := path.Dir(name)
	if err := s.o.FS.MkdirAll(dir); err != nil {
		return err
	}
	file, err := s.o.FS.OpenFile(name)
	if err != nil {
		return err
	}
	for _, d := range []string{dir, path.Dir(dir)} {
		if err := s.o.FS.SyncDir(d); err != nil {
			file.Close()
			return err
		}
	}
	r.file, r.out = file, vfs.NewDirect(s.o.FS, name, file)
	return nil
}

// doomRuns ends the runs of the streams of a batch which failed: where they
// end has changed. The caller holds mu.
func (s *Store) doomRuns(b *batch) {
	for i := range b.recs {
		s.endRun(b, b.recs[i].st)
	}
	s.giveBack(b)
	s.doomedRuns = append(s.doomedRuns, b.ended...)
	b.ended = nil
}

// dropDoomedRuns takes away what commits that failed left in files. Before the
// log is cut off behind the last commit that counts, a crash could make one of
// them count.
func (s *Store) dropDoomedRuns() {
	for _, r := range s.doomedRuns {
		switch {
		case r.file == nil: // nothing was written to it, or it was here before
		case r.kept == 0:
			s.o.FS.Remove(s.chunkFile(r.st.name, r.generation, r.start))
		default:
			r.file.Truncate(r.kept) // the fold does it where this fails
		}
		r.close()
	}
	s.doomedRuns = nil
}
