package arrays

import (
	"encoding/binary"
	"math"
	"strconv"
	"time"

	"weir/forward"
)

// The kinds of a value of a record.
const (
	valueMissing = iota // nil, or an empty text
	valueNumber
	valueText
	valueOther // an array or an extension
)

// A value is one value of a record.
type value struct {
	kind   int
	number float64 // of valueNumber
	text   []byte  // of valueText, and of a number that came as text
}

// String gives the value for people, and as a category.
func (v value) String() string {
	switch {
	case v.kind == valueOther:
		return "a list"
	case v.text != nil:
		return string(v.text)
	}
	return strconv.FormatFloat(v.number, 'g', -1, 64)
}

// parseValue reads one whole msgpack value that is no map.
func parseValue(b []byte) value {
	switch c := b[0]; {
	case c < 0x80 || c >= 0xe0:
		return numberValue(float64(int8(c)))
	case c == 0xc0:
		return value{}
	case c == 0xc2, c == 0xc3:
		return numberValue(float64(c - 0xc2))
	case c == 0xca:
		return numberValue(float64(math.Float32frombits(binary.BigEndian.Uint32(b[1:]))))
	case c == 0xcb:
		return numberValue(math.Float64frombits(binary.BigEndian.Uint64(b[1:])))
	case c >= 0xcc && c <= 0xcf:
		return numberValue(float64(bigEndian(b[1:])))
	case c >= 0xd0 && c <= 0xd3:
		shift := 64 - 8*(len(b)-1)
		return numberValue(float64(int64(bigEndian(b[1:])<<shift) >> shift))
	}
	switch forward.KindOf(b) {
	case forward.KindString, forward.KindBinary:
		text, _ := textOf(b)
		return textValue(text)
	}
	return value{kind: valueOther}
}

func numberValue(f float64) value { return value{kind: valueNumber, number: f} }

func textValue(text []byte) value {
	if len(text) == 0 {
		return value{}
	}
	if f, ok := parseNumber(text); ok {
		return value{valueNumber, f, text}
	}
	return value{kind: valueText, text: text}
}

func bigEndian(b []byte) (u uint64) {
	for _, c := range b {
		u = u<<8 | uint64(c)
	}
	return u
}

// mapHead reads the head of a whole map: the number of its pairs, and the
// bytes that follow.
func mapHead(b []byte) (n int, rest []byte) {
	switch b[0] {
	case 0xde:
		return int(binary.BigEndian.Uint16(b[1:])), b[3:]
	case 0xdf:
		return int(binary.BigEndian.Uint32(b[1:])), b[5:]
	}
	return int(b[0] & 0x0f), b[1:]
}

// textOf gives the content of the string or binary that begins b, or the whole
// value when it is another, and what follows.
func textOf(b []byte) (text, rest []byte) {
	if c := b[0]; c&0xe0 == 0xa0 {
		n := 1 + int(c&0x1f)
		return b[1:n:n], b[n:]
	}
	v, rest := valueOf(b)
	switch v[0] {
	case 0xd9, 0xc4:
		return v[2:], rest
	case 0xda, 0xc5:
		return v[3:], rest
	case 0xdb, 0xc6:
		return v[5:], rest
	}
	return v, rest
}

// valueOf parts b, which is well formed, after its first value.
func valueOf(b []byte) (v, rest []byte) {
	head, body, children := leadOf(b)
	n := head + int(body)
	if children > 0 {
		s := newSkipper()
		n = s.skip(b)
	}
	return b[:n:n], b[n:]
}

// lookup finds a field of a whole map; of equal names the last counts.
func lookup(record []byte, name string) (v []byte, ok bool) {
	n, b := mapHead(record)
	for range n {
		var key, val []byte
		key, b = textOf(b)
		val, b = valueOf(b)
		if string(key) == name {
			v, ok = val, true
		}
	}
	return v, ok
}

// nanoseconds reads a time: an EventTime, a number of seconds since 1970, also
// as text, or an RFC 3339 time.
func nanoseconds(b []byte) (int64, bool) {
	if ns, ok := forward.UnixNano(b); ok {
		return ns, true
	}
	v := parseValue(b)
	switch v.kind {
	case valueNumber:
		return secondsToNano(v)
	case valueText:
		t, err := time.Parse(time.RFC3339Nano, string(v.text))
		if err != nil || t.Year() < 1678 || t.Year() > 2261 {
			return 0, false
		}
		return t.UnixNano(), true
	}
	return 0, false
}

// secondsToNano keeps the digits of a text that a float64 would round away.
func secondsToNano(v value) (int64, bool) {
	if s, err := strconv.ParseInt(string(v.text), 10, 64); err == nil {
		return s * 1e9, s > -9e9 && s < 9e9
	}
	whole, frac := math.Modf(v.number)
	if math.Abs(whole) >= 9e9 || math.IsNaN(whole) {
		return 0, false
	}
	return int64(whole)*1e9 + int64(math.Round(frac*1e9)), true
}

func appendInt64(b []byte, v int64) []byte {
	return binary.LittleEndian.AppendUint64(b, uint64(v))
}
