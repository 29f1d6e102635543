package records

import (
	"bytes"
	"slices"

	"weir/forward"
)

// A Table turns entries into rows of CSV (RFC 4180, lines ended by a line
// feed). Its columns are fields by name, those of nested maps with dots;
// columns must be known before rows are made of them.
type Table struct {
	names []string
	index map[string]int
	fixed bool
	cells [][]byte
	path  []byte
	full  bool // a field was left out: there were too many
}

// maxColumns bounds the columns that a Table learns.
const maxColumns = 4096

// Columns that are no fields.
const (
	columnTime = "time"
	columnLine = "line"
)

// NewTable makes a table of given columns, or of none, which it then learns.
// The column "time" is the entry's time; a field of that name is
// "record.time". "line" is a line of text.
func NewTable(columns []string) *Table {
	t := &Table{index: map[string]int{}}
	for _, name := range columns {
		t.add(name)
	}
	t.fixed = len(columns) > 0
	return t
}

func (t *Table) add(name string) {
	if _, ok := t.index[name]; ok {
		return
	}
	if len(t.names) >= maxColumns {
		t.full = true
		return
	}
	t.index[name] = len(t.names)
	t.names = append(t.names, name)
}

// Columns are those that are given, or were learnt, in their order; full tells
// that there were more than can be.
func (t *Table) Columns() (names []string, full bool) { return slices.Clone(t.names), t.full }

// Learn adds the columns of an entry, unless they were given.
func (t *Table) Learn(e forward.Entry) {
	if t.fixed {
		return
	}
	t.add(columnTime)
	t.walk(e.Record, func(name, _ []byte) {
		if _, ok := t.index[string(name)]; !ok {
			t.add(string(name))
		}
	})
}

// LearnLine adds the column of lines.
func (t *Table) LearnLine() {
	if !t.fixed {
		t.add(columnLine)
	}
}

// AppendHead appends the row of the columns' names; there is none without any.
func (t *Table) AppendHead(b []byte) []byte {
	if len(t.names) == 0 {
		return b
	}
	for i, name := range t.names {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendCell(b, []byte(name))
	}
	return append(b, '\n')
}

// AppendEntry appends an entry's row.
func (t *Table) AppendEntry(b []byte, e forward.Entry) []byte {
	t.clear()
	t.set([]byte(columnTime), bytes.Trim(appendTime(nil, e.Time), `"`))
	t.walk(e.Record, func(name, value []byte) {
		if _, ok := t.index[string(name)]; ok {
			t.set(name, cellOf(value))
		}
	})
	return t.appendRow(b)
}

// AppendLine appends the row of a line of text.
func (t *Table) AppendLine(b, line []byte) []byte {
	t.clear()
	t.set([]byte(columnLine), line)
	return t.appendRow(b)
}

func (t *Table) clear() {
	t.cells = slices.Grow(t.cells[:0], len(t.names))[:len(t.names)]
	clear(t.cells)
}

func (t *Table) set(name, cell []byte) {
	if i, ok := t.index[string(name)]; ok {
		t.cells[i] = cell
	}
}

func (t *Table) appendRow(b []byte) []byte {
	for i, c := range t.cells {
		if i > 0 {
			b = append(b, ',')
		}
		if len(t.cells) == 1 && len(c) == 0 {
			b = append(b, `""`...) // an empty line would be no row
			continue
		}
		b = appendCell(b, c)
	}
	return append(b, '\n')
}

// walk visits the fields of a record; one that is no map is the field
// "record".
func (t *Table) walk(record []byte, visit func(name, value []byte)) {
	s := shapeOf(record)
	if s.kind != shapeMap {
		visit([]byte("record"), record)
		return
	}
	t.path = t.path[:0]
	t.walkMap(record[s.head:], s.n, visit)
}

func (t *Table) walkMap(v []byte, n int, visit func(name, value []byte)) []byte {
	base := len(t.path)
	for range n {
		var key []byte
		key, v = keyOf(v)
		t.path = append(t.path[:base], bytes.ToValidUTF8(key, []byte("\uFFFD"))...)
		if s := shapeOf(v); s.kind == shapeMap && s.n > 0 {
			t.path = append(t.path, '.')
			v = t.walkMap(v[s.head:], s.n, visit)
			continue
		}
		name := t.path
		if string(name) == columnTime {
			name = []byte("record.time")
		}
		visit(name, v)
		v = after(v)
	}
	t.path = t.path[:base]
	return v
}

// cellOf is a value as it stands in a cell: a text as it is, nil empty,
// anything else its JSON.
func cellOf(v []byte) []byte {
	if s := shapeOf(v); s.kind == shapeText {
		return v[s.head : s.head+s.n]
	}
	if v[0] == 0xc0 {
		return nil
	}
	b, _ := appendValue(nil, v)
	return b
}

// after gives what follows the first value.
func after(v []byte) []byte {
	for left := 1; left > 0; left-- {
		s := shapeOf(v)
		switch {
		case s.head == 0:
			v = v[1+numberBytes(v[0]):]
		case s.kind == shapeMap:
			v, left = v[s.head:], left+2*s.n
		case s.kind == shapeList:
			v, left = v[s.head:], left+s.n
		default:
			v = v[s.head+s.n:]
		}
	}
	return v
}

// numberBytes is how many bytes of a number follow its first.
func numberBytes(c byte) int {
	switch {
	case c == 0xca:
		return 4
	case c == 0xcb:
		return 8
	case c >= 0xcc && c <= 0xcf:
		return 1 << (c - 0xcc)
	case c >= 0xd0 && c <= 0xd3:
		return 1 << (c - 0xd0)
	}
	return 0
}

// appendCell appends a cell, quoted where it must be.
func appendCell(b, cell []byte) []byte {
	if !bytes.ContainsAny(cell, ",\"\r\n") {
		return append(b, cell...)
	}
	b = append(b, '"')
	b = append(b, bytes.ReplaceAll(cell, []byte(`"`), []byte(`""`))...)
	return append(b, '"')
}
