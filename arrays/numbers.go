package arrays

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
)

// maxLine is the longest line of numbers. What is longer is refused in pieces
// of this size.
const maxLine = 1 << 20

var byteOrderMark = []byte("\xef\xbb\xbf")

// numbers decodes text: lines of numbers, separated by commas, semicolons or
// white space, all put into one float64 array. A line is taken at its line
// feed. An empty field between two separators is NaN; a separator that ends a
// line begins no field. A line with a word that is no number is refused whole.
type numbers struct {
	st struct {
		Inside bool `json:"inside,omitempty"` // of a line that is too long, or lost its beginning
	}
}

func (d *numbers) state() any          { return &d.st }
func (d *numbers) resume(*table) error { return nil }
func (d *numbers) begin(t *table)      { t.add("value", "float64", []string{"index"}, 1, nil) }
func (d *numbers) refuse(t *table, off int64, line []byte, bad []byte) {
	detail := fmt.Sprintf("%.40q is no number", bad)
	t.refused.add(off, int64(len(line)), "not-a-number", detail)
}

func (d *numbers) lost() { d.st.Inside = true }

func (d *numbers) decode(p []byte, off int64, t *table) int {
	c, done := t.columns[0], 0
	for done < len(p) && !t.full() {
		rest := p[done:]
		n := bytes.IndexByte(rest[:min(len(rest), maxLine)], '\n') + 1
		switch {
		case n == 0 && len(rest) < maxLine:
			return done
		case n == 0:
			n = maxLine
			d.st.Inside = true
			t.refused.add(off+int64(done), maxLine, "line-too-long", fmt.Sprintf("a line has more than %d bytes", maxLine))
		case d.st.Inside:
			d.st.Inside = false
			t.refused.add(off+int64(done), int64(n), "rest-of-line", "the line's beginning was of no use")
		default:
			if bad := d.line(rest[:n], c); bad != nil {
				d.refuse(t, off+int64(done), rest[:n], bad)
			}
			t.rows = len(c.data) / 8
		}
		done += n
	}
	t.refused.pass(off + int64(done))
	return done
}

// line appends the numbers of a line, or nothing: then it gives the word that
// is no number.
func (d *numbers) line(line []byte, c *column) (bad []byte) {
	line = bytes.TrimPrefix(line, byteOrderMark)
	data, i, open := c.data, 0, false
	for i < len(line) {
		switch class := separators[line[i]]; class {
		case white:
			i++
		case comma:
			if !open {
				data = binary.LittleEndian.AppendUint64(data, missingBits)
			}
			open = false
			i++
		default:
			start := i
			for i < len(line) && separators[line[i]] == 0 {
				i++
			}
			f, ok := parseNumber(line[start:i])
			if !ok {
				return line[start:i]
			}
			data = binary.LittleEndian.AppendUint64(data, math.Float64bits(f))
			open = true
		}
	}
	c.data = data
	return nil
}

// The classes of bytes between numbers.
const (
	white = 1 + iota
	comma
)

var separators = [256]uint8{
	' ': white, '\t': white, '\r': white, '\n': white, '\v': white, '\f': white,
	',': comma, ';': comma,
}
