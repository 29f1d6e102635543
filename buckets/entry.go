package buckets

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/tinylib/msgp/msgp"
)

// MaxKey bounds a key, in bytes.
const MaxKey = 1024

// Append appends the entry of a bucket to dst.
func Append(dst []byte, at time.Time, key, value []byte) []byte {
	dst = msgp.AppendMapHeader(appendTime(dst, at), 2)
	dst = msgp.AppendStringFromBytes(msgp.AppendString(dst, "key"), key)
	return msgp.AppendBytes(msgp.AppendString(dst, "value"), value)
}

// appendDeleted appends the end of a key.
func appendDeleted(dst []byte, at time.Time, key string) []byte {
	dst = msgp.AppendMapHeader(appendTime(dst, at), 1)
	return msgp.AppendString(msgp.AppendString(dst, "deleted"), key)
}

func appendTime(dst []byte, at time.Time) []byte {
	dst = append(dst, 0x92, 0xd7, 0x00)
	dst = binary.BigEndian.AppendUint32(dst, uint32(at.Unix()))
	return binary.BigEndian.AppendUint32(dst, uint32(at.Nanosecond()))
}

// A head is what an entry says before its value.
type head struct {
	at      time.Time
	key     string
	deleted bool
	value   int   // where the value begins in the entry
	length  int64 // of the value
}

var (
	errShort = errors.New("the entry goes on")
	errEntry = errors.New("no entry of a bucket")
)

// timeBytes are those before an entry's map.
const timeBytes = 11

// parse reads an entry's head; errShort asks for more bytes of it.
func parse(b []byte) (head, error) {
	if len(b) < timeBytes+1 {
		return head{}, errShort
	}
	if b[0] != 0x92 || b[1] != 0xd7 || b[2] != 0 {
		return head{}, errEntry
	}
	h := head{at: time.Unix(int64(binary.BigEndian.Uint32(b[3:])), int64(binary.BigEndian.Uint32(b[7:]))).UTC()}
	n, rest, err := msgp.ReadMapHeaderBytes(b[timeBytes:])
	if err != nil {
		return head{}, shortOr(err)
	}
	name, rest, err := msgp.ReadStringZC(rest)
	if err != nil {
		return head{}, shortOr(err)
	}
	key, rest, err := msgp.ReadStringZC(rest)
	if err != nil {
		return head{}, shortOr(err)
	}
	h.key = string(key)
	h.deleted = n == 1 && string(name) == "deleted"
	if h.deleted {
		h.value = len(b) - len(rest)
		return h, nil
	}
	if n != 2 || string(name) != "key" {
		return head{}, errEntry
	}
	if name, rest, err = msgp.ReadStringZC(rest); err != nil {
		return head{}, shortOr(err)
	}
	if string(name) != "value" {
		return head{}, errEntry
	}
	return h, h.size(b, rest)
}

// size reads the header of the value, which is of the type bin.
func (h *head) size(b, rest []byte) error {
	const bin8, bin16, bin32 = 0xc4, 0xc5, 0xc6
	if len(rest) == 0 {
		return errShort
	}
	wide := map[byte]int{bin8: 1, bin16: 2, bin32: 4}[rest[0]]
	if wide == 0 {
		return errEntry
	}
	if len(rest) < 1+wide {
		return errShort
	}
	for _, c := range rest[1 : 1+wide] {
		h.length = h.length<<8 | int64(c)
	}
	h.value = len(b) - len(rest) + 1 + wide
	return nil
}

func shortOr(err error) error {
	if errors.Is(err, msgp.ErrShortBytes) {
		return errShort
	}
	return fmt.Errorf("%w: %w", errEntry, err)
}
