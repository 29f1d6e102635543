package forward

import "encoding/binary"

// MaxDepth is how deep containers may nest in a message. Deeper input is
// refused where it is met, so that no reader of the data has to recurse
// further.
const MaxDepth = 256

// A status says how a walk over msgpack ended.
type status uint8

const (
	whole   status = iota // the values are there
	short                 // the bytes end before the values do
	invalid               // a byte that begins no value
	deep                  // containers nest deeper than MaxDepth
)

// The classes of a lead byte. A lead byte that says the whole size of its
// value has that size, at most 32, in place of a class.
const (
	classSize8 = 0x40 + iota // one byte of length, then content
	classSize16
	classSize32
	classExt8 // as the above, with a type byte before the content
	classExt16
	classExt32
	classFixArray
	classFixMap
	classArray16
	classArray32
	classMap16
	classMap32
	classInvalid
)

// leads gives size or class of the value that a lead byte begins, after the
// table of formats in the msgpack specification.
var leads = func() (t [256]uint8) {
	for i := range t {
		switch {
		case i < 0x80 || i >= 0xe0:
			t[i] = 1
		case i < 0x90:
			t[i] = classFixMap
		case i < 0xa0:
			t[i] = classFixArray
		case i < 0xc0:
			t[i] = uint8(1 + i&0x1f)
		}
	}
	copy(t[0xc0:], []uint8{
		1, classInvalid, 1, 1, // nil, never used, false, true
		classSize8, classSize16, classSize32, // bin
		classExt8, classExt16, classExt32,
		5, 9, // float
		2, 3, 5, 9, // uint
		2, 3, 5, 9, // int
		3, 4, 6, 10, 18, // fixext
		classSize8, classSize16, classSize32, // str
		classArray16, classArray32, classMap16, classMap32,
	})
	return t
}()

// skip walks n values from b[p:] and gives the offset after them. Without
// whole, the offset is that of the value in which the walk stopped. depth is
// how many containers are open. It recurses once for each open container,
// at most MaxDepth deep, and looks at nothing that was only announced.
func skip(b []byte, p int, n uint64, depth int) (int, status) {
	for ; n > 0; n-- {
		if p >= len(b) {
			return p, short
		}
		c := leads[b[p]]
		if c < classSize8 {
			if p+int(c) > len(b) {
				return p, short
			}
			p += int(c)
			continue
		}
		size, children, st := measure(b, p, c)
		if st != whole {
			return p, st
		}
		if uint64(len(b)-p) < size {
			return p, short
		}
		p += int(size)
		if c < classFixArray {
			continue
		}
		if depth >= MaxDepth {
			return p - int(size), deep
		}
		if p, st = skip(b, p, children, depth+1); st != whole {
			return p, st
		}
	}
	return p, whole
}

// measure gives the size of the value at b[p], of class c: that of the head
// alone for a container, whose children it counts.
func measure(b []byte, p int, c uint8) (size, children uint64, st status) {
	b = b[p:]
	switch c {
	case classFixArray:
		return 1, uint64(b[0] & 0x0f), whole
	case classFixMap:
		return 1, 2 * uint64(b[0]&0x0f), whole
	case classInvalid:
		return 0, 0, invalid
	}
	n, head, ok := declared(b, c)
	if !ok {
		return 0, 0, short
	}
	switch c {
	case classArray16, classArray32:
		return head, n, whole
	case classMap16, classMap32:
		return head, 2 * n, whole
	}
	return head + n, 0, whole
}

// declared reads the number after a lead byte of class c, and gives the size
// of the head that it ends.
func declared(b []byte, c uint8) (n, head uint64, ok bool) {
	switch c {
	case classSize8, classExt8:
		if len(b) < 2 {
			return 0, 0, false
		}
		n, head = uint64(b[1]), 2
	case classSize16, classExt16, classArray16, classMap16:
		if len(b) < 3 {
			return 0, 0, false
		}
		n, head = uint64(binary.BigEndian.Uint16(b[1:])), 3
	default:
		if len(b) < 5 {
			return 0, 0, false
		}
		n, head = uint64(binary.BigEndian.Uint32(b[1:])), 5
	}
	if c >= classExt8 && c <= classExt32 {
		head++
	}
	return n, head, true
}
