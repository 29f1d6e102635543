package streams

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"path"

	"weir/internal/vfs"
)

// A block of a key file: a header and keys; docs/format/streams.md draws it.
const (
	blockMagic  = 0x31424b57 // "WKB1"
	blockHeader = 24
	blockKey    = 36
)

// A storedKey is a key of a folded segment.
type storedKey struct {
	id    keyID
	place keyPlace
}

// decodeKeys calls each for the keys of the whole blocks at the beginning of
// b and gives where the first other byte is.
func decodeKeys(b []byte, each func(k storedKey, time int64)) int {
	le := binary.LittleEndian
	at := 0
	for {
		h := b[at:]
		if len(h) < blockHeader || le.Uint32(h) != blockMagic {
			return at
		}
		n := le.Uint64(h[8:])
		if n > uint64(len(h)-blockHeader)/blockKey {
			return at
		}
		end := blockHeader + int(n)*blockKey
		if crc32.Checksum(h[8:end], castagnoli) != le.Uint32(h[4:]) {
			return at
		}
		time := int64(le.Uint64(h[16:]))
		for k := h[blockHeader:end]; len(k) > 0; k = k[blockKey:] {
			s := storedKey{id: keyID{stream: le.Uint32(k), key: Key(k[4:20])}}
			s.place = keyPlace{generation: uint32(min(le.Uint64(k[20:]), math.MaxUint32)), offset: int64(le.Uint64(k[28:]))}
			each(s, time)
		}
		at += end
	}
}

func (s *Store) keyFile(number uint64) string {
	return path.Join(s.dir, "keys", fmt.Sprintf("%08d.keys", number))
}

// removeKeyFiles deletes the key files that the manifest no longer names.
func (s *Store) removeKeyFiles(files [2]keyFile) {
	names, _ := s.o.FS.List(path.Join(s.dir, "keys"))
	for _, name := range names {
		full := path.Join(s.dir, "keys", name)
		if full != s.keyFile(files[0].number) && full != s.keyFile(files[1].number) {
			s.o.FS.Remove(full)
		}
	}
}

// readKeys reads a key file. It insists, since keys that are forgotten let a
// repeat be stored again.
func (s *Store) readKeys(name string) (b []byte, err error) {
	for range attempts {
		if b, err = vfs.ReadFile(s.o.FS, name); err == nil || errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return b, err
}

// loadKeyFiles reads the key files into the table.
func (s *Store) loadKeyFiles(l *loaded) {
	for _, k := range s.state.keyFiles {
		if k.number == 0 {
			continue
		}
		name := s.keyFile(k.number)
		b, err := s.readKeys(name)
		if err != nil {
			l.damage = append(l.damage, damage{name: name, what: fmt.Sprintf("keys of old appends are lost: %v", err)})
		}
		b = b[:min(int64(len(b)), k.length)]
		for at := 0; ; {
			at += decodeKeys(b[at:], func(k storedKey, time int64) { s.keys.put(k.id, k.place, time) })
			if int64(at) == k.length || err != nil {
				break
			}
			next := nextBlock(b, at)
			l.damage = append(l.damage, damage{name, int64(at), int64(next), "keys of old appends are damaged"})
			at = next
			if at == len(b) {
				break
			}
		}
	}
}

// nextBlock gives where a whole block begins after at, or the end.
func nextBlock(b []byte, at int) int {
	magic := binary.LittleEndian.AppendUint32(nil, blockMagic)
	for at++; at < len(b); at++ {
		i := bytes.Index(b[at:], magic)
		if i < 0 {
			break
		}
		at += i
		if decodeKeys(b[at:], func(storedKey, int64) {}) > 0 {
			return at
		}
	}
	return len(b)
}
