package forward

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

// unhex reads hexadecimal with spaces between.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, in     string
		entries, off int
		err          error
	}{
		{"nothing", "", 0, 0, nil},
		{"event time", "92 d7 00 6553f100 00000001 81 a1 61 01", 1, 15, nil},
		{"two", "92 ce 6553f100 80 92 01 81 a1 61 c3", 2, 13, nil},
		{"ext8 time", "92 c7 08 00 6553f100 00000001 80", 1, 13, nil},
		{"float time", "92 cb 41d954fc40000000 80", 1, 11, nil},
		{"metadata", "92 92 ce 6553f100 80 80", 1, 9, nil},
		{"array32 head", "dd 00000002 01 80", 1, 7, nil},
		{"three values", "93 01 80 c0", 1, 4, nil},
		{"text record", "92 00 a4 74657874", 1, 7, nil},
		{"negative time", "92 ff 80", 1, 3, nil},
		{"cut", "92 01 80 92 01 81 a1", 1, 3, ErrShort},
		{"cut head", "92 01 80 dc 00", 1, 3, ErrShort},
		{"never used", "92 01 80 c1", 1, 3, ErrSyntax},
		{"never used inside", "92 01 81 a1 61 c1", 0, 0, ErrSyntax},
		{"no pair", "92 01 80 91 01", 1, 3, ErrNoEntry},
		{"map", "80", 0, 0, ErrNoEntry},
		{"nil time", "92 c0 80", 0, 0, ErrTime},
		{"text time", "92 a1 31 80", 0, 0, ErrTime},
		{"not a number", "92 cb 7ff8000000000001 80", 0, 0, ErrTime},
		{"other extension", "92 d7 01 6553f100 00000001 80", 0, 0, ErrTime},
		{"event time of 4 bytes", "92 d6 00 6553f100 80", 0, 0, ErrTime},
		{"metadata no map", "92 92 01 01 80", 0, 0, ErrTime},
		{"huge map", "92 01 df ffffffff 01", 0, 0, ErrShort},
		{"huge array", "dd ffffffff", 0, 0, ErrShort},
		{"deep", "92 01 " + strings.Repeat("91", 100_000), 0, 0, ErrDepth},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n, off, err := Check(unhex(t, c.in))
			if n != c.entries || off != c.off || !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
				t.Errorf("got %d, %d, %v; want %d, %d, %v", n, off, err, c.entries, c.off, c.err)
			}
		})
	}
}

func TestUnixNano(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in string
		ns int64
		ok bool
	}{
		{"01", 1e9, true},
		{"ff", -1e9, true},
		{"ce 6553f100", 1700000000e9, true},
		{"d2 6553f100", 1700000000e9, true},
		{"d1 fff6", -10e9, true},
		{"d3 000000006553f100", 1700000000e9, true},
		{"cf ffffffffffffffff", 0, false},
		{"cf 7fffffffffffffff", 0, false},
		{"cb 41d954fc40000000", 1700000000e9, true},
		{"cb 3ff8000000000000", 15e8, true},
		{"ca 3fc00000", 15e8, true},
		{"cb 7fefffffffffffff", 0, false},
		{"d7 00 6553f100 0000000a", 1700000000e9 + 10, true},
		{"c7 08 00 ffffffff 3b9ac9ff", 4294967295e9 + 999999999, true},
		{"", 0, false},
		{"cb 41", 0, false},
		{"c0", 0, false},
		{"a1 31", 0, false},
	} {
		if ns, ok := UnixNano(unhex(t, c.in)); ok != c.ok || ok && ns != c.ns {
			t.Errorf("%q: got %d, %v; want %d, %v", c.in, ns, ok, c.ns, c.ok)
		}
	}
}

func TestNextParts(t *testing.T) {
	t.Parallel()
	b := unhex(t, "92 92 ce 6553f100 81 a1 6d 02 81 a1 61 01 92 01 c0")
	e, rest, err := Next(b)
	if err != nil || string(e.Time) != "\xceeS\xf1\x00" || string(e.Meta) != "\x81\xa1m\x02" ||
		string(e.Record) != "\x81\xa1a\x01" || len(rest) != 3 || len(e.Raw) != len(b)-3 {
		t.Fatalf("got %x, rest %x, %v", e, rest, err)
	}
	e, rest, err = Next(rest)
	if err != nil || e.Meta != nil || string(e.Record) != "\xc0" || len(rest) != 0 {
		t.Fatalf("got %x, rest %x, %v", e, rest, err)
	}
	if e, rest, err = Next([]byte{0xc0, 0x01}); !errors.Is(err, ErrNoEntry) || len(e.Raw) != 1 || len(rest) != 1 {
		t.Fatalf("got %x, rest %x, %v", e, rest, err)
	}
}
