package streams

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path"
)

// A Condition is what Check finds a folder to be.
type Condition string

// The conditions of a folder.
const (
	Clean      Condition = "clean"
	Repairable Condition = "repairable" // the next Open cuts what was never acknowledged
	Damaged    Condition = "damaged"    // something that was kept is lost
)

// A Finding is one thing that Check found. A range of a stream's bytes is in
// Offset and Length; a range of a file's in From and To, both 0 for all of it.
type Finding struct {
	Condition  Condition `json:"condition"`
	File       string    `json:"file,omitempty"`
	From       int64     `json:"from,omitempty"`
	To         int64     `json:"to,omitempty"`
	Stream     string    `json:"stream,omitempty"`
	Generation uint64    `json:"generation,omitempty"`
	Offset     int64     `json:"offset,omitempty"`
	Length     int64     `json:"length,omitempty"`
	Text       string    `json:"text"`
}

// A Report is what Check found. Its Condition is the worst of the findings.
type Report struct {
	Condition Condition `json:"condition"`
	Streams   int       `json:"streams"`
	Records   int64     `json:"records"`  // appends of all present generations
	Bytes     int64     `json:"bytes"`    // that were not trimmed
	Chunks    int       `json:"chunks"`   // chunk files
	Segments  int       `json:"segments"` // of the log that are not folded
	Keys      int       `json:"keys"`
	Verified  int64     `json:"verified"` // bytes of chunk files whose checksum was computed
	Findings  []Finding `json:"findings"`
}

// ErrNoStore: the folder holds no store.
var ErrNoStore = errors.New("streams: no store in this folder")

// Check verifies the store in dir, which nobody may have open, and changes
// nothing: the manifest, the log's batches, the sizes of the chunk files, and
// with deep their checksums too. The error says why it could not be done.
func Check(dir string, o Options, deep bool) (Report, error) {
	o, err := o.withDefaults()
	if err != nil {
		return Report{}, err
	}
	if _, err := o.FS.List(path.Join(dir, "log")); errors.Is(err, fs.ErrNotExist) {
		return Report{}, fmt.Errorf("%w: %s", ErrNoStore, dir)
	}
	if _, err := o.FS.Size(path.Join(dir, "lock")); err == nil {
		lock, err := o.FS.Lock(path.Join(dir, "lock"))
		if err != nil {
			return Report{}, fmt.Errorf("streams: check %s: %w", dir, err)
		}
		defer lock.Close()
	}
	s := newStore(dir, o)
	l, err := s.load(o.FS.Open)
	for _, g := range l.segs {
		defer g.file.Close()
	}
	if err != nil {
		return Report{}, fmt.Errorf("streams: check %s: %w", dir, err)
	}
	c := &checker{s: s, r: Report{Condition: Clean, Segments: len(l.live), Keys: s.keys.len(), Findings: []Finding{}}, deep: deep}
	c.log(l)
	for _, st := range s.byID {
		if st != nil {
			c.stream(st)
		}
	}
	return c.r, nil
}

type checker struct {
	s    *Store
	r    Report
	deep bool
	buf  []byte
}

func (c *checker) found(f Finding) {
	c.r.Findings = append(c.r.Findings, f)
	if c.r.Condition != Damaged {
		c.r.Condition = f.Condition
	}
}

// log reports what loading told.
func (c *checker) log(l *loaded) {
	for _, d := range l.damage {
		c.found(Finding{Condition: Damaged, File: d.name, From: d.from, To: d.to, Text: d.what})
	}
	if l.manifest.number != 0 && !l.manifest.equal {
		c.found(Finding{Condition: Repairable, File: manifestName(c.s.manifest.dir, l.manifest.number, 0), From: l.manifest.end,
			Text: "the two copies of the manifest differ, or their end was cut off; every part is whole in one of them, unless said above"})
	}
	if l.torn > 0 {
		g := l.live[len(l.live)-1]
		c.found(Finding{Condition: Repairable, File: g.name, From: g.pos, To: g.pos + l.torn, Text: "a commit was cut off; nothing of it was acknowledged"})
	}
}

// stream reports holes, and verifies the files of a stream.
func (c *checker) stream(st *Stream) {
	c.r.Streams++
	c.r.Records += st.records
	c.r.Bytes += st.durable.length - st.start
	for off := st.start; off < st.durable.length; {
		pl := st.locate(off)
		if pl.file == "" && pl.segment == 0 {
			c.found(Finding{Condition: Damaged, Stream: st.name, Generation: st.durable.generation, Offset: off, Length: pl.offset + pl.length - off,
				Text: "bytes were lost to damage"})
		}
		off = pl.offset + pl.length
	}
	for i := range st.chunks {
		ch := &st.chunks[i]
		c.file(st, st.chunkFile(ch.offset), 0, ch.offset, ch.length, ch.crc, ch.sealed)
	}
	for i := range st.runs {
		p := &st.runs[i]
		c.file(st, st.chunkFile(p.start), p.offset-p.start, p.offset, p.length, p.crc, false)
	}
	for i := range st.uploads {
		u := &st.uploads[i]
		name := c.s.uploadFile(u.id)
		if _, err := c.s.o.FS.Size(name); errors.Is(err, fs.ErrNotExist) {
			name = st.chunkFile(u.offset)
		}
		c.file(st, name, 0, u.offset, u.length, u.crc, true)
	}
}

// file verifies what a file of a stream has from at on.
func (c *checker) file(st *Stream, name string, at, offset, length int64, crc uint32, sealed bool) {
	if at == 0 {
		c.r.Chunks++
	}
	end := at + length
	bad := Finding{Condition: Damaged, File: name, From: at, To: end, Stream: st.name, Generation: st.durable.generation, Offset: offset, Length: length}
	size, err := c.s.o.FS.Size(name)
	switch {
	case err != nil:
		bad.Text = err.Error()
	case size < end:
		bad.From, bad.Text = max(at, size), fmt.Sprintf("the file has %d bytes, %d were kept", size, end)
		bad.Offset, bad.Length = offset+bad.From-at, end-bad.From
	case sealed && size > end:
		bad.From, bad.To, bad.Text = end, size, fmt.Sprintf("the file has %d bytes, %d were kept", size, end)
	case c.deep:
		got, err := c.sum(name, at, length)
		if err != nil {
			bad.Text = err.Error()
		} else if got != crc {
			bad.Text = fmt.Sprintf("the checksum is %08x, it was %08x", got, crc)
		}
	}
	if bad.Text != "" {
		c.found(bad)
	}
}

// sum computes the CRC of n bytes of a file.
func (c *checker) sum(name string, from, n int64) (crc uint32, err error) {
	f, err := c.s.o.FS.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	c.buf = sized(c.buf, 1<<20)
	for at := int64(0); at < n; {
		part := c.buf[:min(int64(len(c.buf)), n-at)]
		if _, err := f.ReadAt(part, from+at); err != nil && err != io.EOF {
			return 0, err
		}
		crc = crc32.Update(crc, castagnoli, part)
		at += int64(len(part))
	}
	c.r.Verified += n
	return crc, nil
}
