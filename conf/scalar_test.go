package conf

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestParseSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Size{
		"0": 0, "1": 1, "512B": 512, "64KiB": 64 << 10, "64 kib": 64 << 10, "8m": 8 << 20, "8M": 8 << 20,
		"1g": 1 << 30, "1.5GiB": 3 << 29, "2TiB": 2 << 40, "100kB": 100000, "1MB": 1e6,
		"": -1, "-1": -1, "1.5": -1, "1e3": 1000, "x": -1, "1XiB": -1, "KiB": -1, "NaN": -1, "inf": -1,
		"9223372036854775808": -1, "99999999TiB": -1, "0x10": -1, "1_000": 1000,
	} {
		got, err := parseSize(text)
		if want < 0 && err == nil || want >= 0 && (err != nil || got != want) {
			t.Errorf("%q: got %d, %v, want %d", text, got, err, want)
		}
	}
}

// A size reads back from its own text.
func TestSizeString(t *testing.T) {
	t.Parallel()
	for size, want := range map[Size]string{0: "0", 1: "1", 1024: "1KiB", 8 << 20: "8MiB", 3 << 30: "3GiB", 5 << 40: "5TiB", 1025: "1025"} {
		if got := size.String(); got != want {
			t.Errorf("%d: got %s, want %s", size, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		size := Size(rapid.Int64Range(0, 1<<50).Draw(t, "size"))
		if got, err := parseSize(size.String()); err != nil || got != size {
			t.Fatalf("%s is %d, %v", size, got, err)
		}
	})
}

func TestExpand(t *testing.T) {
	t.Parallel()
	getenv := testSource().Getenv
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"plain $ $5 $HOME", "plain $ $5 $HOME"},
		{"${PORT}", "9000"},
		{"a${PORT}b${PORT}c", "a9000b9000c"},
		{"$${PORT}", "${PORT}"},
		{"$$${PORT}", "$${PORT}"},
		{"$${PORT}${PORT}", "${PORT}9000"},
		{"${EMPTY}", ""},
		{"${EMPTY:-x}", "x"},
		{"${NONE:-}", ""},
		{"${NONE:-a:b-c}", "a:b-c"},
		{"${PORT:-x}", "9000"},
		{"${PORT:?x}", "9000"},
	} {
		if got, err := expand(c.in, getenv); err != nil || got != c.want {
			t.Errorf("%q: got %q, %v, want %q", c.in, got, err, c.want)
		}
	}
	for _, in := range []string{"${NONE}", "${", "${}", "${PORT", "${a b}", "${1a}", "${PORT:x}", "${PORT:+x}", "${NONE:+x}", "${NONE:?m}", "${EMPTY:?m}", "${ä}"} {
		if got, err := expand(in, getenv); err == nil {
			t.Errorf("%q: got %q, want an error", in, got)
		}
	}
	// What a variable holds is not looked at again.
	again := func(string) (string, bool) { return "${A}", true }
	if got, err := expand("${A}", again); err != nil || got != "${A}" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"listen", "max_body", "data", "match"}
	for word, want := range map[string]string{
		"lisen": "listen", "listn": "listen", "maxbody": "max_body", "dta": "data", "mach": "match",
		"Match": "match", "": "", "zzzzzzz": "", "listener": "listen",
	} {
		if got := nearest(word, known); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.StringN(0, 8, -1).Draw(t, "a"), rapid.StringN(0, 8, -1).Draw(t, "b")
		d := distance(a, b)
		if d != distance(b, a) || (d == 0) != (a == b) || d > max(len(a), len(b)) {
			t.Fatalf("distance of %q and %q is %d", a, b, d)
		}
	})
}

func TestDiagnosticsInOrder(t *testing.T) {
	t.Parallel()
	ds := Diagnostics{{"f", 2, 1, "c"}, {"f", 1, 9, "b"}, {"f", 1, 2, "z"}, {"f", 1, 2, "a"}}
	ds.sort()
	var got []string
	for _, d := range ds {
		got = append(got, d.String())
	}
	if want := []string{"f:1:2: a", "f:1:2: z", "f:1:9: b", "f:2:1: c"}; !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}
