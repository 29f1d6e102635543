package streams

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strconv"
	"strings"

	"weir/internal/vfs"
)

// recover reads what is there: manifest, keys, and the log's segments that
// are not folded, in order. All of it is synced once more, since a process
// that died may have left bytes that only memory holds.
func (s *Store) recover() error {
	if err := s.recoverManifest(); err != nil {
		return err
	}
	segs, err := openSegments(s.o.FS, s.log.dir, s.o.SegmentBytes)
	for _, g := range segs {
		s.log.fileNo = max(s.log.fileNo, g.number)
	}
	if err != nil {
		closeSegments(segs)
		return err
	}
	live := chain(segs, s.state.folded)
	if err := s.replay(live); err != nil {
		closeSegments(segs)
		return err
	}
	s.adopt(segs, live)
	for _, st := range s.byID {
		if st != nil {
			st.tip, st.defined = st.durable, st.exists
		}
	}
	return s.recoverUploads()
}

func (s *Store) recoverManifest() error {
	m, err := loadManifest(s.o.FS, s.manifest.dir, s.recoverEntry)
	if err != nil {
		return err
	}
	s.state = m.state
	s.manifest.number = m.number
	if n := manifestNumbers(s.o.FS, s.manifest.dir); len(n) > 0 {
		s.manifest.number = max(m.number, n[len(n)-1])
	}
	if m.number == 0 {
		return nil
	}
	f, err := s.o.FS.OpenFile(s.manifest.name(m.number))
	if err != nil {
		return err
	}
	if err := errors.Join(f.Datasync(), s.o.FS.SyncDir(s.manifest.dir)); err != nil {
		return errors.Join(err, f.Close())
	}
	if m.number != s.manifest.number || m.end != m.size {
		f.Close() // what comes next begins a new manifest
	} else {
		s.manifest.file, s.manifest.base, s.manifest.pos = f, m.base, m.end
	}
	s.recovery.QuarantinedFiles = append(s.recovery.QuarantinedFiles, s.loadKeys(s.state.keyFiles)...)
	return nil
}

// recoverEntry takes over what the manifest says of a stream.
func (s *Store) recoverEntry(e *entry) {
	st := s.byNumber(e.id)
	if st == nil {
		st = s.register(e.id, e.name, e.label)
		s.names.add(e.name)
	}
	if e.generation > st.durable.generation {
		st.begin(e.generation)
	}
	st.exists, st.listed, st.dropping = true, true, e.drop
	st.chunks = mergeChunks(st.chunks, e.chunks)
	st.durable.length, st.records, st.modified = e.length, e.records, e.modified
	st.folded = fold{e.length, e.records}
}

// A foundSegment is a file of log/ as Open finds it.
type foundSegment struct {
	segment
	number int
	whole  bool  // the header is good
	limit  int64 // up to where its successor says it counts; 0 without one
}

func openSegments(fsys vfs.FS, dir string, size int64) ([]*foundSegment, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return nil, err
	}
	var segs []*foundSegment
	for _, name := range names {
		number, err := strconv.Atoi(strings.TrimSuffix(name, ".seg"))
		if err != nil || !strings.HasSuffix(name, ".seg") {
			continue
		}
		g := &foundSegment{number: number}
		g.name = path.Join(dir, name)
		if g.file, err = fsys.OpenFile(g.name); err != nil {
			return segs, err
		}
		segs = append(segs, g)
		n, err := g.file.Size()
		if err != nil {
			return segs, err
		}
		g.pos = n
		if g.segHeader, g.whole, err = readSegHeader(g.file, n); err != nil {
			return segs, fmt.Errorf("%s: %w", g.name, err)
		}
	}
	return segs, nil
}

func closeSegments(segs []*foundSegment) {
	for _, g := range segs {
		g.file.Close()
	}
}

// chain gives the segments after folded that count, oldest first: from the
// newest header, each names the one before it and up to where that counts.
func chain(segs []*foundSegment, folded uint64) []*foundSegment {
	byGeneration := map[uint64]*foundSegment{}
	var newest *foundSegment
	for _, g := range segs {
		if !g.whole || g.generation <= folded {
			continue
		}
		byGeneration[g.generation] = g
		if newest == nil || g.generation > newest.generation {
			newest = g
		}
	}
	var live []*foundSegment
	for g := newest; g != nil; {
		live = append(live, g)
		prev := byGeneration[g.prev.generation]
		if prev != nil {
			prev.limit = g.prev.pos
		}
		g = prev
	}
	sort.Slice(live, func(i, j int) bool { return live[i].generation < live[j].generation })
	return live
}

// replay applies the records of the segments.
func (s *Store) replay(live []*foundSegment) error {
	s.recovery.Clean = true
	for i, g := range live {
		size := g.pos
		limit := g.limit
		if i == len(live)-1 && s.state.clean.generation == g.generation {
			limit = s.state.clean.pos
		}
		if err := g.file.Datasync(); err != nil {
			return err
		}
		sc := scanner{file: g.file, size: size, generation: g.generation, salt: g.salt, limit: limit}
		end, bad, err := sc.scan(func(pos int64, b batchInfo, buf []byte) error { return s.replayBatch(g, pos, b, buf) })
		if err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
		g.pos = end
		for _, b := range bad {
			s.o.Log.Error("streams: damaged log", "segment", g.name, "from", b.from, "to", b.to)
			if err := s.quarantine(g.file, g.generation, b); err != nil {
				return err
			}
		}
		if i == len(live)-1 {
			s.recovery.Clean = s.state.clean.generation == g.generation && s.state.clean.pos == end
		}
	}
	return nil
}

func (s *Store) replayBatch(g *foundSegment, pos int64, b batchInfo, buf []byte) error {
	g.records += b.records
	meta := buf[batchHeader+b.dataLen : b.size()]
	return parseRecords(meta, b, func(r logRecord) error {
		st := s.byNumber(r.stream)
		if st == nil {
			name := r.name
			if !r.define {
				name = fmt.Sprintf("_lost.%d", r.stream) // its first batch is damaged
			}
			st = s.register(r.stream, name, r.label)
		}
		if !st.exists {
			s.names.add(st.name)
		}
		st.apply(&r, g.generation, pos, b.time, b.damaged)
		f := folder{}
		f.collectKeys(&r)
		for _, k := range f.keys {
			s.keys.put(k.id, k.place, b.time)
		}
		s.recovery.Records += int64(r.appends)
		s.recovery.Bytes += r.length
		s.lastTime = max(s.lastTime, b.time)
		return nil
	})
}

// adopt makes the segments that were found the log's own. The next append
// begins a segment, whose header says up to where the last one counts.
func (s *Store) adopt(segs, live []*foundSegment) {
	isLive := map[*foundSegment]bool{}
	for _, g := range live {
		isLive[g] = true
		s.log.live[uint32(g.generation)] = &g.segment
		s.log.full = append(s.log.full, &g.segment)
		s.log.last = cut{g.generation, g.salt, g.pos}
	}
	s.log.next = max(s.log.last.generation, s.state.folded) + 1
	for _, g := range segs {
		if g.whole {
			s.log.next = max(s.log.next, g.generation+1)
		}
		if isLive[g] {
			continue
		}
		if size, _ := g.file.Size(); size != s.o.SegmentBytes {
			g.file.Close() // its making was cut off, or the size was another one
			s.o.FS.Remove(g.name)
			continue
		}
		s.log.free = append(s.log.free, &g.segment)
	}
}

// quarantine copies a damaged range of a segment, for people to look at.
func (s *Store) quarantine(f vfs.File, generation uint64, b badRange) error {
	name := path.Join(s.dir, quarantineFolder, fmt.Sprintf("segment-%d-%d-%d", generation, b.from, b.to))
	s.recovery.QuarantinedFiles = append(s.recovery.QuarantinedFiles, name)
	out, err := s.o.FS.Create(name)
	if err != nil {
		return err
	}
	defer out.Close()
	buf := make([]byte, 1<<20)
	for at := b.from; at < b.to; {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), b.to-at)], at)
		if n == 0 {
			s.o.Log.Error("streams: quarantine is not whole", "file", name, "error", err)
			break
		}
		if _, err := out.WriteAt(buf[:n], at-b.from); err != nil {
			return err
		}
		at += int64(n)
	}
	return errors.Join(out.Datasync(), s.o.FS.SyncDir(path.Dir(name)))
}

// recoverUploads deletes files of uploads that were never referred to, and
// finishes what a fold began.
func (s *Store) recoverUploads() error {
	wanted := map[string]bool{}
	for _, st := range s.byID {
		if st == nil {
			continue
		}
		for i := range st.uploads {
			u := &st.uploads[i]
			wanted[path.Base(s.uploadFile(u.id))] = true
			s.uploadID.Store(max(s.uploadID.Load(), u.id))
		}
		if st.dropping && st.listed && len(st.extents) == 0 {
			s.dropOld(st, st.durable.generation)
		}
	}
	names, err := s.o.FS.List(path.Join(s.dir, uploadsFolder))
	if err != nil {
		return err
	}
	for _, name := range names {
		if id, err := strconv.ParseUint(name, 16, 64); err == nil {
			s.uploadID.Store(max(s.uploadID.Load(), id))
			if !wanted[name] {
				if err := s.o.FS.Remove(s.uploadFile(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return err
				}
			}
		}
	}
	return nil
}
