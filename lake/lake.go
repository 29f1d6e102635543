package lake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"weir/streams"
)

// Errors that callers test for.
var (
	// ErrReference: a reference is not well formed.
	ErrReference = errors.New("lake: bad reference")
	// ErrNotFound: there is no such set, file or part.
	ErrNotFound = errors.New("lake: not found")
	// ErrExists: there is such a file already.
	ErrExists = errors.New("lake: exists already")
	// ErrOrder: a part does not follow the ones that are there.
	ErrOrder = errors.New("lake: part out of order")
	// ErrBusy: a part of the same file is coming in.
	ErrBusy = errors.New("lake: file is being written")
	// ErrMismatch: a file's size or hash is not what the sender said.
	ErrMismatch = errors.New("lake: not what was announced")
	// ErrState: a set cannot go from its state to that one.
	ErrState = errors.New("lake: not possible in this state")
)

// Options of a Lake. Streams must be set.
type Options struct {
	Streams *streams.Store
	// PartAge is how long after its last part a file is given up whose end
	// does not come; default 24 h.
	PartAge time.Duration
	// RemovedAge is how long the bytes of a file that was removed or replaced
	// stay; default a week.
	RemovedAge time.Duration
	Now        func() time.Time // default time.Now
	Log        *slog.Logger     // default discards
}

// A Lake keeps sets of files. All methods are safe for concurrent use.
type Lake struct {
	o      Options
	opened time.Time
	stream *streams.Stream
	ctx    context.Context // ends with Close
	stop   context.CancelFunc
	ended  sync.WaitGroup

	write  sync.Mutex // one change at a time; before read
	broken error      // the outcome of a change is not known
	base   int64      // bytes of the snapshot
	grown  int64      // bytes since

	read sync.RWMutex // guards m
	m    *model

	mu     sync.Mutex
	busy   map[string]bool   // references of files that parts come in for
	number int               // of the newest file's stream
	spare  []*streams.Stream // made and never written
}

// Open reads the state of a lake, empties the streams of uploads that a crash
// ended, and begins to give up old parts.
func Open(o Options) (*Lake, error) {
	if o.Streams == nil {
		return nil, errors.New("lake: open: Streams must be set")
	}
	if o.PartAge <= 0 {
		o.PartAge = 24 * time.Hour
	}
	if o.RemovedAge <= 0 {
		o.RemovedAge = 7 * 24 * time.Hour
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l := &Lake{o: o, opened: o.Now(), m: newModel(), busy: map[string]bool{}}
	var err error
	if l.stream, err = o.Streams.Create(stateStream, ""); err != nil {
		return nil, fmt.Errorf("lake: open: %w", err)
	}
	if err := l.replay(); err != nil {
		return nil, fmt.Errorf("lake: open: %w; restore the data folder from a backup", err)
	}
	l.ctx, l.stop = context.WithCancel(context.Background())
	l.emptyOrphans()
	l.ended.Go(l.expireNowAndThen)
	return l, nil
}

// Close ends the lake; the stream store stays open.
func (l *Lake) Close() error {
	l.stop()
	l.ended.Wait()
	return nil
}

// emptyOrphans empties the streams that no file has, and finds the number of
// the newest.
func (l *Lake) emptyOrphans() {
	used := map[string]bool{}
	for name := range l.m.files {
		used[name] = true
	}
	for _, p := range l.m.partial {
		used[p.Stream] = true
	}
	const page = 1000
	for after := ""; ; {
		names := l.o.Streams.Names(filePrefix, after, page)
		if len(names) == 0 {
			return
		}
		for _, name := range names {
			if n, err := strconv.Atoi(strings.TrimPrefix(name, filePrefix)); err == nil {
				l.number = max(l.number, n)
			}
			if !used[name] {
				l.empty(name)
			}
		}
		after = names[len(names)-1]
	}
}

// empty frees the space of a stream that nobody has any more. When it fails,
// the next start does it.
func (l *Lake) empty(name string) {
	st, ok := l.o.Streams.Stream(name)
	if !ok || st.State().Length == 0 {
		return
	}
	err := l.o.Streams.Append(l.ctx, []streams.Record{{Stream: st, Reset: true}}, make([]streams.Result, 1))
	if err != nil {
		l.o.Log.Warn("parts that were given up still take space", "stream", name, "error", err)
	}
}

// claim makes the file of a reference this caller's alone, until release.
func (l *Lake) claim(ref string) (release func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy[ref] {
		return nil, fmt.Errorf("%w: a part of %q is coming in from elsewhere; try again when it ended", ErrBusy, ref)
	}
	l.busy[ref] = true
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.busy, ref)
	}, nil
}

// spareBack takes back a stream that was made for an upload of which nothing
// was kept. One that was written to is not used again: it knows keys.
func (l *Lake) spareBack(st *streams.Stream) {
	if at := st.State(); at.Generation > 1 || at.Length > 0 || at.Records > 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spare = append(l.spare, st)
}

// newStream gives a stream for a file, a spare one or a new one.
func (l *Lake) newStream() (*streams.Stream, error) {
	l.mu.Lock()
	if n := len(l.spare); n > 0 {
		st := l.spare[n-1]
		l.spare = l.spare[:n-1]
		l.mu.Unlock()
		return st, nil
	}
	l.number++
	name := filePrefix + strconv.Itoa(l.number)
	l.mu.Unlock()
	st, err := l.o.Streams.Create(name, "")
	if err != nil {
		return nil, fmt.Errorf("lake: %w", err)
	}
	return st, nil
}

// expireEvery is how often old parts are looked for.
const expireEvery = time.Minute

func (l *Lake) expireNowAndThen() {
	for {
		l.Expire()
		l.Free()
		select {
		case <-time.After(expireEvery):
		case <-l.ctx.Done():
			return
		}
	}
}

// Expire gives up files whose last part does not come, and tells how many.
func (l *Lake) Expire() int {
	before := l.o.Now().Add(-l.o.PartAge).UnixMilli()
	var old []string
	l.view(func(m *model) {
		for ref, p := range m.partial {
			if p.At < before {
				old = append(old, ref)
			}
		}
	})
	n := 0
	for _, ref := range old {
		dropped, err := l.drop(ref, func(p *partial) bool { return p.At < before })
		if err != nil {
			l.o.Log.Warn("parts of a file could not be given up", "reference", ref, "error", err)
		} else if dropped {
			l.o.Log.Warn("parts of a file were given up: its end did not come", "reference", ref, "after", l.o.PartAge)
			n++
		}
	}
	return n
}

// Free gives back the space of files that were removed or replaced long enough
// ago, and tells how many.
func (l *Lake) Free() int {
	before := l.o.Now().Add(-l.o.RemovedAge)
	var old []string
	l.view(func(m *model) {
		for stream, f := range m.files {
			at := time.UnixMilli(f.Removed)
			if f.Removed == 0 { // by a weir that did not note it
				at = l.opened
			}
			if f.removed() && at.Before(before) {
				old = append(old, stream)
			}
		}
	})
	if len(old) == 0 {
		return 0
	}
	slices.Sort(old)
	// First the record: a crash leaves a stream that nobody has, which the next
	// start empties.
	if err := l.update(func(*model) (*record, error) { return &record{Gone: old}, nil }); err != nil {
		l.o.Log.Warn("the space of removed files could not be given back", "files", len(old), "error", err)
		return 0
	}
	for _, stream := range old {
		l.empty(stream)
	}
	l.o.Log.Info("the space of removed files was given back", "files", len(old), "removed_before", before)
	return len(old)
}

// drop gives up the parts of a file, if there are and they are wanted so.
func (l *Lake) drop(ref string, wanted func(*partial) bool) (bool, error) {
	release, err := l.claim(ref)
	if err != nil {
		return false, err
	}
	defer release()
	stream := ""
	err = l.update(func(m *model) (*record, error) {
		p := m.partial[ref]
		if p == nil || !wanted(p) {
			return nil, nil
		}
		stream = p.Stream
		return &record{Drop: []string{ref}}, nil
	})
	if err != nil || stream == "" {
		return false, err
	}
	l.empty(stream)
	return true, nil
}
