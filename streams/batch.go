package streams

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// The layout of a batch; docs/format/streams.md draws it.
const (
	batchMagic  = 0x31544257 // "WBT1"
	batchHeader = 64
	recordFixed = 40
	uploadFixed = 56
	runFixed    = 24
	keyFixed    = 20
	sectorBytes = 512
)

const (
	flagDefine = 1 << iota
	flagReset
	flagUpload
	flagRun
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// An upload is a body that has a file of its own.
type upload struct {
	id     uint64
	length int64
	crc    uint32
	sha    [32]byte
}

// A logRecord is one record of a batch: one or several appends to a stream
// that lie next to each other.
type logRecord struct {
	stream     uint32
	generation uint64
	offset     int64
	length     int64
	appends    uint32
	reset      bool
	define     bool
	name       string
	label      string
	upload     *upload
	inRun      bool   // the bytes are in a chunk file already
	start      int64  // the offset at which that file begins
	crc        uint32 // of the bytes in it
	keys       []byte // keyFixed bytes each
	data       int    // where the bytes are in the batch, from its first byte
	body       int    // where meta says what is in the run
}

// inline tells whether the bytes are in the batch.
func (r *logRecord) inline() bool { return r.upload == nil && !r.inRun }

// A batchInfo is a decoded batch.
type batchInfo struct {
	generation, salt, seq uint64
	time                  int64
	dataLen, metaLen      int
	records               int
	dataCRC               uint32
	damaged               bool // the records are known, their bytes are not
}

func (b batchInfo) size() int64 { return int64(batchHeader + b.dataLen + b.metaLen) }

// alignSector is the next multiple of a sector.
func alignSector(n int64) int64 { return (n + sectorBytes - 1) &^ (sectorBytes - 1) }

// putBatchHeader fills the header of buf, which holds header, data and meta.
func putBatchHeader(buf []byte, b batchInfo) {
	le := binary.LittleEndian
	clear(buf[:batchHeader])
	le.PutUint32(buf, batchMagic)
	le.PutUint64(buf[8:], b.generation)
	le.PutUint64(buf[16:], b.salt)
	le.PutUint64(buf[24:], b.seq)
	le.PutUint64(buf[32:], uint64(b.time))
	le.PutUint32(buf[40:], uint32(b.dataLen))
	le.PutUint32(buf[44:], uint32(b.metaLen))
	le.PutUint32(buf[48:], uint32(b.records))
	data := buf[batchHeader : batchHeader+b.dataLen]
	le.PutUint32(buf[52:], crc32.Checksum(data, castagnoli))
	le.PutUint32(buf[4:], metaCRC(buf[:batchHeader], buf[batchHeader+b.dataLen:batchHeader+b.dataLen+b.metaLen]))
}

func metaCRC(header, meta []byte) uint32 {
	return crc32.Update(crc32.Checksum(header[8:batchHeader], castagnoli), castagnoli, meta)
}

// parseBatchHeader reads a header, which is not yet to be believed.
func parseBatchHeader(h []byte) (batchInfo, bool) {
	le := binary.LittleEndian
	if len(h) < batchHeader || le.Uint32(h) != batchMagic {
		return batchInfo{}, false
	}
	b := batchInfo{
		generation: le.Uint64(h[8:]), salt: le.Uint64(h[16:]), seq: le.Uint64(h[24:]),
		time: int64(le.Uint64(h[32:])), dataLen: int(le.Uint32(h[40:])), metaLen: int(le.Uint32(h[44:])),
		records: int(le.Uint32(h[48:])), dataCRC: le.Uint32(h[52:]),
	}
	return b, b.dataLen <= math.MaxInt32 && b.metaLen <= math.MaxInt32
}

// checkBatch tells whether buf holds the whole batch b as it was written; it
// marks b as damaged when only the data is not.
func checkBatch(buf []byte, b *batchInfo) bool {
	if int64(len(buf)) < b.size() {
		return false
	}
	data, meta := buf[batchHeader:batchHeader+b.dataLen], buf[batchHeader+b.dataLen:b.size()]
	if metaCRC(buf, meta) != binary.LittleEndian.Uint32(buf[4:]) {
		return false
	}
	b.damaged = crc32.Checksum(data, castagnoli) != b.dataCRC
	return true
}

// appendRecord adds a record without its keys to meta.
func appendRecord(meta []byte, r *logRecord) []byte {
	le := binary.LittleEndian
	var flags byte
	if r.define {
		flags |= flagDefine
	}
	if r.reset {
		flags |= flagReset
	}
	inline := r.length
	if r.upload != nil {
		flags |= flagUpload
		inline = 0
	}
	if r.inRun {
		flags |= flagRun
		inline = 0
	}
	meta = le.AppendUint32(meta, r.stream)
	meta = append(meta, flags, 0, 0, 0)
	meta = le.AppendUint64(meta, r.generation)
	meta = le.AppendUint64(meta, uint64(r.offset))
	meta = le.AppendUint32(meta, uint32(inline))
	meta = le.AppendUint32(meta, r.appends)
	meta = le.AppendUint32(meta, 0)
	meta = le.AppendUint32(meta, 0)
	if r.define {
		meta = le.AppendUint32(meta, uint32(len(r.name)))
		meta = le.AppendUint32(meta, uint32(len(r.label)))
		meta = append(append(meta, r.name...), r.label...)
	}
	if u := r.upload; u != nil {
		meta = le.AppendUint64(meta, u.id)
		meta = le.AppendUint64(meta, uint64(u.length))
		meta = le.AppendUint32(meta, u.crc)
		meta = le.AppendUint32(meta, 0)
		meta = append(meta, u.sha[:]...)
	}
	if r.inRun {
		meta = le.AppendUint64(meta, uint64(r.start))
		meta = le.AppendUint64(meta, uint64(r.length))
		meta = le.AppendUint32(meta, r.crc)
		meta = le.AppendUint32(meta, 0)
	}
	return meta
}

// extendRecord notes a further append to r, which begins at meta[at].
func extendRecord(meta []byte, at int, r *logRecord) {
	le := binary.LittleEndian
	if r.inRun {
		le.PutUint64(meta[r.body+8:], uint64(r.length))
	} else {
		le.PutUint32(meta[at+24:], uint32(r.length))
	}
	le.PutUint32(meta[at+28:], r.appends)
}

// addKey adds a key to the record that begins at meta[at] and ends meta.
func addKey(meta []byte, at int, k Key, rel uint32) []byte {
	le := binary.LittleEndian
	le.PutUint32(meta[at+32:], le.Uint32(meta[at+32:])+1)
	return le.AppendUint32(append(meta, k[:]...), rel)
}

var errMeta = errors.New("malformed records")

// parseRecords calls each for the records of a batch whose meta section was
// checked. The record's keys stay in meta.
func parseRecords(meta []byte, b batchInfo, each func(logRecord) error) error {
	data := batchHeader
	for i := range b.records {
		r, rest, err := parseRecord(meta)
		if err != nil {
			return fmt.Errorf("record %d: %w", i, err)
		}
		r.data = data
		if r.inline() {
			data += int(r.length)
		}
		if data > batchHeader+b.dataLen {
			return fmt.Errorf("record %d: %w", i, errMeta)
		}
		if err := each(r); err != nil {
			return err
		}
		meta = rest
	}
	if len(meta) != 0 || data != batchHeader+b.dataLen {
		return errMeta
	}
	return nil
}

func parseRecord(meta []byte) (r logRecord, rest []byte, err error) {
	le := binary.LittleEndian
	if len(meta) < recordFixed {
		return r, nil, errMeta
	}
	flags, keys := meta[4], int64(le.Uint32(meta[32:]))
	r = logRecord{
		stream: le.Uint32(meta), generation: le.Uint64(meta[8:]), offset: int64(le.Uint64(meta[16:])),
		length: int64(le.Uint32(meta[24:])), appends: le.Uint32(meta[28:]),
		define: flags&flagDefine != 0, reset: flags&flagReset != 0,
	}
	meta = meta[recordFixed:]
	if r.define {
		if meta, err = parseDefine(meta, &r); err != nil {
			return r, nil, err
		}
	}
	if flags&flagUpload != 0 {
		if len(meta) < uploadFixed || r.length != 0 {
			return r, nil, errMeta
		}
		u := &upload{id: le.Uint64(meta), length: int64(le.Uint64(meta[8:])), crc: le.Uint32(meta[16:])}
		copy(u.sha[:], meta[24:])
		r.upload, r.length, meta = u, u.length, meta[uploadFixed:]
	}
	if flags&flagRun != 0 {
		if len(meta) < runFixed || r.length != 0 || r.upload != nil {
			return r, nil, errMeta
		}
		r.inRun, r.start, r.length, r.crc = true, int64(le.Uint64(meta)), int64(le.Uint64(meta[8:])), le.Uint32(meta[16:])
		if r.start < 0 || r.start > r.offset {
			return r, nil, errMeta
		}
		meta = meta[runFixed:]
	}
	if keys*keyFixed > int64(len(meta)) || r.offset < 0 || r.length < 0 || r.offset > math.MaxInt64-r.length {
		return r, nil, errMeta
	}
	r.keys = meta[:keys*keyFixed]
	return r, meta[keys*keyFixed:], nil
}

func parseDefine(meta []byte, r *logRecord) ([]byte, error) {
	le := binary.LittleEndian
	if len(meta) < 8 {
		return nil, errMeta
	}
	n, l := int64(le.Uint32(meta)), int64(le.Uint32(meta[4:]))
	meta = meta[8:]
	if n+l > int64(len(meta)) {
		return nil, errMeta
	}
	r.name, r.label = string(meta[:n]), string(meta[n:n+l])
	return meta[n+l:], nil
}
