package push

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"weir/internal/replace"
)

// WatchOptions say what a Watcher follows. All but Log must be set.
type WatchOptions struct {
	Client   *Client
	Patterns []string                          // of paths, as filepath.Glob has them
	Target   func(path string) (string, error) // the address of a path's stream
	Position string                            // file that keeps how far each one is; "" keeps nothing
	Every    time.Duration                     // how often is looked for more
	Part     int64                             // most bytes of one append
	Linger   time.Duration                     // how long a file is followed on that lost its path; whoever writes may still do so
	Log      *slog.Logger
}

// A Watcher appends what comes to files to streams, in their order, once.
type Watcher struct {
	o       WatchOptions
	at      *positions
	files   map[string]*followed // by path
	streams map[string]string    // path by address
	told    map[string]string    // what was last said of a path
}

// NewWatcher reads the position file.
func NewWatcher(o WatchOptions) (*Watcher, error) {
	at, err := loadPositions(o.Position)
	if err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Watcher{o: o, at: at, files: map[string]*followed{}, streams: map[string]string{}, told: map[string]string{}}, nil
}

// A followed file is open, whatever becomes of its path.
type followed struct {
	f      *os.File
	s      stream
	at     position
	synced bool        // what the server has is known
	next   []successor // by at.Next
	gone   time.Time   // since when nothing has the path; zero while something has
}

// A successor got the path of a file, which is sent to its end first.
type successor struct {
	f     *os.File
	since time.Time
}

func (f *followed) close() {
	f.f.Close()
	for _, n := range f.next {
		n.f.Close()
	}
}

// Run follows files until the context ends. What the server refuses is tried
// again and again; a file is never left out.
func (w *Watcher) Run(ctx context.Context) error {
	defer func() {
		for _, f := range w.files {
			f.close()
		}
	}()
	for {
		more, err := w.Look(ctx)
		if err != nil || ctx.Err() != nil {
			return err
		}
		if more {
			continue
		}
		select {
		case <-time.After(w.o.Every):
		case <-ctx.Done():
			return nil
		}
	}
}

// Look looks once at all files and appends what came to them, at most one part
// each; it says whether there is more to do at once. An error is that of the
// position file: without it nothing may go on.
func (w *Watcher) Look(ctx context.Context) (more bool, err error) {
	if err := w.find(); err != nil {
		return false, err
	}
	for path, f := range w.files {
		if ctx.Err() != nil {
			return false, nil
		}
		again, err := w.follow(ctx, path, f)
		if p, ok := errors.AsType[*positionError](err); ok {
			return false, p
		}
		switch {
		case err != nil && ctx.Err() == nil:
			w.tell(path, err.Error())
			f.synced = false
		case err == nil:
			w.told[path] = ""
		}
		more = more || again && err == nil
	}
	return more, nil
}

// A positionError is one of the position file.
type positionError struct{ error }

// tell logs what is wrong with a path, once until it changes.
func (w *Watcher) tell(path, text string) {
	if w.told[path] != text {
		w.told[path] = text
		w.o.Log.Warn("not sent yet; it is tried again", "file", path, "error", text)
	}
}

// find opens the files that the patterns match and that are not open.
func (w *Watcher) find() error {
	there := map[identity]bool{}
	var fresh []string
	for _, pattern := range w.o.Patterns {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return fmt.Errorf("%s: %w", pattern, err)
		}
		for _, path := range paths {
			if id, regular := identify(path); regular && !w.own(path) {
				there[id] = true
				if w.files[path] == nil && !slices.Contains(fresh, path) {
					fresh = append(fresh, path)
				}
			}
		}
	}
	for _, f := range w.files {
		there[f.at.identity] = true
	}
	w.at.prune(there)
	for _, at := range w.at.Files { // renamed while nobody looked, and nothing has the path
		if w.files[at.Path] == nil && at.identity != (identity{}) && !slices.Contains(fresh, at.Path) && w.matches(at.Path) {
			fresh = append(fresh, at.Path)
		}
	}
	for _, path := range fresh {
		if err := w.open(path); err != nil {
			w.tell(path, err.Error())
		}
	}
	return nil
}

// own tells whether a path is that of the position file, which would grow by
// being followed.
func (w *Watcher) own(path string) bool {
	a, err := filepath.Abs(path)
	b, berr := filepath.Abs(w.o.Position)
	return err == nil && berr == nil && w.o.Position != "" && (a == b || a == b+replace.Suffix)
}

func (w *Watcher) matches(path string) bool {
	return slices.ContainsFunc(w.o.Patterns, func(pattern string) bool {
		ok, err := filepath.Match(pattern, path)
		return ok && err == nil
	})
}

func identify(path string) (identity, bool) {
	i, err := os.Stat(path)
	if err != nil || !i.Mode().IsRegular() {
		return identity{}, false
	}
	return idOf(i), true
}

func idOf(i os.FileInfo) identity {
	s, ok := i.Sys().(*syscall.Stat_t)
	if !ok {
		return identity{}
	}
	return identity{uint64(s.Dev), s.Ino}
}

// open begins to follow a path, where its position says.
func (w *Watcher) open(path string) error {
	to, err := w.o.Target(path)
	if err != nil {
		return err
	}
	if other := w.streams[to]; other != "" && other != path {
		return fmt.Errorf("its stream would be that of %s, too: use a URL with * or other patterns", other)
	}
	f, err := w.first(path, to)
	if f == nil || err != nil {
		return err
	}
	w.streams[to], w.files[path] = path, f
	return nil
}

// first opens the file that a path is to be followed from; nil is none.
func (w *Watcher) first(path, to string) (*followed, error) {
	id, _ := identify(path)
	was, known := w.at.of(path)
	if known && was.Stream != withoutUser(to) {
		was, known = position{}, false
	}
	if was.identity == (identity{}) && w.elsewhere(path, id) {
		return nil, nil // it was followed before it got this name
	}
	if !known {
		was = position{Path: path, Stream: withoutUser(to), identity: id}
	}
	f := &followed{s: stream{w.o.Client, to}, at: was}
	if known && was.identity != id && was.identity != (identity{}) {
		w.rotated(path, f)
	}
	if f.f != nil {
		return f, nil
	}
	f.at.Next = nil
	if was.identity != id && w.elsewhere(path, id) {
		return nil, w.lost(f)
	}
	var err error
	f.f, err = os.Open(path)
	if known && errors.Is(err, fs.ErrNotExist) {
		return nil, w.lost(f)
	}
	return f, err
}

// lost notes that a path has no file to be followed: what gets it is another
// one, from its beginning.
func (w *Watcher) lost(f *followed) error {
	f.at.identity, f.at.Offset, f.at.Head = identity{}, 0, ""
	return w.keep(f)
}

// rotated opens the file that had a path when it was followed last, if its
// folder still has it under another name, and those that got the path after it.
func (w *Watcher) rotated(path string, f *followed) {
	had := unnamed(filepath.Dir(path), append([]identity{f.at.identity}, f.at.Next...))
	if old := had[f.at.identity]; old == nil || !begins(old, f.at) {
		w.o.Log.Warn("a followed file is gone; what came to it meanwhile is not known", "file", path, "offset", f.at.Offset)
		if old != nil {
			old.Close()
		}
	} else {
		f.f = old
	}
	var next []identity
	for _, id := range f.at.Next {
		switch n := had[id]; {
		case n == nil:
			w.o.Log.Warn("a file that was to be followed is gone", "file", path)
		case f.f == nil:
			f.f = n
		default:
			f.next, next = append(f.next, successor{n, time.Now()}), append(next, id)
		}
	}
	f.at.Next = next
}

// unnamed opens files of a folder that may have any name.
func unnamed(dir string, ids []identity) map[identity]*os.File {
	found := map[identity]*os.File{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return found
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if id, ok := identify(name); ok && slices.Contains(ids, id) && found[id] == nil {
			if f, err := os.Open(name); err == nil {
				found[id] = f
			}
		}
	}
	return found
}

// headBytes is how much of a file's beginning is compared.
const headBytes = 256

// headOf sums the beginning of a file that was sent up to an offset.
func headOf(f io.ReaderAt, offset int64) (string, error) {
	b := make([]byte, min(offset, headBytes))
	if _, err := f.ReadAt(b, 0); err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// begins tells whether a file still has the beginning that was sent of it.
func begins(f *os.File, at position) bool {
	if at.Offset == 0 {
		return true
	}
	i, err := f.Stat()
	if err != nil || i.Size() < at.Offset {
		return false
	}
	head, err := headOf(f, at.Offset)
	return err == nil && head == at.Head
}

// follow appends one part of what came to a file.
func (w *Watcher) follow(ctx context.Context, path string, f *followed) (more bool, err error) {
	if err := w.succeed(path, f); err != nil {
		return false, err
	}
	info, err := f.f.Stat()
	if err != nil {
		return false, err
	}
	if id := idOf(info); id != f.at.identity || !begins(f.f, f.at) {
		if id == f.at.identity {
			w.o.Log.Info("a followed file was written anew", "file", path, "offset", f.at.Offset, "size", info.Size())
		}
		f.at.identity, f.at.Offset, f.at.Head = id, 0, ""
		// Before anything of it is sent: else a crash would not tell what of
		// the stream is of this file.
		if err := w.keep(f); err != nil {
			return false, err
		}
	}
	if !f.synced {
		if err := w.sync(ctx, f); err != nil {
			return false, err
		}
	}
	if n := min(info.Size()-f.at.Offset, w.o.Part); n > 0 {
		return true, w.send(ctx, f, n)
	}
	return w.leave(path, f)
}

// succeed takes note of a file that got the path, before it may lose it again.
func (w *Watcher) succeed(path string, f *followed) error {
	id, there := identify(path)
	last := f.at.identity
	if n := len(f.at.Next); n > 0 {
		last = f.at.Next[n-1]
	}
	if there && id != last && w.elsewhere(path, id) {
		there = false // the one before it in a rotation, which is sent already
	}
	switch {
	case !there && f.gone.IsZero():
		f.gone = time.Now()
	case there:
		f.gone = time.Time{}
	}
	if !there || id == last || last == (identity{}) {
		return nil
	}
	now, err := os.Open(path)
	if err != nil {
		return err
	}
	info, err := now.Stat()
	if err != nil {
		now.Close()
		return err
	}
	f.next = append(f.next, successor{now, time.Now()})
	f.at.Next = append(slices.Clone(f.at.Next), idOf(info))
	return w.keep(f)
}

// send appends the next n bytes of a file.
func (w *Watcher) send(ctx context.Context, f *followed, n int64) error {
	b := make([]byte, n)
	got, err := f.f.ReadAt(b, f.at.Offset)
	if err != nil && err != io.EOF {
		return err
	}
	if got == 0 {
		return nil
	}
	b = b[:got] // it may have become shorter
	_, err = f.s.add(ctx, bytes.NewReader(b), f.at.Length, int64(got), "")
	if err != nil {
		f.synced = false
		return err
	}
	return w.moved(f, int64(got))
}

// moved notes that n more bytes are in the stream.
func (w *Watcher) moved(f *followed, n int64) error {
	f.at.Offset += n
	f.at.Length += n
	head, err := headOf(f.f, f.at.Offset)
	if err == nil { // else it was cut meanwhile, which the next look finds
		f.at.Head = head
	}
	return w.keep(f)
}

func (w *Watcher) keep(f *followed) error {
	w.at.put(f.at)
	if err := w.at.save(); err != nil {
		return &positionError{err}
	}
	return nil
}

// sync finds what the server has of a file: an append may have been kept whose
// answer, or whose position, was lost.
func (w *Watcher) sync(ctx context.Context, f *followed) error {
	now, err := f.s.state(ctx)
	if err != nil {
		return err
	}
	if extra := now.length - f.at.Length; extra > 0 {
		same, err := w.same(ctx, f, extra, now.begin)
		if err != nil {
			return err
		}
		if same {
			f.synced = true
			return w.moved(f, extra)
		}
		w.o.Log.Warn("the stream has bytes that did not come from here; what follows is appended to them", "stream", f.at.Stream, "from", f.at.Length, "to", now.length)
	} else if extra < 0 {
		w.o.Log.Warn("the stream was replaced by a shorter one; what follows is appended to it", "stream", f.at.Stream, "was", f.at.Length, "is", now.length)
	}
	f.at.Length = now.length
	f.synced = true
	return w.keep(f)
}

// same tells whether what the stream has more is what comes next in the file, as
// far as it was not trimmed; when all of it was, nobody knows.
func (w *Watcher) same(ctx context.Context, f *followed, n, begin int64) (bool, error) {
	gone := max(0, begin-f.at.Length)
	if gone >= n {
		return false, nil
	}
	theirs, err := f.s.read(ctx, f.at.Length+gone, f.at.Length+n)
	if err != nil {
		return false, err
	}
	defer theirs.Close()
	return equal(io.NewSectionReader(f.f, f.at.Offset+gone, n-gone), theirs, n-gone)
}

// leave ends following a file of which all was sent, and that has lost its
// path; it says whether another one follows.
func (w *Watcher) leave(path string, f *followed) (bool, error) {
	if len(f.next) > 0 {
		if time.Since(f.next[0].since) < w.o.Linger {
			return false, nil
		}
		f.f.Close()
		id := f.at.Next[0]
		f.f, f.next, f.at.Next = f.next[0].f, f.next[1:], f.at.Next[1:]
		f.at.identity, f.at.Offset, f.at.Head = id, 0, ""
		return true, w.keep(f)
	}
	if f.gone.IsZero() || time.Since(f.gone) < w.o.Linger {
		return false, nil
	}
	f.close()
	delete(w.files, path)
	delete(w.streams, f.s.url)
	return false, w.lost(f)
}

// withoutUser is an address without a name and password.
func withoutUser(to string) string {
	u, err := url.Parse(to)
	if err != nil {
		return to
	}
	u.User = nil
	return u.String()
}
