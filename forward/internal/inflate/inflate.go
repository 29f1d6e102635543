// Package inflate decompresses gzip members (RFC 1951, RFC 1952) that are
// whole in memory into memory. Having both at hand, it is about twice as fast
// as decoders that read and write streams: it keeps no window of its own, and
// loads and copies words.
package inflate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// ErrFull: there is more to come than dst has room for.
var ErrFull = errors.New("no room for what is inflated")

// errCorrupt: the bits follow no code, or point before the data.
var errCorrupt = errors.New("corrupt data")

// A Decoder decompresses one payload at a time. The zero value is ready for Reset.
type Decoder struct {
	src  []byte
	at   int    // of the next byte that is not in bits
	bits uint64 // those at hand, the first one lowest
	have uint   // how many these are; 56 and more are not loaded by bytes

	state  state
	last   bool // the block is its member's last
	stored int  // bytes that are left of a stored block

	member int    // where the member's data begins in what is decoded
	summed int    // up to where sum and length go
	sum    uint32 // CRC-32 of the member
	length uint32 // of the member, modulo 1<<32

	fixed bool // lit and dist are the fixed codes
	lit   litTable
	dist  distTable
}

// A state is what comes next.
type state uint8

const (
	inHeader state = iota
	inBlock        // its header
	inStored
	inCodes
	inTrailer
	atEnd
)

// window is how far back a match can reach.
const window = 32 << 10

// Reset begins with src, which holds one gzip member or more, back to back.
// It is read until the decoder is reset again.
func (d *Decoder) Reset(src []byte) {
	d.src, d.at, d.bits, d.have = src, 0, 0, 0
	d.state, d.member, d.summed = inHeader, 0, 0
}

// Read is how many bytes of src were taken so far, about.
func (d *Decoder) Read() int { return d.at }

// Decode appends what src holds to dst, which holds what was decoded since
// Reset. It never allocates: with ErrFull the capacity of dst is used, up to
// a match that has no room, and Decode may be called again with more. Nil says
// that all is decoded and the checksums hold; after another error the decoder
// is to be reset. A trailer announces what nothing vouches for: the data is
// good only once nil came.
func (d *Decoder) Decode(dst []byte) ([]byte, error) {
	out, op := dst[:cap(dst)], len(dst)
	var err error
	for err == nil && d.state != atEnd {
		switch d.state {
		case inHeader:
			err = d.header(op)
		case inBlock:
			err = d.block()
		case inStored:
			op, err = d.copy(out, op)
		case inCodes:
			op, err = d.codes(out, op)
		case inTrailer:
			err = d.trailer(out[:op])
		}
	}
	if err != nil && err != ErrFull {
		err = fmt.Errorf("byte %d of %d: %w", d.at, len(d.src), err)
	}
	return out[:op], err
}

// Size resets the decoder to src and gives the length of what it holds,
// without keeping it: as soon as that exceeds limit, the error is ErrFull.
func (d *Decoder) Size(src []byte, limit int64) (int64, error) {
	d.Reset(src)
	buf := make([]byte, 0, 4*window)
	for gone := int64(0); ; {
		var err error
		buf, err = d.Decode(buf)
		if n := gone + int64(len(buf)); err != ErrFull || n > limit {
			if err == nil && n > limit {
				err = ErrFull
			}
			return n, err
		}
		d.add(buf)
		drop := len(buf) - window
		copy(buf, buf[drop:])
		buf = buf[:window]
		gone += int64(drop)
		d.summed -= drop
		d.member -= drop // below 0 every match has its bytes, for a window of them is kept
	}
}

// load makes at least 56 bits of what is left, or all of it.
func (d *Decoder) load() {
	for ; d.have < 56 && d.at < len(d.src); d.at++ {
		d.bits |= uint64(d.src[d.at]) << d.have
		d.have += 8
	}
}

// take gives the next n bits, at most 16, or says that they are missing.
func (d *Decoder) take(n uint) (uint64, error) {
	if d.have < n {
		if d.load(); d.have < n {
			return 0, io.ErrUnexpectedEOF
		}
	}
	v := d.bits & (1<<n - 1)
	d.bits >>= n
	d.have -= n
	return v, nil
}

// unload gives whole bytes back, and drops the bits before them.
func (d *Decoder) unload() {
	d.at -= int(d.have / 8)
	d.bits, d.have = 0, 0
}

// end is what a special entry of literals and lengths stands for.
func (d *Decoder) end(e entry) error {
	if e>>16 == 0 {
		return errCorrupt
	}
	d.state = inBlock
	if d.last {
		d.state = inTrailer
	}
	return nil
}

// codes decodes the symbols of a block.
func (d *Decoder) codes(out []byte, op int) (int, error) {
	for d.state == inCodes {
		if len(out)-op >= fastOut && len(d.src)-d.at >= fastIn {
			var err error
			if op, err = d.fast(out, op); err != nil || d.state != inCodes {
				return op, err
			}
		}
		n, err := d.symbol(out, op)
		if err != nil {
			return op, err
		}
		op += n
	}
	return op, nil
}

// symbol decodes one symbol to out[op:], with an eye on both ends. Of what
// has no room nothing is taken.
func (d *Decoder) symbol(out []byte, op int) (n int, err error) {
	d.load()
	bits, have := d.bits, d.have
	e := lookup(d.lit[:], litBits, &bits, &have)
	switch {
	case e&literal != 0:
		// Of a pair only the first: what follows may be past the end.
		if have < e.code() {
			return 0, io.ErrUnexpectedEOF
		}
		if op == len(out) {
			return 0, ErrFull
		}
		out[op] = byte(e >> 16)
		d.bits, d.have = bits>>e.code(), have-e.code()
		return 1, nil
	case have < e.spent():
		return 0, io.ErrUnexpectedEOF
	case e&special != 0:
		d.bits, d.have = bits>>e.spent(), have-e.spent()
		return 0, d.end(e)
	}
	length := e.value(bits)
	bits, have = bits>>e.spent(), have-e.spent()
	e = lookup(d.dist[:], distBits, &bits, &have)
	if have < e.spent() {
		return 0, io.ErrUnexpectedEOF
	}
	if e&special != 0 || e.value(bits) > op-d.member {
		return 0, errCorrupt
	}
	if length > len(out)-op {
		return 0, ErrFull
	}
	for i := range length {
		out[op+i] = out[op+i-e.value(bits)]
	}
	d.bits, d.have = bits>>e.spent(), have-e.spent()
	return length, nil
}

// lookup gives the entry for the bits at hand; those that lead to a further
// table are taken.
func lookup(table []entry, index uint, bits *uint64, have *uint) entry {
	e := table[*bits&(1<<index-1)]
	if e&further != 0 && *have >= index {
		*bits >>= index
		*have -= index
		e = table[uint64(e>>16)+*bits&(1<<e.code()-1)]
	}
	return e
}

// copy takes what there is of a stored block.
func (d *Decoder) copy(out []byte, op int) (int, error) {
	n := copy(out[op:], d.src[d.at:min(d.at+d.stored, len(d.src))])
	d.at += n
	d.stored -= n
	switch {
	case d.stored == 0:
		return op + n, d.end(blockEnd)
	case d.at == len(d.src):
		return op + n, io.ErrUnexpectedEOF
	}
	return op + n, ErrFull
}

// add brings the checksum up to the end of what is decoded.
func (d *Decoder) add(decoded []byte) {
	d.sum = crc32.Update(d.sum, crc32.IEEETable, decoded[d.summed:])
	d.length += uint32(len(decoded) - d.summed)
	d.summed = len(decoded)
}

// trailer checks the checksum and the length of a member.
func (d *Decoder) trailer(decoded []byte) error {
	d.unload()
	if len(d.src)-d.at < 8 {
		return io.ErrUnexpectedEOF
	}
	d.add(decoded)
	sum, length := binary.LittleEndian.Uint32(d.src[d.at:]), binary.LittleEndian.Uint32(d.src[d.at+4:])
	if d.sum != sum || d.length != length {
		return fmt.Errorf("checksum of a member: %w", errCorrupt)
	}
	if d.at += 8; d.at < len(d.src) {
		d.state = inHeader
	} else {
		d.state = atEnd
	}
	return nil
}
