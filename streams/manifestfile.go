package streams

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"weir/internal/vfs"
)

// manifestKinds are the endings of the two copies of a manifest: losing the
// only list of streams to one bad sector would lose them all.
var manifestKinds = [2]string{".manifest", ".copy"}

// A manifestFile is the pair of files that the keeper appends deltas to. It
// belongs to one goroutine at a time.
type manifestFile struct {
	fs     vfs.FS
	dir    string
	number uint64
	files  [2]vfs.File // nil makes the next change write a new base
	base   int64       // bytes of the base
	pos    int64
	least  int64 // bytes of deltas that are always let grow
	unsure bool  // whether the last change counts: it failed
}

// baseEntries is how many streams a part of the base holds.
const baseEntries = 1000

func manifestName(dir string, number uint64, kind int) string {
	return path.Join(dir, fmt.Sprintf("%08d%s", number, manifestKinds[kind]))
}

// grown tells whether the deltas outgrew the base.
func (m *manifestFile) grown() bool {
	return m.files[0] == nil || m.pos-m.base > max(m.base, m.least)
}

// add makes a delta durable. After an error the next change must be a rewrite;
// until then the delta may count.
func (m *manifestFile) add(f *frame) error {
	b := f.encode()
	for _, file := range m.files {
		_, err := file.WriteAt(b, m.pos)
		if err == nil {
			err = file.Datasync()
		}
		if err != nil {
			m.abandon()
			m.unsure = true
			return fmt.Errorf("write the manifest: %w", noSpace(err))
		}
	}
	m.pos += int64(len(b))
	return nil
}

func (m *manifestFile) abandon() {
	for i, f := range m.files {
		if f != nil {
			f.Close()
		}
		m.files[i] = nil
	}
}

// rewrite makes a new manifest of a state and all entries durable, and then
// removes the one before. After an error either may count.
func (m *manifestFile) rewrite(state manifestState, entries []entry) error {
	m.abandon()
	m.number++
	b := encodeBase(state, entries)
	err := errors.Join(m.begin(0, b), m.begin(1, b))
	if err == nil {
		err = m.fs.SyncDir(m.dir)
	}
	if err != nil {
		m.abandon()
		m.unsure = true
		for kind := range manifestKinds { // a full disk needs the room
			m.fs.Remove(manifestName(m.dir, m.number, kind))
		}
		return fmt.Errorf("make a manifest: %w", noSpace(err))
	}
	m.base, m.pos, m.unsure = int64(len(b)), int64(len(b)), false
	m.removeOthers()
	return nil
}

// begin writes one copy of a base.
func (m *manifestFile) begin(kind int, b []byte) error {
	f, err := m.fs.Create(manifestName(m.dir, m.number, kind))
	if err != nil {
		return err
	}
	m.files[kind] = f
	if _, err := f.WriteAt(b, 0); err != nil {
		return err
	}
	return f.Datasync()
}

func encodeBase(state manifestState, entries []entry) []byte {
	var b []byte
	for {
		part := frame{kind: frameBase, state: state, entries: entries[:min(len(entries), baseEntries)]}
		entries = entries[len(part.entries):]
		if len(entries) == 0 {
			part.kind = frameStart
			return append(b, part.encode()...)
		}
		b = append(b, part.encode()...)
	}
}

// removeOthers deletes manifests that a newer one replaced.
func (m *manifestFile) removeOthers() {
	numbers, _ := manifestNumbers(m.fs, m.dir) // those that stay go with the next one
	for _, n := range numbers {
		for kind := range manifestKinds {
			if n != m.number {
				m.fs.Remove(manifestName(m.dir, n, kind))
			}
		}
	}
}

// resume goes on after the end of a manifest that was read.
func (m *manifestFile) resume(r readManifest) error {
	m.number = r.newest
	if r.number == 0 {
		return nil
	}
	open := m.fs.Open
	if r.equal {
		open = m.fs.OpenFile
	}
	for kind := range manifestKinds {
		f, err := open(manifestName(m.dir, r.number, kind))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		m.files[kind] = f
		if err := f.Datasync(); err != nil {
			return err
		}
	}
	m.base, m.pos = r.base, r.end
	if !r.equal || r.number != r.newest || r.version < frameVersion {
		m.abandon() // what comes next begins a new manifest
	}
	return m.fs.SyncDir(m.dir)
}

// manifestNumbers gives the numbers of the manifests in a folder, in order; a
// folder that is missing has none.
func manifestNumbers(fsys vfs.FS, dir string) ([]uint64, error) {
	names, err := fsys.List(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var list []uint64
	for _, name := range names {
		digits, _, _ := strings.Cut(name, ".")
		if n, err := strconv.ParseUint(digits, 10, 64); err == nil && !slices.Contains(list, n) {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return list, nil
}

// A readManifest is what the newest whole manifest says.
type readManifest struct {
	number    uint64 // 0 is none
	newest    uint64 // the highest number, also of one whose making was cut off
	state     manifestState
	frames    []frame
	base, end int64
	version   int        // of the last frame
	equal     bool       // the two copies are the same, and whole
	damage    []badRange // what neither copy has whole
}

// loadManifest reads the newest whole manifest. Without any it gives number 0.
func loadManifest(fsys vfs.FS, dir string) (readManifest, error) {
	numbers, err := manifestNumbers(fsys, dir)
	if err != nil { // to go on without one would write over what only it knows
		return readManifest{}, fmt.Errorf("read the manifest: %w", err)
	}
	for _, n := range slices.Backward(numbers) {
		var copies [2][]byte
		for kind := range copies {
			b, err := vfs.ReadFile(fsys, manifestName(dir, n, kind))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return readManifest{}, fmt.Errorf("read the manifest: %w", err)
			}
			copies[kind] = b
			if _, _, version := splitFrame(b); version > frameVersion {
				return readManifest{}, fmt.Errorf("read the manifest: format %d: %w", version, errVersion)
			}
		}
		m := parseManifest(copies[0], copies[1])
		m.newest = numbers[len(numbers)-1]
		if m.base == 0 {
			continue // its making was cut off
		}
		m.number = n
		return m, nil
	}
	none := readManifest{}
	if len(numbers) > 0 {
		none.newest = numbers[len(numbers)-1]
	}
	return none, nil
}

// parseManifest reads the frames of two copies, each frame from the one that
// has it whole.
func parseManifest(a, b []byte) readManifest {
	m := readManifest{equal: bytes.Equal(a, b)}
	longest := int64(max(len(a), len(b)))
	for at := int64(0); at < longest; {
		f, n, version := frameAt(a, at)
		if n == 0 {
			f, n, version = frameAt(b, at)
		}
		if n == 0 {
			m.equal = false
			next := nextFrame(a, b, at+1)
			if next < 0 {
				break // a delta that was cut off
			}
			m.damage = append(m.damage, badRange{at, next})
			at = next
			continue
		}
		at += n
		m.end, m.state, m.version = at, f.state, version
		m.frames = append(m.frames, f)
		if f.kind == frameStart || f.kind == frameDelta && m.base == 0 {
			m.base = at
		}
	}
	return m
}

// frameAt decodes the frame at a position and gives its size, 0 when it is not
// whole, and its version.
func frameAt(b []byte, at int64) (f frame, size int64, version int) {
	if at >= int64(len(b)) {
		return frame{}, 0, 0
	}
	payload, rest, version := splitFrame(b[at:])
	if version == 0 {
		return frame{}, 0, 0
	}
	f, err := decodeFrame(payload)
	if err != nil {
		return frame{}, 0, 0
	}
	return f, int64(len(b)) - int64(len(rest)) - at, version
}

// nextFrame gives where the next whole frame of either copy begins, or -1.
func nextFrame(a, b []byte, from int64) int64 {
	best := int64(-1)
	magic := binary.LittleEndian.AppendUint32(nil, frameMagic)[:3]
	for _, c := range [][]byte{a, b} {
		for at := from; at < int64(len(c)) && (best < 0 || at < best); at++ {
			i := bytes.Index(c[at:], magic)
			if i < 0 {
				break
			}
			at += int64(i)
			if _, n, _ := frameAt(c, at); n > 0 && (best < 0 || at < best) {
				best = at
			}
		}
	}
	return best
}
