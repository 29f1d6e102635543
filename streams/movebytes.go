package streams

import (
	"cmp"
	"errors"
	"slices"

	"weir/internal/vfs"
)

const (
	// togetherMost is up to how many streams a fold writes side by side.
	togetherMost = 32
	// The memory that they write from: of few more, so that the disk is waited
	// for seldom, but not so much that a commit waits long behind it.
	fewPieces = 4
	fewPiece  = 1 << 20
	manyPiece = 256 << 10
	// leastJoin is the least for which joining checksums is cheaper than
	// making one more.
	leastJoin = 16 << 10
)

// errCrowded: too many streams are in a segment to write them side by side.
var errCrowded = errors.New("streams: too many streams are in a segment")

// move brings the bytes of the segment to chunk files.
func (f *folder) move() error {
	if !f.s.crowded {
		err := f.together()
		if !errors.Is(err, errCrowded) {
			return err
		}
		if f.keys != nil {
			f.keys.close()
		}
		f.keys, f.keyTime, f.bad, f.gone, f.bytes = nil, 0, nil, nil, 0
	}
	return f.apart()
}

// scan reads the segment's batches, checks them, and calls each for their
// records, in order; of what is damaged it gives no data.
func (f *folder) scan(each func(r *foldRecord, data foldData) error) error {
	sc := scanner{file: f.seg.file, size: f.seg.size, generation: f.seg.generation, salt: f.seg.salt, limit: f.seg.pos}
	_, bad, err := sc.scan(func(pos int64, b batchInfo, buf []byte) error {
		if f.keyTime == 0 {
			f.keyTime = b.time
		}
		f.turns.take(len(buf))
		meta := buf[batchHeader+b.dataLen : b.size()]
		return parseRecords(meta, b, func(r logRecord) error {
			if err := f.keep(&r); err != nil {
				return err
			}
			rec := foldRecord{
				upload: r.upload, offset: r.offset, length: r.length, generation: r.generation, time: b.time,
				pos: uint32(pos) + uint32(r.data), stream: r.stream, appends: r.appends, damaged: b.damaged,
			}
			var data foldData
			if r.inRun {
				rec.run = &runPart{start: r.start, offset: r.offset, length: r.length, appends: int64(r.appends), crc: r.crc}
			} else if r.upload == nil && !b.damaged {
				data.bytes = buf[r.data : r.data+int(r.length)]
				data.crc, data.known = b.dataCRC, r.length >= leastJoin && int(r.length) == b.dataLen
			}
			return each(&rec, data)
		})
	})
	f.bad = bad
	return err
}

// together moves the records in the order in which they lie, so that each is
// read once.
func (f *folder) together() error {
	writers := map[uint32]*chunkWriter{}
	defer func() {
		for _, w := range writers {
			w.close()
		}
	}()
	err := f.scan(func(r *foldRecord, data foldData) error {
		w := writers[r.stream]
		if w == nil {
			var err error
			if w, err = f.oneMore(len(writers), r.stream); err != nil {
				return err
			}
			writers[r.stream] = w
		}
		return w.record(r, data)
	})
	if err != nil {
		return err
	}
	order := make([]*chunkWriter, 0, len(writers))
	for _, w := range writers {
		order = append(order, w)
	}
	slices.SortFunc(order, func(a, b *chunkWriter) int { return cmp.Compare(a.st.id, b.st.id) })
	for _, w := range order {
		if err := w.done(); err != nil {
			return err
		}
	}
	return nil
}

// oneMore makes a writer beside those that there are.
func (f *folder) oneMore(there int, id uint32) (*chunkWriter, error) {
	switch {
	case there >= f.s.o.together:
		return nil, errCrowded
	case there >= fewPieces:
		return f.newWriter(id, vfs.NewPiece(manyPiece))
	}
	return f.newWriter(id, vfs.NewPiece(fewPiece))
}

// apart moves the records of one stream after the other: first all are found,
// then read once more where they lie.
func (f *folder) apart() error {
	var recs []foldRecord
	err := f.scan(func(r *foldRecord, _ foldData) error {
		recs = append(recs, *r)
		return nil
	})
	if err != nil {
		return err
	}
	order := make([]uint64, len(recs)) // stream and place in recs
	for i := range recs {
		order[i] = uint64(recs[i].stream)<<32 | uint64(i)
	}
	slices.Sort(order)
	piece := vfs.NewPiece(fewPiece)
	streams := 0
	for i := 0; i < len(order); streams++ {
		n := i + 1
		for n < len(order) && order[n]>>32 == order[i]>>32 {
			n++
		}
		if err := f.stream(recs, order[i:n], piece); err != nil {
			return err
		}
		i = n
	}
	f.s.crowded = streams > f.s.o.together
	return nil
}

// stream moves the records of one stream; the low halves of order are their
// places in recs.
func (f *folder) stream(recs []foldRecord, order []uint64, piece *vfs.Piece) error {
	w, err := f.newWriter(uint32(order[0]>>32), piece)
	if err != nil {
		return err
	}
	defer w.close()
	for _, at := range order {
		r := &recs[uint32(at)]
		if err := w.record(r, foldData{}); err != nil {
			return err
		}
		f.turns.take(int(r.length))
	}
	return w.done()
}
