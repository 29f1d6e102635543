package streams

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"weir/internal/vfs"
)

// ReadAt reads durable bytes of a generation. It gives io.EOF at the end of
// the stream and ErrGeneration after a Reset.
func (st *Stream) ReadAt(generation uint64, p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		n, err := st.readRun(generation, p[done:], off+int64(done), false)
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// attempts is how often a read follows bytes that move from the log to a
// chunk file meanwhile.
const attempts = 4

// readRun reads from one run of bytes; with trimmed also those before the
// beginning whose file is there.
func (st *Stream) readRun(generation uint64, p []byte, off int64, trimmed bool) (int, error) {
	var err error
	for range attempts {
		pl, seg, ferr := st.find(generation, off, trimmed)
		if ferr != nil {
			return 0, ferr
		}
		n := int(min(int64(len(p)), pl.offset+pl.length-off))
		at := pl.at + off - pl.offset
		if seg != nil {
			_, err = seg.file.ReadAt(p[:n], at)
			seg.unpin()
		} else {
			err = st.store.handles.readAt(pl.file, p[:n], at)
			if pl.moved != "" && errors.Is(err, fs.ErrNotExist) {
				err = st.store.handles.readAt(pl.moved, p[:n], at)
			}
		}
		if err == nil {
			return n, nil
		}
		if errors.Is(err, fs.ErrClosed) {
			return 0, ErrClosed
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return 0, fmt.Errorf("streams: read %q at %d: %w", st.name, off, err)
}

// find gives where the byte at off is, with its segment pinned.
func (st *Stream) find(generation uint64, off int64, trimmed bool) (place, *segment, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case st.store.gone.Load():
		return place{}, nil, ErrClosed
	case generation != st.durable.generation:
		return place{}, nil, fmt.Errorf("%w: stream %q is at generation %d, not %d", ErrGeneration, st.name, st.durable.generation, generation)
	case off < 0:
		return place{}, nil, fmt.Errorf("streams: read %q at %d: the offset is negative", st.name, off)
	case off < st.start && !trimmed:
		return place{}, nil, st.trimmed(off)
	case off >= st.durable.length:
		return place{}, nil, io.EOF
	}
	pl := st.locate(off)
	if pl.segment != 0 {
		return pl, st.store.log.pin(pl.segment), nil
	}
	if pl.file == "" && off < st.start {
		return place{}, nil, st.trimmed(off)
	}
	if pl.file == "" {
		return place{}, nil, fmt.Errorf("%w: stream %q, %d to %d", ErrHole, st.name, pl.offset, pl.offset+pl.length)
	}
	return pl, nil, nil
}

// trimmed says that a byte is gone. The caller holds mu.
func (st *Stream) trimmed(off int64) error {
	return fmt.Errorf("%w: stream %q begins at byte %d; byte %d is gone", ErrTrimmed, st.name, st.start, off)
}

// Reader reads the bytes [off, end) of a generation. It implements
// io.WriterTo, which hands whole files to the kernel where it can.
func (st *Stream) Reader(generation uint64, off, end int64) (io.ReadCloser, error) {
	return st.reader(generation, off, end, false)
}

// ChunkReader reads the bytes of a chunk, also those of its file that lie
// before the stream's beginning, to compare their checksum.
func (st *Stream) ChunkReader(generation uint64, c Chunk) (io.ReadCloser, error) {
	return st.reader(generation, c.Offset, c.Offset+c.Length, true)
}

func (st *Stream) reader(generation uint64, off, end int64, trimmed bool) (io.ReadCloser, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if generation != st.durable.generation {
		return nil, fmt.Errorf("%w: stream %q is at generation %d, not %d", ErrGeneration, st.name, st.durable.generation, generation)
	}
	if off < 0 || off > end || end > st.durable.length {
		return nil, fmt.Errorf("streams: read %q: the range %d to %d is not in its %d bytes", st.name, off, end, st.durable.length)
	}
	if off < st.start && !trimmed {
		return nil, st.trimmed(off)
	}
	return &reader{st: st, generation: generation, off: off, end: end, trimmed: trimmed}, nil
}

type reader struct {
	st         *Stream
	generation uint64
	off, end   int64
	trimmed    bool // reads what lies before the beginning, too
	closed     bool
}

func (r *reader) Read(p []byte) (int, error) {
	if r.closed {
		return 0, fs.ErrClosed
	}
	if r.off >= r.end {
		return 0, io.EOF
	}
	n, err := r.st.readRun(r.generation, p[:min(int64(len(p)), r.end-r.off)], r.off, r.trimmed)
	r.off += int64(n)
	return n, err
}

func (r *reader) Close() error {
	r.closed = true
	return nil
}

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

// WriteTo writes what is left.
func (r *reader) WriteTo(w io.Writer) (int64, error) {
	start := r.off
	for r.off < r.end {
		if r.closed {
			return r.off - start, fs.ErrClosed
		}
		n, err := r.sendFile(w)
		r.off += n
		if err != nil {
			return r.off - start, err
		}
		if n > 0 {
			continue
		}
		if err := r.copySome(w); err != nil {
			return r.off - start, err
		}
	}
	return r.off - start, nil
}

// sendFile hands the rest of a chunk file to w; it does nothing for other bytes.
func (r *reader) sendFile(w io.Writer) (int64, error) {
	if _, ok := w.(io.ReaderFrom); !ok {
		return 0, nil
	}
	pl, seg, err := r.st.find(r.generation, r.off, r.trimmed)
	if seg != nil {
		seg.unpin()
	}
	if err != nil || seg != nil {
		return 0, err
	}
	f, err := r.st.store.o.FS.Open(pl.file)
	if err != nil {
		return 0, nil // it moved, or copySome says what is wrong
	}
	defer f.Close()
	host, ok := vfs.OSFile(f)
	if !ok {
		return 0, nil
	}
	if _, err := host.Seek(pl.at+r.off-pl.offset, io.SeekStart); err != nil {
		return 0, err
	}
	n := min(r.end, pl.offset+pl.length) - r.off
	return io.CopyN(w, host, n)
}

func (r *reader) copySome(w io.Writer) error {
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	n, err := r.Read(*buf)
	if err != nil {
		return err
	}
	_, err = w.Write((*buf)[:n])
	return err
}
