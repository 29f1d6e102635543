package records

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"weir/forward"
)

// AppendEntry appends an entry as a JSON object, without a line's end.
func AppendEntry(b []byte, e forward.Entry) []byte {
	b = append(b, `{"time":`...)
	b = appendTime(b, e.Time)
	if e.Meta != nil {
		b = append(b, `,"metadata":`...)
		b, _ = appendValue(b, e.Meta)
	}
	b = append(b, `,"record":`...)
	b, _ = appendValue(b, e.Record)
	return append(b, '}')
}

// AppendLine appends a line of text as a JSON value: itself where it is one,
// else a string.
func AppendLine(b, line []byte) []byte {
	if len(line) > 0 && json.Valid(line) {
		return append(b, line...)
	}
	return appendText(b, line)
}

const timeFormat = "2006-01-02T15:04:05.999999999Z07:00"

// appendTime appends an entry's time; one beyond what nanoseconds since 1970
// can tell as the number that it is.
func appendTime(b, raw []byte) []byte {
	ns, ok := forward.UnixNano(raw)
	if !ok {
		b, _ = appendValue(b, raw)
		return b
	}
	b = append(b, '"')
	b = time.Unix(0, ns).UTC().AppendFormat(b, timeFormat)
	return append(b, '"')
}

// appendValue appends the whole, well-formed msgpack value that begins v, and
// gives what follows it.
func appendValue(b, v []byte) (out, rest []byte) {
	switch c := v[0]; {
	case c < 0x80 || c >= 0xe0:
		return strconv.AppendInt(b, int64(int8(c)), 10), v[1:]
	case c == 0xc0:
		return append(b, "null"...), v[1:]
	case c == 0xc2:
		return append(b, "false"...), v[1:]
	case c == 0xc3:
		return append(b, "true"...), v[1:]
	case c == 0xca:
		return appendFloat(b, float64(math.Float32frombits(binary.BigEndian.Uint32(v[1:]))), 32), v[5:]
	case c == 0xcb:
		return appendFloat(b, math.Float64frombits(binary.BigEndian.Uint64(v[1:])), 64), v[9:]
	case c >= 0xcc && c <= 0xcf:
		n := 1 << (c - 0xcc)
		return strconv.AppendUint(b, bigEndian(v[1:1+n]), 10), v[1+n:]
	case c >= 0xd0 && c <= 0xd3:
		n := 1 << (c - 0xd0)
		shift := 64 - 8*n
		return strconv.AppendInt(b, int64(bigEndian(v[1:1+n])<<shift)>>shift, 10), v[1+n:]
	}
	s := shapeOf(v)
	switch s.kind {
	case shapeMap:
		return appendMap(b, v[s.head:], s.n)
	case shapeList:
		return appendList(b, v[s.head:], s.n)
	case shapeText:
		return appendText(b, v[s.head:s.head+s.n]), v[s.head+s.n:]
	}
	return appendExt(b, v, s), v[s.head+s.n:]
}

func appendMap(b, v []byte, n int) (out, rest []byte) {
	b = append(b, '{')
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		var key []byte
		key, v = keyOf(v)
		b = append(appendString(b, key), ':')
		b, v = appendValue(b, v)
	}
	return append(b, '}'), v
}

// keyOf gives a map's key as text: a text as it is, anything else as its JSON.
func keyOf(v []byte) (key, rest []byte) {
	if s := shapeOf(v); s.kind == shapeText {
		return v[s.head : s.head+s.n], v[s.head+s.n:]
	}
	return appendValue(nil, v)
}

func appendList(b, v []byte, n int) (out, rest []byte) {
	b = append(b, '[')
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b, v = appendValue(b, v)
	}
	return append(b, ']'), v
}

func appendFloat(b []byte, f float64, bits int) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(b, "null"...)
	}
	return strconv.AppendFloat(b, f, 'g', -1, bits)
}

// appendText appends text as a string, other bytes as an object.
func appendText(b, text []byte) []byte {
	if utf8.Valid(text) {
		return appendString(b, text)
	}
	return append(appendBase64(append(b, '{'), text), '}')
}

func appendBase64(b, data []byte) []byte {
	b = append(b, `"base64":"`...)
	b = base64.StdEncoding.AppendEncode(b, data)
	return append(b, '"')
}

// appendExt appends an extension: a time of fluentd's as text, others as
// their type and bytes.
func appendExt(b, v []byte, s shape) []byte {
	if _, ok := forward.UnixNano(v[:s.head+s.n]); ok {
		return appendTime(b, v[:s.head+s.n])
	}
	b = append(b, `{"ext":`...)
	b = strconv.AppendInt(b, int64(int8(v[s.head-1])), 10)
	return append(appendBase64(append(b, ','), v[s.head:s.head+s.n]), '}')
}

const hexDigits = "0123456789abcdef"

// appendString appends a JSON string; bytes that are no UTF-8 become U+FFFD.
func appendString(b, text []byte) []byte {
	b = append(b, '"')
	for len(text) > 0 {
		c := text[0]
		if c < utf8.RuneSelf {
			text = text[1:]
			switch {
			case c == '"' || c == '\\':
				b = append(b, '\\', c)
			case c >= ' ' && c != 0x7f:
				b = append(b, c)
			case c == '\n':
				b = append(b, `\n`...)
			case c == '\t':
				b = append(b, `\t`...)
			case c == '\r':
				b = append(b, `\r`...)
			default:
				b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
			continue
		}
		r, n := utf8.DecodeRune(text)
		text = text[n:]
		b = utf8.AppendRune(b, r)
	}
	return append(b, '"')
}
