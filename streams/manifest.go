package streams

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// A manifest frame is a header of 16 bytes and a payload; docs/format/streams.md
// draws both.
const (
	frameMagic   = 0x0046_4d57 // "WMF", then the version as a digit
	frameVersion = 2
	frameHeader  = 16
)

// newerVersions are digits of frames that a weir to come may write.
const newerVersions = 9

const (
	frameBase  = iota + 1 // a part of the base
	frameStart            // the last part of the base: the manifest is whole
	frameDelta            // what a fold or a trim changed
)

const (
	entryNamed   = 1 << iota // the name and the label follow
	entryDrop                // files that no longer count may be left
	entryTrimmed             // the beginning follows
)

const (
	chunkSealed = 1 << iota
	chunkHashed
	chunkTimed
)

// A manifestState is what the manifest says about the store as a whole.
type manifestState struct {
	folded   uint64     // generation of the newest segment that was folded
	clean    cut        // the end of the log when the store was closed; zero when it was not
	keyFiles [2]keyFile // the old one and the present one
}

// A keyFile is a file of keys; number 0 is none.
type keyFile struct {
	number uint64
	length int64
	keys   int64
	since  int64 // time of its first key, in ns
}

// An entry is what the manifest says of one stream. Chunks replace those of
// the generation from the first one's offset on.
type entry struct {
	id          uint32
	named, drop bool
	name, label string
	generation  uint64
	length      int64
	records     int64
	modified    int64
	begin       int64 // what lies before it was trimmed
	chunks      []chunk
}

// A frame is one atomic change of the manifest.
type frame struct {
	kind    byte
	state   manifestState
	entries []entry
}

func (f *frame) encode() []byte {
	b := make([]byte, frameHeader, frameHeader+64*(1+len(f.entries)))
	b = append(b, f.kind)
	put := func(v int64) { b = binary.AppendUvarint(b, uint64(v)) }
	put(int64(f.state.folded))
	put(int64(f.state.clean.generation))
	put(f.state.clean.pos)
	for _, k := range f.state.keyFiles {
		put(int64(k.number))
		put(k.length)
		put(k.keys)
		put(k.since)
	}
	put(int64(len(f.entries)))
	for i := range f.entries {
		b = f.entries[i].append(b)
	}
	le := binary.LittleEndian
	le.PutUint32(b, frameMagic|('0'+frameVersion)<<24)
	le.PutUint64(b[8:], uint64(len(b)-frameHeader))
	le.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
	return b
}

func (e *entry) append(b []byte) []byte {
	put := func(v int64) { b = binary.AppendUvarint(b, uint64(v)) }
	var flags byte
	if e.named {
		flags |= entryNamed
	}
	if e.drop {
		flags |= entryDrop
	}
	if e.begin > 0 {
		flags |= entryTrimmed
	}
	put(int64(e.id))
	b = append(b, flags)
	if e.named {
		put(int64(len(e.name)))
		b = append(b, e.name...)
		put(int64(len(e.label)))
		b = append(b, e.label...)
	}
	put(int64(e.generation))
	put(e.length)
	put(e.records)
	put(e.modified)
	if e.begin > 0 {
		put(e.begin)
	}
	put(int64(len(e.chunks)))
	for i := range e.chunks {
		b = e.chunks[i].append(b)
	}
	return b
}

func (c *chunk) append(b []byte) []byte {
	var flags byte
	if c.sealed {
		flags |= chunkSealed
	}
	if c.sha != nil {
		flags |= chunkHashed
	}
	if c.until > 0 {
		flags |= chunkTimed
	}
	b = append(b, flags)
	for _, v := range []int64{c.offset, c.length, c.records} {
		b = binary.AppendUvarint(b, uint64(v))
	}
	b = binary.LittleEndian.AppendUint32(b, c.crc)
	if c.sha != nil {
		b = append(b, c.sha[:]...)
	}
	if c.until > 0 {
		b = binary.AppendUvarint(b, uint64(c.since))
		b = binary.AppendUvarint(b, uint64(c.until-c.since))
	}
	return b
}

var errFrame = errors.New("malformed manifest frame")

// splitFrame checks the frame at the beginning of b and gives its payload and
// its version, 0 when it is not whole.
func splitFrame(b []byte) (payload, rest []byte, version int) {
	le := binary.LittleEndian
	if len(b) < frameHeader || le.Uint32(b)&0xff_ffff != frameMagic {
		return nil, nil, 0
	}
	version = int(b[3]) - '0'
	n := le.Uint64(b[8:])
	if version < 1 || version > newerVersions || n > uint64(len(b)-frameHeader) {
		return nil, nil, 0
	}
	end := frameHeader + int(n)
	if crc32.Checksum(b[8:end], castagnoli) != le.Uint32(b[4:]) {
		return nil, nil, 0
	}
	return b[frameHeader:end], b[end:], version
}

// A decoder takes values off a payload; after the first failure bad stays set.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int64) []byte {
	if d.bad || n < 0 || n > int64(len(d.b)) {
		d.bad = true
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) uint() int64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || d.bad {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return int64(v)
}

// count reads a number of items that take at least size bytes each.
func (d *decoder) count(size int64) int {
	n := d.uint()
	if n < 0 || n > int64(len(d.b))/size {
		d.bad = true
		return 0
	}
	return int(n)
}

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func decodeFrame(payload []byte) (frame, error) {
	d := &decoder{b: payload}
	f := frame{kind: d.byte()}
	f.state.folded = uint64(d.uint())
	f.state.clean = cut{generation: uint64(d.uint()), pos: d.uint()}
	for i := range f.state.keyFiles {
		f.state.keyFiles[i] = keyFile{uint64(d.uint()), d.uint(), d.uint(), d.uint()}
	}
	f.entries = make([]entry, d.count(8))
	for i := range f.entries {
		f.entries[i].decode(d)
	}
	if d.bad || len(d.b) != 0 || f.kind < frameBase || f.kind > frameDelta {
		return frame{}, errFrame
	}
	return f, nil
}

func (e *entry) decode(d *decoder) {
	e.id = uint32(d.uint())
	flags := d.byte()
	e.named, e.drop = flags&entryNamed != 0, flags&entryDrop != 0
	d.bad = d.bad || flags > entryNamed|entryDrop|entryTrimmed
	if e.named {
		e.name = string(d.take(d.uint()))
		e.label = string(d.take(d.uint()))
	}
	e.generation = uint64(d.uint())
	e.length, e.records, e.modified = d.uint(), d.uint(), d.uint()
	if flags&entryTrimmed != 0 {
		e.begin = d.uint()
	}
	d.bad = d.bad || e.begin < 0 || e.begin > e.length
	e.chunks = make([]chunk, d.count(8))
	for i := range e.chunks {
		e.chunks[i].decode(d)
	}
}

func (c *chunk) decode(d *decoder) {
	flags := d.byte()
	c.sealed = flags&chunkSealed != 0
	c.offset, c.length, c.records = d.uint(), d.uint(), d.uint()
	if b := d.take(4); b != nil {
		c.crc = binary.LittleEndian.Uint32(b)
	}
	if flags&chunkHashed != 0 {
		if b := d.take(32); b != nil {
			c.sha = (*[32]byte)(append([]byte(nil), b...))
		}
	}
	if flags&chunkTimed != 0 {
		c.since = d.uint()
		c.until = c.since + d.uint()
	}
	if c.offset < 0 || c.length < 0 || c.records < 0 || flags > chunkSealed|chunkHashed|chunkTimed {
		d.bad = true
	}
}

// mergeChunks replaces the tail of old from the first of chunks on.
func mergeChunks(old, chunks []chunk) []chunk {
	if len(chunks) == 0 {
		return old
	}
	n := len(old)
	for n > 0 && old[n-1].offset >= chunks[0].offset {
		n--
	}
	return append(old[:n:n], chunks...)
}

// cutChunks gives the chunks that are not wholly before a stream's beginning,
// and those that are.
func cutChunks(chunks []chunk, begin int64) (kept, gone []chunk) {
	n := 0
	for n < len(chunks) && chunks[n].offset+chunks[n].length <= begin {
		n++
	}
	if n == 0 {
		return chunks, nil
	}
	return append([]chunk(nil), chunks[n:]...), chunks[:n:n]
}
