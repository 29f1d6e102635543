package forward

import (
	"encoding/binary"
	"math"
)

// isTime tells whether b, a whole value, is an integer, a finite float or an
// EventTime: extension type 0 of 8 bytes, seconds and nanoseconds as
// big-endian uint32.
func isTime(b []byte) bool {
	if len(b) == 0 || len(b) != int(leads[b[0]]) {
		return eventTime(b) != nil
	}
	switch c := b[0]; {
	case c < 0x80, c >= 0xe0, c >= 0xcc && c <= 0xd3:
		return true
	case c == 0xca, c == 0xcb:
		f := float(b)
		return !math.IsNaN(f) && !math.IsInf(f, 0)
	}
	return eventTime(b) != nil
}

// eventTime gives the 8 bytes of an EventTime, nil when b is none.
func eventTime(b []byte) []byte {
	switch {
	case len(b) == 10 && b[0] == 0xd7 && b[1] == 0:
		return b[2:]
	case len(b) == 11 && b[0] == 0xc7 && b[1] == 8 && b[2] == 0:
		return b[3:]
	}
	return nil
}

// isMarker tells whether a time is that of a group marker of Fluent Bit,
// which is no event: no nanoseconds, and ffffffff or fffffffe seconds.
func isMarker(b []byte) bool {
	t := eventTime(b)
	return t != nil && binary.BigEndian.Uint32(t) >= 0xfffffffe && binary.BigEndian.Uint32(t[4:]) == 0
}

// UnixNano gives the nanoseconds since 1970 of an entry's time, and false
// when b is no time or outside the years 1678 to 2261.
func UnixNano(b []byte) (ns int64, ok bool) {
	if t := eventTime(b); t != nil {
		return int64(binary.BigEndian.Uint32(t))*1e9 + int64(binary.BigEndian.Uint32(t[4:])), true
	}
	if !isTime(b) {
		return 0, false
	}
	if b[0] == 0xca || b[0] == 0xcb {
		f := float(b) * 1e9
		return int64(f), math.Abs(f) < math.MaxInt64
	}
	const most = math.MaxInt64 / 1_000_000_000
	s, ok := integer(b)
	return s * 1e9, ok && -most <= s && s <= most
}

// float reads a whole float32 or float64.
func float(b []byte) float64 {
	if b[0] == 0xca {
		return float64(math.Float32frombits(binary.BigEndian.Uint32(b[1:])))
	}
	return math.Float64frombits(binary.BigEndian.Uint64(b[1:]))
}

// integer reads a whole integer of any width; false when it is none or
// exceeds an int64.
func integer(b []byte) (int64, bool) {
	switch c := b[0]; {
	case c < 0x80 || c >= 0xe0:
		return int64(int8(c)), true
	case c == 0xcc:
		return int64(b[1]), true
	case c == 0xcd:
		return int64(binary.BigEndian.Uint16(b[1:])), true
	case c == 0xce:
		return int64(binary.BigEndian.Uint32(b[1:])), true
	case c == 0xcf:
		u := binary.BigEndian.Uint64(b[1:])
		return int64(u), u <= math.MaxInt64
	case c == 0xd0:
		return int64(int8(b[1])), true
	case c == 0xd1:
		return int64(int16(binary.BigEndian.Uint16(b[1:]))), true
	case c == 0xd2:
		return int64(int32(binary.BigEndian.Uint32(b[1:]))), true
	case c == 0xd3:
		return int64(binary.BigEndian.Uint64(b[1:])), true
	}
	return 0, false
}
