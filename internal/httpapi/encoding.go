package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// errCompressed: a compressed body is not what its encoding says.
var errCompressed = errors.New("bad compressed body")

// maxWindow bounds what one zstd decoder remembers, in bytes; it is the bound
// that RFC 8878 recommends.
const maxWindow = 8 << 20

// What decoders take of memory, in bytes, whatever they decode: buffers and
// codes, and a window of up to smallWindow. Larger windows come on top.
const (
	gzipMemory  = 64 << 10
	zstdMemory  = 768 << 10
	smallWindow = 128 << 10
)

// A decoders keeps decoders for the next body, and bounds the memory of those
// at work: a few bytes can ask for a window of MiBs.
type decoders struct {
	gzip, zstd sync.Pool
	memory     *budget
	hold       func(n int64) error // takes of memory
}

// bound sets the memory, which is half as much as bodies have, but enough for
// two of the largest windows.
func (d *decoders) bound(ctx context.Context, bodies int64, wait time.Duration) {
	d.memory = newBudget(max(bodies/2, 2*(zstdMemory+maxWindow)))
	d.hold = func(n int64) error {
		if d.memory.take(ctx, n, wait) != nil {
			return busy("compressed bodies")
		}
		return nil
	}
}

// open gives the plain bytes of a body with that Content-Encoding. Several
// gzip members or zstd frames in a row are one body. close returns the decoder.
func (d *decoders) open(encoding string, r *body) (plain io.Reader, close func(), err error) {
	switch strings.ToLower(encoding) {
	case "", "identity":
		return r, func() {}, nil
	case "gzip", "x-gzip":
		return d.openGzip(r)
	case "zstd":
		return d.openZstd(r)
	default:
		return nil, nil, refuse(415, "unknown-encoding",
			"Content-Encoding %q is not known; send gzip, zstd, or the bytes as they are", encoding)
	}
}

func (d *decoders) openGzip(r *body) (io.Reader, func(), error) {
	if err := d.hold(gzipMemory); err != nil {
		return nil, nil, err
	}
	z, _ := d.gzip.Get().(*gzip.Reader)
	if z == nil {
		z = new(gzip.Reader)
	}
	release := func() {
		d.gzip.Put(z)
		d.memory.give(gzipMemory)
	}
	if err := z.Reset(r); err != nil {
		release()
		return nil, nil, compressedError(r, "gzip", err)
	}
	return compressed{z, r, "gzip"}, release, nil
}

func (d *decoders) openZstd(r *body) (io.Reader, func(), error) {
	held := int64(zstdMemory)
	if err := d.hold(held); err != nil {
		return nil, nil, err
	}
	z, _ := d.zstd.Get().(*zstd.Decoder)
	if z == nil {
		var err error
		z, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			d.memory.give(held)
			return nil, nil, fmt.Errorf("make a zstd decoder: %w", err)
		}
	}
	release := func() {
		_ = z.Reset(nil) // lets the body go; a nil reader cannot fail
		if held == zstdMemory {
			d.zstd.Put(z)
		} else { // its window would stay with it, uncounted
			z.Close()
		}
		d.memory.give(held)
	}
	window := func(n int64) error {
		more := zstdMemory + n - smallWindow - held
		if n > maxWindow || more <= 0 { // a larger one is refused by the decoder
			return nil
		}
		err := d.hold(more)
		if err == nil {
			held += more
		}
		return err
	}
	if err := z.Reset(newFrames(r, window)); err != nil {
		release()
		return nil, nil, compressedError(r, "zstd", err)
	}
	return compressed{z, r, "zstd"}, release, nil
}

// A compressed tells a broken connection from broken data.
type compressed struct {
	io.Reader
	body *body
	name string
}

func (c compressed) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = compressedError(c.body, c.name, err)
	}
	return n, err
}

func compressedError(b *body, name string, err error) error {
	if b.err != nil {
		return b.err
	}
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	return refuse(400, "bad-encoding", "the body is not whole %s: %v", name, fmt.Errorf("%w: %w", errCompressed, err))
}
