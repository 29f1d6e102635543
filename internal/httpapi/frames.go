package httpapi

import (
	"encoding/binary"
	"io"
)

// A frames reads zstd frames, back to back, and says how large a window each
// one asks for (RFC 8878, 3.1) before the decoder that reads from it makes one.
// What is no frame it leaves to the decoder to refuse.
type frames struct {
	src    io.Reader
	window func(bytes int64) error // an error ends the reading
	skip   int64                   // bytes that go by unseen
	head   []byte                  // what came of a head
	next   func(*frames) (whole bool, err error)
	summed bool // a checksum follows the last block
}

func newFrames(src io.Reader, window func(int64) error) *frames {
	return &frames{src: src, window: window, next: (*frames).magic}
}

func (f *frames) Read(p []byte) (int, error) {
	n, err := f.src.Read(p)
	if lack := f.follow(p[:n]); lack != nil {
		return 0, lack
	}
	return n, err
}

// follow looks at the bytes that come next.
func (f *frames) follow(b []byte) error {
	for len(b) > 0 && f.next != nil {
		if f.skip > 0 {
			n := min(f.skip, int64(len(b)))
			f.skip, b = f.skip-n, b[n:]
			continue
		}
		f.head, b = append(f.head, b[0]), b[1:]
		whole, err := f.next(f)
		if err != nil {
			return err
		}
		if whole {
			f.head = f.head[:0]
		}
	}
	return nil
}

// magic is what a frame, or one to be skipped, begins with.
func (f *frames) magic() (bool, error) {
	if len(f.head) < 4 {
		return false, nil
	}
	switch m := binary.LittleEndian.Uint32(f.head); {
	case m == 0xfd2fb528:
		f.next = (*frames).header
	case m&^15 == 0x184d2a50:
		f.next = (*frames).skipped
	default:
		f.next = nil
	}
	return true, nil
}

// skipped is the length of a frame to be skipped.
func (f *frames) skipped() (bool, error) {
	if len(f.head) < 4 {
		return false, nil
	}
	f.skip = int64(binary.LittleEndian.Uint32(f.head))
	f.next = (*frames).magic
	return true, nil
}

// header is that of a frame: a byte of flags, the window unless the content is
// one, the dictionary, and the size of the content.
func (f *frames) header() (bool, error) {
	flags := f.head[0]
	single := flags&0x20 != 0
	begin := 1 + int([]byte{0, 1, 2, 4}[flags&3]) // of the size of the content
	size := int([]byte{0, 2, 4, 8}[flags>>6])
	if !single {
		begin++
	} else if size == 0 {
		size = 1
	}
	if len(f.head) < begin+size {
		return false, nil
	}
	f.summed = flags&4 != 0
	f.next = (*frames).block
	if !single {
		base := int64(1) << (10 + f.head[1]>>3)
		return true, f.window(base + base/8*int64(f.head[1]&7))
	}
	var content [8]byte
	copy(content[:], f.head[begin:])
	return true, f.window(int64(binary.LittleEndian.Uint64(content[:]) &^ (1 << 63)))
}

// block is the header of one: last, kind, and size.
func (f *frames) block() (bool, error) {
	if len(f.head) < 3 {
		return false, nil
	}
	h := int64(f.head[0]) | int64(f.head[1])<<8 | int64(f.head[2])<<16
	if f.skip = h >> 3; h>>1&3 == 1 { // one byte, repeated
		f.skip = 1
	}
	if h&1 != 0 {
		f.next = (*frames).magic
		if f.summed {
			f.skip += 4
		}
	}
	return true, nil
}
