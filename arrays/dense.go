package arrays

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"weir/arrays/npy"
)

// Errors of Dense that callers test for.
var (
	// ErrSelection: a slice or a field that the array cannot have.
	ErrSelection = errors.New("arrays: bad selection")
	// ErrChanged: the group was built anew since the Dense was made.
	ErrChanged = errors.New("arrays: the group was built anew")
)

// A Dense is one array as numpy has it in memory: C order, little endian, the
// rows that are published when it is made. It is a plain array of a group, or
// a structured one whose fields are the group's arrays. Making one reads
// nothing, and its bytes stay the same as the group grows.
type Dense struct {
	Name     string  // of the array, or of the group
	Type     string  // of an element, as Python's str(dtype): float64, or [('time', '<M8[ns]'), …]
	Shape    []int64 // of a structured array one number
	Size     int64   // in bytes
	ETag     string  // strong, with its quotes
	Modified time.Time
	Header   npy.Header

	s    *Store
	v    *view
	rows axis // the rows that are taken
	cols []part
	item int // bytes of a row of the result
}

// A part is what is taken of one array: some of the elements of its rows.
type part struct {
	columnView
	inner axis // elements of a row
	at    int  // where they are in a row of the result
}

// An axis is a numpy slice brought to a length: start, start+step, …
type axis struct{ start, step, n int64 }

// A Range is numpy's start:stop:step of one dimension; nil is left out.
type Range struct{ Start, Stop, Step *int64 }

// of brings the slice to an axis of n elements, as numpy does.
func (s Range) of(n int64) (axis, error) {
	step := int64(1)
	if s.Step != nil {
		step = *s.Step
	}
	if step == 0 {
		return axis{}, fmt.Errorf("%w: the step of a slice is 0", ErrSelection)
	}
	least, most := int64(0), n // where bounds are cut
	if step < 0 {
		least, most = -1, n-1
	}
	bound := func(b *int64, missing int64) int64 {
		if b == nil {
			return missing
		}
		at := *b
		if at < 0 {
			at += n
		}
		return min(max(at, least), most)
	}
	a := axis{step: step}
	if step > 0 {
		a.start = bound(s.Start, 0)
		if stop := bound(s.Stop, n); stop > a.start {
			a.n = (stop-a.start-1)/step + 1
		}
		return a, nil
	}
	a.start = bound(s.Start, n-1)
	if stop := bound(s.Stop, -1); stop < a.start {
		a.n = (a.start-stop-1)/max(-step, 1) + 1
		if step == -1<<63 { // -step is no number
			a.n = 1
		}
	}
	return a, nil
}

// Dense gives an array of a group. Without a name it is the group as a whole:
// its only array, or all of them as the fields of a structured array. fields
// picks some of these in the given order; slices are one for each dimension,
// those that are missing take everything.
func (s *Store) Dense(group, array string, fields []string, slices []Range) (*Dense, error) {
	v, err := s.look(group)
	if err != nil {
		return nil, err
	}
	if len(v.columns) == 0 {
		return nil, fmt.Errorf("%w: group %q has no array yet", ErrNotFound, group)
	}
	d := &Dense{Name: group, s: s, v: v, Modified: v.Modified}
	structured := array == "" && len(v.columns) != 1
	if err := d.choose(array, fields, structured); err != nil {
		return nil, err
	}
	if err := d.slice(slices, structured); err != nil {
		return nil, err
	}
	d.describe(structured, fields)
	return d, nil
}

// choose finds the arrays that the result has.
func (d *Dense) choose(array string, fields []string, structured bool) error {
	if !structured {
		if array == "" {
			array = d.v.columns[0].name
		}
		c, err := d.v.array(array)
		if err == nil && len(fields) > 0 {
			err = fmt.Errorf("%w: array %q of group %q has no fields", ErrSelection, array, d.v.Stream)
		}
		d.cols = []part{{columnView: c}}
		return err
	}
	if len(fields) == 0 {
		for _, c := range d.v.columns {
			d.cols = append(d.cols, part{columnView: c})
		}
		return nil
	}
	seen := map[string]bool{}
	for _, name := range fields {
		c, ok := d.v.column(name)
		if !ok || seen[name] {
			return fmt.Errorf("%w: group %q has no field %q, or it was asked for twice", ErrSelection, d.v.Stream, name)
		}
		seen[name] = true
		d.cols = append(d.cols, part{columnView: c})
	}
	return nil
}

// slice holds the slices against the dimensions.
func (d *Dense) slice(slices []Range, structured bool) error {
	dims := 1
	if !structured {
		dims = len(d.cols[0].dims)
	}
	if len(slices) > dims {
		return fmt.Errorf("%w: %d slices of an array with dimensions: %d", ErrSelection, len(slices), dims)
	}
	all := append(append([]Range(nil), slices...), make([]Range, 2)...)
	var err error
	if d.rows, err = all[0].of(d.v.Rows); err != nil {
		return err
	}
	for i := range d.cols {
		p := &d.cols[i]
		if p.inner, err = all[1].of(int64(p.width)); err != nil {
			return err
		}
		p.at = d.item
		d.item += int(p.inner.n) * p.dtype.size
	}
	d.Size = d.rows.n * int64(d.item)
	return nil
}

// describe fills what tells the result's form.
func (d *Dense) describe(structured bool, fields []string) {
	d.Shape = []int64{d.rows.n}
	if structured {
		for _, p := range d.cols {
			d.Header.Fields = append(d.Header.Fields, npy.Field{Name: p.name, Type: p.numpyType()})
		}
		d.Type = d.Header.Type()
	} else {
		p := d.cols[0]
		d.Name = p.name
		if len(p.dims) > 1 {
			d.Shape = append(d.Shape, p.inner.n)
		}
		d.Header.Fields = []npy.Field{{Type: p.numpyType()}}
		d.Type = p.dtype.name
		if p.isTime() {
			d.Type = "datetime64[ns]"
		}
	}
	d.Header.Shape = d.Shape
	sum := sha256.Sum256([]byte(d.Header.Type() + fmt.Sprint(d.rows, d.cols[0].name, d.cols[0].inner, fields)))
	d.ETag = `"` + strconv.FormatInt(d.v.Build, 16) + "-" + strconv.FormatInt(d.v.Rows, 10) + "-" + hex.EncodeToString(sum[:6]) + `"`
}

// Columns gives the fields of a structured array as plain arrays of the same
// rows, and a plain array as itself.
func (d *Dense) Columns() []*Dense {
	if d.Header.Fields[0].Name == "" {
		return []*Dense{d}
	}
	list := make([]*Dense, len(d.cols))
	for i, p := range d.cols {
		p.at = 0
		one := &Dense{Modified: d.Modified, s: d.s, v: d.v, rows: d.rows, cols: []part{p}, item: int(p.inner.n) * p.dtype.size}
		one.Size = one.rows.n * int64(one.item)
		one.describe(false, nil)
		list[i] = one
	}
	return list
}

// isTime tells whether the array is the coordinate of a group of metrics.
func (c columnView) isTime() bool { return c.name == columnTime && c.dtype.name == "int64" }

// numpyType is the type of an element as numpy writes it in files.
func (c columnView) numpyType() string {
	order := "<"
	if c.dtype.size == 1 {
		order = "|"
	}
	if c.isTime() {
		return "<M8[ns]"
	}
	return order + string(c.dtype.kind) + strconv.Itoa(c.dtype.size)
}

// Memory is how much a Reader holds at most, in bytes: a chunk of each array.
func (d *Dense) Memory() int64 {
	n := int64(readerBytes)
	for _, p := range d.cols {
		n += int64(d.v.Chunk) * int64(p.rowBytes())
	}
	return n
}

// Times gives the first and the last time of the group's rows and the step
// between the first two; ok is false where there is no time, or no row.
func (d *Dense) Times() (first, last time.Time, step time.Duration, ok bool) {
	c, has := d.v.column(columnTime)
	if !has || d.v.Rows == 0 {
		return first, last, 0, false
	}
	at := func(row int64) (ns int64) {
		data, err := d.s.rows(d.v, c, row, row+1)
		if err != nil {
			has = false
			return 0
		}
		return int64(binary.LittleEndian.Uint64(data))
	}
	begin, second := at(0), at(min(1, d.v.Rows-1))
	return time.Unix(0, begin).UTC(), time.Unix(0, at(d.v.Rows-1)).UTC(), time.Duration(second - begin), has
}
