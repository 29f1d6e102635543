package arrays

import (
	"bytes"
	"fmt"
	"testing"
)

// numberLines is what Wendelin's own test ingests: 0 to 100000, ten a line.
func numberLines() []byte {
	var b bytes.Buffer
	for i := 0; i <= 100000; i++ {
		fmt.Fprint(&b, i)
		if i%10 == 9 || i == 100000 {
			b.WriteByte('\n')
		} else {
			b.WriteByte(',')
		}
	}
	return b.Bytes()
}

func TestNumbersOfWendelin(t *testing.T) {
	t.Parallel()
	text := numberLines()
	if len(text) != 588897 {
		t.Fatalf("the text has %d bytes", len(text))
	}
	s := open(t, t.TempDir(), Options{})
	f := &fakeStream{name: "a/b c"}
	for len(text) > 0 {
		n := min(10450, len(text))
		f.append(text[:n])
		text = text[n:]
		advance(t, s, f, Spec{Kind: "numbers"})
	}
	info, err := s.Info("a/b c")
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Arrays[0].Shape[0]; got != 100001 {
		t.Fatalf("rows %d", got)
	}
	sl, err := s.Slice("a/b c", "value", 0, -1, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range float64s(sl.Data) {
		if v != float64(i) {
			t.Fatalf("value %d is %v", i, v)
		}
	}
	if sl.Rows != 100000 {
		t.Errorf("slice has %d rows", sl.Rows)
	}
}
