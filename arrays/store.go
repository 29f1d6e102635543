package arrays

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"weir/internal/vfs"
)

// Errors that callers test for.
var (
	// ErrNotFound: there is no such group, array or key.
	ErrNotFound = errors.New("arrays: not found")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("arrays: store is closed")
)

// Options of a Store. The zero value is useful.
type Options struct {
	FS vfs.FS // default vfs.OS
	// ChunkBytes is the decoded size of a chunk; default 1 MiB. A chunk of
	// metrics, of which a group has one for each column, has an eighth.
	ChunkBytes int
	// SyncEvery bounds how far the last synced state may lag; default 5 s.
	SyncEvery time.Duration
	// CacheBytes bounds the cache of decoded chunks; default 32 MiB.
	CacheBytes int64
	// BootID changes with each start of the machine; default the kernel's.
	// A group whose last writer ran under another one goes back to its synced
	// state.
	BootID string
	// Refuse keeps what a decoder could not use, durably and once for each
	// (stream, generation, offset, reason); the rows around it wait for it.
	// Default: an error that stops the projection.
	Refuse func(ctx context.Context, r Refusal) error
	Now    func() time.Time
	Log    *slog.Logger
}

// Folders beside the groups. No group's name begins with a dot.
const (
	newDir = ".new" // groups being built
	oldDir = ".old" // groups being removed
	tmpDir = ".tmp" // files on their way
	badDir = ".bad" // zarr.json that could not be read, kept for people
)

// A Store keeps groups in one folder. All methods are safe for concurrent use.
type Store struct {
	o     Options
	fs    vfs.FS
	dir   string
	log   *slog.Logger
	lock  io.Closer
	batch int // bytes of decoded rows at which a step ends
	tmp   atomic.Int64
	cache *chunkCache
	stats counters
	bufs  chan *[]byte

	mu     sync.Mutex
	closed bool
	groups map[string]*group
	names  []string // of groups that are published, sorted
	dirty  map[*group]bool

	stop chan struct{}
	done chan struct{}
}

// Open opens or makes the store in dir.
func Open(dir string, o Options) (*Store, error) {
	o = o.withDefaults()
	s := &Store{
		o: o, fs: o.FS, dir: dir, log: o.Log, batch: 4 * stepBytes,
		cache: newChunkCache(o.CacheBytes), bufs: make(chan *[]byte, 4),
		groups: map[string]*group{}, dirty: map[*group]bool{},
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	if err := s.fs.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("arrays: open %s: %w", dir, err)
	}
	var err error
	if s.lock, err = s.fs.Lock(dir + "/.lock"); err != nil {
		return nil, fmt.Errorf("arrays: open %s: %w", dir, err)
	}
	if err := s.tidy(); err != nil {
		return nil, errors.Join(fmt.Errorf("arrays: open %s: %w", dir, err), s.lock.Close())
	}
	go s.run()
	return s, nil
}

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = vfs.OS{}
	}
	if o.ChunkBytes <= 0 {
		o.ChunkBytes = 1 << 20
	}
	if o.SyncEvery <= 0 {
		o.SyncEvery = 5 * time.Second
	}
	if o.CacheBytes <= 0 {
		o.CacheBytes = 32 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.BootID == "" {
		o.BootID = bootID(o.Now())
	}
	if o.Refuse == nil {
		o.Refuse = func(_ context.Context, r Refusal) error {
			return fmt.Errorf("nobody takes what is refused: %s", r.Detail)
		}
	}
	return o
}

// bootID asks the kernel; where it does not tell, each start counts as one of
// the machine.
func bootID(now time.Time) string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return now.UTC().Format(time.RFC3339Nano)
	}
	return strings.TrimSpace(string(b))
}

// Close syncs and releases the folder. Steps that run are waited for.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	close(s.stop)
	<-s.done
	err := s.settle()
	return errors.Join(err, s.lock.Close())
}

// take gives a group, made when it is missing, with its lock held.
func (s *Store) take(name string) (*group, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, ErrClosed
	}
	g := s.groups[name]
	if g == nil {
		g = &group{name: name, s: s}
		s.groups[name] = g
	}
	s.mu.Unlock()
	g.mu.Lock()
	return g, nil
}

// look gives what is published of a group.
func (s *Store) look(name string) (*view, error) {
	s.mu.Lock()
	g := s.groups[name]
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	if g == nil {
		return nil, fmt.Errorf("%w: group %q", ErrNotFound, name)
	}
	if v := g.view.Load(); v != nil {
		return v, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.load(); err != nil {
		return nil, err
	}
	if v := g.view.Load(); v != nil {
		return v, nil
	}
	return nil, fmt.Errorf("%w: group %q", ErrNotFound, name)
}

// current tells whether a view is still of the group that is in its place, so
// that what was read meanwhile belongs to it.
func (s *Store) current(name string, v *view) bool {
	s.mu.Lock()
	g := s.groups[name]
	s.mu.Unlock()
	now := g.view.Load()
	return now != nil && now.Build == v.Build
}

// read reads files of a group by a view of it, again where the group was
// replaced meanwhile.
func (s *Store) read(name string, by func(v *view) error) error {
	for {
		v, err := s.look(name)
		if err != nil {
			return err
		}
		if err = by(v); s.current(name, v) {
			return err
		}
	}
}

// changed notes that a group is ahead of what is synced, and published.
func (s *Store) changed(g *group) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirty[g] = true
	if i, ok := slices.BinarySearch(s.names, g.name); !ok {
		s.names = slices.Insert(s.names, i, g.name)
	}
}

// Names gives up to limit groups that begin with prefix and sort after the
// given one.
func (s *Store) Names(prefix, after string, limit int) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, found := slices.BinarySearch(s.names, max(prefix, after))
	if found && after >= prefix {
		i++
	}
	var names []string
	for ; i < len(s.names) && len(names) < limit && strings.HasPrefix(s.names[i], prefix); i++ {
		names = append(names, s.names[i])
	}
	return names
}

// chunkRows is how many rows a chunk has, the same for all columns.
func (s *Store) chunkRows(kind string, columns []*column) int {
	if len(columns) == 0 {
		return 0
	}
	bytes := s.o.ChunkBytes
	if kind == kindMetrics {
		bytes /= 8
	}
	return max(1, bytes/columns[0].rowBytes())
}

// buffer gives a buffer for n bytes of a stream.
func (s *Store) buffer(n int64) *[]byte {
	if n > 256<<10 {
		select {
		case b := <-s.bufs:
			*b = (*b)[:n]
			return b
		default:
			b := make([]byte, n, stepBytes)
			return &b
		}
	}
	b := make([]byte, n)
	return &b
}

func (s *Store) release(b *[]byte) {
	if cap(*b) == stepBytes {
		select {
		case s.bufs <- b:
		default:
		}
	}
}
