package httpapi

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// errCompressed: a compressed body is not what its encoding says.
var errCompressed = errors.New("bad compressed body")

// maxWindow bounds what one zstd decoder remembers, in bytes; it is the bound
// that RFC 8878 recommends.
const maxWindow = 8 << 20

// A decoders keeps decoders for the next body; each costs hundreds of KiB.
type decoders struct{ gzip, zstd sync.Pool }

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
	z, _ := d.gzip.Get().(*gzip.Reader)
	if z == nil {
		z = new(gzip.Reader)
	}
	if err := z.Reset(r); err != nil {
		d.gzip.Put(z)
		return nil, nil, compressedError(r, "gzip", err)
	}
	return compressed{z, r, "gzip"}, func() { d.gzip.Put(z) }, nil
}

func (d *decoders) openZstd(r *body) (io.Reader, func(), error) {
	z, _ := d.zstd.Get().(*zstd.Decoder)
	if z == nil {
		var err error
		z, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, fmt.Errorf("make a zstd decoder: %w", err)
		}
	}
	if err := z.Reset(r); err != nil {
		d.zstd.Put(z)
		return nil, nil, compressedError(r, "zstd", err)
	}
	release := func() {
		_ = z.Reset(nil) // lets the body go; a nil reader cannot fail
		d.zstd.Put(z)
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
	return refuse(400, "bad-encoding", "the body is not whole %s: %v", name, fmt.Errorf("%w: %w", errCompressed, err))
}
