package arrays

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/pierrec/lz4/v4"
)

// A chunk is a Blosc 1 frame: 16 bytes of header (format version 2, version 1
// of the codec's format, flags, item size, decoded size, block size, size of
// the frame), then either the bytes as they are (flag 2, "stored"), or the
// start of each block as int32 and the blocks, each an int32 size and as many
// bytes. All numbers are little endian. Blocks are shuffled (flag 1: byte 0 of
// all items, then byte 1, …), compressed with LZ4 (1 in the upper three bits
// of the flags), and not split by byte (flag 16).
//
// Format: README_CHUNK_FORMAT of c-blosc.
const (
	frameHeader = 16

	flagShuffle = 0x01
	flagStored  = 0x02
	flagWhole   = 0x10
	flagLZ4     = 1 << 5

	blockSize = 256 << 10
)

var errFrame = errors.New("arrays: not a Blosc frame that weir writes")

// putFrameHeader writes a frame's header into b.
func putFrameHeader(b []byte, flags byte, item, decoded, block, frame int) {
	b[0], b[1], b[2], b[3] = 2, 1, flags, byte(item)
	binary.LittleEndian.PutUint32(b[4:], uint32(decoded))
	binary.LittleEndian.PutUint32(b[8:], uint32(block))
	binary.LittleEndian.PutUint32(b[12:], uint32(frame))
}

// storedHeader is the header of a frame whose bytes follow as they are, so
// that they can be filled in place.
func storedHeader(item, decoded int) []byte {
	b := make([]byte, frameHeader)
	putFrameHeader(b, flagStored, item, decoded, min(blockSize, decoded), frameHeader+decoded)
	return b
}

// isStored tells whether b begins a stored frame of that size.
func isStored(b []byte, item, decoded int) bool {
	return len(b) >= frameHeader && string(b[:frameHeader]) == string(storedHeader(item, decoded))
}

// A compressor holds the memory of compress.
type compressor struct {
	lz4      lz4.Compressor
	shuffled [blockSize]byte
	room     [blockSize]byte
	frame    []byte
	plain    []byte // for who reads back what to compress
}

var compressors = sync.Pool{New: func() any { return new(compressor) }}

// compress makes a frame of src, stored where LZ4 gains nothing. The frame is
// good until the next call.
func (c *compressor) compress(src []byte, item int) []byte {
	blocks := (len(src) + blockSize - 1) / blockSize
	dst := grow(c.frame, frameHeader+4*blocks)
	for i := range blocks {
		block := src[i*blockSize : min(len(src), (i+1)*blockSize)]
		binary.LittleEndian.PutUint32(dst[frameHeader+4*i:], uint32(len(dst)))
		body := c.shuffled[:len(block)]
		shuffle(body, block, item)
		if n, err := c.lz4.CompressBlock(body, c.room[:len(block)-1]); err == nil && n > 0 {
			body = c.room[:n]
		}
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(body)))
		dst = append(dst, body...)
	}
	c.frame = dst
	if len(dst) >= frameHeader+len(src) {
		c.frame = append(append(dst[:0], storedHeader(item, len(src))...), src...)
		return c.frame
	}
	flags := byte(flagLZ4 | flagWhole)
	if item > 1 {
		flags |= flagShuffle
	}
	putFrameHeader(dst, flags, item, len(src), min(blockSize, len(src)), len(dst))
	return dst
}

// grow gives a slice of n bytes, in b's memory where that has room.
func grow(b []byte, n int) []byte {
	if cap(b) >= n {
		return b[:n]
	}
	return make([]byte, n)
}

// decompress gives the bytes of a frame that must hold `decoded` of them.
func decompress(frame []byte, item, decoded int) ([]byte, error) {
	if isStored(frame, item, decoded) && len(frame) == frameHeader+decoded {
		return frame[frameHeader:], nil
	}
	want := make([]byte, frameHeader)
	flags := byte(flagLZ4 | flagWhole)
	if item > 1 {
		flags |= flagShuffle
	}
	putFrameHeader(want, flags, item, decoded, min(blockSize, decoded), len(frame))
	if len(frame) < frameHeader || string(want) != string(frame[:frameHeader]) {
		return nil, fmt.Errorf("%w: header %x", errFrame, frame[:min(len(frame), frameHeader)])
	}
	out := make([]byte, decoded)
	plain := make([]byte, min(blockSize, decoded))
	for i := 0; i*blockSize < decoded; i++ {
		dst := out[i*blockSize : min(decoded, (i+1)*blockSize)]
		if err := decompressBlock(plain[:len(dst)], frame, i); err != nil {
			return nil, err
		}
		unshuffle(dst, plain[:len(dst)], item)
	}
	return out, nil
}

// decompressBlock fills dst with block i of a frame.
func decompressBlock(dst, frame []byte, i int) error {
	at := frameHeader + 4*i
	if at+4 > len(frame) {
		return errFrame
	}
	start := int64(binary.LittleEndian.Uint32(frame[at:]))
	if start+4 > int64(len(frame)) {
		return errFrame
	}
	n := int64(binary.LittleEndian.Uint32(frame[start:]))
	if start+4+n > int64(len(frame)) {
		return errFrame
	}
	body := frame[start+4 : start+4+n]
	if len(body) == len(dst) {
		copy(dst, body)
		return nil
	}
	if got, err := lz4.UncompressBlock(body, dst); err != nil || got != len(dst) {
		return fmt.Errorf("%w: block %d: %v", errFrame, i, err)
	}
	return nil
}

// shuffle groups the bytes of items by their place in the item. Bytes after
// the last whole item stay at the end.
func shuffle(dst, src []byte, item int) {
	n := len(src) / item
	for j := range item {
		d := dst[j*n : (j+1)*n]
		for i := range d {
			d[i] = src[i*item+j]
		}
	}
	copy(dst[n*item:], src[n*item:])
}

// unshuffle undoes shuffle.
func unshuffle(dst, src []byte, item int) {
	n := len(src) / item
	for j := range item {
		s := src[j*n : (j+1)*n]
		for i, c := range s {
			dst[i*item+j] = c
		}
	}
	copy(dst[n*item:], src[n*item:])
}
