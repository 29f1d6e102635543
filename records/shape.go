package records

import "encoding/binary"

// The kinds of a value that is no number, boolean or nil.
const (
	shapeExt  = iota
	shapeText // a string, or binary
	shapeList
	shapeMap
)

// A shape is how a value of several bytes begins: n bytes, elements or pairs
// follow the head. The type of an extension is the head's last byte.
type shape struct{ kind, head, n int }

func shapeOf(v []byte) shape {
	switch c := v[0]; {
	case c&0xf0 == 0x80:
		return shape{shapeMap, 1, int(c & 15)}
	case c&0xf0 == 0x90:
		return shape{shapeList, 1, int(c & 15)}
	case c&0xe0 == 0xa0:
		return shape{shapeText, 1, int(c & 31)}
	case c == 0xc4 || c == 0xd9:
		return shape{shapeText, 2, int(v[1])}
	case c == 0xc5 || c == 0xda:
		return shape{shapeText, 3, int(binary.BigEndian.Uint16(v[1:]))}
	case c == 0xc6 || c == 0xdb:
		return shape{shapeText, 5, int(binary.BigEndian.Uint32(v[1:]))}
	case c == 0xdc:
		return shape{shapeList, 3, int(binary.BigEndian.Uint16(v[1:]))}
	case c == 0xdd:
		return shape{shapeList, 5, int(binary.BigEndian.Uint32(v[1:]))}
	case c == 0xde:
		return shape{shapeMap, 3, int(binary.BigEndian.Uint16(v[1:]))}
	case c == 0xdf:
		return shape{shapeMap, 5, int(binary.BigEndian.Uint32(v[1:]))}
	case c == 0xc7:
		return shape{shapeExt, 3, int(v[1])}
	case c == 0xc8:
		return shape{shapeExt, 4, int(binary.BigEndian.Uint16(v[1:]))}
	case c == 0xc9:
		return shape{shapeExt, 6, int(binary.BigEndian.Uint32(v[1:]))}
	case c >= 0xd4 && c <= 0xd8:
		return shape{shapeExt, 2, 1 << (c - 0xd4)}
	}
	return shape{shapeExt, 0, 0} // a number, boolean or nil
}

func bigEndian(b []byte) (u uint64) {
	for _, c := range b {
		u = u<<8 | uint64(c)
	}
	return u
}
