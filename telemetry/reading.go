package telemetry

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/tinylib/msgp/msgp"
)

// ErrFormat: the body as a whole is not what it should be; nothing is read.
var ErrFormat = errors.New("telemetry: bad body")

// Options of a reading. The zero value is useful.
type Options struct {
	Unit time.Duration // of times that are numbers; default a nanosecond
	Now  time.Time     // the time of points without one
	// Take is asked before memory is used for what is read, in bytes. Its
	// error ends the reading, and is returned.
	Take func(bytes int64) error
}

// A Batch is the points of one measurement, in the order they came.
type Batch struct {
	Name    string // of the measurement, or metric
	Entries []byte // msgpack, [EventTime, map] back to back
	Records int
}

// A Refusal is a line, or a point of another format, that could not be read.
type Refusal struct {
	Line   int    // from 1
	Text   string // its beginning
	Reason string
}

// MaxTold bounds the refusals that are told one by one; all are counted.
const MaxTold = 100

// A Reading is what a body holds.
type Reading struct {
	Batches []Batch
	Refused []Refusal // MaxTold at most
	Bad     int       // how many were refused
	// Untimed says that a point had no time and got that of its reading, so
	// that the same body again is another reading.
	Untimed bool
	// Ignored counts what is not kept and refuses nothing, by what it is.
	Ignored map[string]int

	o     Options
	index map[string]int // of batches
	room  int64          // of what was taken
	err   error          // of Take
	point point
}

func newReading(o Options) *Reading {
	if o.Unit <= 0 {
		o.Unit = 1
	}
	return &Reading{o: o, index: map[string]int{}}
}

// end gives the reading unless it was ended.
func (r *Reading) end(err error) (*Reading, error) {
	if err = errors.Join(r.err, err); err != nil {
		return nil, err
	}
	return r, nil
}

// take makes room for n more bytes.
func (r *Reading) take(n int64) error {
	const step = 64 << 10
	if r.room < n && r.o.Take != nil && r.err == nil {
		if r.err = r.o.Take(n + step); r.err == nil {
			r.room += n + step
		}
	}
	r.room -= n
	return r.err
}

// Records is how many points were read.
func (r *Reading) Records() (n int) {
	for _, b := range r.Batches {
		n += b.Records
	}
	return n
}

// textMost is how much of a bad line is told, in bytes.
const textMost = 80

func (r *Reading) refuse(line int, text []byte, reason error) {
	if r.Bad++; r.Bad <= MaxTold {
		r.Refused = append(r.Refused, Refusal{line, string(text[:min(len(text), textMost)]), reason.Error()})
	}
}

func (r *Reading) ignore(what string) {
	if r.Ignored == nil {
		r.Ignored = map[string]int{}
	}
	r.Ignored[what]++
}

// A point is a measurement at one time. Its fields are msgpack already.
type point struct {
	name   []byte
	tags   []pair
	fields []pair
	ns     int64
	timed  bool
	seen   map[string]kind

	scratch []byte // values
}

// keep takes what was appended to the scratch for a value.
func (p *point) keep(grown []byte) (value []byte) {
	n := len(p.scratch)
	p.scratch = grown
	return grown[n:len(grown):len(grown)]
}

// A kind says what has a name.
type kind uint8

const (
	kindField kind = 1 + iota
	kindTag
)

// A pair is a name and, of a field, a msgpack value, of a tag a text.
type pair struct{ name, value []byte }

func (p *point) reset() {
	p.name, p.tags, p.fields, p.timed = nil, p.tags[:0], p.fields[:0], false
	p.scratch = p.scratch[:0]
}

// full tells whether the point takes no more tags and fields.
func (p *point) full() bool { return len(p.tags)+len(p.fields) >= maxPairs }

// Errors of a point.
var (
	errNoName   = errors.New("there is no measurement")
	errNoFields = errors.New("there are no fields")
	errTime     = errors.New("the time is not between 1970 and 2106")
	errWide     = fmt.Errorf("there are more than %d tags and fields in one point", maxPairs)
	errMany     = fmt.Errorf("there are more than %d measurements in one body", maxBatches)
)

// Bounds of a reading: measurements, each of which is a stream, and what a
// batch costs beside its entries. A point is taken apart in memory that nobody
// is asked for, many times its size, so its tags and fields have a bound, too.
const (
	maxPairs   = 1 << 14
	maxBatches = 10_000
	batchBytes = 512
)

// add takes the point that was read last.
func (r *Reading) add() error {
	p := &r.point
	switch {
	case len(p.name) == 0:
		return errNoName
	case len(p.fields) == 0:
		return errNoFields
	}
	if !p.timed {
		p.ns, r.Untimed = r.o.Now.UnixNano(), true
	}
	seconds := p.ns / 1e9
	if p.ns < 0 || seconds > math.MaxUint32-2 { // the last two seconds are marks of Fluent Bit's
		return errTime
	}
	if err := p.distinct(); err != nil {
		return err
	}
	i, ok := r.index[string(p.name)]
	if !ok {
		if i = len(r.Batches); i == maxBatches {
			return errMany
		}
		if err := r.take(batchBytes + int64(len(p.name))); err != nil {
			return err
		}
		name := string(p.name)
		r.index[name] = i
		r.Batches = append(r.Batches, Batch{Name: name})
	}
	if err := r.take(p.size()); err != nil {
		return err
	}
	b := &r.Batches[i]
	b.Records++
	b.Entries = p.append(b.Entries, uint32(seconds), uint32(p.ns%1e9))
	return nil
}

// distinct gives the names of the record, each of which may come once.
func (p *point) distinct() error {
	if p.seen == nil {
		p.seen = map[string]kind{}
	}
	clear(p.seen)
	for _, f := range p.fields {
		if p.seen[string(f.name)] != 0 {
			return fmt.Errorf("the field %.60q is there twice", f.name)
		}
		p.seen[string(f.name)] = kindField
	}
	for i := range p.tags {
		t := &p.tags[i]
		if p.seen[string(t.name)] == kindField {
			t.name = append(t.name[:len(t.name):len(t.name)], "_tag"...)
		}
		if p.seen[string(t.name)] != 0 {
			return fmt.Errorf("the tag %.60q is there twice", t.name)
		}
		p.seen[string(t.name)] = kindTag
	}
	return nil
}

// size is what an entry of the point needs at most, and its buffer may grow by.
func (p *point) size() int64 {
	n := 16
	for _, t := range p.tags {
		n += 10 + len(t.name) + len(t.value)
	}
	for _, f := range p.fields {
		n += 10 + len(f.name) + len(f.value)
	}
	return 2 * int64(n)
}

// append appends the point as an entry.
func (p *point) append(b []byte, seconds, ns uint32) []byte {
	b = append(b, 0x92, 0xd7, 0)
	b = binary.BigEndian.AppendUint32(b, seconds)
	b = binary.BigEndian.AppendUint32(b, ns)
	b = msgp.AppendMapHeader(b, uint32(len(p.tags)+len(p.fields)))
	for _, t := range p.tags {
		b = msgp.AppendStringFromBytes(b, t.name)
		b = msgp.AppendStringFromBytes(b, t.value)
	}
	for _, f := range p.fields {
		b = msgp.AppendStringFromBytes(b, f.name)
		b = append(b, f.value...)
	}
	return b
}

// times brings a number of units to nanoseconds.
func times(n int64, unit time.Duration) (int64, bool) {
	ns := n * int64(unit)
	return ns, unit > 0 && ns/int64(unit) == n
}
