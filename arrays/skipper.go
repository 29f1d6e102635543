package arrays

import "encoding/binary"

// A skipper goes over one msgpack value that may come in pieces, in constant
// memory.
type skipper struct {
	Values uint64 `json:"values,omitempty"` // to come
	Bytes  uint64 `json:"bytes,omitempty"`  // to come of the present one
}

func newSkipper() skipper { return skipper{Values: 1} }

func (s *skipper) active() bool { return s.Values > 0 || s.Bytes > 0 }

// skip gives how many bytes of p belong to the value, as far as that is known.
// A byte that begins no value ends the walk.
func (s *skipper) skip(p []byte) int {
	i := 0
	for s.active() && i < len(p) {
		if s.Bytes > 0 {
			n := min(s.Bytes, uint64(len(p)-i))
			s.Bytes -= n
			i += int(n)
			continue
		}
		head, body, children := leadOf(p[i:])
		if head == 0 {
			break
		}
		if head < 0 {
			*s = skipper{}
			break
		}
		i += head
		s.Values += children - 1
		s.Bytes = body
	}
	return i
}

// leadOf reads the head of a value: its size (0: more bytes are needed, -1: no
// value begins so), the size of what follows, and the number of values inside.
func leadOf(p []byte) (head int, body, children uint64) {
	c := p[0]
	switch {
	case c < 0x80 || c >= 0xe0 || c == 0xc0 || c == 0xc2 || c == 0xc3:
		return 1, 0, 0
	case c < 0x90:
		return 1, 0, 2 * uint64(c&0x0f)
	case c < 0xa0:
		return 1, 0, uint64(c & 0x0f)
	case c < 0xc0:
		return 1, uint64(c & 0x1f), 0
	case c == 0xc1:
		return -1, 0, 0
	}
	k := leadKinds[c-0xc4]
	if len(p) < 1+int(k.length) {
		return 0, 0, 0
	}
	var n uint64
	switch k.length {
	case 0:
		return 1, uint64(k.fixed), 0
	case 1:
		n = uint64(p[1])
	case 2:
		n = uint64(binary.BigEndian.Uint16(p[1:]))
	case 4:
		n = uint64(binary.BigEndian.Uint32(p[1:]))
	}
	return 1 + int(k.length), n*uint64(k.bytes) + uint64(k.fixed), n * uint64(k.values)
}

// A leadKind says how a value of the lead bytes 0xc4 to 0xdf goes on: the
// width of its length field, bytes that always follow, and what each unit of
// the length stands for.
type leadKind struct{ length, fixed, bytes, values uint8 }

var leadKinds = [0xe0 - 0xc4]leadKind{
	{1, 0, 1, 0}, {2, 0, 1, 0}, {4, 0, 1, 0}, // bin
	{1, 1, 1, 0}, {2, 1, 1, 0}, {4, 1, 1, 0}, // ext: a type byte first
	{0, 4, 0, 0}, {0, 8, 0, 0}, // float
	{0, 1, 0, 0}, {0, 2, 0, 0}, {0, 4, 0, 0}, {0, 8, 0, 0}, // uint
	{0, 1, 0, 0}, {0, 2, 0, 0}, {0, 4, 0, 0}, {0, 8, 0, 0}, // int
	{0, 2, 0, 0}, {0, 3, 0, 0}, {0, 5, 0, 0}, {0, 9, 0, 0}, {0, 17, 0, 0}, // fixext
	{1, 0, 1, 0}, {2, 0, 1, 0}, {4, 0, 1, 0}, // str
	{2, 0, 0, 1}, {4, 0, 0, 1}, // array
	{2, 0, 0, 2}, {4, 0, 0, 2}, // map
}
