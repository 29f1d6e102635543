package streams

import (
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"weir/internal/vfs"
)

// A manifestFile is the file that the keeper appends deltas to. It belongs to
// one goroutine at a time.
type manifestFile struct {
	fs     vfs.FS
	dir    string
	number uint64
	file   vfs.File // nil makes the next change write a new base
	base   int64    // bytes of the base
	pos    int64
}

// baseEntries is how many streams a part of the base holds.
const baseEntries = 1000

// minDeltas is how many bytes of deltas are always let grow.
const minDeltas = 1 << 20

func (m *manifestFile) name(number uint64) string {
	return path.Join(m.dir, fmt.Sprintf("%08d.manifest", number))
}

// grown tells whether the deltas outgrew the base.
func (m *manifestFile) grown() bool {
	return m.file == nil || m.pos-m.base > max(m.base, minDeltas)
}

// add makes a delta durable. After an error the next change must be a rewrite.
func (m *manifestFile) add(f *frame) error {
	b := f.encode()
	_, err := m.file.WriteAt(b, m.pos)
	if err == nil {
		err = m.file.Datasync()
	}
	if err != nil {
		m.abandon()
		return fmt.Errorf("write the manifest: %w", noSpace(err))
	}
	m.pos += int64(len(b))
	return nil
}

func (m *manifestFile) abandon() {
	if m.file != nil {
		m.file.Close()
		m.file = nil
	}
}

// rewrite makes a new manifest of a state and all entries durable, and then
// removes the one before.
func (m *manifestFile) rewrite(state manifestState, entries []entry) error {
	m.number++
	f, err := m.fs.Create(m.name(m.number))
	if err != nil {
		return fmt.Errorf("make a manifest: %w", noSpace(err))
	}
	m.abandon()
	pos := int64(0)
	for kind := byte(frameBase); err == nil && kind == frameBase; {
		n := min(len(entries), baseEntries)
		if n == len(entries) {
			kind = frameStart
		}
		part := frame{kind: kind, state: state, entries: entries[:n]}
		b := part.encode()
		_, err = f.WriteAt(b, pos)
		pos += int64(len(b))
		entries = entries[n:]
	}
	if err == nil {
		err = f.Datasync()
	}
	if err == nil {
		err = m.fs.SyncDir(m.dir)
	}
	if err != nil {
		f.Close()
		m.fs.Remove(m.name(m.number))
		return fmt.Errorf("make a manifest: %w", noSpace(err))
	}
	m.file, m.base, m.pos = f, pos, pos
	m.removeOthers()
	return nil
}

// removeOthers deletes manifests that a newer one replaced.
func (m *manifestFile) removeOthers() {
	for _, n := range manifestNumbers(m.fs, m.dir) {
		if n != m.number {
			m.fs.Remove(m.name(n))
		}
	}
}

func manifestNumbers(fsys vfs.FS, dir string) []uint64 {
	names, _ := fsys.List(dir)
	var list []uint64
	for _, name := range names {
		if n, err := strconv.ParseUint(strings.TrimSuffix(name, ".manifest"), 10, 64); err == nil && strings.HasSuffix(name, ".manifest") {
			list = append(list, n)
		}
	}
	return list
}

// A readManifest is what a manifest file says.
type readManifest struct {
	number    uint64
	state     manifestState
	base, end int64
	size      int64
	damage    string // what is wrong with it beyond a torn end
}

// loadManifest reads the newest whole manifest, and calls each for its
// entries in order. Without any it gives number 0.
func loadManifest(fsys vfs.FS, dir string, each func(*entry)) (readManifest, error) {
	numbers := manifestNumbers(fsys, dir)
	for i := len(numbers) - 1; i >= 0; i-- {
		name := path.Join(dir, fmt.Sprintf("%08d.manifest", numbers[i]))
		b, err := vfs.ReadFile(fsys, name)
		if err != nil {
			return readManifest{}, fmt.Errorf("read the manifest: %w", err)
		}
		m, frames := parseManifest(b)
		if m.base == 0 {
			continue // its making was cut off
		}
		m.number = numbers[i]
		for i := range frames {
			for j := range frames[i].entries {
				each(&frames[i].entries[j])
			}
			m.state = frames[i].state
		}
		return m, nil
	}
	if len(numbers) > 0 {
		if newest := numbers[len(numbers)-1]; newest > 1 {
			return readManifest{}, fmt.Errorf("read the manifest: %w: no whole one in %s", fs.ErrInvalid, dir)
		}
	}
	return readManifest{}, nil
}

func parseManifest(b []byte) (m readManifest, frames []frame) {
	m.size = int64(len(b))
	for rest := b; ; {
		payload, next, ok := splitFrame(rest)
		if !ok {
			return m, frames
		}
		f, err := decodeFrame(payload)
		if err != nil {
			m.damage = err.Error()
			return m, frames
		}
		frames = append(frames, f)
		rest = next
		m.end = m.size - int64(len(rest))
		if f.kind == frameStart {
			m.base = m.end
		}
	}
}
