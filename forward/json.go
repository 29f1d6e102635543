package forward

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"
)

// A jsonScanner finds the end of a JSON array or object that comes in parts.
type jsonScanner struct {
	p        int
	depth    int
	inString bool
	escaped  bool
}

// run goes on in b, the buffer grown, and tells whether the value ends in it,
// at s.p.
func (s *jsonScanner) run(b []byte) bool {
	for ; s.p < len(b); s.p++ {
		c := b[s.p]
		switch {
		case s.escaped:
			s.escaped = false
		case s.inString:
			s.escaped = c == '\\'
			s.inString = c != '"'
		case c == '"':
			s.inString = true
		case c == '[' || c == '{':
			s.depth++
		case c == ']' || c == '}':
			if s.depth--; s.depth <= 0 {
				s.p++
				return true
			}
		}
	}
	return false
}

// jsonFrame takes the JSON value that begins b, after white space, and gives
// the length of both, 0 when it is not all there.
func (c *conn) jsonFrame(b []byte) (n int, err error) {
	space := len(b) - len(bytes.TrimLeft(b, " \t\r\n"))
	if space > 0 || len(b) == 0 {
		return space, nil
	}
	if b[0] != '[' && b[0] != '{' {
		return 0, &refusal{reason: "garbage", detail: "neither JSON array nor object", bytes: len(b)}
	}
	if !c.cut {
		c.cut, c.text = true, jsonScanner{}
	}
	done := c.text.run(b)
	if err := c.size(uint64(c.text.p)); err != nil || !done {
		return 0, err
	}
	n = c.text.p
	c.large(n)
	if err := c.dec.json(b[:n], c); err != nil {
		return 0, err
	}
	return n, nil
}

// json makes a message of a JSON value.
func (d *decoder) json(b []byte, c *conn) error {
	d.arena.begin()
	packed, err := d.pack(b)
	if errors.Is(err, errGone) {
		return err
	}
	if err != nil {
		return &refusal{reason: "garbage", detail: err.Error(), bytes: len(b)}
	}
	f := &d.frame
	_, st := f.parse(packed, d.o.AnyRecord)
	if KindOf(packed) != KindArray || st != whole || f.fault != "" {
		c.s.count.refuse("no-message", len(b))
		c.warn("no-message", "ignored a value that is no message", "detail", "JSON of another shape")
		return nil
	}
	if err := d.add(f, packed); err != nil {
		return err
	}
	m := &d.msgs[len(d.msgs)-1]
	m.Size = len(b)
	if m.ack != nil {
		m.ack, err = unpack(m.ack)
	}
	return err
}

// unpack gives a msgpack value that came from JSON as JSON again.
func unpack(b []byte) ([]byte, error) {
	v, _, err := msgp.ReadIntfBytes(b)
	if err != nil {
		return nil, fmt.Errorf("forward: encode ack: %w", err)
	}
	var w bytes.Buffer
	e := json.NewEncoder(&w)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("forward: encode ack: %w", err)
	}
	return bytes.TrimSuffix(w.Bytes(), []byte("\n")), nil
}

// pack turns a JSON value into msgpack, in the arena's open piece. Integers
// stay integers up to 64 bits; the last of equal keys holds.
func (d *decoder) pack(b []byte) ([]byte, error) {
	if !utf8.Valid(b) {
		return nil, errors.New("json: not UTF-8")
	}
	// A number of one digit takes as much in msgpack as in JSON; a float may
	// take 9 bytes for 3, a container's head 5 bytes for 2.
	if !d.arena.grow(8 + 3*len(b)) {
		return nil, errGone
	}
	p := packer{dec: json.NewDecoder(bytes.NewReader(b)), out: d.arena.buf}
	p.dec.UseNumber()
	if err := p.value(0); err != nil {
		return nil, fmt.Errorf("json: byte %d: %w", p.dec.InputOffset(), err)
	}
	d.arena.buf = p.out
	return d.arena.take(), nil
}

// A packer turns JSON tokens into msgpack.
type packer struct {
	dec *json.Decoder
	out []byte
}

// value packs the next value.
func (p *packer) value(depth int) error {
	t, err := p.dec.Token()
	if err != nil {
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		return err
	}
	switch t := t.(type) {
	case nil:
		p.out = msgp.AppendNil(p.out)
	case bool:
		p.out = msgp.AppendBool(p.out, t)
	case string:
		p.out = msgp.AppendString(p.out, t)
	case json.Number:
		return p.number(string(t))
	case json.Delim:
		if depth > MaxDepth {
			return ErrDepth
		}
		if t == '[' {
			return p.array(depth + 1)
		}
		return p.object(depth + 1)
	}
	return nil
}

// number packs an integer as one, when it has 64 bits, else a float.
func (p *packer) number(s string) error {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		p.out = msgp.AppendInt64(p.out, n)
		return nil
	}
	if n, err := strconv.ParseUint(s, 10, 64); err == nil {
		p.out = msgp.AppendUint64(p.out, n)
		return nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return err
	}
	p.out = msgp.AppendFloat64(p.out, f)
	return nil
}

// array packs up to the closing bracket.
func (p *packer) array(depth int) error {
	at, n := len(p.out), 0
	p.out = append(p.out, 0xdd, 0, 0, 0, 0)
	for ; p.dec.More(); n++ {
		if err := p.value(depth); err != nil {
			return err
		}
	}
	binary.BigEndian.PutUint32(p.out[at+1:], uint32(n))
	_, err := p.dec.Token()
	return err
}

// object packs up to the closing brace; of pairs with equal keys only the last.
func (p *packer) object(depth int) error {
	at := len(p.out)
	p.out = append(p.out, 0xdf, 0, 0, 0, 0)
	last := map[string]int{} // key → where its last pair begins
	n := 0
	for ; p.dec.More(); n++ {
		pair := len(p.out)
		t, err := p.dec.Token()
		if err != nil {
			return err
		}
		key, ok := t.(string)
		if !ok {
			return errors.New("a key is no string")
		}
		p.out = msgp.AppendString(p.out, key)
		if err := p.value(depth); err != nil {
			return err
		}
		last[key] = pair
	}
	if len(last) < n {
		p.unique(at+5, last)
	}
	binary.BigEndian.PutUint32(p.out[at+1:], uint32(len(last)))
	_, err := p.dec.Token()
	return err
}

// unique drops the pairs, from an offset on, that another of the same key follows.
func (p *packer) unique(from int, last map[string]int) {
	to := from
	for from < len(p.out) {
		key, _ := skip(p.out, from, 1, 0)
		end, _ := skip(p.out, key, 1, 0)
		name, _ := text(p.out[from:key])
		if last[string(name)] == from {
			to += copy(p.out[to:], p.out[from:end])
		}
		from = end
	}
	p.out = p.out[:to]
}
