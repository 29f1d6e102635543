package telemetry

import (
	"encoding/binary"
	"errors"
)

// A value is what a field of a protobuf message holds: bytes, or a number of
// whatever width.
type value struct {
	bytes []byte
	fixed uint64
}

var errProto = errors.New("it is no protobuf message")

// Wire types of protobuf's encoding.
const (
	wireVarint = 0
	wire64     = 1
	wireBytes  = 2
	wire32     = 5
)

// walk visits the fields of a message in their order.
func walk(b []byte, visit func(field int, v value) error) error {
	for len(b) > 0 {
		key, n := binary.Uvarint(b)
		if n <= 0 || key>>3 == 0 || key>>3 > 1<<29-1 {
			return errProto
		}
		b = b[n:]
		v, rest, err := wireValue(b, int(key&7))
		if err != nil {
			return err
		}
		if err := visit(int(key>>3), v); err != nil {
			return err
		}
		b = rest
	}
	return nil
}

// wireValue reads a value of a wire type.
func wireValue(b []byte, kind int) (v value, rest []byte, err error) {
	switch kind {
	case wireVarint:
		u, n := binary.Uvarint(b)
		if n <= 0 {
			return v, nil, errProto
		}
		return value{fixed: u}, b[n:], nil
	case wire64:
		if len(b) < 8 {
			return v, nil, errProto
		}
		return value{fixed: binary.LittleEndian.Uint64(b)}, b[8:], nil
	case wireBytes:
		u, n := binary.Uvarint(b)
		if n <= 0 || u > uint64(len(b)-n) {
			return v, nil, errProto
		}
		end := n + int(u)
		return value{bytes: b[n:end:end]}, b[end:], nil
	case wire32:
		if len(b) < 4 {
			return v, nil, errProto
		}
		return value{fixed: uint64(binary.LittleEndian.Uint32(b))}, b[4:], nil
	}
	return v, nil, errProto
}
