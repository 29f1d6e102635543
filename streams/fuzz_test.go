package streams

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"weir/internal/vfs"
)

// seedFiles adds the golden files of a kind.
func seedFiles(f *testing.F, pattern string, most int) {
	names, err := filepath.Glob(filepath.Join("testdata", "v*", pattern))
	if err != nil || len(names) == 0 {
		f.Fatalf("no seeds %s: %v", pattern, err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[:min(len(b), most)])
	}
}

// FuzzManifest: any bytes are a manifest or not; what was read is written and
// read again as the same.
func FuzzManifest(f *testing.F) {
	seedFiles(f, "manifest/*.manifest", 1<<16)
	f.Fuzz(func(t *testing.T, b []byte) {
		m := parseManifest(b, nil)
		for _, fr := range m.frames {
			again := parseManifest(nil, fr.encode())
			if len(again.frames) != 1 || !reflect.DeepEqual(again.frames[0], fr) {
				t.Fatalf("%+v became %+v", fr, again.frames)
			}
		}
		if _, _, version := splitFrame(b); version == 0 && len(b) > frameHeader {
			payload := b[frameHeader:] // as if the checksum held
			if fr, err := decodeFrame(payload); err == nil {
				fr.encode()
			}
		}
	})
}

// FuzzRecords: any bytes are the records of a batch or not, whatever the
// header says.
func FuzzRecords(f *testing.F) {
	r := logRecord{stream: 3, generation: 1, offset: 10, length: 5, appends: 1, define: true, name: "name", label: "label"}
	meta := addKey(appendRecord(nil, &r), 0, Key{1, 2}, 0)
	f.Add(meta, 1, 5)
	r = logRecord{stream: 4, generation: 2, length: 1 << 30, appends: 1, reset: true, upload: &upload{id: 7, length: 1 << 30, crc: 9}}
	f.Add(appendRecord(meta, &r), 2, 5)
	r = logRecord{stream: 5, generation: 1, offset: 1 << 20, length: 1 << 30, appends: 7, inRun: true, start: 1 << 19, crc: 8}
	f.Add(appendRecord(meta, &r), 2, 5)
	f.Fuzz(func(t *testing.T, meta []byte, records, data int) {
		if data < 0 || data > 1<<30 {
			return
		}
		var again []byte
		err := parseRecords(meta, batchInfo{records: records, dataLen: data, metaLen: len(meta)}, func(r logRecord) error {
			if r.data < batchHeader || r.inline() && r.data+int(r.length) > batchHeader+data {
				t.Fatalf("%+v lies outside of the batch", r)
			}
			at := len(again)
			again = appendRecord(again, &r)
			copy(again[at+28:], meta[at+28:at+36]) // counts of appends and keys
			again = append(again, r.keys...)
			copy(again[at+4:at+8], meta[at+4:at+8])     // unknown flags
			copy(again[at+36:at+40], meta[at+36:at+40]) // reserved
			return nil
		})
		if err == nil && len(again) != len(meta) {
			t.Fatalf("%d bytes became %d", len(meta), len(again))
		}
	})
}

// keyBlock is what a keyWriter makes of keys.
func keyBlock(t *testing.T, keys []storedKey, at int64) []byte {
	mem := vfs.NewMem(1 << 40)
	if err := mem.MkdirAll("data/keys"); err != nil {
		t.Fatal(err)
	}
	s := newStore("data", small(mem))
	w, err := s.newKeyWriter([2]keyFile{}, at)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	for _, k := range keys {
		r := logRecord{stream: k.id.stream, generation: uint64(k.place.generation), offset: k.place.offset, keys: append(k.id.key[:], 0, 0, 0, 0)}
		if err := w.add(&r); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.done(); err != nil {
		t.Fatal(err)
	}
	b, err := vfs.ReadFile(mem, "data/keys/00000001.keys")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzKeys: any bytes are blocks of keys or not.
func FuzzKeys(f *testing.F) {
	seedFiles(f, "keys/*.keys", 1<<16)
	f.Fuzz(func(t *testing.T, b []byte) {
		var keys []storedKey
		var at int64
		end := decodeKeys(b, func(k storedKey, time int64) { keys, at = append(keys, k), time })
		if end > len(b) {
			t.Fatal("read beyond the end")
		}
		if len(keys) == 0 {
			return
		}
		n := 0
		decodeKeys(keyBlock(t, keys, at), func(k storedKey, _ int64) {
			if k != keys[n] {
				t.Fatalf("%+v became %+v", keys[n], k)
			}
			n++
		})
		if n != len(keys) {
			t.Fatalf("%d keys became %d", len(keys), n)
		}
	})
}

// A memory is a file of bytes.
type memory struct{ *bytes.Reader }

func (memory) WriteAt([]byte, int64) (int, error) { panic("a scan writes nothing") }
func (memory) Close() error                       { return nil }
func (memory) Truncate(int64) error               { panic("a scan writes nothing") }
func (memory) Datasync() error                    { panic("a scan writes nothing") }
func (m memory) Size() (int64, error)             { return m.Reader.Size(), nil }

// FuzzScan: any bytes are scanned in bounded time, and batches lie in order.
func FuzzScan(f *testing.F) {
	seedFiles(f, "log/*.seg", 8<<10)
	f.Fuzz(func(t *testing.T, b []byte) {
		file := memory{bytes.NewReader(b)}
		h, _, err := readSegHeader(file, int64(len(b)))
		if err != nil {
			return
		}
		sc := scanner{file: file, size: int64(len(b)), generation: h.generation, salt: h.salt}
		last := int64(0)
		end, _, _ := sc.scan(func(pos int64, b batchInfo, buf []byte) error {
			if pos <= last || pos%sectorBytes != 0 || int64(len(buf)) < b.size() {
				t.Fatalf("batch at %d after %d", pos, last)
			}
			last = pos
			return parseRecords(buf[batchHeader+b.dataLen:b.size()], b, func(logRecord) error { return nil })
		})
		if end > alignSector(int64(len(b))+sectorBytes) {
			t.Fatalf("ends at %d of %d", end, len(b))
		}
	})
}
