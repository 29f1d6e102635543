package arrays

import (
	"encoding/binary"
	"fmt"
	"math"
)

// A Plot is a curve reduced to buckets: for each the index of its first row
// and the least and greatest value of the rows in it. X is present where the
// array has a time coordinate, in seconds since 1970 of the first row.
type Plot struct {
	Info  ArrayInfo `json:"info"`
	Index []int64   `json:"index"`
	X     []float64 `json:"x,omitempty"`
	Min   []float64 `json:"min"` // NaN where a bucket has no number
	Max   []float64 `json:"max"`
}

// plotBytes bounds what one plot decodes.
const plotBytes = 64 << 20

// Plot reduces rows [start, stop) of one column of an array to at most points
// buckets, in bounded memory and time: where the rows have more than 64 MiB,
// there are no more buckets than chunks in that, and of each bucket one chunk,
// or its rows in it, stands for the rest. Bounds are those of Slice.
func (s *Store) Plot(name, array string, column int, start, stop int64, points int) (p Plot, err error) {
	err = s.read(name, func(v *view) error {
		p, err = s.plot(v, array, column, start, stop, points)
		return err
	})
	return p, err
}

func (s *Store) plot(v *view, array string, column int, start, stop int64, points int) (Plot, error) {
	c, err := v.array(array)
	if err != nil {
		return Plot{}, err
	}
	if column < 0 || column >= c.width {
		return Plot{}, fmt.Errorf("%w: column %d of array %q, which has %d", ErrNotFound, column, array, c.width)
	}
	p := Plot{Info: v.arrayInfo(c), Index: []int64{}, Min: []float64{}, Max: []float64{}}
	start, stop = bounds(start, v.Rows), bounds(stop, v.Rows)
	rows := stop - start
	if rows <= 0 || points <= 0 {
		return p, nil
	}
	buckets := min(int64(points), rows)
	sampled := rows*int64(c.rowBytes()) > plotBytes
	if sampled {
		buckets = min(buckets, max(1, plotBytes/int64(v.Chunk*c.rowBytes())))
	}
	for i := range buckets {
		from, to := start+rows*i/buckets, start+rows*(i+1)/buckets
		lo, hi, err := s.extremes(v, c, column, from, to, sampled)
		if err != nil {
			return Plot{}, err
		}
		p.Index = append(p.Index, from)
		p.Min, p.Max = append(p.Min, lo), append(p.Max, hi)
	}
	p.X, err = s.times(v, c, p.Index)
	return p, err
}

// extremes gives least and greatest of rows, which are NaN where no row has a
// number; sampled, of those in the chunk of the middle row.
func (s *Store) extremes(v *view, c columnView, column int, from, to int64, sampled bool) (lo, hi float64, err error) {
	if sampled {
		chunk := int64(v.Chunk)
		first := (from + to) / 2 / chunk * chunk
		from, to = max(from, first), min(to, first+chunk)
	}
	least, most := math.Inf(1), math.Inf(-1)
	for row := from; row < to; {
		data, err := s.rows(v, c, row, to)
		if err != nil {
			return 0, 0, err
		}
		row += int64(len(data) / c.rowBytes())
		for at := column * c.dtype.size; at < len(data); at += c.rowBytes() {
			x := c.dtype.number(data[at:])
			least, most = min(least, orInf(x, 1)), max(most, orInf(x, -1))
		}
	}
	if least > most {
		return math.NaN(), math.NaN(), nil
	}
	return least, most, nil
}

func orInf(x float64, sign int) float64 {
	if x != x {
		return math.Inf(sign)
	}
	return x
}

// times gives the time of rows in seconds, nil where there is no coordinate.
func (s *Store) times(v *view, c columnView, rows []int64) ([]float64, error) {
	t, ok := v.column(columnTime)
	if !ok || c.dims[0] != columnTime {
		return nil, nil
	}
	x := make([]float64, len(rows))
	for i, row := range rows {
		data, err := s.rows(v, t, row, row+1)
		if err != nil {
			return nil, err
		}
		x[i] = float64(int64(binary.LittleEndian.Uint64(data))) / 1e9
	}
	return x, nil
}

// number reads an element.
func (d dtype) number(b []byte) float64 {
	switch d.name {
	case "uint8":
		return float64(b[0])
	case "int16":
		return float64(int16(binary.LittleEndian.Uint16(b)))
	case "int32":
		return float64(int32(binary.LittleEndian.Uint32(b)))
	case "uint32":
		return float64(binary.LittleEndian.Uint32(b))
	case "int64":
		return float64(int64(binary.LittleEndian.Uint64(b)))
	case "float32":
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
	}
	return math.Float64frombits(binary.LittleEndian.Uint64(b))
}
