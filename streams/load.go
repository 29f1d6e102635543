package streams

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"weir/internal/vfs"
)

// A damage is a range of a file that is not as it was written.
type damage struct {
	name     string
	from, to int64
	what     string
}

// A loaded is what a folder holds, before anything is changed in it.
type loaded struct {
	manifest readManifest
	segs     []*foundSegment
	live     []*foundSegment // the segments to replay, oldest first
	damage   []damage
	torn     int64 // bytes of a commit that was cut off
	clean    bool
	drops    map[*Stream]uint64 // of whom older generations may be left, by the manifest
}

// load reads manifest, keys, and the segments of the log that are not folded,
// in order. It changes nothing on the disk.
func (s *Store) load(open func(string) (vfs.File, error)) (*loaded, error) {
	l := &loaded{drops: map[*Stream]uint64{}}
	if err := s.loadManifest(l); err != nil {
		return l, err
	}
	s.loadKeyFiles(l)
	var err error
	if l.segs, err = openSegments(s.o.FS, s.log.dir, open); err != nil {
		return l, err
	}
	var missing []uint64
	l.live, missing = chain(l.segs, s.state.folded)
	if err := s.checkManifest(l, missing); err != nil {
		return l, err
	}
	for _, g := range append(missing, s.missingEnd(l)...) {
		l.damage = append(l.damage, damage{name: s.log.dir, what: fmt.Sprintf("the segment of generation %d is missing", g)})
	}
	l.clean = true
	for i, g := range l.live {
		if err := s.replay(l, g, i == len(l.live)-1); err != nil {
			return l, fmt.Errorf("%s: %w", g.name, err)
		}
	}
	return l, nil
}

// checkManifest refuses a folder that had a manifest and has none: to go on
// would write over chunk files that are not known any more. Without a manifest
// there can be chunk files of the first fold, all of whose bytes are in the log.
func (s *Store) checkManifest(l *loaded, missing []uint64) error {
	if l.manifest.number != 0 || len(missing) == 0 && len(l.live) > 0 {
		return nil
	}
	names, err := s.o.FS.List(path.Join(s.dir, "chunks"))
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(names) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("read the manifest: no whole one in %s, but there are chunk files; restore the folder from a backup, or set it aside", s.manifest.dir)
}

// missingEnd gives the newest segment when the manifest knows it and it is
// not there. Without an orderly close only an empty folder gives it away.
func (s *Store) missingEnd(l *loaded) []uint64 {
	end := s.state.clean.generation
	if len(l.segs) == 0 && s.state.folded > 0 {
		end = max(end, s.state.folded+1)
	}
	if n := len(l.live); end <= s.state.folded || n > 0 && l.live[n-1].generation >= end {
		return nil
	}
	return []uint64{end}
}

func (s *Store) loadManifest(l *loaded) (err error) {
	if l.manifest, err = loadManifest(s.o.FS, s.manifest.dir); err != nil {
		return err
	}
	m := &l.manifest
	for i := range m.frames {
		for j := range m.frames[i].entries {
			e := &m.frames[i].entries[j]
			st := s.loadEntry(e)
			delete(l.drops, st)
			if e.drop {
				l.drops[st] = e.generation
			}
		}
	}
	m.frames = nil
	s.state = m.state
	for _, part := range m.damage {
		for kind := range manifestKinds {
			l.damage = append(l.damage, damage{manifestName(s.manifest.dir, m.number, kind), part.from, part.to, "neither copy of the manifest is whole here"})
		}
	}
	return nil
}

// loadEntry takes over what the manifest says of a stream.
func (s *Store) loadEntry(e *entry) *Stream {
	st := s.byNumber(e.id)
	if st == nil {
		if !e.named {
			e.name = lostName(e.id)
		}
		st = s.register(e.id, e.name, e.label)
		s.names.add(e.name)
	}
	if e.generation > st.durable.generation {
		st.begin(e.generation)
	}
	st.exists, st.listed, st.dropping = true, true, e.drop
	st.start = max(st.start, e.begin)
	st.chunks, _ = cutChunks(mergeChunks(st.chunks, e.chunks), st.start)
	st.durable.length, st.records, st.modified = e.length, e.records, e.modified
	st.folded = fold{e.length, e.records}
	return st
}

// replay applies the records of a segment.
func (s *Store) replay(l *loaded, g *foundSegment, last bool) error {
	limit := g.limit
	if last && s.state.clean.generation == g.generation {
		limit = s.state.clean.pos
	}
	sc := scanner{file: g.file, size: g.size, generation: g.generation, salt: g.salt, limit: limit}
	end, bad, err := sc.scan(func(pos int64, b batchInfo, buf []byte) error { return s.replayBatch(g, pos, b, buf) })
	if err != nil {
		return err
	}
	g.pos = end
	for _, b := range bad {
		l.damage = append(l.damage, damage{g.name, b.from, b.to, "batches of the log are damaged"})
	}
	if last {
		l.clean = s.state.clean.generation == g.generation && s.state.clean.pos == end
		l.torn = sc.torn(end)
	}
	return nil
}

func (s *Store) replayBatch(g *foundSegment, pos int64, b batchInfo, buf []byte) error {
	g.records += b.records
	s.lastTime = max(s.lastTime, b.time)
	return parseRecords(buf[batchHeader+b.dataLen:b.size()], b, func(r logRecord) error {
		st := s.byNumber(r.stream)
		if st == nil {
			if !r.define {
				r.name = lostName(r.stream)
			}
			st = s.register(r.stream, r.name, r.label)
		}
		if !st.exists {
			s.names.add(st.name)
		}
		st.apply(&r, g.generation, pos, b.time, b.damaged)
		eachKey(&r, func(id keyID, p keyPlace) { s.keys.put(id, p, b.time) })
		if r.upload != nil { // no number is used again while the log has it
			s.uploadID.Store(max(s.uploadID.Load(), r.upload.id))
		}
		s.recovery.Records += int64(r.appends)
		s.recovery.Bytes += r.length
		return nil
	})
}

// eachKey calls f for the keys of a record.
func eachKey(r *logRecord, f func(keyID, keyPlace)) {
	for k := r.keys; len(k) > 0; k = k[keyFixed:] {
		at := r.offset + int64(binary.LittleEndian.Uint32(k[16:]))
		f(keyID{r.stream, Key(k[:16])}, keyPlace{offset: at, generation: uint32(r.generation)})
	}
}

// lostName is for a stream whose definition is damaged.
func lostName(id uint32) string { return fmt.Sprintf("_lost.%d", id) }
