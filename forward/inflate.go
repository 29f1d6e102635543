package forward

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// The compression methods.
const (
	methodGzip = "gzip" // one or more members
	methodZstd = "zstd" // one or more frames
)

// maxWindow bounds the memory that a zstd frame may demand for its window;
// RFC 8878 recommends that a decoder take this much.
const maxWindow = 8 << 20

// errInflated: a payload is larger than the limit once inflated.
var errInflated = errors.New("inflated payload exceeds the limit")

// compression gives the method of a payload, empty for none. The magic number
// counts for more than an option that says text: neither magic can begin an
// entry.
func compression(option, payload []byte) (string, error) {
	named, _ := text(option)
	switch {
	case bytes.HasPrefix(payload, []byte("\x1f\x8b")):
		return methodGzip, nil
	case bytes.HasPrefix(payload, []byte("\x28\xb5\x2f\xfd")):
		return methodZstd, nil
	}
	switch name := strings.ToLower(string(named)); name {
	case "", "text", "none":
		return "", nil
	case methodGzip, methodZstd:
		return name, nil
	default:
		return "", fmt.Errorf("unknown compression %.32q; gzip and zstd are known", name)
	}
}

// An inflater holds what decompression needs between payloads.
type inflater struct {
	src  bytes.Reader
	gzip gzip.Reader
	zstd *zstd.Decoder
}

// inflaters bounds how many payloads are decompressed at once, and with that
// the memory of their windows.
type inflaters chan *inflater

// newInflaters makes n inflaters.
func newInflaters(n int) inflaters {
	c := make(inflaters, n)
	for range n {
		c <- &inflater{}
	}
	return c
}

// take gives an inflater, and what gives it back. Those who have one may wait
// for memory, so the lease that they wait for gets one of its own.
func (c inflaters) take(l *lease) (f *inflater, give func()) {
	if l.ahead() {
		return &inflater{}, func() {}
	}
	f = <-c
	return f, func() { c <- f }
}

// inflate appends src, decompressed, to the open piece of dst: at most limit
// bytes, of which only as many are held as came out so far.
func (c inflaters) inflate(dst *arena, src []byte, method string, limit int64) error {
	f, give := c.take(dst.lease)
	defer give()
	f.src.Reset(src)
	defer f.src.Reset(nil)
	r, err := f.open(method)
	if err != nil {
		return err
	}
	dst.most = int(limit + 1)
	for guess := min(4*len(src), 256<<10); ; guess = 1 {
		if !dst.grow(int(min(int64(guess), limit+1))) {
			return errGone
		}
		free := dst.buf[len(dst.buf):cap(dst.buf)]
		if room := limit + 1 - int64(dst.size()); int64(len(free)) > room {
			free = free[:room]
		}
		n, err := r.Read(free)
		dst.buf = dst.buf[:len(dst.buf)+n]
		if int64(dst.size()) > limit {
			return fmt.Errorf("%w of %d bytes", errInflated, limit)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
	}
}

// open begins to decompress src.
func (f *inflater) open(method string) (io.Reader, error) {
	if method == methodGzip {
		if err := f.gzip.Reset(&f.src); err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		return &f.gzip, nil
	}
	if f.zstd == nil {
		z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
		f.zstd = z
	}
	if err := f.zstd.Reset(&f.src); err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return f.zstd, nil
}
