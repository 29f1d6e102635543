package policies

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// TestPlain compares with what Python 3.11 printed for the same msgpack.
func TestPlain(t *testing.T) {
	t.Parallel()
	f, err := os.Open("testdata/python-str.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	for lines := bufio.NewScanner(f); lines.Scan(); n++ {
		packed, printed, _ := strings.Cut(lines.Text(), " ")
		v, err := hex.DecodeString(packed)
		if err != nil {
			t.Fatal(err)
		}
		want, err := hex.DecodeString(printed)
		if err != nil {
			t.Fatal(err)
		}
		got, err := appendPlain([]byte("before "), v)
		if err != nil || string(got) != "before "+string(want) {
			t.Errorf("%s is printed\n%s (%v), by Python\n%s", packed, got, err, want)
		}
	}
	if n < 300 {
		t.Errorf("only %d values", n)
	}
}

func TestPlainOddValues(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ packed, want string }{
		{"\xc4\x03a\xffb", "a\xffb"},     // bytes are themselves
		{"\xa2\xff\xfe", "\xff\xfe"},     // and text that is no UTF-8
		{"\x91\xa2\xffa", `['\udcffa']`}, // but inside a list
		{"\xca\x3d\xcc\xcc\xcd", "0.10000000149011612"},
	} {
		got, err := appendPlain(nil, []byte(c.packed))
		if err != nil || string(got) != c.want {
			t.Errorf("%x is %q, %v, want %q", c.packed, got, err, c.want)
		}
	}
	if _, err := appendPlain(nil, append(bytes.Repeat([]byte{0x91}, 200), 0xc0)); err == nil {
		t.Error("200 lists inside each other are printed")
	}
	if _, err := appendPlain(nil, []byte{0x92, 1}); err == nil {
		t.Error("half a list is printed")
	}
}

// FuzzPlain: whatever is well formed is printed, and as text.
func FuzzPlain(f *testing.F) {
	for _, s := range []string{"\x81\xa1a\x01", "\x92\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00\xc0", "\xd4\x05a", "\x91\xc4\x01'"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, v []byte) {
		got, err := appendPlain(nil, v)
		if err != nil || len(v) == 0 {
			return
		}
		if _, isText := content(v); isText {
			return
		}
		if !utf8.Valid(got) || bytes.ContainsFunc(got, unicode.IsControl) {
			t.Errorf("%x is printed as %q", v, got)
		}
	})
}
