package forward

import (
	"bytes"
	"testing"
)

// TestInflateBehindOthers inflates into what earlier payloads left of a block:
// where that is little and the next match is longer, more room is made, also
// when hardly anything has come out yet.
func TestInflateBehindOthers(t *testing.T) {
	t.Parallel()
	const most = 600 // two of the longest matches, and some
	for _, data := range [][]byte{
		append([]byte("a"), bytes.Repeat([]byte("b"), 1000)...),
		append([]byte("several letters"), make([]byte, 5000)...),
		two,
	} {
		for method, src := range map[string][]byte{methodGzip: zip(data), methodZstd: zstandard(data)} {
			for left := range most {
				a := arena{lease: &lease{budget: &budget{max: 1 << 20}}}
				before := bytes.Repeat([]byte("before"), minArena)[:minArena-left]
				a.begin()
				a.add(before...)
				a.take()
				a.begin()
				if err := newInflaters(1).inflate(&a, src, method, int64(len(data))); err != nil {
					t.Fatalf("%s, %d bytes left: %v", method, left, err)
				}
				if !bytes.Equal(a.take(), data) {
					t.Errorf("%s, %d bytes left: the data differs", method, left)
				}
			}
		}
	}
}
