package streams

import (
	"errors"
	"hash/crc32"
	"io/fs"
	"path"

	"weir/internal/vfs"
)

// A chunkWriter appends to the chunk files of one stream.
type chunkWriter struct {
	f          *folder
	st         *Stream
	generation uint64
	folded     fold
	cur        chunk // the last chunk
	started    bool  // there is a last chunk
	dirty      bool  // cur changed and is not in changed
	file       vfs.File
	out        *vfs.Sequential // writes to file
	changed    []chunk
}

// record adds the bytes of a record where it lies, in the log or in uploads/.
func (w *chunkWriter) record(r *foldRecord) error {
	end := r.offset + r.length
	if end < w.folded.length || end == w.folded.length && r.length > 0 {
		return nil
	}
	w.folded.length = end
	w.folded.records += int64(r.appends)
	switch {
	case r.upload != nil: // its file is whole, whatever the batch lost
		return w.upload(r)
	case r.damaged || r.length == 0:
		return nil
	}
	if !w.started || w.cur.sealed || w.cur.offset+w.cur.length != r.offset {
		if err := w.begin(r.offset); err != nil {
			return err
		}
	}
	if err := w.copy(int64(r.pos), r.length); err != nil {
		return err
	}
	w.cur.records += int64(r.appends)
	w.dirty = true
	if w.cur.length >= w.f.s.o.ChunkBytes {
		return w.seal()
	}
	return nil
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

// close gives up a file that a failure left open.
func (w *chunkWriter) close() {
	if w.out != nil {
		w.out.Close()
	}
	if w.file != nil {
		w.file.Close()
	}
}

// copy moves bytes of the segment to the end of the last chunk.
func (w *chunkWriter) copy(pos, n int64) error {
	if w.file == nil {
		if err := w.openFile(); err != nil {
			return err
		}
	}
	for n > 0 {
		part, err := w.out.Next(n)
		if err != nil {
			return err
		}
		if _, err := w.f.seg.file.ReadAt(part, pos); err != nil {
			return err
		}
		w.out.Advance(len(part))
		w.cur.crc = crc32.Update(w.cur.crc, castagnoli, part)
		w.cur.length += int64(len(part))
		w.f.bytes += int64(len(part))
		pos += int64(len(part))
		n -= int64(len(part))
	}
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
	w.file, w.out = file, vfs.NewSequential(s.o.FS, name, file, w.cur.length, w.f.piece)
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

// upload moves the file of an upload to its place among the chunks.
func (w *chunkWriter) upload(r *foldRecord) error {
	if err := w.begin(r.offset); err != nil {
		return err
	}
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
	if err != nil {
		return err
	}
	s.handles.forget(from)
	w.cur = chunk{offset: r.offset, length: r.length, records: int64(r.appends), crc: r.upload.crc, sha: &r.upload.sha, sealed: true}
	w.dirty = true
	return w.end()
}
