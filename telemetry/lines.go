package telemetry

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"
)

// Lines reads InfluxDB's line protocol. Empty lines and those that begin with #
// are no points. Its error is that of Options.Take.
func Lines(body []byte, o Options) (*Reading, error) {
	r := newReading(o)
	for n := 1; len(body) > 0 && r.err == nil; {
		line, rest := cutLine(body)
		text := bytes.TrimLeft(bytes.TrimRight(line, "\r"), " \t")
		if len(text) > 0 && text[0] != '#' {
			err := r.line(text)
			if err != nil && len(line) > 0 {
				if short := bytes.IndexByte(line, '\n'); short >= 0 { // a quote that was never closed
					line, rest = line[:short], body[short+1:]
				}
				r.refuse(n, line, err)
			}
		}
		n += 1 + bytes.Count(line, []byte("\n"))
		body = rest
	}
	return r.end(nil)
}

// cutLine cuts at the first line feed outside of a quoted value. Quotes mean
// something only where a value of a field begins.
func cutLine(b []byte) (line, rest []byte) {
	var fields, value, quoted bool
	start := len(b) - len(bytes.TrimLeft(b, " \t"))
	comment := start < len(b) && b[start] == '#'
	for i := start; i < len(b); i++ {
		begins := value
		value = false
		switch c := b[i]; {
		case c == '\n' && !quoted:
			return b[:i], b[i+1:]
		case c == '\\' && i+1 < len(b) && b[i+1] != '\n':
			i++
		case c == '"' && quoted:
			quoted = false
		case c == '"':
			quoted = begins && fields && !comment
		case c == ' ':
			fields = true
		case c == '=':
			value = true
		}
	}
	return b, nil
}

// line reads one point.
func (r *Reading) line(b []byte) error {
	if !utf8.Valid(b) {
		return errors.New("it is not UTF-8")
	}
	p := &r.point
	p.reset()
	var ended bool
	p.name, b = word(b, ", ")
	for len(b) > 0 && b[0] == ',' {
		var t pair
		t.name, b = word(b[1:], "=, ")
		if len(b) == 0 || b[0] != '=' {
			return fmt.Errorf("the tag %.60q has no value", t.name)
		}
		t.value, b = word(b[1:], ", =")
		if len(t.name) == 0 || len(t.value) == 0 || len(b) > 0 && b[0] == '=' {
			return fmt.Errorf("the tag %.60q is not NAME=VALUE", t.name)
		}
		if p.full() {
			return errWide
		}
		p.tags = append(p.tags, t)
	}
	if b, ended = spaces(b); ended {
		return errNoFields
	}
	b, err := p.fieldSet(b)
	if err != nil {
		return err
	}
	if b, ended = spaces(b); !ended {
		n, err := strconv.ParseInt(string(bytes.TrimRight(b, " ")), 10, 64)
		if err != nil {
			return fmt.Errorf("the time %.60q is no whole number", b)
		}
		if p.ns, p.timed = times(n, r.o.Unit); !p.timed {
			return errTime
		}
	}
	return r.add()
}

// word reads up to one of the bytes in ends, and takes the backslash from
// those, and from spaces, that it escapes.
func word(b []byte, ends string) (text, rest []byte) {
	escaped := false
	i := 0
	for i < len(b) && strings.IndexByte(ends, b[i]) < 0 {
		if b[i] == '\\' && i+1 < len(b) && escapable(b[i+1]) {
			escaped = true
			i++
		}
		i++
	}
	text, rest = b[:i:i], b[i:]
	if !escaped {
		return text, rest
	}
	plain := make([]byte, 0, len(text))
	for k := 0; k < len(text); k++ {
		if text[k] == '\\' && k+1 < len(text) && escapable(text[k+1]) {
			k++
		}
		plain = append(plain, text[k])
	}
	return plain, rest
}

func escapable(c byte) bool { return c == ',' || c == '=' || c == ' ' }

// spaces goes over blanks; ended says that nothing else follows.
func spaces(b []byte) (rest []byte, ended bool) {
	rest = bytes.TrimLeft(b, " ")
	return rest, len(rest) == 0
}

// fieldSet reads NAME=VALUE,…
func (p *point) fieldSet(b []byte) (rest []byte, err error) {
	for {
		var f pair
		f.name, b = word(b, "=, ")
		if len(f.name) == 0 || len(b) == 0 || b[0] != '=' {
			return nil, fmt.Errorf("the field %.60q has no name or no value", f.name)
		}
		if f.value, b, err = p.fieldValue(b[1:]); err != nil {
			return nil, fmt.Errorf("the field %.60q: %w", f.name, err)
		}
		if p.full() {
			return nil, errWide
		}
		p.fields = append(p.fields, f)
		if len(b) == 0 || b[0] != ',' {
			return b, nil
		}
		b = b[1:]
	}
}

// fieldValue reads a value as msgpack: "text", 1i, 2u, true, or a float.
func (p *point) fieldValue(b []byte) (value, rest []byte, err error) {
	if len(b) > 0 && b[0] == '"' {
		return quoted(b[1:])
	}
	end := bytes.IndexAny(b, ", ")
	if end < 0 {
		end = len(b)
	}
	text, rest := string(b[:end]), b[end:]
	switch text {
	case "t", "T", "true", "True", "TRUE":
		return []byte{0xc3}, rest, nil
	case "f", "F", "false", "False", "FALSE":
		return []byte{0xc2}, rest, nil
	case "":
		return nil, nil, errors.New("there is no value")
	}
	switch text[len(text)-1] {
	case 'i':
		n, err := strconv.ParseInt(text[:len(text)-1], 10, 64)
		if err != nil {
			return nil, nil, fmt.Errorf("%.60q is no integer", text)
		}
		return p.keep(msgp.AppendInt64(p.scratch, n)), rest, nil
	case 'u':
		n, err := strconv.ParseUint(text[:len(text)-1], 10, 64)
		if err != nil {
			return nil, nil, fmt.Errorf("%.60q is no unsigned integer", text)
		}
		return p.keep(msgp.AppendUint64(p.scratch, n)), rest, nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || !isDecimal(text) || math.IsInf(f, 0) {
		return nil, nil, fmt.Errorf("%.60q is neither number, truth value nor quoted text", text)
	}
	return p.keep(msgp.AppendFloat64(p.scratch, f)), rest, nil
}

// isDecimal leaves out what ParseFloat takes and the protocol does not: inf,
// nan, hexadecimal digits and underscores.
func isDecimal(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E' {
			return false
		}
	}
	return true
}

// quoted reads a text up to its closing quote.
func quoted(b []byte) (value, rest []byte, err error) {
	var text []byte
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return msgp.AppendStringFromBytes(nil, text), b[i+1:], nil
		case c == '\\' && i+1 < len(b) && (b[i+1] == '"' || b[i+1] == '\\'):
			i++
			text = append(text, b[i])
		default:
			text = append(text, c)
		}
	}
	return nil, nil, errors.New("the text has no closing quote")
}
