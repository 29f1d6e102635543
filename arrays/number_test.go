package arrays

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// sameNumber compares parseNumber with strconv.
func sameNumber(t interface{ Fatalf(string, ...any) }, s string) {
	want, err := strconv.ParseFloat(s, 64)
	ok := (err == nil || errors.Is(err, strconv.ErrRange)) && !strings.ContainsAny(s, "xXpP_")
	got, gotOK := parseNumber([]byte(s))
	if gotOK != ok || ok && math.Float64bits(got) != math.Float64bits(want) {
		t.Fatalf("parseNumber(%q) = %v (%x), %v; strconv: %v (%x), %v", s, got, math.Float64bits(got), gotOK, want, math.Float64bits(want), err)
	}
}

func TestParseNumberIsStrconv(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"", "0", "-0", "+0", ".", "-", "+", "1", "-1", "1.", ".1", "-.5", "1..2", "1e", "1e5", "1E-5", "e5",
		"123456789012345", "1234567890123456", "12345678901234567890", "0.000000000000001", "9007199254740993",
		"0.1", "0.3", "1e308", "1e309", "-1e999", "4.9e-324", "1e-400", "nan", "NaN", "-nan", "inf", "-Inf", "+infinity", "infinit",
		"0x10", "1_000", "1e1_0", "0b1", "1 ", " 1", "1,2", "\x00", "１",
		"000000000000000000000001", "0.00000000000000000000000000001",
	} {
		sameNumber(t, s)
	}
	rapid.Check(t, func(t *rapid.T) {
		f := math.Float64frombits(rapid.Uint64().Draw(t, "bits"))
		sameNumber(t, strconv.FormatFloat(f, 'g', rapid.IntRange(-1, 18).Draw(t, "digits"), 64))
		g := rapid.Float64Range(-1e9, 1e9).Draw(t, "value")
		sameNumber(t, strconv.FormatFloat(g, 'f', rapid.IntRange(-1, 12).Draw(t, "places"), 64))
	})
}

func FuzzParseNumber(f *testing.F) {
	for _, s := range []string{"1.5", "-0", "1e22", "123456789012345.6", "inf"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { sameNumber(t, s) })
}

func TestNumberLines(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	for _, c := range []struct {
		in      string
		want    []float64
		refused string
		left    int // bytes that wait
	}{
		{"1,2,3\n", []float64{1, 2, 3}, "", 0},
		{"1;2\r\n3\t4 5\n", []float64{1, 2, 3, 4, 5}, "", 0},
		{"1,2", nil, "", 3},
		{"1\n2", []float64{1}, "", 1},
		{"\n\n \r\n1\n", []float64{1}, "", 0},
		{"\xef\xbb\xbf7\n", []float64{7}, "", 0},
		{"1,,2\n", []float64{1, nan, 2}, "", 0},
		{",1\n", []float64{nan, 1}, "", 0},
		{"1,2,\n3,\r\n", []float64{1, 2, 3}, "", 0},
		{"1 , 2\n", []float64{1, 2}, "", 0},
		{"nan,-inf,1e3\n", []float64{nan, math.Inf(-1), 1000}, "", 0},
		{"1,two,3\n4\n", []float64{4}, "0+8 not-a-number", 0},
		{"a\nb\n", nil, "0+2 not-a-number 2+2 not-a-number", 0},
		{"1\x00\n2\n", []float64{2}, "0+3 not-a-number", 0},
		{"0x10\n", nil, "0+5 not-a-number", 0},
		{strings.Repeat(" ", maxLine) + "\n1\n", []float64{1}, "0+1048576 line-too-long 1048576+1 rest-of-line", 0},
		{strings.Repeat(" ", maxLine-1) + "\n1\n", []float64{1}, "", 0},
		{strings.Repeat("1,", maxLine) + "\n1\n", []float64{1}, "0+1048576 line-too-long 1048576+1048576 line-too-long 2097152+1 rest-of-line", 0},
	} {
		got := feed(t, Spec{Kind: kindNumbers}, []byte(c.in), nil, whole, never)
		var want []byte
		for _, f := range c.want {
			bits := math.Float64bits(f)
			if f != f && !strings.Contains(c.in, "nan") {
				bits = missingBits
			}
			want = appendInt64(want, int64(bits))
		}
		if column := fmt.Sprintf("value float64 1 {} %x", want); got.columns[0] != column {
			t.Errorf("%.40q: %.200s, want %s", c.in, got.columns[0], column)
		}
		var refused []string
		for _, r := range got.refused {
			refused = append(refused, fmt.Sprintf("%d+%d %s", r.Offset, r.Length, r.Reason))
		}
		if s := strings.Join(refused, " "); s != c.refused {
			t.Errorf("%.40q: refused %q, want %q", c.in, s, c.refused)
		}
		if left := len(c.in) - int(got.offset); left != c.left {
			t.Errorf("%.40q: %d bytes wait, want %d", c.in, left, c.left)
		}
	}
}

// fuzzCuts checks that a stream gives the same in pieces.
func fuzzCuts(f *testing.F, spec Spec, seeds ...[]byte) {
	for i, s := range seeds {
		f.Add(s, uint64(i))
	}
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		if len(data) > 4<<10 {
			return
		}
		r := rand.New(rand.NewPCG(seed, 2))
		want := feed(t, spec, data, nil, whole, never)
		var cuts []int
		for at := r.IntN(len(data) + 1); at < len(data); at += 1 + r.IntN(20) {
			cuts = append(cuts, at)
		}
		agree(t, want, feed(t, spec, data, cuts, 64+r.IntN(1000), func() bool { return r.IntN(8) == 0 }))
	})
}

func FuzzNumbers(f *testing.F) {
	fuzzCuts(f, Spec{Kind: kindNumbers}, []byte("1,2\nx\n3\r\n"), []byte("\xef\xbb\xbf1;;2,\n"), bytes.Repeat([]byte("1e5 "), 100))
}

func FuzzWAV(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 3))
	fuzzCuts(f, Spec{Kind: kindWAV}, someWAVs(r), someWAVs(r), []byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00"))
}

func FuzzMetrics(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	fuzzCuts(f, Spec{Kind: kindMetrics, Columns: map[string]string{"word": columnCategory}}, someEntries(r), someEntries(r), []byte{0x92, 0, 0xdf, 0xff, 0xff, 0xff, 0xff})
}
