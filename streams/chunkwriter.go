package streams

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path"

	"weir/internal/vfs"
)

// A foldRecord is a record of the segment that is being folded. There may be
// hundreds of thousands, so it is small.
type foldRecord struct {
	upload     *upload
	run        *runPart
	offset     int64
	length     int64
	generation uint64
	time       int64  // of its batch, in ns
	pos        uint32 // of its bytes in the segment
	stream     uint32
	appends    uint32
	damaged    bool
}

// foldData is the bytes of a record, where they were read already.
type foldData struct {
	bytes []byte
	crc   uint32
	known bool // crc is known
}

// A chunkWriter appends to the chunk files of one stream.
type chunkWriter struct {
	f          *folder
	st         *Stream
	entry      entry // what the manifest will say
	piece      *vfs.Piece
	generation uint64
	folded     fold
	cur        chunk // the last chunk
	started    bool  // there is a last chunk
	dirty      bool  // cur changed and is not in changed
	file       vfs.File
	out        *vfs.Sequential // writes to file
	changed    []chunk
}

// newWriter begins to write what a segment has of a stream, from a piece of
// memory that is the writer's until it is closed.
func (f *folder) newWriter(id uint32, piece *vfs.Piece) (*chunkWriter, error) {
	st := f.s.byNumber(id)
	if st == nil {
		return nil, fmt.Errorf("stream %d is not known", id)
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	w := &chunkWriter{f: f, st: st, piece: piece, generation: st.durable.generation, folded: st.folded}
	if n := len(st.chunks); n > 0 {
		w.cur = st.chunks[n-1]
		w.started = true
	}
	w.entry = entry{id: st.id, named: !st.listed, name: st.name, label: st.label, generation: w.generation, modified: st.modified, begin: st.start, drop: st.dropping}
	return w, nil
}

// done ends the writing of a stream.
func (w *chunkWriter) done() error {
	if err := w.end(); err != nil {
		return w.fault(err)
	}
	w.entry.length, w.entry.records, w.entry.chunks = w.folded.length, w.folded.records, w.changed
	w.f.entries = append(w.f.entries, w.entry)
	w.f.moved = append(w.f.moved, w.st)
	return nil
}

func (w *chunkWriter) fault(err error) error { return fmt.Errorf("stream %q: %w", w.st.name, err) }

// record adds the bytes of a record: those that are given, or else those that
// lie in the log or in uploads/.
func (w *chunkWriter) record(r *foldRecord, data foldData) error {
	if r.generation < w.generation {
		if r.upload != nil {
			w.f.gone = append(w.f.gone, r.upload.id)
		}
		return nil
	}
	if r.generation > w.generation {
		return w.fault(fmt.Errorf("generation %d is not known", r.generation))
	}
	if err := w.add(r, data); err != nil {
		return w.fault(err)
	}
	return nil
}

// add is record for the present generation.
func (w *chunkWriter) add(r *foldRecord, data foldData) error {
	end := r.offset + r.length
	if end < w.folded.length || end == w.folded.length && r.length > 0 {
		return nil
	}
	w.folded.length = end
	w.folded.records += int64(r.appends)
	switch {
	case r.length == 0:
		if r.upload != nil { // a weir of before made a file of no bytes
			w.f.gone = append(w.f.gone, r.upload.id)
		}
		return nil
	case r.upload != nil: // its file is whole, whatever the batch lost
		return w.upload(r)
	case r.run != nil: // so are its bytes
		return w.adopt(r)
	case r.damaged:
		return nil
	}
	if !w.started || w.cur.sealed || w.cur.offset+w.cur.length != r.offset || w.cur.length >= w.f.s.o.ChunkBytes {
		if err := w.begin(r.offset); err != nil {
			return err
		}
	}
	if err := w.copy(r, data); err != nil {
		return err
	}
	w.count(r)
	if w.cur.length >= w.f.s.o.ChunkBytes {
		return w.seal()
	}
	return nil
}

// count notes that the last chunk has the appends of a record.
func (w *chunkWriter) count(r *foldRecord) {
	if w.cur.records == 0 {
		w.cur.since = r.time
	}
	w.cur.until = max(w.cur.until, r.time)
	w.cur.records += int64(r.appends)
	w.dirty = true
}

// begin starts a chunk at an offset.
func (w *chunkWriter) begin(offset int64) error {
	if err := w.seal(); err != nil {
		return err
	}
	w.cur, w.started = chunk{offset: offset}, true
	return nil
}

// seal ends the last chunk for good.
func (w *chunkWriter) seal() error {
	if w.started && !w.cur.sealed {
		if err := w.cutClosed(); err != nil {
			return err
		}
		w.cur.sealed, w.dirty = true, true
	}
	return w.end()
}

// end writes out what is held back, and closes the file.
func (w *chunkWriter) end() error {
	if w.dirty {
		w.changed = append(w.changed, w.cur)
		w.dirty = false
	}
	if w.file == nil {
		return nil
	}
	if err := w.out.Close(); err != nil {
		w.out = nil
		return err
	}
	file := w.file
	w.file, w.out = nil, nil
	if err := cutTo(file, w.cur.length); err != nil {
		return errors.Join(err, file.Close())
	}
	if len(w.f.open) <= fewFiles {
		w.f.open = append(w.f.open, file)
		return nil
	}
	return file.Close()
}

// cutTo cuts off what a fold that did not end wrote beyond the bytes that count.
func cutTo(file vfs.File, length int64) error {
	size, err := file.Size()
	if err == nil && size > length {
		err = file.Truncate(length)
	}
	return err
}

// cutFile cuts off the same of a chunk file that is not open, durably: so that
// a file ends where its chunk does before that is sealed. One that has that end
// is synced all the same, since a call that failed may have cut it off. One that
// is missing or too short is for Check to tell.
func (s *Store) cutFile(name string, length int64) error {
	if _, err := s.o.FS.Size(name); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	file, err := s.o.FS.OpenFile(name)
	if err != nil {
		return err
	}
	if err = cutTo(file, length); err == nil {
		err = file.Datasync()
	}
	return errors.Join(err, file.Close())
}

// close gives up a file that a failure left open.
func (w *chunkWriter) close() {
	if w.out != nil {
		w.out.Close()
	}
	if w.file != nil {
		w.file.Close()
	}
}

// copy moves the bytes of a record to the end of the last chunk.
func (w *chunkWriter) copy(r *foldRecord, data foldData) error {
	if w.file == nil {
		if err := w.openFile(); err != nil {
			return err
		}
	}
	if data.known {
		w.cur.crc = joinCRC(w.cur.crc, data.crc, r.length)
	}
	for at := int64(0); at < r.length; {
		part, err := w.out.Next(r.length - at)
		if err != nil {
			return err
		}
		if data.bytes != nil {
			copy(part, data.bytes[at:])
		} else if _, err := w.f.seg.file.ReadAt(part, int64(r.pos)+at); err != nil {
			return err
		}
		w.out.Advance(len(part))
		if !data.known {
			w.cur.crc = crc32.Update(w.cur.crc, castagnoli, part)
		}
		at += int64(len(part))
	}
	w.cur.length += r.length
	w.f.bytes += r.length
	return nil
}

// openFile opens the last chunk's file, whose bytes up to now are there. A
// fresh one is not emptied: when a fold is done again after its change of the
// manifest failed, one copy may say already that the file's bytes count.
func (w *chunkWriter) openFile() error {
	s := w.f.s
	if w.cur.length > 0 {
		if err := w.sealShort(); err != nil {
			return err
		}
	}
	name := s.chunkFile(w.st.name, w.generation, w.cur.offset)
	if w.cur.length == 0 {
		if err := w.f.makeDir(path.Dir(name)); err != nil {
			return err
		}
	}
	file, err := s.o.FS.OpenFile(name)
	if err != nil {
		return err
	}
	w.file, w.out = file, vfs.NewSequential(s.o.FS, name, file, w.cur.length, w.piece)
	return nil
}

// sealShort begins another chunk where the last one's file has lost its end:
// to go on writing there would make zeros of what is lost.
func (w *chunkWriter) sealShort() error {
	s := w.f.s
	name := s.chunkFile(w.st.name, w.generation, w.cur.offset)
	size, err := s.o.FS.Size(name)
	if errors.Is(err, fs.ErrNotExist) {
		size, err = 0, nil
	}
	if err != nil || size >= w.cur.length {
		return err
	}
	s.o.Log.Error("streams: a chunk file is shorter than it was; its end is lost", "file", name, "size", size, "was", w.cur.length)
	s.noteDamage(name)
	return w.begin(w.cur.offset + w.cur.length)
}

// makeDir makes a stream's folder and notes what must be synced.
func (f *folder) makeDir(dir string) error {
	if f.dirs[dir] {
		return nil
	}
	f.dirs[dir] = true
	f.dirs[path.Dir(dir)] = true
	return f.s.o.FS.MkdirAll(dir)
}

// upload moves the file of an upload to its place among the chunks. One that is
// gone leaves a hole: else nothing would ever be folded again.
func (w *chunkWriter) upload(r *foldRecord) error {
	s := w.f.s
	from, to := s.uploadFile(r.upload.id), s.chunkFile(w.st.name, w.generation, r.offset)
	dir := path.Dir(to)
	if err := w.f.makeDir(dir); err != nil {
		return err
	}
	// No body may move to a folder that a power cut takes away.
	if err := s.o.FS.SyncDir(path.Dir(dir)); err != nil {
		return err
	}
	w.f.dirs[path.Dir(from)] = true
	err := s.o.FS.Rename(from, to)
	if errors.Is(err, fs.ErrNotExist) {
		_, err = s.o.FS.Size(to) // moved before a crash
	}
	if errors.Is(err, fs.ErrNotExist) {
		s.o.Log.Error("streams: the file of a large body is gone; its bytes are lost", "file", from, "stream", w.st.name, "offset", r.offset, "length", r.length)
		s.noteDamage(from)
		return nil
	}
	if err != nil {
		return err
	}
	if err := w.begin(r.offset); err != nil {
		return err
	}
	s.handles.forget(from)
	w.cur = chunk{offset: r.offset, length: r.length, records: int64(r.appends), since: r.time, until: r.time, crc: r.upload.crc, sha: &r.upload.sha, sealed: true}
	w.dirty = true
	return w.end()
}
