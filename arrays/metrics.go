package arrays

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"

	"weir/forward"
)

const (
	columnTime     = "time" // name of the coordinate
	columnFloat    = "float64"
	columnCategory = "category"

	// maxColumns bounds the columns of a group of metrics, the time included:
	// every column is a folder, and every row has a value in each.
	maxColumns = 256
)

// metrics decodes msgpack entries [time, map]: the coordinate `time` and one
// column for each field that was ever seen, of type float64 or category.
//
// A field gets its type from the first value that has one; then the type is
// frozen. A value that does not fit is refused and missing in its row. A row
// that lacks a field has NaN there, or code 0.
type metrics struct {
	spec Spec
	st   struct {
		// Skip is what remains of an entry that is too long, and of damage.
		Skip skipper `json:"skip"`
		Lost bool    `json:"lost,omitempty"` // looking for an entry to go on with
	}

	fields map[string]*field
	order  []*field // as the columns
	last   int      // index in order of the field met last
	path   []byte   // scratch: name of a nested field
	row    rowContext
}

// rowContext is where the decoder is.
type rowContext struct {
	t   *table
	off int64 // of the entry
	n   int   // its length
}

func (d *metrics) state() any { return &d.st }

func (d *metrics) begin(t *table) {
	t.add(columnTime, "int64", []string{columnTime}, 1, map[string]any{
		"units":         "nanoseconds since 1970-01-01",
		"calendar":      "proleptic_gregorian",
		"standard_name": "time",
	})
	d.fields = map[string]*field{}
	for _, name := range sortedKeys(d.spec.Columns) {
		d.addField(name, d.spec.Columns[name], t)
	}
}

func (d *metrics) resume(t *table) error {
	d.fields = map[string]*field{}
	for i, c := range t.columns[1:] {
		f, err := resumeField(c, i)
		if err != nil {
			return err
		}
		_, f.declared = d.spec.Columns[f.name]
		d.fields[f.name] = f
		d.order = append(d.order, f)
	}
	return nil
}

func (d *metrics) lost() { d.st.Skip, d.st.Lost = skipper{}, true }

func (d *metrics) decode(p []byte, off int64, t *table) int {
	d.row.t = t
	done := 0
	for done < len(p) && !t.full() {
		n := d.step(p[done:], off+int64(done), t)
		if n == 0 {
			break
		}
		done += n
	}
	for _, f := range d.order {
		f.fill(t.rows)
	}
	t.refused.pass(off + int64(done))
	return done
}

// step takes one entry, or what stands in its place; 0 asks for more bytes.
func (d *metrics) step(p []byte, off int64, t *table) int {
	if d.st.Skip.active() {
		if n := d.st.Skip.skip(p); n > 0 || d.st.Skip.active() {
			return n
		}
	}
	if d.st.Lost {
		return d.resync(p, off, t)
	}
	p = p[:min(len(p), maxRecord)]
	e, rest, err := forward.Next(p)
	n := len(p) - len(rest)
	switch {
	case err == nil:
		d.take(e.Time, e.Record, off, n)
	case errors.Is(err, forward.ErrShort):
		return d.short(p, off, t)
	case forward.KindOf(p) == forward.KindMap && n > 0 && d.spec.Time != "":
		d.take(nil, p[:n:n], off, n)
	case errors.Is(err, forward.ErrNoEntry), errors.Is(err, forward.ErrTime):
		t.refused.add(off, int64(n), "not-an-entry", "a value is no [time, record] pair")
	default:
		d.st.Lost = true
		return d.resync(p, off, t)
	}
	return n
}

// short is for bytes that end inside an entry: they wait, or are refused when
// they are too many.
func (d *metrics) short(p []byte, off int64, t *table) int {
	if len(p) < maxRecord {
		return 0
	}
	t.refused.add(off, maxRecord, "entry-too-long", fmt.Sprintf("an entry has more than %d bytes", maxRecord))
	d.st.Skip = newSkipper()
	return d.st.Skip.skip(p)
}

// Looking for an entry to go on with after damage. What is accepted must be a
// whole entry of resyncEntry bytes at most; after resyncTries places of a
// piece that were none, the rest of the piece is given up, which bounds the
// work on hostile bytes.
const (
	resyncEntry = 64 << 10
	resyncTries = 64
)

// resync goes over damaged bytes up to the next whole entry, at most to the
// end of the piece, which is then refused; 0 asks for more bytes.
func (d *metrics) resync(p []byte, off int64, t *table) int {
	end := int(pieceBytes - off%pieceBytes)
	tries := 0
	for i := 0; i < end; i++ {
		if i >= len(p) {
			return 0
		}
		if p[i] != 0x92 {
			continue
		}
		if tries++; tries > resyncTries {
			break
		}
		_, _, err := forward.Next(p[i:min(len(p), i+resyncEntry)])
		if err == nil {
			return d.found(i, off, p, t)
		}
		if errors.Is(err, forward.ErrShort) && len(p) < i+resyncEntry {
			return 0
		}
	}
	if len(p) < end {
		return 0
	}
	t.refused.add(off, int64(end), "bad-msgpack", "bytes that are no msgpack")
	return end
}

// found goes on with the entry n bytes on.
func (d *metrics) found(n int, off int64, p []byte, t *table) int {
	d.st.Lost = false
	if n == 0 {
		return d.step(p, off, t)
	}
	t.refused.add(off, int64(n), "bad-msgpack", "bytes that are no msgpack")
	return n
}

// take makes a row of an entry of n bytes at offset off.
func (d *metrics) take(time, record []byte, off int64, n int) {
	t := d.row.t
	d.row.off, d.row.n = off, n
	if forward.KindOf(record) != forward.KindMap {
		t.refused.add(off, int64(n), "not-a-map", "the record of an entry is no map")
		return
	}
	ns, err := d.timeOf(time, record)
	if err != nil {
		t.refused.add(off, int64(n), "bad-time", err.Error())
		return
	}
	c := t.columns[0]
	c.data = appendInt64(c.data, ns)
	t.rows++
	d.last = -1
	d.path = d.path[:0]
	d.record(record)
}

// timeOf gives the time of an entry in nanoseconds since 1970.
func (d *metrics) timeOf(time, record []byte) (int64, error) {
	if d.spec.Time == "" {
		if ns, ok := forward.UnixNano(time); ok {
			return ns, nil
		}
		return 0, fmt.Errorf("the entry's time is outside the years 1678 to 2261")
	}
	v, ok := lookup(record, d.spec.Time)
	if !ok {
		return 0, fmt.Errorf("the record has no field %q", d.spec.Time)
	}
	ns, ok := nanoseconds(v)
	if !ok {
		return 0, fmt.Errorf("field %q is neither seconds since 1970 nor an RFC 3339 time", d.spec.Time)
	}
	return ns, nil
}

// record takes the fields of a map; d.path is the name of the map, empty or
// ended by a dot.
func (d *metrics) record(b []byte) {
	n, b := mapHead(b)
	base := len(d.path)
	for range n {
		var key, value []byte
		key, b = textOf(b)
		value, b = valueOf(b)
		d.path = append(d.path[:base], key...)
		if forward.KindOf(value) == forward.KindMap {
			d.path = append(d.path, '.')
			d.record(value)
			continue
		}
		if base == 0 && d.spec.Time != "" && string(key) == d.spec.Time {
			continue
		}
		d.value(value)
	}
	d.path = d.path[:base]
}

// value puts a value in the field named by d.path.
func (d *metrics) value(b []byte) {
	v := parseValue(b)
	if v.kind == valueMissing {
		return
	}
	path := d.path
	f := d.field(path)
	if f == nil && !utf8.Valid(path) { // such a name has no form in JSON
		path = bytes.ToValidUTF8(path, []byte("\uFFFD"))
		f = d.field(path)
	}
	if f == nil {
		f = d.newField(path, v)
	}
	if f == nil {
		return
	}
	if !f.set(v, d.row.t.rows-1) {
		d.misfit(f.reason(v), fmt.Sprintf("field %q: %.60q is no %s", f.name, v.String(), f.kind))
	}
}

// field finds a field by name; fields mostly come in the same order.
func (d *metrics) field(path []byte) *field {
	if next := d.last + 1; next < len(d.order) && d.order[next].name == string(path) {
		d.last = next
		return d.order[next]
	}
	f := d.fields[string(path)]
	if f != nil {
		d.last = f.index
	}
	return f
}

// newField makes the column of a field that was never seen.
func (d *metrics) newField(path []byte, v value) *field {
	switch {
	case v.kind == valueOther:
		d.misfit("unusable-type", fmt.Sprintf("field %q is neither number nor text", path))
		return nil
	case len(path) == 0 || len(path) > maxFieldName:
		d.misfit("bad-field-name", fmt.Sprintf("a field's name has %d bytes; 1 to %d are possible", len(path), maxFieldName))
		return nil
	case len(d.row.t.columns) >= maxColumns:
		d.misfit("too-many-columns", fmt.Sprintf("field %q would be column %d; at most %d are possible", path, len(d.row.t.columns)+1, maxColumns))
		return nil
	}
	kind := columnFloat
	if v.kind == valueText {
		kind = columnCategory
	}
	return d.addField(string(path), kind, d.row.t)
}

func (d *metrics) addField(name, kind string, t *table) *field {
	f := newField(name, kind, len(d.order), t)
	_, f.declared = d.spec.Columns[name]
	d.fields[name] = f
	d.order = append(d.order, f)
	return f
}

// misfit refuses a part of the present entry; its row stays.
func (d *metrics) misfit(reason, detail string) {
	d.row.t.refused.add(d.row.off, int64(d.row.n), reason, detail)
}
