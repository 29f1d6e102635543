package forward

import (
	"bytes"
	"errors"
	"io"

	"github.com/klauspost/compress/zstd"

	"weir/forward/internal/inflate"
)

// maxWindow bounds the memory that a zstd frame may demand for its window;
// RFC 8878 recommends that a decoder take this much.
const maxWindow = 8 << 20

// A zstdDecoder is a decompressor of zstd frames, back to back.
type zstdDecoder struct {
	src  bytes.Reader
	z    *zstd.Decoder
	err  error // of Reset
	next [1]byte
	held bool // next holds a byte for which there was no room
}

// Reset begins with src.
func (d *zstdDecoder) Reset(src []byte) {
	d.src.Reset(src)
	d.held = false
	if d.z == nil {
		d.z, d.err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if d.err != nil {
			return
		}
	}
	d.err = d.z.Reset(&d.src)
}

// Read is how many bytes of the source were taken.
func (d *zstdDecoder) Read() int { return int(d.src.Size()) - d.src.Len() }

// Decode appends what comes to dst, up to its capacity.
func (d *zstdDecoder) Decode(dst []byte) ([]byte, error) {
	if d.held && len(dst) < cap(dst) {
		dst, d.held = append(dst, d.next[0]), false
	}
	err := d.err
	for err == nil && !d.held {
		n := 0
		if free := dst[len(dst):cap(dst)]; len(free) > 0 {
			n, err = d.z.Read(free)
			dst = dst[:len(dst)+n]
		} else {
			n, err = d.z.Read(d.next[:])
			d.held = n > 0
		}
	}
	switch {
	case d.held:
		return dst, inflate.ErrFull
	case errors.Is(err, io.EOF):
		return dst, nil
	}
	return dst, err
}

// Size gives the length of what src holds.
func (d *zstdDecoder) Size(src []byte, limit int64) (n int64, err error) {
	d.Reset(src)
	if err = d.err; err != nil {
		return 0, err
	}
	for buf := make([]byte, 64<<10); err == nil && n <= limit; {
		var more int
		more, err = d.z.Read(buf)
		n += int64(more)
	}
	if n > limit {
		return n, inflate.ErrFull
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}
