package policies

import (
	"fmt"
	"math"
	"strconv"

	"github.com/tinylib/msgp/msgp"

	"weir/forward"
)

// usualFields are looked for, in this order, where a policy names none.
var usualFields = [...]string{"message", "log", "text", "data", "value"}

// whole gives the record's bytes where they are kept without a change; nil
// where they have to be put together.
func (ru *rule) whole(record []byte) ([]byte, error) {
	if ru.Policy.Keep == Decoded {
		s, _ := content(record)
		return s, nil
	}
	v, inMap, err := ru.value(record)
	if err != nil {
		return nil, err
	}
	s, ok := content(v)
	if !ok || inMap && ru.Policy.Keep == Text && !endsLine(s) {
		return nil, nil
	}
	return s, nil
}

// appendRecord appends what the policy keeps of a record.
func (ru *rule) appendRecord(dst, record []byte) ([]byte, error) {
	if ru.Policy.Keep == Decoded {
		return appendPlain(dst, record)
	}
	v, inMap, err := ru.value(record)
	if err != nil {
		return dst, err
	}
	s, isText := content(v)
	start := len(dst)
	if isText {
		dst = append(dst, s...)
	} else if dst, err = appendNumber(dst, v); err != nil {
		return dst, err
	}
	if ru.Policy.Keep == Text && (inMap || !isText) && !endsLine(dst[start:]) {
		dst = append(dst, '\n')
	}
	return dst, nil
}

func endsLine(s []byte) bool { return len(s) > 0 && s[len(s)-1] == '\n' }

// value finds the value that is kept of a record: that of a field where the
// record is a map.
func (ru *rule) value(record []byte) (v []byte, inMap bool, err error) {
	if forward.KindOf(record) != forward.KindMap {
		return record, false, nil
	}
	v, err = ru.field(record)
	return v, true, err
}

// field finds the policy's field in a map; of equal keys the last one counts.
func (ru *rule) field(record []byte) ([]byte, error) {
	n, b, err := msgp.ReadMapHeaderBytes(record)
	if err != nil {
		return nil, err
	}
	var usual [len(usualFields)][]byte
	var named, last []byte
	for range n {
		key, _ := content(b)
		if b, err = msgp.Skip(b); err != nil {
			return nil, err
		}
		last = b
		if b, err = msgp.Skip(b); err != nil {
			return nil, err
		}
		if ru.Field != "" && string(key) == ru.Field {
			named = last
		}
		for i, name := range usualFields {
			if string(key) == name {
				usual[i] = last
			}
		}
	}
	if ru.Field != "" {
		if named == nil {
			return nil, fmt.Errorf("%w: the record has no field %q", errNoField, ru.Field)
		}
		return named, nil
	}
	for _, v := range usual {
		if v != nil {
			return v, nil
		}
	}
	if n == 1 {
		return last, nil
	}
	return nil, fmt.Errorf("%w: the record has %d fields, none of them message, log, text, data or value: name one in the policy's field", errNoField, n)
}

// content gives the bytes of a string or binary.
func content(v []byte) ([]byte, bool) {
	var s []byte
	var err error
	switch forward.KindOf(v) {
	case forward.KindString:
		s, _, err = msgp.ReadStringZC(v)
	case forward.KindBinary:
		s, _, err = msgp.ReadBytesZC(v)
	default:
		return nil, false
	}
	return s, err == nil
}

// appendNumber appends a number as decimal text.
func appendNumber(dst, v []byte) ([]byte, error) {
	switch t := msgp.NextType(v); t {
	case msgp.IntType:
		i, _, err := msgp.ReadInt64Bytes(v)
		return strconv.AppendInt(dst, i, 10), err
	case msgp.UintType:
		u, _, err := msgp.ReadUint64Bytes(v)
		return strconv.AppendUint(dst, u, 10), err
	case msgp.Float32Type:
		f, _, err := msgp.ReadFloat32Bytes(v)
		return appendFloat(dst, float64(f), 32), err
	case msgp.Float64Type:
		f, _, err := msgp.ReadFloat64Bytes(v)
		return appendFloat(dst, f, 64), err
	default:
		return dst, fmt.Errorf("%w but of type %s: it must be a string, binary or a number", errValue, t)
	}
}

// appendFloat writes the shortest text that reads back as the same number,
// without an exponent in the usual range.
func appendFloat(dst []byte, f float64, bits int) []byte {
	format := byte('f')
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, f, format, -1, bits)
}
