package forward

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"weir/forward/internal/inflate"
)

// The compression methods.
const (
	methodGzip = "gzip" // one or more members
	methodZstd = "zstd" // one or more frames
)

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

// A decompressor takes one payload at a time, which is in memory as a whole.
type decompressor interface {
	// Reset begins with src.
	Reset(src []byte)
	// Decode appends to dst, which holds what came so far, up to its capacity.
	// With inflate.ErrFull it may be called again with more; nil is the end.
	Decode(dst []byte) ([]byte, error)
	// Read is how many bytes of src were taken so far, about.
	Read() int
	// Size resets to src and gives the length of what it holds, of which
	// nothing is kept; inflate.ErrFull says that it is above limit.
	Size(src []byte, limit int64) (int64, error)
}

// An inflater holds what decompression needs between payloads.
type inflater struct {
	gzip inflate.Decoder
	zstd zstdDecoder
	own  bool // not one of those that are shared
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

// take gives an inflater, for give to put back. Those who have one may wait
// for memory, so the lease that they wait for gets one of its own.
func (c inflaters) take(l *lease) *inflater {
	if l.ahead() {
		return &inflater{own: true}
	}
	return <-c
}

// give puts an inflater back.
func (c inflaters) give(f *inflater) {
	if !f.own {
		c <- f
	}
}

// inflate appends src, decompressed, to the open piece of dst: at most limit
// bytes. Memory is taken as bytes come out, up to countFrom; then once for
// what is likely to come; and if that was wrong, or would be too much, what
// comes is counted before it is given a place.
func (c inflaters) inflate(dst *arena, src []byte, method string, limit int64) error {
	f := c.take(dst.lease)
	defer c.give(f)
	var d decompressor = &f.gzip
	if method == methodZstd {
		d = &f.zstd
	}
	defer d.Reset(nil)
	d.Reset(src)
	dst.most = int(limit)
	guessed := false
	for want := min(4*len(src), 256<<10); ; {
		if !dst.grow(min(want, int(limit)-dst.size())) {
			return errGone
		}
		room, err := dst.decode(d, int(limit))
		size := dst.size()
		guess := likely(size, len(src), d.Read())
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, inflate.ErrFull):
			return fmt.Errorf("%s: %w", method, err)
		case int64(room) >= limit:
			return fmt.Errorf("%w of %d bytes", errInflated, limit)
		case room < countFrom:
			want = room // more than is free: a match that found no room may need all of it
		case !guessed && guess < limit:
			guessed, dst.most = true, int(guess)
			want = dst.most - size
		default:
			n, err := d.Size(src, limit)
			if errors.Is(err, inflate.ErrFull) {
				return fmt.Errorf("%w of %d bytes", errInflated, limit)
			} else if err != nil {
				return fmt.Errorf("%s: %w", method, err)
			}
			dst.renew()
			d.Reset(src)
			dst.most, want = int(n), int(n)
		}
	}
}

// countFrom is the size from which on a payload does not grow by doubling:
// old and new place of a large one, held at once, would take too much.
const countFrom = keepArena

// likely gives the size of what size bytes are the beginning of, when they came
// from the first read bytes of length, with some to spare.
func likely(size, length, read int) int64 {
	return int64(float64(size)*float64(length)/float64(max(read, 1))*1.0625) + minArena
}
