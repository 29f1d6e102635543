package arrays

import (
	"fmt"
	"io"
)

// readerBytes is how much a reader makes at once, unless a row is larger.
const readerBytes = 256 << 10

// A denseReader makes the bytes of a Dense from the chunks of its arrays.
type denseReader struct {
	d         *Dense
	off, end  int64
	out       []byte // made, and not read yet
	buf       []byte
	held      [][]byte // rows of a chunk, of each part
	heldChunk int64    // which one; -1 is none
}

// Reader reads the bytes [start, end), which must be within Size. Where the
// group is built anew meanwhile it ends with ErrChanged, never with bytes of
// the other one.
func (d *Dense) Reader(start, end int64) io.Reader {
	return &denseReader{d: d, off: start, end: end, held: make([][]byte, len(d.cols)), heldChunk: -1}
}

// Read makes rows as they are needed.
func (r *denseReader) Read(p []byte) (int, error) {
	if len(r.out) == 0 {
		if r.off >= r.end {
			return 0, io.EOF
		}
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.out)
	r.out = r.out[n:]
	return n, nil
}

// fill makes the rows from r.off on, as many as fit.
func (r *denseReader) fill() error {
	item := int64(r.d.item)
	first := r.off / item
	n := min(max(readerBytes/item, 1), (r.end+item-1)/item-first)
	if int64(cap(r.buf)) < n*item {
		r.buf = make([]byte, n*item)
	}
	r.buf = r.buf[:n*item]
	for i := int64(0); i < n; {
		made, err := r.rows(first+i, r.buf[i*item:])
		if err != nil {
			return err
		}
		i += made
	}
	if !r.d.s.current(r.d.v.Stream, r.d.v) {
		return fmt.Errorf("%w: %s; read it again", ErrChanged, r.d.v.Stream)
	}
	r.out = r.buf[r.off-first*item : min(r.end-first*item, n*item)]
	r.off += int64(len(r.out))
	return nil
}

// rows makes rows of the result into out, as far as they are in one chunk, and
// says how many these are.
func (r *denseReader) rows(first int64, out []byte) (int64, error) {
	d := r.d
	chunk := int64(d.v.Chunk)
	row := d.rows.start + first*d.rows.step
	at := row / chunk
	if err := r.hold(at); err != nil {
		return 0, err
	}
	n := min(int64(len(out)/d.item), d.rows.left(row, at*chunk, (at+1)*chunk))
	for i, p := range d.cols {
		p.gather(out[p.at:], r.held[i], row-at*chunk, d.rows.step, n, d.item)
	}
	return n, nil
}

// left is how many steps from row, itself counted, stay within [from, to).
func (a axis) left(row, from, to int64) int64 {
	if a.step > 0 {
		return (to-1-row)/a.step + 1
	}
	if a.step == -1<<63 {
		return 1
	}
	return (row-from)/-a.step + 1
}

// hold reads a chunk of every part.
func (r *denseReader) hold(chunk int64) error {
	if chunk == r.heldChunk {
		return nil
	}
	r.heldChunk = -1
	for i, p := range r.d.cols {
		var err error
		if r.held[i], err = r.d.s.chunkRowsOf(r.d.v, p.columnView, chunk); err != nil {
			if !r.d.s.current(r.d.v.Stream, r.d.v) {
				err = fmt.Errorf("%w: %s; read it again: %w", ErrChanged, r.d.v.Stream, err)
			}
			return err
		}
	}
	r.heldChunk = chunk
	return nil
}

// gather copies n rows of a chunk, beginning at row and step rows apart, to
// places item bytes apart.
func (p part) gather(out, chunk []byte, row, step, n int64, item int) {
	size, width := p.dtype.size, p.rowBytes()
	whole := p.inner.step == 1 && int(p.inner.n) == p.width
	if whole && step == 1 && item == width {
		copy(out, chunk[row*int64(width):(row+n)*int64(width)])
		return
	}
	for i := range n {
		from := chunk[(row+i*step)*int64(width):][:width]
		to := out[i*int64(item):]
		if whole {
			copy(to, from)
			continue
		}
		for k := range p.inner.n {
			at := (p.inner.start + k*p.inner.step) * int64(size)
			copy(to[k*int64(size):], from[at:at+int64(size)])
		}
	}
}
