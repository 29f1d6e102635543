package streams

// adopt takes over bytes that a commit wrote to the file of a run. The chunk is
// sealed when something follows for another place: until then more of the same
// commit may come, which is in the file already.
func (w *chunkWriter) adopt(r *foldRecord) error {
	start := r.run.start
	goesOn := w.started && !w.cur.sealed && w.file == nil && w.cur.offset == start && w.cur.offset+w.cur.length == r.offset
	if !goesOn {
		if start != r.offset {
			return w.rescue(r)
		}
		if err := w.begin(r.offset); err != nil {
			return err
		}
	}
	w.cur.crc = joinCRC(w.cur.crc, r.run.crc, r.length)
	w.cur.length += r.length
	w.count(r)
	return nil
}

// rescue copies bytes out of the file of a run, when damage to the log took
// the records of what lies before them in that file. The file stays as it is:
// the run may go on.
func (w *chunkWriter) rescue(r *foldRecord) error {
	s := w.f.s
	if !w.started || w.cur.sealed || w.cur.offset+w.cur.length != r.offset {
		if err := w.end(); err != nil {
			return err
		}
		w.cur, w.started = chunk{offset: r.offset}, true
	}
	name := s.chunkFile(w.st.name, w.generation, r.run.start)
	bytes := make([]byte, r.length)
	if err := s.handles.readAt(name, bytes, r.offset-r.run.start); err != nil {
		s.o.Log.Error("streams: bytes of a chunk file cannot be read; they are lost", "file", name, "error", err)
		s.noteDamage(name)
		return nil
	}
	if err := w.copy(r, foldData{bytes: bytes, crc: r.run.crc, known: true}); err != nil {
		return err
	}
	w.count(r)
	return nil
}

// cutClosed cuts off what commits wrote to the last chunk's file beyond its
// end, before the chunk is sealed. All of them are done with it: the log has
// something for another place after it.
func (w *chunkWriter) cutClosed() error {
	if w.file != nil || w.cur.length == 0 {
		return nil
	}
	return w.f.s.cutFile(w.f.s.chunkFile(w.st.name, w.generation, w.cur.offset), w.cur.length)
}
