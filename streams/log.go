package streams

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"path"
	"sync"
	"syscall"
	"time"

	"weir/internal/vfs"
)

// A segLog is the shared log. write and roll are called by the committer
// alone; mu guards what the keeper and readers share with it.
type segLog struct {
	fs   vfs.FS
	dir  string
	size int64
	age  time.Duration // from which a segment counts as full; 0 is no bound
	keep int64         // bytes of the disk that no new segment takes
	now  func() time.Time

	out  blockWriter // writes to cur
	last cut         // the end of the log: where the next segment says this one counts to
	next uint64      // the next generation
	cur  *segment    // nil makes the next write begin a segment

	mu     sync.Mutex
	live   map[uint32]*segment // by generation, full ones and the present one
	full   []*segment
	free   []*segment
	odd    []*segment // removed, perhaps still read
	fileNo int
}

// asideSegments bounds, in segments, what a segment says to be in chunk files:
// until it is folded, nothing of that can be trimmed.
const asideSegments = 4

// segmentRecords bounds the index of a segment in memory.
func (l *segLog) segmentRecords() int { return int(l.size / 128) }

// write commits a batch, which mem holds behind room for one block: when it
// returns nil, the batch is on stable storage. After an error the next write
// begins a new segment, which cuts this one where it was before.
// aside is how many bytes its records say to be in chunk files.
func (l *segLog) write(mem []byte, b batchInfo, aside int) (*segment, int64, error) {
	if l.cur == nil || l.old(l.cur) || l.cur.pos+b.size() > l.size-sectorBytes || l.cur.records > l.segmentRecords() || l.cur.aside >= asideSegments*l.size {
		if err := l.roll(); err != nil {
			return nil, 0, err
		}
	}
	s := l.cur
	b.generation, b.salt, b.seq = s.generation, s.salt, s.seq
	pos := s.pos
	putBatchHeader(mem[blockBytes:], b)
	err := l.out.write(mem, pos)
	if err == nil {
		err = s.file.Datasync()
	}
	if err != nil {
		l.retire()
		return nil, 0, fmt.Errorf("write to the log: %w", err)
	}
	s.pos = alignSector(pos + b.size())
	s.seq++
	s.records += b.records
	s.aside += int64(aside)
	l.last.pos = s.pos
	return s, pos, nil
}

// retire takes the present segment out of use; what is committed in it counts.
func (l *segLog) retire() {
	if l.cur == nil {
		return
	}
	l.mu.Lock()
	l.full = append(l.full, l.cur)
	l.mu.Unlock()
	l.cur = nil
}

// roll begins a segment, whose header says up to where the one before counts.
func (l *segLog) roll() error {
	l.retire()
	s, err := l.take()
	if err != nil {
		return err
	}
	var salt [8]byte
	rand.Read(salt[:])
	s.segHeader = segHeader{generation: l.next, salt: binary.LittleEndian.Uint64(salt[:]), prev: l.last, time: l.now().UnixNano()}
	l.next++
	l.out = blockWriter{file: s.file, size: l.size}
	err = l.out.begin(s.encode())
	if err == nil {
		err = s.file.Datasync()
	}
	if err != nil {
		l.giveBack(s)
		return fmt.Errorf("begin a log segment: %w", err)
	}
	s.pos, s.seq, s.records, s.aside = sectorBytes, 0, 0, 0
	l.last = cut{s.generation, s.salt, s.pos}
	l.cur = s
	l.mu.Lock()
	l.live[uint32(s.generation)] = s
	l.mu.Unlock()
	return nil
}

// take gives a segment file that nobody reads, a new one when there is none.
func (l *segLog) take() (*segment, error) {
	l.mu.Lock()
	for i, s := range l.free {
		if s.pins.Load() == 0 {
			l.free = append(l.free[:i], l.free[i+1:]...)
			l.mu.Unlock()
			return s, nil
		}
	}
	l.fileNo++
	no := l.fileNo
	l.mu.Unlock()
	return l.create(path.Join(l.dir, fmt.Sprintf("%08d.seg", no)))
}

// create makes a file of written zeros, so that later syncs need no journal. What
// is kept free on the disk is for folds and the manifest, which give room.
func (l *segLog) create(name string) (*segment, error) {
	if u, err := l.fs.Usage(l.dir); err == nil && u.Free < l.size+l.keep {
		return nil, fmt.Errorf("make a log segment: %w: it takes %d bytes, %d are free, %d are kept free", ErrNoSpace, l.size, u.Free, l.keep)
	}
	f, err := l.fs.Create(name)
	if err != nil {
		return nil, noSpace(fmt.Errorf("make a log segment: %w", err))
	}
	err = writeZeros(l.fs, name, f, l.size)
	if err == nil {
		err = f.Datasync()
	}
	if err == nil {
		err = l.fs.SyncDir(l.dir)
	}
	if err != nil {
		f.Close()
		l.fs.Remove(name)
		return nil, noSpace(fmt.Errorf("make a log segment: %w", err))
	}
	return &segment{file: f, name: name, size: l.size}, nil
}

// noSpace adds ErrNoSpace to an error of a full disk.
func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

func (l *segLog) giveBack(s *segment) {
	l.mu.Lock()
	l.free = append(l.free, s)
	l.mu.Unlock()
}

// pin gives a live segment to a reader, who must unpin it.
func (l *segLog) pin(generation uint32) *segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.live[generation]
	if s != nil {
		s.pins.Add(1)
	}
	return s
}

func (s *segment) unpin() { s.pins.Add(-1) }

// oldest gives the oldest full segment when more than keep are full, or when it
// is old.
func (l *segLog) oldest(keep int) *segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.full) == 0 || len(l.full) <= keep && !l.old(l.full[0]) {
		return nil
	}
	return l.full[0]
}

// old tells whether a segment was begun so long ago that it is to be folded.
func (l *segLog) old(s *segment) bool {
	return l.age > 0 && l.now().UnixNano()-s.time > int64(l.age)
}

// recycle makes a folded segment free.
func (l *segLog) recycle(s *segment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.live, uint32(s.generation))
	l.full = l.full[1:]
	if s.size == l.size {
		l.free = append(l.free, s)
		return
	}
	l.odd = append(l.odd, s) // of a store that had another SegmentBytes
	l.fs.Remove(s.name)
}

// spare makes a free segment when there is none.
func (l *segLog) spare() error {
	l.mu.Lock()
	for _, s := range l.free {
		if s.pins.Load() == 0 {
			l.mu.Unlock()
			return nil
		}
	}
	l.fileNo++
	no := l.fileNo
	l.mu.Unlock()
	s, err := l.create(path.Join(l.dir, fmt.Sprintf("%08d.seg", no)))
	if err == nil {
		l.giveBack(s)
	}
	return err
}

// shrink deletes a free segment for its space; false says that none can go. The
// last file stays, since an empty folder means that the log was lost.
func (l *segLog) shrink() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, s := range l.free {
		if s.pins.Load() != 0 || len(l.live)+len(l.free) < 2 {
			continue
		}
		if l.fs.Remove(s.name) != nil {
			return false
		}
		l.free = append(l.free[:i], l.free[i+1:]...)
		s.file.Close()
		return true
	}
	return false
}

func (l *segLog) counts() (full, all int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.full), len(l.live) + len(l.free)
}

func (l *segLog) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, s := range l.live {
		errs = append(errs, s.file.Close())
	}
	for _, s := range append(l.free, l.odd...) {
		errs = append(errs, s.file.Close())
	}
	return errors.Join(errs...)
}
