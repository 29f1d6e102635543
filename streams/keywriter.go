package streams

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"path"

	"weir/internal/vfs"
)

// keyPiece is the memory in which the keys of a segment wait to be written. A
// segment of small appends has hundreds of thousands.
const keyPiece = 256 << 10

// A keyWriter writes the keys of a segment, as they are found, behind what the
// present key file has, or to a new one when that is full or old. The header
// of their block comes last, and nothing counts until the manifest says so.
type keyWriter struct {
	s     *Store
	files [2]keyFile
	fresh bool // the file is new
	file  vfs.File
	out   *vfs.Sequential
	time  int64
	n     int64
	crc   uint32 // of the keys
}

func (s *Store) newKeyWriter(files [2]keyFile, time int64) (*keyWriter, error) {
	w := &keyWriter{s: s, files: files, time: time}
	cur := &w.files[1]
	if cur.number == 0 || cur.keys >= int64(s.keys.max) || time-cur.since > int64(s.o.KeyAge) {
		w.files = [2]keyFile{*cur, {number: cur.number + 1, since: time}}
		w.fresh = true
	}
	name := s.keyFile(cur.number)
	file, err := s.o.FS.OpenFile(name)
	if err != nil {
		return nil, fmt.Errorf("write keys: %w", noSpace(err))
	}
	w.file = file
	w.out = vfs.NewSequential(s.o.FS, name, file, cur.length+blockHeader, vfs.NewPiece(keyPiece))
	return w, nil
}

// add writes the keys of a record.
func (w *keyWriter) add(r *logRecord) error {
	var b [blockKey]byte
	var err error
	eachKey(r, func(id keyID, p keyPlace) {
		putKey(&b, id, p)
		w.crc = crc32.Update(w.crc, castagnoli, b[:])
		w.n++
		for rest := b[:]; len(rest) > 0 && err == nil; {
			var part []byte
			if part, err = w.out.Next(int64(len(rest))); err == nil {
				n := copy(part, rest)
				w.out.Advance(n)
				rest = rest[n:]
			}
		}
	})
	return err
}

// done makes the keys durable, and gives what the manifest then says.
func (w *keyWriter) done() ([2]keyFile, error) {
	err := w.out.Close()
	w.out = nil
	cur := &w.files[1]
	if err == nil {
		_, err = w.file.WriteAt(w.header(), cur.length)
	}
	if err == nil {
		err = w.file.Datasync()
	}
	if err == nil && w.fresh {
		err = w.s.o.FS.SyncDir(path.Dir(w.s.keyFile(cur.number)))
	}
	if err != nil {
		return w.files, fmt.Errorf("write keys: %w", noSpace(err))
	}
	cur.length += blockHeader + w.n*blockKey
	cur.keys += w.n
	return w.files, nil
}

// header is the header of the block.
func (w *keyWriter) header() []byte {
	le := binary.LittleEndian
	b := make([]byte, blockHeader)
	le.PutUint32(b, blockMagic)
	le.PutUint64(b[8:], uint64(w.n))
	le.PutUint64(b[16:], uint64(w.time))
	le.PutUint32(b[4:], joinCRC(crc32.Checksum(b[8:], castagnoli), w.crc, w.n*blockKey))
	return b
}

// close lets go of the file.
func (w *keyWriter) close() {
	if w.out != nil {
		w.out.Close()
	}
	w.file.Close()
}

func putKey(b *[blockKey]byte, id keyID, p keyPlace) {
	le := binary.LittleEndian
	le.PutUint32(b[:], id.stream)
	copy(b[4:], id.key[:])
	le.PutUint64(b[20:], uint64(p.generation))
	le.PutUint64(b[28:], uint64(p.offset))
}
