package arrays

import "fmt"

// A Slice is rows of one array, C order, little endian.
type Slice struct {
	Info  ArrayInfo
	Start int64
	Rows  int64
	Data  []byte
}

// Slice reads rows [start, stop) of an array; negative bounds count from the
// end, and bounds beyond the rows are cut to them. It reads no more than max
// bytes, but one row at least, and says in Rows how far it came.
func (s *Store) Slice(name, array string, start, stop int64, max int) (out Slice, err error) {
	err = s.read(name, func(v *view) error {
		out, err = s.slice(v, array, start, stop, max)
		return err
	})
	return out, err
}

func (s *Store) slice(v *view, array string, start, stop int64, max int) (Slice, error) {
	c, err := v.array(array)
	if err != nil {
		return Slice{}, err
	}
	start, stop = bounds(start, v.Rows), bounds(stop, v.Rows)
	stop = min(stop, start+int64(maxRows(max, c.rowBytes())))
	out := Slice{Info: v.arrayInfo(c), Start: start}
	for row := start; row < stop; {
		data, err := s.rows(v, c, row, stop)
		if err != nil {
			return Slice{}, err
		}
		out.Data = append(out.Data, data...)
		n := int64(len(data) / c.rowBytes())
		row += n
		out.Rows += n
	}
	return out, nil
}

func maxRows(bytes, row int) int { return max(1, bytes/row) }

// bounds brings a bound of a slice into [0, rows].
func bounds(b, rows int64) int64 {
	if b < 0 {
		b += rows
	}
	return min(max(b, 0), rows)
}

// array finds an array.
func (v *view) array(name string) (columnView, error) {
	c, ok := v.column(name)
	if !ok {
		return c, fmt.Errorf("%w: array %q of group %q", ErrNotFound, name, v.Stream)
	}
	return c, nil
}

// rows gives the rows [row, stop) as far as they are in one chunk.
func (s *Store) rows(v *view, c columnView, row, stop int64) ([]byte, error) {
	chunk := int64(v.Chunk)
	index := row / chunk
	data, err := s.chunkRowsOf(v, c, index)
	if err != nil {
		return nil, err
	}
	from, to := row-index*chunk, min(stop-index*chunk, chunk)
	return data[from*int64(c.rowBytes()) : to*int64(c.rowBytes())], nil
}

// chunkRowsOf gives the published rows of a chunk, which are not to be changed.
func (s *Store) chunkRowsOf(v *view, c columnView, index int64) ([]byte, error) {
	chunk := int64(v.Chunk)
	rows := min(v.Rows-index*chunk, chunk)
	size := int(rows) * c.rowBytes()
	if index*chunk+rows <= c.from {
		return appendFill(nil, c.dtype, size), nil
	}
	key := chunkKey{v.dir, v.Build, c.name, index}
	full := rows == chunk
	if full {
		if b, ok := s.cache.get(key); ok {
			return b, nil
		}
	}
	frame, err := s.readFile(chunkPath(v.dir, c.name, len(c.dims), index))
	if err != nil {
		return nil, gone(err, v, c, index)
	}
	b, err := decompress(frame, c.dtype.size, v.Chunk*c.rowBytes())
	if err != nil {
		return nil, gone(err, v, c, index)
	}
	if full {
		s.cache.put(key, b)
	}
	return b[:size], nil
}
