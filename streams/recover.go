package streams

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
)

// recover makes the store from what is there. All of it is synced once more,
// since a process that died may have left bytes that only memory holds, and
// what is answered from them must not go with the power.
func (s *Store) recover() error {
	l, err := s.load(s.o.FS.OpenFile)
	if err == nil {
		err = s.settleFound(l)
	}
	if err != nil {
		for _, g := range l.segs {
			g.file.Close()
		}
		return err
	}
	s.adopt(l)
	for _, st := range s.byID {
		if st != nil {
			st.tip, st.defined = st.durable, st.exists
		}
	}
	for st, generation := range l.drops {
		if st.durable.generation == generation {
			s.dropOld(st, generation)
		}
	}
	if len(l.damage) == 0 {
		s.dropStrays()
	}
	return s.recoverUploads(len(l.damage) > 0)
}

// dropStrays deletes files of runs whose first commit was cut off.
func (s *Store) dropStrays() {
	for _, st := range s.byID {
		if st != nil && len(st.extents)+len(st.runs) > 0 {
			s.o.FS.Remove(st.chunkFile(st.durable.length)) // no file that counts begins there
		}
	}
}

// settleFound syncs what counts and sets aside what is damaged.
func (s *Store) settleFound(l *loaded) error {
	for _, d := range l.damage {
		s.o.Log.Error("streams: damage", "file", d.name, "from", d.from, "to", d.to, "what", d.what)
		if err := s.quarantine(d); err != nil {
			s.o.Log.Error("streams: damaged bytes could not be copied", "error", err)
		}
	}
	s.recovery.Clean, s.recovery.CutBytes = l.clean, l.torn
	for _, g := range l.live {
		if err := g.file.Datasync(); err != nil {
			return err
		}
	}
	return s.manifest.resume(l.manifest)
}

// adopt makes the segments that were found the log's own. The next append
// begins a segment, whose header says up to where the last one counts.
func (s *Store) adopt(l *loaded) {
	isLive := map[*foundSegment]bool{}
	for _, g := range l.live {
		isLive[g] = true
		s.log.live[uint32(g.generation)] = &g.segment
		s.log.full = append(s.log.full, &g.segment)
		s.log.last = cut{g.generation, g.salt, g.pos}
	}
	s.log.next = max(s.log.last.generation, s.state.folded) + 1
	for _, g := range l.segs {
		s.log.fileNo = max(s.log.fileNo, g.number)
		if g.whole {
			s.log.next = max(s.log.next, g.generation+1)
		}
		if isLive[g] {
			continue
		}
		if g.size != s.o.SegmentBytes {
			g.file.Close() // its making was cut off, or the size was another one
			s.o.FS.Remove(g.name)
			continue
		}
		s.log.free = append(s.log.free, &g.segment)
	}
}

// quarantine copies a damaged range of a file, for people to look at.
func (s *Store) quarantine(d damage) error {
	if d.to <= d.from {
		s.noteDamage(d.what)
		return nil
	}
	f, err := s.o.FS.Open(d.name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	name := path.Join(s.dir, quarantineFolder, fmt.Sprintf("%s-%d-%d", path.Base(d.name), d.from, d.to))
	s.noteDamage(name)
	out, err := s.o.FS.Create(name)
	if err != nil {
		return err
	}
	defer out.Close()
	buf := make([]byte, 1<<20)
	for at := d.from; at < d.to; {
		n := readSome(f, buf[:min(int64(len(buf)), d.to-at)], at)
		if n == 0 {
			s.o.Log.Error("streams: damaged bytes cannot be read", "file", d.name, "from", at)
			break
		}
		if _, err := out.WriteAt(buf[:n], at-d.from); err != nil {
			return err
		}
		at += int64(n)
	}
	return errors.Join(out.Datasync(), s.o.FS.SyncDir(path.Dir(name)))
}

// noteDamage adds to what Stats tell of damage.
func (s *Store) noteDamage(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.recovery.QuarantinedFiles, what) {
		s.recovery.QuarantinedFiles = append(s.recovery.QuarantinedFiles, what)
	}
}

// recoverUploads deletes files of uploads that nothing refers to. Where the
// reference may be what was lost to damage, they are set aside.
func (s *Store) recoverUploads(damaged bool) error {
	wanted := map[string]bool{}
	for _, st := range s.byID {
		if st == nil {
			continue
		}
		for i := range st.uploads {
			wanted[path.Base(s.uploadFile(st.uploads[i].id))] = true
		}
	}
	names, err := s.o.FS.List(path.Join(s.dir, uploadsFolder))
	if err != nil {
		return err
	}
	for _, name := range names {
		if id, err := strconv.ParseUint(name, 16, 64); err == nil {
			s.uploadID.Store(max(s.uploadID.Load(), id))
			if wanted[name] {
				continue
			}
			if err := s.dropUpload(id, damaged); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// dropUpload deletes the file of an upload, or sets it aside.
func (s *Store) dropUpload(id uint64, aside bool) error {
	from := s.uploadFile(id)
	if !aside {
		return s.o.FS.Remove(from)
	}
	to := path.Join(s.dir, quarantineFolder, "upload-"+path.Base(from))
	s.o.Log.Error("streams: nothing refers to an upload, perhaps because of the damage", "file", from, "set_aside", to)
	s.noteDamage(to)
	if err := s.o.FS.Rename(from, to); err != nil {
		return err
	}
	return s.o.FS.SyncDir(path.Dir(to))
}
