package streams

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"weir/internal/vfs"
)

// fewFiles is how many chunk files a fold syncs one by one; for more it asks
// the file system to sync all.
const fewFiles = 32

// A folder moves the bytes of one segment to chunk files.
type folder struct {
	s       *Store
	seg     *segment
	keys    *keyWriter // nil until there are keys
	keyTime int64
	bad     []badRange
	entries []entry
	moved   []*Stream  // entries[i] is of moved[i]
	open    []vfs.File // chunk files to sync
	dirs    map[string]bool
	gone    []uint64 // uploads of a generation that is gone
	bytes   int64
	turns   turns
}

// foldOldest folds the oldest full segment and recycles it. Until the
// manifest has the change, nothing of it counts, and doing it again writes
// the same bytes to the same places.
func (s *Store) foldOldest(seg *segment) error {
	if err := s.settleManifest(); err != nil {
		return err
	}
	if err := s.roomToFold(seg); err != nil {
		return err
	}
	f := &folder{s: s, seg: seg, dirs: map[string]bool{}, turns: turns{s: s, began: time.Now()}}
	defer f.close()
	if err := f.move(); err != nil {
		return fmt.Errorf("fold segment %d: %w", seg.generation, noSpace(err))
	}
	if err := f.setAside(); err != nil {
		return err
	}
	if err := f.sync(); err != nil {
		return fmt.Errorf("fold segment %d: %w", seg.generation, noSpace(err))
	}
	state := s.state
	state.folded, state.clean = seg.generation, cut{}
	if f.keys != nil {
		var err error
		if state.keyFiles, err = f.keys.done(); err != nil {
			return err
		}
	}
	if err := s.writeManifest(state, f.entries); err != nil {
		return err
	}
	f.finish()
	return nil
}

// roomToFold refuses a fold that could fill the disk to the last byte: what is in
// the segment becomes chunk files, and keys that take up to half more than in the
// log. A trim has to write to the manifest yet, or nothing would give room again.
func (s *Store) roomToFold(seg *segment) error {
	need := seg.pos + seg.pos/2 + s.o.SegmentBytes/16 + 3*s.manifest.pos
	if u, err := s.o.FS.Usage(s.dir); err == nil && u.Free < need {
		return fmt.Errorf("fold segment %d: %w: it may take %d bytes, %d are free", seg.generation, ErrNoSpace, need, u.Free)
	}
	return nil
}

// keep writes the keys of a record.
func (f *folder) keep(r *logRecord) (err error) {
	if len(r.keys) == 0 {
		return nil
	}
	if f.keys == nil {
		if f.keys, err = f.s.newKeyWriter(f.s.state.keyFiles, f.keyTime); err != nil {
			return err
		}
	}
	return f.keys.add(r)
}

// setAside keeps what is damaged in the segment.
func (f *folder) setAside() error {
	for _, b := range f.bad {
		d := damage{f.seg.name, b.from, b.to, "batches of the log are damaged"}
		f.s.o.Log.Error("streams: damage", "file", d.name, "from", d.from, "to", d.to, "what", d.what)
		if err := f.s.quarantine(d); err != nil {
			return err
		}
	}
	return nil
}

// sync makes the chunk files and their names durable.
func (f *folder) sync() error {
	if len(f.open) > fewFiles {
		return f.s.o.FS.SyncAll(f.s.dir)
	}
	var errs []error
	for _, file := range f.open {
		errs = append(errs, file.Datasync())
	}
	for dir := range f.dirs {
		errs = append(errs, f.s.o.FS.SyncDir(dir))
	}
	return errors.Join(errs...)
}

func (f *folder) close() {
	if f.keys != nil {
		f.keys.close()
	}
	for _, file := range f.open {
		file.Close()
	}
}

// finish makes the streams read from the chunk files, and gives the segment back.
func (f *folder) finish() {
	for i, st := range f.moved {
		e := &f.entries[i]
		st.mu.Lock()
		st.listed = true
		if st.durable.generation == e.generation {
			st.folded = fold{e.length, e.records}
			st.chunks = mergeChunks(st.chunks, e.chunks)
			st.unlog(uint32(f.seg.generation))
		}
		st.mu.Unlock()
		if e.drop {
			f.s.dropOld(st, e.generation)
		}
	}
	for _, id := range f.gone {
		f.s.o.FS.Remove(f.s.uploadFile(id))
	}
	f.s.log.recycle(f.seg)
	f.s.count.folded.Add(f.bytes)
}

// unlog forgets what the log has up to a segment. The caller holds mu.
func (st *Stream) unlog(segment uint32) {
	st.extents = after(st.extents, segment, func(e *extent) uint32 { return e.segment })
	st.uploads = after(st.uploads, segment, func(u *logUpload) uint32 { return u.segment })
	st.runs = after(st.runs, segment, func(p *runPart) uint32 { return p.segment })
}

// after gives a copy of what lies in later segments than the given one.
func after[T any](list []T, segment uint32, of func(*T) uint32) []T {
	n := 0
	for n < len(list) && of(&list[n]) <= segment {
		n++
	}
	return append([]T(nil), list[n:]...)
}

// dropOld deletes the chunk files that the manifest no longer has: of
// generations before the given one, and of what was trimmed of it.
func (s *Store) dropOld(st *Stream, generation uint64) {
	first := st.firstFile()
	dir := s.chunkDir(st.name)
	names, err := s.o.FS.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	removed := false
	for _, name := range names {
		if g, offset, ok := parseChunkName(name); ok && (g < generation || g == generation && offset < first) {
			err = errors.Join(err, s.handles.remove(path.Join(dir, name)))
			removed = true
		}
	}
	if removed {
		err = errors.Join(err, s.o.FS.SyncDir(dir))
	}
	st.mu.Lock()
	if st.durable.generation == generation && err == nil {
		st.dropping = false
	}
	st.mu.Unlock()
}
