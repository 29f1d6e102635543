package inflate

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// errHeader: where a member should begin none does.
var errHeader = errors.New("not the beginning of a member")

// The flags of a member's header that say what follows it (RFC 1952, 2.3.1).
const (
	flagSum     = 1 << 1
	flagExtra   = 1 << 2
	flagName    = 1 << 3
	flagComment = 1 << 4
)

// header reads that of a member, whose data begins at op.
func (d *Decoder) header(op int) error {
	h := d.src[d.at:]
	if len(h) < 10 {
		return io.ErrUnexpectedEOF
	}
	if h[0] != 0x1f || h[1] != 0x8b || h[2] != 8 {
		return errHeader
	}
	n, flags := 10, h[3]
	if flags&flagExtra != 0 {
		if len(h) < n+2 {
			return io.ErrUnexpectedEOF
		}
		n += 2 + int(binary.LittleEndian.Uint16(h[n:]))
	}
	for _, text := range []byte{flagName, flagComment} {
		if flags&text != 0 {
			end := bytes.IndexByte(h[min(n, len(h)):], 0)
			if end < 0 {
				return io.ErrUnexpectedEOF
			}
			n += end + 1
		}
	}
	if flags&flagSum != 0 {
		if len(h) < n+2 {
			return io.ErrUnexpectedEOF
		}
		if uint16(crc32.ChecksumIEEE(h[:n])) != binary.LittleEndian.Uint16(h[n:]) {
			return fmt.Errorf("checksum of a header: %w", errCorrupt)
		}
		n += 2
	}
	if len(h) < n {
		return io.ErrUnexpectedEOF
	}
	d.at += n
	d.state, d.member, d.summed, d.sum, d.length = inBlock, op, op, 0, 0
	return nil
}

// block reads the header of a block (RFC 1951, 3.2.3).
func (d *Decoder) block() error {
	h, err := d.take(3)
	if err != nil {
		return err
	}
	d.last = h&1 != 0
	switch h >> 1 {
	case 0:
		d.unload()
		if len(d.src)-d.at < 4 {
			return io.ErrUnexpectedEOF
		}
		n := binary.LittleEndian.Uint16(d.src[d.at:])
		if n != ^binary.LittleEndian.Uint16(d.src[d.at+2:]) {
			return errCorrupt
		}
		d.at += 4
		d.state, d.stored = inStored, int(n)
		return nil
	case 1:
		d.fix()
	case 2:
		if err := d.dynamic(); err != nil {
			return err
		}
	default:
		return errCorrupt
	}
	d.state = inCodes
	return nil
}

// fix makes the tables of the fixed codes (RFC 1951, 3.2.6).
func (d *Decoder) fix() {
	if d.fixed {
		return
	}
	var lengths [288 + 32]uint8
	for i := range lengths {
		switch {
		case i < 144, i >= 280 && i < 288:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 5
		}
	}
	d.fixed = true
	build(d.lit[:], litBits, lengths[:288], litSymbols[:])
	build(d.dist[:], distBits, lengths[288:], distSymbols[:])
}

// order is that in which lengths of the codes of code lengths come (RFC 1951, 3.2.7).
var order = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// manySymbols is the size of a payload from which it is worth while to look
// for pairs of literals.
const manySymbols = 4 << 10

// dynamic reads the codes of a block and makes their tables.
func (d *Decoder) dynamic() error {
	h, err := d.take(14)
	if err != nil {
		return err
	}
	lits, dists, pres := int(h&31)+257, int(h>>5&31)+1, int(h>>10)+4
	if lits > litCodes || dists > disCodes {
		return errCorrupt
	}
	var pre [19]uint8
	for _, i := range order[:pres] {
		n, err := d.take(3)
		if err != nil {
			return err
		}
		pre[i] = uint8(n)
	}
	var table preTable
	if !build(table[:], preBits, pre[:], preSymbols[:]) {
		return errCorrupt
	}
	var lengths [litCodes + disCodes]uint8
	if err := d.lengths(lengths[:lits+dists], &table); err != nil {
		return err
	}
	d.fixed = false
	if !build(d.lit[:], litBits, lengths[:lits], litSymbols[:]) ||
		!build(d.dist[:], distBits, lengths[lits:lits+dists], distSymbols[:]) {
		return errCorrupt
	}
	if len(d.src)-d.at >= manySymbols {
		d.lit.marry()
	}
	return nil
}

// lengths reads the lengths of codes.
func (d *Decoder) lengths(lengths []uint8, table *preTable) error {
	for i := 0; i < len(lengths); {
		d.load()
		e := table[d.bits&(1<<preBits-1)]
		if e&special != 0 {
			return errCorrupt
		}
		if _, err := d.take(e.spent()); err != nil {
			return err
		}
		symbol := uint8(e >> 16)
		if symbol < 16 {
			lengths[i] = symbol
			i++
			continue
		}
		var again uint8
		least, extra := uint64(3), uint(symbol-14)
		switch symbol {
		case 16:
			if i == 0 {
				return errCorrupt
			}
			again = lengths[i-1]
		case 18:
			least, extra = 11, 7
		}
		n, err := d.take(extra)
		if err != nil {
			return err
		}
		if n += least; n > uint64(len(lengths)-i) {
			return errCorrupt
		}
		for range n {
			lengths[i] = again
			i++
		}
	}
	return nil
}
