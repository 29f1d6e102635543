package arrays

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// errDamaged: published rows of a chunk are gone. The group is built again.
var errDamaged = errors.New("arrays: published rows are damaged")

// write writes the table's rows beyond the published ones.
func (g *group) write() error {
	if !g.checked {
		if err := g.checkTails(); err != nil {
			return err
		}
		g.checked = true
	}
	for _, c := range g.table.columns {
		if err := g.writeColumn(c); err != nil {
			return fmt.Errorf("arrays: write %s of %s: %w", c.name, g.name, err)
		}
	}
	return nil
}

func (g *group) writeColumn(c *column) error {
	row, data := g.commit.Rows, c.data
	for len(data) > 0 {
		at := int(row % int64(g.commit.Chunk))
		n := min(len(data)/c.rowBytes(), g.commit.Chunk-at)
		if err := g.writeChunk(c, row, data[:n*c.rowBytes()]); err != nil {
			return err
		}
		row += int64(n)
		data = data[n*c.rowBytes():]
	}
	return nil
}

// writeChunk writes rows of one chunk.
func (g *group) writeChunk(c *column, row int64, data []byte) error {
	chunk := int64(g.commit.Chunk)
	size := g.commit.Chunk * c.rowBytes()
	start := row / chunk * chunk
	at := int(row-start) * c.rowBytes()
	path := g.chunkPath(c, row/chunk)
	if at > 0 && c.from != row {
		return g.s.fillTail(path, c, size, at, data, start < g.commit.Synced.Rows)
	}
	if err := g.s.fs.MkdirAll(path[:strings.LastIndexByte(path, '/')]); err != nil {
		return err
	}
	if len(data) == size {
		z := compressors.Get().(*compressor)
		defer compressors.Put(z)
		return g.s.writeFile(path, z.compress(data, c.dtype.size))
	}
	return g.s.createTail(path, c, size, at, data)
}

// chunkPath gives the file of a chunk.
func (g *group) chunkPath(c *column, index int64) string {
	return chunkPath(g.dir, c.name, len(c.dims), index)
}

func chunkPath(dir, name string, dims int, index int64) string {
	path := dir + "/" + name + "/c/" + strconv.FormatInt(index, 10)
	if dims > 1 {
		path += "/0"
	}
	return path
}

// createTail makes a chunk's file at its full size, a stored frame, with data
// at one place in it and the fill value before.
func (s *Store) createTail(path string, c *column, size, at int, data []byte) error {
	head := storedHeader(c.dtype.size, size)
	head = appendFill(head, c.dtype, at)
	f, err := s.fs.Create(path)
	if err != nil {
		return err
	}
	if err = f.Truncate(int64(frameHeader + size)); err == nil {
		_, err = f.WriteAt(append(head, data...), 0)
	}
	return errors.Join(err, f.Close())
}

// appendFill appends n bytes of the fill value.
func appendFill(b []byte, d dtype, n int) []byte {
	var one []byte
	switch d.name {
	case "float64":
		one = []byte{0, 0, 0, 0, 0, 0, 0xf8, 0x7f}
	case "float32":
		one = []byte{0, 0, 0xc0, 0x7f}
	default:
		return append(b, make([]byte, n)...)
	}
	for range n / len(one) {
		b = append(b, one...)
	}
	return b
}

// fillTail writes data into a chunk's file, beyond the published rows, and
// replaces the file by a compressed one when that fills it. Until the rename
// both hold the same published rows; with synced the new one is on stable
// storage before it takes the place of rows that are.
func (s *Store) fillTail(path string, c *column, size, at int, data []byte, synced bool) error {
	f, err := s.fs.OpenFile(path)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, int64(frameHeader+at))
	if err != nil || at+len(data) < size {
		return errors.Join(err, f.Close())
	}
	z := compressors.Get().(*compressor)
	defer compressors.Put(z)
	z.plain = grow(z.plain, size)
	_, err = f.ReadAt(z.plain, frameHeader)
	if err = errors.Join(ignoreEOF(err), f.Close()); err != nil {
		return err
	}
	return s.replaceFile(path, z.compress(z.plain, c.dtype.size), synced)
}

// checkTails makes sure that the tail chunks can be filled: each is a stored
// frame of the full size. What a crash left compressed is written out again.
func (g *group) checkTails() error {
	if g.commit.Chunk == 0 || g.commit.Rows%int64(g.commit.Chunk) == 0 {
		return nil
	}
	at := int(g.commit.Rows % int64(g.commit.Chunk))
	for _, c := range g.table.columns {
		if err := g.checkTail(c, at); err != nil {
			return err
		}
	}
	return nil
}

func (g *group) checkTail(c *column, at int) error {
	size := g.commit.Chunk * c.rowBytes()
	path := g.chunkPath(c, g.commit.Rows/int64(g.commit.Chunk))
	if c.from >= g.commit.Rows {
		if err := g.s.fs.MkdirAll(path[:strings.LastIndexByte(path, '/')]); err != nil {
			return err
		}
		return g.s.createTail(path, c, size, at*c.rowBytes(), nil)
	}
	frame, err := g.s.readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	if err != nil {
		return err
	}
	if len(frame) == frameHeader+size && isStored(frame, c.dtype.size, size) {
		return nil
	}
	data, err := decompress(frame, c.dtype.size, size)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", errDamaged, path, err)
	}
	return g.s.replaceFile(path, append(storedHeader(c.dtype.size, size), data...), true)
}
