package telemetry

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/tinylib/msgp/msgp"
)

// labelName is the label that names a metric, fieldValueName the field that
// holds a sample's value.
const (
	labelName      = "__name__"
	fieldValueName = "value"
)

// RemoteWrite reads a message prometheus.WriteRequest, remote write 1.0,
// decompressed. A series that is not well formed is refused, and its number
// told; a body that is no such message is ErrFormat. Native histograms are
// refused, exemplars and metadata ignored.
func RemoteWrite(body []byte, o Options) (*Reading, error) {
	r := newReading(o)
	n := 0
	err := walk(body, func(field int, v value) error {
		switch field {
		case 1:
			n++
			r.series(n, v.bytes, nil)
		case 3:
			r.ignore("metadata")
		}
		return r.err
	})
	return r.end(asFormat(err, r.err))
}

// asFormat tells a body that is wrong from one that there was no room for.
func asFormat(err, room error) error {
	if err == nil || room != nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrFormat, err)
}

// RemoteWrite2 reads a message io.prometheus.write.v2.Request, remote write
// 2.0, as RemoteWrite does.
func RemoteWrite2(body []byte, o Options) (*Reading, error) {
	r := newReading(o)
	symbols := [][]byte{}
	err := walk(body, func(field int, v value) error {
		if field != 4 {
			return nil
		}
		symbols = append(symbols, v.bytes)
		return r.take(symbolBytes)
	})
	if err == nil && len(symbols) > 0 && len(symbols[0]) > 0 {
		err = errors.New("the first symbol is not empty")
	}
	n := 0
	if err == nil {
		err = walk(body, func(field int, v value) error {
			if field == 5 {
				n++
				r.series(n, v.bytes, symbols)
			}
			return r.err
		})
	}
	return r.end(asFormat(err, r.err))
}

// symbolBytes is what a symbol costs beside the body.
const symbolBytes = 48

// errHistogram refuses native histograms: one is many values, and no row.
var errHistogram = errors.New("it is a native histogram, which is not kept; send classic ones (send_native_histograms: false)")

// series reads one series: its labels, then a point for each sample. symbols
// are those of version 2, in which the fields have other numbers.
func (r *Reading) series(n int, b []byte, symbols [][]byte) {
	p := &r.point
	p.reset()
	samples, histograms, exemplars := 2, 4, 3
	if symbols != nil {
		histograms, exemplars = 3, 4
	}
	err := walk(b, func(field int, v value) error {
		if field != 1 {
			return nil
		}
		if symbols != nil {
			return p.references(v, symbols)
		}
		return p.label(v.bytes)
	})
	if err == nil {
		err = p.takeName()
	}
	if err != nil {
		r.refuse(n, p.name, err)
		return
	}
	err = walk(b, func(field int, v value) error {
		switch field {
		case samples:
			if err := r.sample(v.bytes); err != nil {
				r.refuse(n, p.name, err)
			}
			return r.err
		case histograms:
			r.refuse(n, p.name, errHistogram)
		case exemplars:
			r.ignore("exemplars")
		}
		return nil
	})
	if err != nil {
		r.refuse(n, p.name, err)
	}
}

// label reads a label of version 1.
func (p *point) label(b []byte) error {
	var l pair
	err := walk(b, func(field int, v value) error {
		switch field {
		case 1:
			l.name = v.bytes
		case 2:
			l.value = v.bytes
		}
		return nil
	})
	return errors.Join(err, p.addLabel(l))
}

// references reads the labels of version 2: indices of names and values in
// turn, packed.
func (p *point) references(v value, symbols [][]byte) error {
	var name []byte
	odd := false
	for b := v.bytes; len(b) > 0; odd = !odd {
		i, k := binary.Uvarint(b)
		if k <= 0 || i >= uint64(len(symbols)) {
			return errors.New("a label refers to no symbol")
		}
		b = b[k:]
		if !odd {
			name = symbols[i]
			continue
		}
		if err := p.addLabel(pair{name, symbols[i]}); err != nil {
			return err
		}
	}
	if odd {
		return errors.New("a label has no value")
	}
	return nil
}

func (p *point) addLabel(l pair) error {
	if len(l.name) == 0 {
		return errors.New("a label has no name")
	}
	if p.full() {
		return errWide
	}
	if len(l.value) > 0 { // an empty one is none
		p.tags = append(p.tags, l)
	}
	return nil
}

// takeName takes the metric's name from among the labels.
func (p *point) takeName() error {
	for i, t := range p.tags {
		if string(t.name) == labelName {
			p.name = t.value
			p.tags = append(p.tags[:i], p.tags[i+1:]...)
			return nil
		}
	}
	return fmt.Errorf("the series has no label %s", labelName)
}

// sample reads a sample and adds the point.
func (r *Reading) sample(b []byte) error {
	var number float64
	var ms int64
	err := walk(b, func(field int, v value) error {
		switch field {
		case 1:
			number = math.Float64frombits(v.fixed)
		case 2:
			ms = int64(v.fixed)
		}
		return nil
	})
	if err != nil {
		return err
	}
	p := &r.point
	p.fields = append(p.fields[:0], pair{[]byte(fieldValueName), msgp.AppendFloat64(nil, number)})
	if p.ns, p.timed = times(ms, time.Millisecond); !p.timed {
		return errTime
	}
	kept := p.tags
	p.tags = append([]pair(nil), kept...) // add may rename one
	defer func() { p.tags = kept }()
	return r.add()
}
