package policies

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"
)

// appendPlain appends a value as Python's str gives it: a text as it is, and
// else what its repr is. Bytes are themselves, too; str would give b'…'.
func appendPlain(dst, v []byte) ([]byte, error) {
	if s, ok := content(v); ok {
		return append(dst, s...), nil
	}
	start := len(dst)
	out, _, err := appendRepr(dst, v, mostNested)
	if err != nil {
		return dst[:start], fmt.Errorf("%w: %w", errValue, err)
	}
	return out, nil
}

// mostNested bounds lists and maps inside each other.
const mostNested = 100

var errNested = errors.New("lists and maps are nested too deeply")

// appendRepr appends the first value of v as Python's repr gives it, and gives
// what follows. v is well formed.
func appendRepr(dst, v []byte, depth int) (_, rest []byte, err error) {
	switch t := msgp.NextType(v); t {
	case msgp.StrType:
		s, rest, err := msgp.ReadStringZC(v)
		return appendQuoted(dst, s), rest, err
	case msgp.BinType:
		s, rest, err := msgp.ReadBytesZC(v)
		return appendBytes(dst, s), rest, err
	case msgp.NilType:
		rest, err := msgp.ReadNilBytes(v)
		return append(dst, "None"...), rest, err
	case msgp.BoolType:
		b, rest, err := msgp.ReadBoolBytes(v)
		if b {
			return append(dst, "True"...), rest, err
		}
		return append(dst, "False"...), rest, err
	case msgp.Float32Type:
		f, rest, err := msgp.ReadFloat32Bytes(v)
		return appendPythonFloat(dst, float64(f)), rest, err
	case msgp.Float64Type:
		f, rest, err := msgp.ReadFloat64Bytes(v)
		return appendPythonFloat(dst, f), rest, err
	case msgp.IntType:
		i, rest, err := msgp.ReadInt64Bytes(v)
		return strconv.AppendInt(dst, i, 10), rest, err
	case msgp.UintType:
		u, rest, err := msgp.ReadUint64Bytes(v)
		return strconv.AppendUint(dst, u, 10), rest, err
	case msgp.ArrayType:
		n, rest, err := msgp.ReadArrayHeaderBytes(v)
		if err != nil {
			return dst, nil, err
		}
		return appendList(append(dst, '['), rest, n, false, depth)
	case msgp.MapType:
		n, rest, err := msgp.ReadMapHeaderBytes(v)
		if err != nil {
			return dst, nil, err
		}
		return appendList(append(dst, '{'), rest, n, true, depth)
	default:
		return appendExtension(dst, v)
	}
}

// appendList appends n values and a bracket, or n pairs and a brace.
func appendList(dst, v []byte, n uint32, pairs bool, depth int) (_, rest []byte, err error) {
	if depth == 0 {
		return dst, nil, errNested
	}
	for i := range n {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		if dst, v, err = appendRepr(dst, v, depth-1); err != nil {
			return dst, nil, err
		}
		if !pairs {
			continue
		}
		if dst, v, err = appendRepr(append(dst, ": "...), v, depth-1); err != nil {
			return dst, nil, err
		}
	}
	if pairs {
		return append(dst, '}'), v, nil
	}
	return append(dst, ']'), v, nil
}

// appendExtension appends an extension as Python's msgpack shows it.
func appendExtension(dst, v []byte) (_, rest []byte, err error) {
	rest, err = msgp.Skip(v)
	if err != nil {
		return dst, nil, err
	}
	head := map[byte]int{0xc7: 3, 0xc8: 4, 0xc9: 6}[v[0]]
	if head == 0 {
		head = 2 // of the fixed sizes
	}
	whole := v[:len(v)-len(rest)]
	dst = fmt.Appendf(dst, "ExtType(code=%d, data=", int8(whole[head-1]))
	return append(appendBytes(dst, whole[head:]), ')'), rest, nil
}

// appendPythonFloat writes the shortest text that reads back the same, with an
// exponent below -4 and from 16 on.
func appendPythonFloat(dst []byte, f float64) []byte {
	text := strconv.FormatFloat(f, 'e', -1, 64)
	_, exponent, ok := strings.Cut(text, "e")
	if !ok {
		return append(dst, strings.ToLower(strings.TrimPrefix(text, "+"))...) // inf, -inf, nan
	}
	if e, err := strconv.Atoi(exponent); err == nil && e >= -4 && e < 16 {
		text = strconv.FormatFloat(f, 'f', -1, 64)
		if !strings.Contains(text, ".") {
			text += ".0"
		}
	}
	return append(dst, text...)
}

// quote is the quotation mark that Python takes for a text.
func quote(s []byte) byte {
	if bytes.IndexByte(s, '\'') >= 0 && bytes.IndexByte(s, '"') < 0 {
		return '"'
	}
	return '\''
}

// appendQuoted appends a text as Python's repr gives it; bytes that are no
// UTF-8 are the surrogates that stand for them.
func appendQuoted(dst, s []byte) []byte {
	q := quote(s)
	dst = append(dst, q)
	for len(s) > 0 {
		r, n := utf8.DecodeRune(s)
		switch {
		case r == utf8.RuneError && n == 1:
			dst = fmt.Appendf(dst, `\udc%02x`, s[0])
		case r < 0x80:
			dst = appendASCII(dst, byte(r), q)
		case unicode.IsPrint(r):
			dst = append(dst, s[:n]...)
		case r < 0x100:
			dst = fmt.Appendf(dst, `\x%02x`, r)
		case r < 0x10000:
			dst = fmt.Appendf(dst, `\u%04x`, r)
		default:
			dst = fmt.Appendf(dst, `\U%08x`, r)
		}
		s = s[n:]
	}
	return append(dst, q)
}

func appendASCII(dst []byte, c, q byte) []byte {
	switch {
	case c == q || c == '\\':
		return append(dst, '\\', c)
	case c == '\n':
		return append(dst, `\n`...)
	case c == '\r':
		return append(dst, `\r`...)
	case c == '\t':
		return append(dst, `\t`...)
	case c < ' ' || c >= 0x7f:
		return fmt.Appendf(dst, `\x%02x`, c)
	}
	return append(dst, c)
}

// appendBytes appends bytes as Python's repr gives them.
func appendBytes(dst, s []byte) []byte {
	q := quote(s)
	dst = append(dst, 'b', q)
	for _, c := range s {
		dst = appendASCII(dst, c, q)
	}
	return append(dst, q)
}
