package httpapi

import (
	"bytes"
	"io"
)

// States of a fieldReader.
const (
	fieldSeek  = iota // looks for the field
	fieldValue        // is in its value, which is percent-encoded
	fieldPlain        // gives what comes as it is
	fieldEnd
)

// A fieldReader gives the value of the field data_chunk of an urlencoded form
// while it comes, whatever its size. A plus stays one unless plus is set: the
// lake's value is Base64, to which a space means nothing, and some clients do
// not encode it. A body without the field is the value itself.
type fieldReader struct {
	r     io.Reader
	state int
	buf   []byte // that came and was not given
	room  []byte
	err   error // of r, told when buf is empty
	plus  bool  // a plus is a space
}

// fieldRoom is how much of a form is looked at at once, and how far into it
// the field may begin.
const fieldRoom = 32 << 10

func newFieldReader(r io.Reader) *fieldReader {
	return &fieldReader{r: r, room: make([]byte, fieldRoom)}
}

func (f *fieldReader) Read(p []byte) (int, error) {
	if f.state == fieldSeek {
		if err := f.seek(); err != nil {
			return 0, err
		}
	}
	for {
		if f.state == fieldEnd {
			return 0, io.EOF
		}
		n, err := f.give(p)
		if n > 0 || err != nil {
			return n, err
		}
		f.more()
	}
}

// more reads what comes next, behind the rest of what came.
func (f *fieldReader) more() {
	if f.err != nil {
		return
	}
	rest := copy(f.room, f.buf)
	n, err := f.r.Read(f.room[rest:])
	f.buf, f.err = f.room[:rest+n], err
}

// seek finds the beginning of the value.
func (f *fieldReader) seek() error {
	for f.err == nil && len(f.buf) < fieldRoom {
		f.more()
		if at := fieldAt(f.buf); at >= 0 {
			f.buf, f.state = f.buf[at:], fieldValue
			return nil
		}
	}
	if f.err != nil && f.err != io.EOF {
		return f.err
	}
	f.state = fieldPlain
	return nil
}

// fieldAt is where the value of data_chunk begins, or -1.
func fieldAt(form []byte) int {
	if bytes.HasPrefix(form, []byte(fieldChunk)) {
		return len(fieldChunk)
	}
	if i := bytes.Index(form, []byte("&"+fieldChunk)); i >= 0 {
		return i + 1 + len(fieldChunk)
	}
	return -1
}

// give puts as much of buf into p as can be told now.
func (f *fieldReader) give(p []byte) (n int, err error) {
	if f.state == fieldPlain {
		n = copy(p, f.buf)
		f.buf = f.buf[n:]
		return n, f.rest(n)
	}
	i := 0
	for i < len(f.buf) && n < len(p) {
		c := f.buf[i]
		if c == '&' {
			f.state = fieldEnd
			return n, nil
		}
		if c != '%' {
			if c == '+' && f.plus {
				c = ' '
			}
			p[n] = c
			i, n = i+1, n+1
			continue
		}
		if len(f.buf)-i < 3 {
			break // its end is still to come
		}
		if !isHex(f.buf[i+1]) || !isHex(f.buf[i+2]) {
			return n, errEscape
		}
		p[n] = fromHex(f.buf[i+1])<<4 | fromHex(f.buf[i+2])
		i, n = i+3, n+1
	}
	f.buf = f.buf[i:]
	return n, f.rest(n)
}

// rest is the error behind what was given, when there is nothing more to give.
func (f *fieldReader) rest(n int) error {
	switch {
	case n > 0 || f.err == nil:
		return nil
	case f.err == io.EOF && len(f.buf) > 0:
		return errEscape // it ends in half an escape
	}
	return f.err
}
