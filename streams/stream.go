package streams

import (
	"encoding/hex"
	"fmt"
	"slices"
	"sort"
	"sync"
	"time"
)

// A Stream is a handle of one stream of a Store; it stays valid until Close.
type Stream struct {
	store       *Store
	name, label string
	id          uint32

	// Guarded by Store.mu: what is taken, durable or not.
	tip     tip
	defined bool // a record that defines the stream was taken
	run     *run // where its bytes go, if not to the log
	// How much comes: the batch that had something last, how much it had, and
	// how much it had with the busy ones right before it.
	busyOrder          uint32
	busyBytes, busySum int64

	mu       sync.Mutex // guards the rest: what is durable
	exists   bool
	listed   bool  // the manifest has the name
	dropping bool  // files of older generations may be left
	records  int64 // appends in this generation
	modified int64 // ns
	durable  tip
	start    int64    // what lies before it was trimmed
	folded   fold     // what of this generation the chunk files hold
	chunks   []chunk  // by offset, the bytes of chunk files
	extents  []extent // by offset, the bytes that are in the log alone
	uploads  []logUpload
	runs     []runPart // by offset
	writing  []*run    // to whose files commits may still write
}

// A tip is the end of a stream.
type tip struct {
	generation uint64
	length     int64
}

// A fold is how much of a generation was moved from the log to chunk files.
type fold struct {
	length, records int64
}

// A chunk is a range of bytes in a chunk file. Where no chunk, extent or
// upload covers a range of a stream, its bytes are lost.
type chunk struct {
	offset, length, records int64
	since, until            int64 // times of the first and the last append, in ns; 0 is unknown
	crc                     uint32
	sealed                  bool
	sha                     *[32]byte
}

// An extent is a range of bytes in a segment of the log.
type extent struct {
	offset  int64
	pos     uint32
	segment uint32 // its generation
	length  uint32
	appends uint32
}

// A logUpload is a range of bytes in a file of uploads/, whose reference is
// in a segment of the log.
type logUpload struct {
	upload
	offset  int64
	segment uint32
}

// A runPart is a range of bytes in the file of a run, which a segment of the
// log knows of.
type runPart struct {
	start, offset, length int64 // start is where the file begins
	appends               int64
	crc                   uint32
	segment               uint32
}

// Name is the stream's reference.
func (st *Stream) Name() string { return st.name }

// Label is the text that the stream was made with.
func (st *Stream) Label() string { return st.label }

// State is what the stream is now; only durable bytes count.
func (st *Stream) State() State {
	st.mu.Lock()
	defer st.mu.Unlock()
	s := State{Generation: st.durable.generation, Begin: st.start, Length: st.durable.length, Records: st.records}
	if st.modified != 0 {
		s.Modified = time.Unix(0, st.modified)
	}
	return s
}

// Folded is up to where the stream has left the log: what may be trimmed.
func (st *Stream) Folded() int64 {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.folded.length
}

// begin starts a generation. The caller holds mu.
func (st *Stream) begin(generation uint64) {
	st.durable = tip{generation, 0}
	st.records, st.folded, st.start = 0, fold{}, 0
	st.dropping = st.dropping || len(st.chunks)+len(st.extents)+len(st.uploads)+len(st.runs) > 0
	st.chunks, st.extents, st.uploads, st.runs = nil, nil, nil, nil
}

// apply adds a committed record that lies in a segment, its batch at pos. It
// is idempotent, for records of a recovery that the stream has already. The
// caller holds mu.
func (st *Stream) apply(r *logRecord, segment uint64, pos int64, now int64, damaged bool) {
	if r.generation < st.durable.generation {
		return
	}
	if r.generation > st.durable.generation {
		st.begin(r.generation)
	}
	st.exists = true
	end := r.offset + r.length
	if end < st.durable.length || (end == st.durable.length && r.length > 0) {
		return
	}
	st.durable.length = end
	st.records += int64(r.appends)
	st.modified = now
	switch {
	case r.upload != nil:
		st.uploads = append(st.uploads, logUpload{*r.upload, r.offset, uint32(segment)})
	case r.inRun && r.length > 0:
		st.extendRun(runPart{r.start, r.offset, r.length, int64(r.appends), r.crc, uint32(segment)})
	case r.length > 0 && !damaged:
		st.extend(extent{r.offset, uint32(pos + int64(r.data)), uint32(segment), uint32(r.length), r.appends})
	}
}

func (st *Stream) extend(e extent) {
	if n := len(st.extents); n > 0 {
		last := &st.extents[n-1]
		if last.segment == e.segment && last.pos+last.length == e.pos && last.offset+int64(last.length) == e.offset {
			last.length += e.length
			last.appends += e.appends
			return
		}
	}
	st.extents = append(st.extents, e)
}

// grows tells whether the file that begins at an offset has bytes, or may get
// some, of which its chunk does not know yet. The caller holds mu.
func (st *Stream) grows(start int64) bool {
	return slices.ContainsFunc(st.writing, func(r *run) bool { return r.start == start && r.generation == st.durable.generation }) ||
		slices.ContainsFunc(st.runs, func(p runPart) bool { return p.start == start })
}

// firstGrowing gives the lowest offset at which a file that grows begins, or
// the given one where that is lower. The caller holds mu.
func (st *Stream) firstGrowing(least int64) int64 {
	for _, r := range st.writing {
		if r.generation == st.durable.generation {
			least = min(least, r.start)
		}
	}
	for i := range st.runs {
		least = min(least, st.runs[i].start)
	}
	return least
}

func (st *Stream) extendRun(p runPart) {
	if n := len(st.runs); n > 0 {
		last := &st.runs[n-1]
		if last.segment == p.segment && last.start == p.start && last.offset+last.length == p.offset {
			last.crc = joinCRC(last.crc, p.crc, p.length)
			last.length += p.length
			last.appends += p.appends
			return
		}
	}
	st.runs = append(st.runs, p)
}

// A place is where a run of bytes is.
type place struct {
	offset, length int64  // of the run in the stream
	at             int64  // its first byte's position in the file
	file           string // a chunk file, or empty
	moved          string // where a fold moves the file to
	segment        uint32 // a segment of the log, or 0; a hole has neither
}

// locate gives the run that holds the byte at off. The caller holds mu.
func (st *Stream) locate(off int64) place {
	next := st.durable.length
	if i := sort.Search(len(st.chunks), func(i int) bool { return st.chunks[i].offset+st.chunks[i].length > off }); i < len(st.chunks) {
		c := &st.chunks[i]
		if c.offset <= off {
			return place{offset: c.offset, length: c.length, file: st.chunkFile(c.offset)}
		}
		next = min(next, c.offset)
	}
	if i := sort.Search(len(st.extents), func(i int) bool { return st.extents[i].offset+int64(st.extents[i].length) > off }); i < len(st.extents) {
		e := &st.extents[i]
		if e.offset <= off {
			return place{offset: e.offset, length: int64(e.length), at: int64(e.pos), segment: e.segment}
		}
		next = min(next, e.offset)
	}
	if i := sort.Search(len(st.uploads), func(i int) bool { return st.uploads[i].offset+st.uploads[i].length > off }); i < len(st.uploads) {
		u := &st.uploads[i]
		if u.offset <= off {
			return place{offset: u.offset, length: u.length, file: st.store.uploadFile(u.id), moved: st.chunkFile(u.offset)}
		}
		next = min(next, u.offset)
	}
	if i := sort.Search(len(st.runs), func(i int) bool { return st.runs[i].offset+st.runs[i].length > off }); i < len(st.runs) {
		p := &st.runs[i]
		if p.offset <= off {
			return place{offset: p.offset, length: p.length, at: p.offset - p.start, file: st.chunkFile(p.start)}
		}
		next = min(next, p.offset)
	}
	return place{offset: off, length: next - off}
}

func (st *Stream) chunkFile(offset int64) string {
	return st.store.chunkFile(st.name, st.durable.generation, offset)
}

// Chunks lists where the bytes of the present generation are.
func (st *Stream) Chunks() []Chunk {
	st.mu.Lock()
	defer st.mu.Unlock()
	list := make([]Chunk, 0, len(st.chunks)+len(st.uploads)+1)
	for _, c := range st.chunks {
		list = append(list, c.describe())
	}
	for _, u := range st.uploads {
		c := chunk{offset: u.offset, length: u.length, records: 1, crc: u.crc, sealed: true, sha: &u.sha}
		list = append(list, c.describe())
	}
	for _, p := range st.runs {
		c := chunk{offset: p.offset, length: p.length, records: p.appends, crc: p.crc}
		list = append(list, c.describe())
	}
	from := len(list)
	for _, e := range st.extents {
		if n := len(list); n > from && list[n-1].Offset+list[n-1].Length == e.offset {
			list[n-1].Length += int64(e.length)
			list[n-1].Records += int64(e.appends)
			continue
		}
		list = append(list, Chunk{Offset: e.offset, Length: int64(e.length), Records: int64(e.appends), Log: true})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Offset < list[j].Offset })
	return list
}

func (c *chunk) describe() Chunk {
	d := Chunk{Offset: c.offset, Length: c.length, Records: c.records, Sealed: c.sealed, CRC32C: fmt.Sprintf("%08x", c.crc)}
	if c.sha != nil {
		d.SHA256 = hex.EncodeToString(c.sha[:])
	}
	if c.since != 0 {
		d.Since = time.Unix(0, c.since).UTC()
	}
	if c.until != 0 {
		d.Until = time.Unix(0, c.until).UTC()
	}
	return d
}
