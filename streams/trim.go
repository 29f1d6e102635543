package streams

import (
	"context"

	"weir/internal/vfs"
)

// A Cut says where a stream is to begin.
type Cut struct {
	Stream     *Stream
	Generation uint64
	// Before is the offset of the first byte that stays; it is moved back to
	// Folded, and to before a file that commits write to.
	Before int64
	// Seal ends the last chunk file: what comes goes to another one, so that
	// the file can be given up before it is full.
	Seal bool
}

// A trimming is a call of Trim on its way to the keeper.
type trimming struct {
	cuts []Cut
	done chan error
}

// Trim gives up the bytes before each cut, in one durable change for all of
// them: a crash keeps all or none. Offsets mean what they meant, and lengths
// stay; reads before the beginning give ErrTrimmed. The space of the chunk
// files that lie before it is given back, at the latest after the next start.
// Keys are not forgotten. A stream that was reset meanwhile, or begins there
// already, is left as it is. When the context ends first, the outcome is open.
func (s *Store) Trim(ctx context.Context, cuts []Cut) error {
	t := &trimming{cuts: cuts, done: make(chan error, 1)}
	select {
	case s.trims <- t:
	case <-s.stop:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-t.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A cutting is what a trim does to one stream.
type cutting struct {
	st     *Stream
	entry  entry
	before int64    // the beginning until now
	files  []string // that go
	seals  bool
}

// trim does what a call of Trim asks for. The keeper alone may call it, for it
// writes the manifest.
func (s *Store) trim(t *trimming) {
	t.done <- s.withRoom(func() error { return s.cutAll(merged(t.cuts)) })
}

func (s *Store) cutAll(cuts []Cut) error {
	if err := s.settleManifest(); err != nil {
		return err
	}
	var list []cutting
	var entries []entry
	for _, cut := range cuts {
		c, ok := cut.plan()
		if ok && c.seals {
			last := &c.entry.chunks[0]
			if err := s.cutFile(s.chunkFile(c.st.name, c.entry.generation, last.offset), last.length); err != nil {
				return err
			}
		}
		if ok {
			list, entries = append(list, c), append(entries, c.entry)
		}
	}
	if len(list) == 0 {
		return nil
	}
	state := s.state
	state.clean = cut{}
	err := s.writeManifest(state, entries)
	if err == nil {
		s.finishTrims(list)
	}
	return err
}

// merged makes one cut of those of the same stream.
func merged(cuts []Cut) []Cut {
	type one struct {
		st         *Stream
		generation uint64
	}
	at := make(map[one]int, len(cuts))
	list := make([]Cut, 0, len(cuts))
	for _, c := range cuts {
		if i, again := at[one{c.Stream, c.Generation}]; again {
			list[i].Before, list[i].Seal = max(list[i].Before, c.Before), list[i].Seal || c.Seal
			continue
		}
		at[one{c.Stream, c.Generation}] = len(list)
		list = append(list, c)
	}
	return list
}

// plan says what the manifest will have of the stream; false is no change.
func (c Cut) plan() (cutting, bool) {
	st := c.Stream
	st.mu.Lock()
	defer st.mu.Unlock()
	begin := min(c.Before, st.folded.length)
	grows := false // the last one
	for i := range st.chunks {
		at := &st.chunks[i]
		if grows = st.grows(at.offset); grows && begin >= at.offset+at.length {
			begin = at.offset // its file is needed still
		}
	}
	if c.Generation != st.durable.generation || !st.listed {
		return cutting{}, false
	}
	x := cutting{st: st, before: st.start, entry: entry{id: st.id, generation: st.durable.generation, length: st.folded.length,
		records: st.folded.records, modified: st.modified, begin: max(begin, st.start), drop: st.dropping}}
	kept, gone := cutChunks(st.chunks, x.entry.begin)
	for i := range gone {
		x.files = append(x.files, st.chunkFile(gone[i].offset))
		x.entry.drop = true
	}
	if n := len(kept); c.Seal && !grows && n > 0 && !kept[n-1].sealed {
		last := kept[n-1]
		last.sealed, x.seals = true, true
		x.entry.chunks = []chunk{last}
	}
	return x, x.seals || x.entry.begin > st.start
}

// finishTrims makes a change that is durable count, and deletes the files. The
// manifest says that they may be left, until the next change of the stream: by
// then they must be gone for good.
func (s *Store) finishTrims(list []cutting) {
	dirs := map[string]*Stream{}
	for i := range list {
		if c := &list[i]; s.finishTrim(c) && len(c.files) > 0 {
			dirs[s.chunkDir(c.st.name)] = c.st
		}
	}
	var err error
	if len(dirs) > fewFiles {
		err = s.o.FS.SyncAll(s.dir)
	}
	for dir, st := range dirs {
		if len(dirs) <= fewFiles {
			err = s.o.FS.SyncDir(dir)
		}
		if err != nil {
			st.leave()
		}
	}
}

// leave notes that files may be left that no longer count.
func (st *Stream) leave() {
	st.mu.Lock()
	st.dropping = true
	st.mu.Unlock()
}

// finishTrim is finishTrims for one stream; false says that a file is left.
func (s *Store) finishTrim(c *cutting) (gone bool) {
	st := c.st
	st.mu.Lock()
	if st.durable.generation == c.entry.generation {
		st.start = c.entry.begin
		st.chunks, _ = cutChunks(mergeChunks(st.chunks, c.entry.chunks), st.start)
	}
	st.mu.Unlock()
	s.count.trimmed.Add(c.entry.begin - c.before)
	gone = true
	for _, name := range c.files {
		if err := s.handles.remove(name); err != nil {
			gone = false
			st.leave()
			s.o.Log.Error("streams: a trimmed file could not be deleted; the next start tries again", "file", name, "error", err)
		}
	}
	return gone
}

// firstFile gives the offset before which no chunk file of the present
// generation counts; 0 where that is not certain.
func (st *Stream) firstFile() int64 {
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case len(st.chunks) == 0:
		return st.firstGrowing(st.start)
	case st.chunks[0].offset <= st.start:
		return st.firstGrowing(st.chunks[0].offset)
	}
	return 0 // a hole: a file that damage made unknown may be there
}

// chunkTime gives when the last append to a chunk was made, or a later time:
// where the manifest does not say, the time of its file, and where the file
// system does not either, that of the next chunk or of the stream.
func (st *Stream) chunkTime(chunks []chunk, i int, modified int64) int64 {
	c := &chunks[i]
	if c.until != 0 {
		return c.until
	}
	name := st.store.chunkFile(st.name, st.State().Generation, c.offset)
	if t, ok := vfs.Modified(st.store.o.FS, name); ok {
		return t.UnixNano()
	}
	if i+1 < len(chunks) && chunks[i+1].since != 0 {
		return chunks[i+1].since
	}
	return modified
}
