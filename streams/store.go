package streams

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"weir/internal/vfs"
)

// A Store keeps streams in one folder. All methods are safe for concurrent use.
type Store struct {
	o          Options
	dir        string
	lock       io.Closer
	batchBytes int // from which a batch takes no more

	// Order of locks: mu, Stream.mu, segLog.mu; reg and watch.mu are leaves.
	mu         sync.Mutex
	work       *sync.Cond
	filling    *batch
	syncing    *batch
	spare      *batch
	roomCh     chan struct{}
	runs       []*run       // those that batches are filled for
	pieces     []*vfs.Piece // spare memory for them
	order      uint32
	keys       *keyTable
	lastTime   int64
	failed     error
	retryAt    time.Time
	backoff    time.Duration
	closed     bool
	refused    int64
	duplicates int64

	reg    sync.RWMutex // guards byName, byID
	byName map[string]*Stream
	byID   []*Stream
	names  nameList

	log         *segLog
	handles     *handles
	manifest    manifestFile
	state       manifestState // of the manifest; the keeper's
	crowded     bool          // many streams were in the segment folded last; the keeper's
	free        atomic.Int64
	freeChecked int64
	uploadID    atomic.Uint64
	belts       chan *belt
	doomed      []uint64 // the committer's: uploads of batches that failed
	doomedRuns  []*run   // the committer's: of batches that failed
	runsAfter   int64    // the committer's: no run begins before
	recovery    Recovery
	count       counters
	timing      timing

	watch      watchers
	wake       chan struct{}
	trims      chan *trimming
	stop       chan struct{}
	kept       chan struct{}
	committed  chan struct{}
	folded     notifier
	foldFailed atomic.Pointer[string] // why the last fold failed; nil when it did not
	gone       atomic.Bool            // the files are closed
}

const (
	mib              = 1 << 20
	maxLabel         = 4096
	minSegment       = 64 << 10
	biggestBatch     = 8 * mib
	biggestSegment   = 1 << 30
	uploadsFolder    = "uploads"
	quarantineFolder = "quarantine"
)

func (o Options) withDefaults() (Options, error) {
	if o.FS == nil {
		o.FS = vfs.OS{}
	}
	def := func(p *int64, v int64) {
		if *p == 0 {
			*p = v
		}
	}
	if o.together == 0 {
		o.together = togetherMost
	}
	large, live, keys := int64(o.LargeBytes), int64(o.LiveSegments), int64(o.Keys)
	def(&o.SegmentBytes, 64*mib)
	def(&o.ChunkBytes, 64*mib)
	def(&o.MinFree, 64*mib)
	def(&live, 3)
	def(&keys, 1<<20)
	def(&large, min(mib, o.SegmentBytes/8))
	def((*int64)(&o.KeyAge), int64(24*time.Hour))
	o.LargeBytes, o.LiveSegments, o.Keys = int(large), int(live), int(keys)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Work == nil {
		o.Work = func(_ string, do func() error) error { return do() }
	}
	if o.busyBytes == 0 {
		o.busyBytes, o.runEager, o.runPiece = busyBytes, runEager, runPiece
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	switch {
	case o.SegmentBytes < minSegment || o.SegmentBytes > biggestSegment || o.SegmentBytes%sectorBytes != 0:
		return o, fmt.Errorf("streams: SegmentBytes is %d; use a multiple of 512 from 64 KiB to 1 GiB", o.SegmentBytes)
	case large < 1 || large > o.SegmentBytes/8:
		return o, fmt.Errorf("streams: LargeBytes is %d; use at most an eighth of SegmentBytes", large)
	case live < 0 || keys < 0 || o.ChunkBytes < 0 || o.MinFree < 0 || o.KeyAge < 0 || o.LogAge < 0:
		return o, errors.New("streams: an option is negative")
	}
	return o, nil
}

// Open opens or makes the store in dir and recovers what a crash left.
func Open(dir string, o Options) (*Store, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := newStore(dir, o)
	if err := s.prepare(); err != nil {
		return nil, fmt.Errorf("streams: open %s: %w", dir, err)
	}
	if err := s.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("streams: open %s: %w", dir, err), s.release())
	}
	s.filling = s.newBatch(nil)
	s.refreshFree()
	go s.commitLoop()
	go s.keeperLoop()
	return s, nil
}

func newStore(dir string, o Options) *Store {
	s := &Store{
		o: o, dir: dir, batchBytes: int(min(biggestBatch, o.SegmentBytes/4)),
		byName: map[string]*Stream{}, keys: newKeyTable(o.Keys, o.KeyAge),
		log:     &segLog{fs: o.FS, dir: path.Join(dir, "log"), size: o.SegmentBytes, age: o.LogAge, keep: o.MinFree, now: o.Now, live: map[uint32]*segment{}},
		handles: newHandles(o.FS), belts: newBelts(),
		wake: make(chan struct{}, 1), trims: make(chan *trimming), stop: make(chan struct{}), kept: make(chan struct{}), committed: make(chan struct{}),
	}
	s.work = sync.NewCond(&s.mu)
	s.manifest = manifestFile{fs: o.FS, dir: path.Join(dir, "manifest"), least: o.SegmentBytes / 64}
	return s
}

// prepare makes the folders and takes the lock.
func (s *Store) prepare() error {
	if err := s.o.FS.MkdirAll(s.dir); err != nil {
		return err
	}
	lock, err := s.o.FS.Lock(path.Join(s.dir, "lock"))
	if err != nil {
		return err
	}
	s.lock = lock
	for _, sub := range []string{"log", "manifest", "chunks", "keys", uploadsFolder, quarantineFolder} {
		if err := s.o.FS.MkdirAll(path.Join(s.dir, sub)); err != nil {
			return errors.Join(err, lock.Close())
		}
	}
	for _, d := range []string{s.dir, path.Dir(s.dir)} {
		if err := s.o.FS.SyncDir(d); err != nil {
			return errors.Join(err, lock.Close())
		}
	}
	return nil
}

func (s *Store) release() error {
	s.gone.Store(true)
	s.handles.close()
	s.manifest.abandon()
	return errors.Join(s.log.close(), s.lock.Close())
}

// Close commits what was taken, and releases the folder.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.work.Signal()
	s.mu.Unlock()
	close(s.stop)
	<-s.committed
	<-s.kept
	s.watch.close()
	state := s.state
	state.clean = s.log.last
	err := s.withRoom(func() error { return s.writeManifest(state, nil) })
	return errors.Join(err, s.release())
}

// settleManifest makes the manifest say for certain what the keeper knows, when a
// change failed: one copy may have it. Before that is known, no file may be cut
// off or grow that the manifest may already have otherwise.
func (s *Store) settleManifest() error {
	if !s.manifest.unsure {
		return nil
	}
	state := s.state
	state.clean = cut{}
	return s.writeManifest(state, nil)
}

// writeManifest makes a change durable, as a delta or as a new base.
func (s *Store) writeManifest(state manifestState, entries []entry) error {
	old := s.state
	s.state = state
	var err error
	if s.manifest.grown() {
		err = s.manifest.rewrite(state, s.allEntries(entries))
	} else {
		err = s.manifest.add(&frame{kind: frameDelta, state: state, entries: entries})
	}
	if err != nil {
		s.state = old
		return err
	}
	if old.keyFiles[0] != state.keyFiles[0] || old.keyFiles[1].number != state.keyFiles[1].number {
		s.removeKeyFiles(state.keyFiles)
	}
	return nil
}

// allEntries gives entries for all streams that the manifest has or gets,
// with the given changes.
func (s *Store) allEntries(changes []entry) []entry {
	changed := make(map[uint32]*entry, len(changes))
	for i := range changes {
		changed[changes[i].id] = &changes[i]
	}
	s.reg.RLock()
	all := s.byID
	s.reg.RUnlock()
	entries := make([]entry, 0, len(all))
	for _, st := range all {
		if st == nil {
			continue
		}
		st.mu.Lock()
		e := entry{
			id: st.id, named: true, name: st.name, label: st.label, drop: st.dropping, modified: st.modified,
			generation: st.durable.generation, length: st.folded.length, records: st.folded.records, begin: st.start, chunks: st.chunks,
		}
		if c := changed[st.id]; c != nil && c.generation == e.generation {
			e.length, e.records, e.modified, e.begin, e.drop = c.length, c.records, c.modified, c.begin, c.drop
			e.chunks, _ = cutChunks(mergeChunks(st.chunks, c.chunks), c.begin)
		}
		if st.listed || changed[st.id] != nil {
			entries = append(entries, e)
		}
		st.mu.Unlock()
	}
	return entries
}

// Stream gives the handle of an existing stream.
func (s *Store) Stream(name string) (*Stream, bool) {
	s.reg.RLock()
	st := s.byName[name]
	s.reg.RUnlock()
	if st == nil {
		return nil, false
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	return st, st.exists
}

// Create gives the handle of a stream and makes it when it is missing. The
// stream and its label, an opaque text, become durable with its first append.
// The label of an existing stream stays what it is.
func (s *Store) Create(name, label string) (*Stream, error) {
	if len(name) == 0 || len(name) > MaxName || len(label) > maxLabel {
		return nil, fmt.Errorf("%w: it has %d bytes (1 to %d are allowed), its label %d (up to %d)", ErrName, len(name), MaxName, len(label), maxLabel)
	}
	s.reg.RLock()
	st := s.byName[name]
	s.reg.RUnlock()
	if st != nil {
		return st, nil
	}
	s.reg.Lock()
	defer s.reg.Unlock()
	if st := s.byName[name]; st != nil {
		return st, nil
	}
	return s.register(uint32(max(1, len(s.byID))), name, label), nil
}

// register adds a stream to the tables. The caller holds reg, or is alone.
func (s *Store) register(id uint32, name, label string) *Stream {
	first := tip{generation: 1}
	st := &Stream{store: s, id: id, name: name, label: label, tip: first, durable: first}
	for uint32(len(s.byID)) <= id {
		s.byID = append(s.byID, nil)
	}
	s.byID[id] = st
	s.byName[name] = st
	return st
}

func (s *Store) byNumber(id uint32) *Stream {
	s.reg.RLock()
	defer s.reg.RUnlock()
	if uint32(len(s.byID)) <= id {
		return nil
	}
	return s.byID[id]
}

// Names gives up to limit names of streams that begin with prefix and sort
// after the given one.
func (s *Store) Names(prefix, after string, limit int) []string {
	return s.names.list(prefix, after, limit)
}

// foldBehind is how many segments more than LiveSegments may be full before
// commits wait for a fold: each takes space, and time to make.
const foldBehind = 2

// waitForFold holds the committer back while folding is far behind.
func (s *Store) waitForFold() {
	for {
		ch := s.folded.wait()
		full, _ := s.log.counts()
		if full <= s.o.LiveSegments+foldBehind || s.foldFailed.Load() != nil {
			return
		}
		select {
		case <-ch:
		case <-s.stop:
			return
		}
	}
}

func (s *Store) refreshFree() {
	u, err := s.o.FS.Usage(s.dir)
	if err != nil {
		s.o.Log.Error("streams: free space is not known", "error", err)
		return
	}
	s.free.Store(u.Free)
}

// drain waits for a context or a channel.
func drain(ctx context.Context, ch <-chan struct{}) error {
	select {
	case <-ch:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
