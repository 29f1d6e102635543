package arrays

import (
	"fmt"
	"maps"
)

// A dtype is a core data type of Zarr v3.
type dtype struct {
	name string
	size int    // bytes of an element
	fill string // fill_value as JSON
	kind byte   // as numpy's: u, i or f
}

var dtypes = map[string]dtype{
	"uint8":   {"uint8", 1, "0", 'u'},
	"int16":   {"int16", 2, "0", 'i'},
	"int32":   {"int32", 4, "0", 'i'},
	"uint32":  {"uint32", 4, "0", 'u'},
	"int64":   {"int64", 8, "0", 'i'},
	"float32": {"float32", 4, `"NaN"`, 'f'},
	"float64": {"float64", 8, `"NaN"`, 'f'},
}

// missingBits is the float64 for a missing value, as NaN has it in Zarr.
const missingBits = 0x7ff8000000000000

// A column is one array of a group: its form, which never changes, its
// attributes, and the rows that are not written yet.
type column struct {
	name  string
	dtype dtype
	dims  []string // names of the dimensions, the row dimension first
	width int      // elements of a row
	attrs map[string]any
	from  int64 // the first row that was written; the fill value is before it

	data []byte // rows beyond the group's, little endian, C order
}

// rowBytes is the size of a row.
func (c *column) rowBytes() int { return c.width * c.dtype.size }

// setAttr replaces an attribute; maps already published stay as they are.
func (c *column) setAttr(name string, v any) {
	c.attrs = maps.Clone(c.attrs)
	c.attrs[name] = v
}

// A table is where a decoder puts what it decodes: columns that share their
// rows, attributes of the group, and refusals.
type table struct {
	columns []*column
	attrs   map[string]any // of the group
	refused refusals
	first   int64 // the group's row that comes next
	rows    int   // rows in the columns' data
	limit   int   // bytes of data at which a decoder should stop

	rowBytes int // of all columns
}

// full tells a decoder to stop at the next record.
func (t *table) full() bool { return t.rows*t.rowBytes >= t.limit }

// column gives a column by name, nil when there is none.
func (t *table) column(name string) *column {
	for _, c := range t.columns {
		if c.name == name {
			return c
		}
	}
	return nil
}

// add makes a column.
func (t *table) add(name, dtypeName string, dims []string, width int, attrs map[string]any) *column {
	d, ok := dtypes[dtypeName]
	if !ok {
		panic(fmt.Sprintf("arrays: no data type %q", dtypeName))
	}
	if attrs == nil {
		attrs = map[string]any{}
	}
	c := &column{name: name, dtype: d, dims: dims, width: width, attrs: attrs, from: t.first}
	t.put(c)
	return c
}

// put adds a column.
func (t *table) put(c *column) {
	t.columns = append(t.columns, c)
	t.rowBytes += c.rowBytes()
}

// reset forgets the rows, which were written, and what was refused. Memory is
// kept only where the next rows follow at once: there are many tables.
func (t *table) reset(more bool) {
	t.rows = 0
	t.refused.reset()
	for _, c := range t.columns {
		if !more {
			c.data = nil
		}
		c.data = c.data[:0]
	}
}
