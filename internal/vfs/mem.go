package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"sort"
	"strings"
	"sync"
	"syscall"
)

// sector is the unit that a power cut keeps or loses whole.
const sector = 512

// Mem is a file system in memory. It remembers what was synced, so that
// CrashClone can give what a power cut would leave. All methods are safe for
// concurrent use. Make it with NewMem.
type Mem struct {
	mu     sync.Mutex
	names  map[string]*node // as seen now; a folder has a nil node
	stable map[string]*node // as a power cut surely leaves them
	ops    []nameOp         // between stable and names, in order
	locks  map[string]bool
	total  int64
}

// A nameOp is a change of names that is not yet durable.
type nameOp struct {
	dirs     [2]string // folders that must be synced
	from, to string    // rename, or a removal with to empty
	made     *node     // a creation of to, with from empty
	folder   bool
}

type node struct {
	data   []byte
	stable []byte
	dirty  map[int64]struct{}
	resize bool // the size changed since the last sync
}

// NewMem makes an empty file system that says it has total bytes.
func NewMem(total int64) *Mem {
	root := map[string]*node{".": nil, "/": nil}
	return &Mem{names: maps.Clone(root), stable: root, locks: map[string]bool{}, total: total}
}

// CrashClone gives a file system as a power cut at this moment might leave it:
// every 512-byte sector that was written and not synced is kept or lost by
// chance, and so is every change of names. The clone holds no locks, and m
// goes on as it was.
func (m *Mem) CrashClone(r *rand.Rand) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	keep := r.Float64() // some cuts keep most, some hardly anything
	names := maps.Clone(m.stable)
	for _, op := range m.ops {
		if r.Float64() < keep {
			op.apply(names)
		}
	}
	c := NewMem(m.total)
	clones := map[*node]*node{}
	for _, name := range sorted(names) {
		n := names[name]
		if _, ok := c.names[path.Dir(name)]; !ok {
			continue // its folder is gone
		}
		if n != nil && clones[n] == nil {
			clones[n] = n.crash(r, keep)
		}
		c.names[name], c.stable[name] = clones[n], clones[n]
	}
	return c
}

func sorted(m map[string]*node) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func (n *node) crash(r *rand.Rand, keep float64) *node {
	data := append([]byte(nil), n.stable...)
	size := int64(len(data))
	if n.resize && r.Float64() < keep {
		size = int64(len(n.data))
	}
	for s := range sortedSectors(n.dirty) {
		at := s * sector
		if r.Float64() >= keep || at >= int64(len(n.data)) {
			continue
		}
		end := min(at+sector, int64(len(n.data)))
		data = grow(data, end)
		copy(data[at:end], n.data[at:end])
		size = max(size, end)
	}
	data = grow(data, size)[:size]
	return &node{data: data, stable: append([]byte(nil), data...), dirty: map[int64]struct{}{}}
}

// sortedSectors gives the sectors in order, so that a seed decides all.
func sortedSectors(m map[int64]struct{}) func(func(int64) bool) {
	list := make([]int64, 0, len(m))
	for s := range m {
		list = append(list, s)
	}
	sort.Slice(list, func(i, j int) bool { return list[i] < list[j] })
	return func(yield func(int64) bool) {
		for _, s := range list {
			if !yield(s) {
				return
			}
		}
	}
}

func grow(b []byte, size int64) []byte {
	if int64(len(b)) < size {
		b = append(b, make([]byte, size-int64(len(b)))...)
	}
	return b
}

func (op nameOp) apply(names map[string]*node) {
	switch {
	case op.made != nil || op.folder:
		if _, ok := names[op.to]; !ok || op.made != nil {
			names[op.to] = op.made
		}
	case op.to == "":
		delete(names, op.from)
	default:
		op.rename(names)
	}
}

// rename moves a name, and of a folder all below it.
func (op nameOp) rename(names map[string]*node) {
	n, ok := names[op.from]
	if !ok {
		return
	}
	delete(names, op.from)
	names[op.to] = n
	if n != nil {
		return
	}
	for _, name := range sorted(names) {
		if below, ok := strings.CutPrefix(name, op.from+"/"); ok {
			names[op.to+"/"+below] = names[name]
			delete(names, name)
		}
	}
}

// sync makes all ops durable for which done holds.
func (m *Mem) syncNames(done func(nameOp) bool) {
	rest := m.ops[:0]
	for _, op := range m.ops {
		if done(op) {
			op.apply(m.stable)
		} else {
			rest = append(rest, op)
		}
	}
	m.ops = rest
}

func (m *Mem) record(op nameOp) {
	op.apply(m.names)
	for i, name := range []string{op.from, op.to} {
		if name != "" {
			op.dirs[i] = path.Dir(name)
		}
	}
	m.ops = append(m.ops, op)
}

func notExist(op, name string) error { return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist} }

// Open implements FS.
func (m *Mem) Open(name string) (File, error) { return m.open("open", name, false, false) }

// OpenFile implements FS.
func (m *Mem) OpenFile(name string) (File, error) { return m.open("open", name, true, false) }

// Create implements FS.
func (m *Mem) Create(name string) (File, error) { return m.open("create", name, true, true) }

func (m *Mem) open(op, name string, make, empty bool) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = path.Clean(name)
	n, ok := m.names[name]
	if ok && n == nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: syscall.EISDIR}
	}
	if !ok {
		if _, dir := m.names[path.Dir(name)]; !make || !dir {
			return nil, notExist(op, name)
		}
		n = &node{dirty: map[int64]struct{}{}}
		m.record(nameOp{to: name, made: n})
	}
	f := &memFile{m: m, n: n, name: name, writable: make}
	if empty {
		n.setSize(0)
	}
	return f, nil
}

func (n *node) setSize(size int64) {
	old := int64(len(n.data))
	n.resize = n.resize || size != old
	if size >= old {
		n.data = grow(n.data, size)
		return
	}
	clear(n.data[size:])
	n.data = n.data[:size]
}

// Rename implements FS.
func (m *Mem) Rename(oldName, newName string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	oldName, newName = path.Clean(oldName), path.Clean(newName)
	n, ok := m.names[oldName]
	if !ok {
		return notExist("rename", oldName)
	}
	if n == nil && m.hasBelow(newName) {
		return &fs.PathError{Op: "rename", Path: newName, Err: syscall.ENOTEMPTY}
	}
	if _, ok := m.names[path.Dir(newName)]; !ok {
		return notExist("rename", newName)
	}
	m.record(nameOp{from: oldName, to: newName})
	return nil
}

// Remove implements FS.
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = path.Clean(name)
	if _, ok := m.names[name]; !ok {
		return notExist("remove", name)
	}
	if m.hasBelow(name) {
		return &fs.PathError{Op: "remove", Path: name, Err: syscall.ENOTEMPTY}
	}
	m.record(nameOp{from: name})
	return nil
}

// hasBelow tells whether a folder has anything in it.
func (m *Mem) hasBelow(name string) bool {
	for other := range m.names {
		if strings.HasPrefix(other, name+"/") {
			return true
		}
	}
	return false
}

// RemoveAll implements FS.
func (m *Mem) RemoveAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = path.Clean(name)
	all := sorted(m.names)
	for i := len(all) - 1; i >= 0; i-- {
		if all[i] == name || strings.HasPrefix(all[i], name+"/") {
			m.record(nameOp{from: all[i]})
		}
	}
	return nil
}

// MkdirAll implements FS.
func (m *Mem) MkdirAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = path.Clean(name)
	if n, ok := m.names[name]; ok {
		if n != nil {
			return &fs.PathError{Op: "mkdir", Path: name, Err: syscall.ENOTDIR}
		}
		return nil
	}
	for i, c := range name {
		if dir := name[:i]; c == '/' && dir != "" {
			if _, ok := m.names[dir]; !ok {
				m.record(nameOp{to: dir, folder: true})
			}
		}
	}
	m.record(nameOp{to: name, folder: true})
	return nil
}

// List implements FS.
func (m *Mem) List(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir = path.Clean(dir)
	if n, ok := m.names[dir]; !ok || n != nil {
		return nil, notExist("list", dir)
	}
	var names []string
	for name, n := range m.names {
		if path.Dir(name) != dir || name == dir {
			continue
		}
		base := path.Base(name)
		if n == nil {
			base += "/"
		}
		names = append(names, base)
	}
	sort.Strings(names)
	return names, nil
}

// Size implements FS.
func (m *Mem) Size(name string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.names[path.Clean(name)]
	if n == nil {
		return 0, notExist("stat", name)
	}
	return int64(len(n.data)), nil
}

// SyncDir implements FS.
func (m *Mem) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir = path.Clean(dir)
	m.syncNames(func(op nameOp) bool { return op.dirs[0] == dir || op.dirs[1] == dir })
	return nil
}

// SyncAll implements FS.
func (m *Mem) SyncAll(string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.syncNames(func(nameOp) bool { return true })
	for _, n := range m.names {
		if n != nil {
			n.sync()
		}
	}
	return nil
}

// Lock implements FS.
func (m *Mem) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locks[name] {
		return nil, fmt.Errorf("lock %s: %w", name, syscall.EWOULDBLOCK)
	}
	if _, ok := m.names[path.Clean(name)]; !ok {
		m.record(nameOp{to: path.Clean(name), made: &node{dirty: map[int64]struct{}{}}})
	}
	m.locks[name] = true
	return memLock{m, name}, nil
}

type memLock struct {
	m    *Mem
	name string
}

func (l memLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	delete(l.m.locks, l.name)
	return nil
}

// Usage implements FS.
func (m *Mem) Usage(string) (Usage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	used := int64(0)
	for _, n := range m.names {
		if n != nil {
			used += int64(len(n.data))
		}
	}
	return Usage{Total: m.total, Free: m.total - used}, nil
}

type memFile struct {
	m        *Mem
	n        *node
	name     string
	writable bool
	closed   bool
}

var errReadOnly = errors.New("file was opened for reading")

func (f *memFile) check(op string, write bool) error {
	switch {
	case f.closed:
		return &fs.PathError{Op: op, Path: f.name, Err: fs.ErrClosed}
	case write && !f.writable:
		return &fs.PathError{Op: op, Path: f.name, Err: errReadOnly}
	}
	return nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("read", false); err != nil {
		return 0, err
	}
	if off >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.n.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("write", true); err != nil {
		return 0, err
	}
	end := off + int64(len(p))
	if end > int64(len(f.n.data)) {
		f.n.setSize(end)
	}
	copy(f.n.data[off:], p)
	for s := off / sector; s*sector < end; s++ {
		f.n.dirty[s] = struct{}{}
	}
	return len(p), nil
}

func (f *memFile) Truncate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("truncate", true); err != nil {
		return err
	}
	f.n.setSize(size)
	return nil
}

func (f *memFile) Datasync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("fdatasync", false); err != nil {
		return err
	}
	f.n.sync()
	return nil
}

func (n *node) sync() {
	if n.resize {
		n.stable = grow(n.stable, int64(len(n.data)))[:len(n.data)]
		n.resize = false
	}
	for s := range n.dirty {
		at := s * sector
		if at < int64(len(n.data)) {
			copy(n.stable[at:], n.data[at:min(at+sector, int64(len(n.data)))])
		}
	}
	clear(n.dirty)
}

func (f *memFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("stat", false); err != nil {
		return 0, err
	}
	return int64(len(f.n.data)), nil
}

func (f *memFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("close", false); err != nil {
		return err
	}
	f.closed = true
	return nil
}
