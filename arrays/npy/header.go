package npy

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A Field is a column of a structured array.
type Field struct {
	Name string
	Type string // of numpy, such as "<f8" or "<M8[ns]"
}

// A Header says what an array is.
type Header struct {
	// Fields of a structured array in their order, packed. A single field
	// without a name is a plain array.
	Fields []Field
	Shape  []int64
}

// Type is the element's type as a Python literal: '<f8', or
// [('time', '<M8[ns]'), ('x', '<f8')].
func (h Header) Type() string {
	if len(h.Fields) == 1 && h.Fields[0].Name == "" {
		return quote(h.Fields[0].Type)
	}
	var b strings.Builder
	b.WriteByte('[')
	for i, f := range h.Fields {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "(%s, %s)", quote(f.Name), quote(f.Type))
	}
	b.WriteByte(']')
	return b.String()
}

// quote writes a Python string literal that any version reads.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('\'')
	for _, c := range s {
		switch {
		case c == '\'' || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c < 0x20 || c == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('\'')
	return b.String()
}

func (h Header) dict() string {
	var b strings.Builder
	b.WriteString("{'descr': " + h.Type() + ", 'fortran_order': False, 'shape': (")
	for i, n := range h.Shape {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(strconv.FormatInt(n, 10))
		b.WriteByte(',')
	}
	b.WriteString("), }")
	return b.String()
}

// align is what the head's length is a multiple of, so that the elements can
// be mapped into memory.
const align = 64

// Bytes is the head of a .npy file; the elements follow it.
func (h Header) Bytes() []byte {
	const magic = "\x93NUMPY"
	dict := h.dict()
	version, length := byte(1), 2
	if !isLatin(dict) {
		version, length = 3, 4
	} else if len(dict)+len(magic)+2+2+align > 0xffff {
		version, length = 2, 4
	}
	head := len(magic) + 2 + length
	total := (head + len(dict) + 1 + align - 1) / align * align
	b := append(make([]byte, 0, total), magic...)
	b = append(b, version, 0)
	if length == 2 {
		b = binary.LittleEndian.AppendUint16(b, uint16(total-head))
	} else {
		b = binary.LittleEndian.AppendUint32(b, uint32(total-head))
	}
	b = append(b, dict...)
	for len(b) < total-1 {
		b = append(b, ' ')
	}
	return append(b, '\n')
}

// isLatin tells whether versions before 3.0 can have the text as UTF-8.
func isLatin(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
