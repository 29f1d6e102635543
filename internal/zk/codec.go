package zk

import (
	"encoding/binary"
	"fmt"
)

// Types of requests.
const (
	opCreate   = 1
	opDelete   = 2
	opExists   = 3
	opGet      = 4
	opChildren = 8
	opSync     = 9
	opCheck    = 13
	opMulti    = 14
	opClose    = -11
	opError    = -1
)

// xidEvent is the number of what answers no request.
const xidEvent = -1

// leads tells whether a request goes through the leader, which alone knows
// what sessions live. A member that was cut off from it goes on answering
// pings and reads for a while.
func leads(op int32) bool {
	switch op {
	case opCreate, opDelete, opMulti, opSync:
		return true
	}
	return false
}

// Flags of Create.
const (
	Ephemeral = 1 // goes with the session
	Sequence  = 2 // its name ends in ten digits that the server gives
)

// anyVersion is no condition on a node's version.
const anyVersion = -1

// An Op is one of the operations of a Multi.
type Op struct {
	kind  int32
	path  string
	data  []byte
	flags int32
}

// Check asks that a node is there.
func Check(path string) Op { return Op{kind: opCheck, path: path} }

// Create makes a node that everybody may read and change.
func Create(path string, data []byte, flags int32) Op {
	return Op{kind: opCreate, path: path, data: data, flags: flags}
}

// Delete removes a node, whatever its version.
func Delete(path string) Op { return Op{kind: opDelete, path: path} }

func (o Op) append(b []byte) []byte {
	b = appendText(b, o.path)
	if o.kind != opCreate {
		return appendInt(b, anyVersion)
	}
	b = appendBytes(b, o.data)
	// One rule: all permissions, scheme world, anyone.
	b = appendInt(appendInt(b, 1), 31)
	return appendInt(appendText(appendText(b, "world"), "anyone"), o.flags)
}

func appendInt(b []byte, v int32) []byte   { return binary.BigEndian.AppendUint32(b, uint32(v)) }
func appendLong(b []byte, v int64) []byte  { return binary.BigEndian.AppendUint64(b, uint64(v)) }
func appendText(b []byte, s string) []byte { return append(appendInt(b, int32(len(s))), s...) }

func appendBytes(b, v []byte) []byte {
	if v == nil {
		return appendInt(b, -1)
	}
	return append(appendInt(b, int32(len(v))), v...)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// appendMulti writes operations, each after its type, and the mark of the end.
func appendMulti(b []byte, ops []Op) []byte {
	for _, o := range ops {
		b = o.append(appendInt(appendBool(appendInt(b, o.kind), false), -1))
	}
	return appendInt(appendBool(appendInt(b, -1), true), -1)
}

// errShort: an answer is shorter than it says, so that it is none.
var errShort = fmt.Errorf("%w: it is cut short", ErrUnanswered)

// A decoder reads an answer. After an error all that it gives is empty.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) take(n int) []byte {
	if d.err != nil || n < 0 || n > len(d.b) {
		if d.err == nil {
			d.err = errShort
		}
		return nil
	}
	out := d.b[:n:n]
	d.b = d.b[n:]
	return out
}

func (d *decoder) int() int32 {
	if b := d.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (d *decoder) long() int64 {
	if b := d.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (d *decoder) bool() bool {
	b := d.take(1)
	return b != nil && b[0] != 0
}

// bytes reads a byte array; one of length -1 is none.
func (d *decoder) bytes() []byte {
	n := d.int()
	if n == -1 {
		return nil
	}
	return d.take(int(n))
}

func (d *decoder) text() string { return string(d.bytes()) }

// texts reads a list. Its strings share one array, as long as one is kept.
func (d *decoder) texts() []string {
	n := d.int()
	if d.err != nil || n < 0 || int(n) > len(d.b)/4 {
		if n != -1 && d.err == nil {
			d.err = errShort
		}
		return nil
	}
	all, rest := string(d.b), len(d.b)
	out := make([]string, 0, n)
	for range n {
		b := d.bytes()
		end := rest - len(d.b)
		out = append(out, all[end-len(b):end])
	}
	return out
}

// multi reads the outcome of a Multi: the index of the first operation that
// could not be done and why, -1 when all n were done.
func (d *decoder) multi(n int) (failed int, cause error) {
	for i := 0; d.err == nil; i++ {
		kind, done, code := d.int(), d.bool(), d.int()
		if d.err != nil {
			break
		}
		if done != (i == n) {
			d.err = fmt.Errorf("%w: there are not %d outcomes", ErrUnanswered, n)
			break
		}
		if done {
			break
		}
		switch kind {
		case opCreate:
			d.text()
		case opDelete, opCheck:
		case opError:
			code = d.int()
		default:
			d.err = fmt.Errorf("%w: it has an operation of type %d", ErrUnanswered, kind)
		}
		// The others of a Multi that failed say 0, before the cause, and
		// runtimeInconsistency after it.
		if code != 0 && d.err == nil {
			return i, kindOf(code)
		}
	}
	return -1, nil
}
