package arrays

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tinylib/msgp/msgp"
)

// entry makes a msgpack entry [time, record].
func entry(time, record any) []byte {
	return appendValue(appendValue(msgp.AppendArrayHeader(nil, 2), time), record)
}

// appendValue appends a value as msgpack, the keys of maps in order.
func appendValue(b []byte, v any) []byte {
	if m, ok := v.(map[string]any); ok {
		b = msgp.AppendMapHeader(b, uint32(len(m)))
		for _, k := range sortedKeys(m) {
			b = appendValue(msgp.AppendString(b, k), m[k])
		}
		return b
	}
	b, err := msgp.AppendIntf(b, v)
	if err != nil {
		panic(err)
	}
	return b
}

// someEntries makes entries, few of them bad.
func someEntries(r *rand.Rand) []byte {
	var b []byte
	for i := range r.IntN(100) {
		m := map[string]any{"a": r.Float64(), "n": map[string]any{"x": i, "y": fmt.Sprint(i)}}
		switch r.IntN(12) {
		case 0:
			m["late"] = true
		case 1:
			m["a"] = "text"
		case 2:
			m["word"] = fmt.Sprintf("w%d", r.IntN(9))
		case 3:
			b = append(b, noise(r.IntN(100))...)
		case 4:
			b = msgp.AppendInt(b, 7)
		case 5:
			m["list"] = []any{1, 2}
		case 6:
			b = append(b, entry("no time", m)...)
		case 7:
			b = append(b, entry(1, "no map")...)
		case 8:
			delete(m, "a")
		}
		one := entry(1700000000+i, m)
		if r.IntN(40) == 0 {
			one = one[:r.IntN(len(one))]
		}
		b = append(b, one...)
	}
	return b
}

// textOfColumns shows columns and what was refused.
func textOfColumns(d decoded, refusedOnly bool) string {
	var out []string
	for _, r := range d.refused {
		out = append(out, fmt.Sprintf("%d+%d %s", r.Offset, r.Length, r.Reason))
	}
	if refusedOnly {
		return strings.Join(out, "; ")
	}
	for _, c := range d.columns {
		f := strings.SplitN(c, " ", 4)
		at := strings.LastIndexByte(c, ' ')
		raw, _ := hex.DecodeString(c[at+1:])
		switch f[1] {
		case "float64":
			out = append(out, fmt.Sprint(f[0], float64s(raw)))
		case "uint32":
			var codes []uint32
			for i := 0; i < len(raw); i += 4 {
				codes = append(codes, binary.LittleEndian.Uint32(raw[i:]))
			}
			out = append(out, fmt.Sprint(f[0], codes, " ", f[3][:len(f[3])-(len(c)-at)]))
		}
	}
	return strings.Join(out, "; ")
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	type m = map[string]any
	for _, c := range []struct {
		name    string
		spec    Spec
		entries [][]byte
		want    string
	}{
		{"numbers of all kinds", Spec{}, [][]byte{
			entry(1, m{"a": int8(-5), "b": uint64(1 << 63), "c": float32(0.5), "d": true, "e": "12.5", "f": int64(-1 << 40), "g": uint8(200)}),
		}, "a[-5]; b[9.223372036854776e+18]; c[0.5]; d[1]; e[12.5]; f[-1.099511627776e+12]; g[200]"},
		{"late and missing fields", Spec{}, [][]byte{
			entry(1, m{"a": 1}), entry(2, m{"b": 2}), entry(3, m{"a": 3, "b": 4}), entry(4, m{"a": nil, "b": ""}), entry(5, m{}),
		}, "a[1 NaN 3 NaN NaN]; b[NaN 2 4 NaN NaN]"},
		{"words", Spec{}, [][]byte{
			entry(1, m{"w": "on"}), entry(2, m{"w": "off"}), entry(3, m{}), entry(4, m{"w": "on"}), entry(5, m{"w": "7"}),
		}, `w[1 2 0 1 3] {"flag_meanings":"on off 7","flag_values":[1,2,3],"long_name":"w","vocabulary":["on","off","7"]}`},
		{"words with blanks are no flags", Spec{}, [][]byte{entry(1, m{"w": "in use"})},
			`w[1] {"long_name":"w","vocabulary":["in use"]}`},
		{"misfits", Spec{}, [][]byte{entry(1, m{"a": 1, "w": "x"}), entry(2, m{"a": "no", "w": 5}), entry(3, m{"a": []any{1}, "w": "y"})},
			`10+11 wrong-type; 21+11 wrong-type; a[1 NaN NaN]; w[1 0 2] {"flag_meanings":"x y","flag_values":[1,2],"long_name":"w","vocabulary":["x","y"]}`},
		{"declared", Spec{Columns: map[string]string{"code": "category", "never": "float64"}}, [][]byte{entry(1, m{"code": 5}), entry(2, m{"code": "x"})},
			`code[1 2] {"flag_meanings":"5 x","flag_values":[1,2],"long_name":"code","vocabulary":["5","x"]}; never[NaN NaN]`},
		{"nested, and unsafe names", Spec{}, [][]byte{entry(1, m{"a": m{"b": m{"c": 1}}, "x/y": 2, "x y": 3, "c": 4, "..": 5, "zarr.json": 6, "zarr.jsonx": 10, "__z": 7, "time": 8, "é": 9})},
			"f_[5]; f_z[7]; a.b.c[1]; c[4]; time_2[8]; x_y[3]; x_y_2[2]; f_zarr.json[6]; zarr.jsonx[10]; f__2[9]"},
		{"no name at all", Spec{}, [][]byte{entry(1, m{"": 1, "a": 1})}, "0+8 bad-field-name; a[1]"},
		{"no use", Spec{}, [][]byte{entry(1, "text"), entry("x", m{"a": 1}), {0x05}, entry(1, m{"a": 2})},
			"0+7 not-a-map; 7+7 not-an-entry; 14+1 not-an-entry; a[2]"},
		{"time of a field", Spec{Time: "t"}, [][]byte{
			entry(1, m{"t": 1.5, "a": 1}), entry(1, m{"t": "2024-01-01T00:00:00Z", "a": 2}), entry(1, m{"a": 3}), entry(1, m{"t": "soon", "a": 4}), appendValue(nil, m{"t": "7", "a": 5}),
		}, "46+6 bad-time; 52+13 bad-time; a[1 2 5]"},
	} {
		c.spec.Kind = kindMetrics
		got := feed(t, c.spec, bytes.Join(c.entries, nil), nil, whole, never)
		if s := textOfColumns(got, false); s != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, s, c.want)
		}
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	var in []byte
	add := func(time ...byte) {
		in = append(append(append(in, 0x92), time...), 0x80)
	}
	add(0xd7, 0, 0, 0, 0, 5, 0, 0, 0, 7)                      // EventTime
	add(0xc7, 8, 0, 0, 0, 0, 6, 0, 0, 0, 8)                   // the same as ext 8
	add(9)                                                    // seconds
	add(0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0)                   // 1.5
	add(0x92, 10, 0x80)                                       // [time, metadata]
	add(0xd3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff) // -1
	add(0xcf, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff) // too far
	got := feed(t, Spec{Kind: kindMetrics}, in, nil, whole, never)
	var want []byte
	for _, ns := range []int64{5000000007, 6000000008, 9e9, 15e8, 10e9, -1e9} {
		want = appendInt64(want, ns)
	}
	if !strings.HasSuffix(got.columns[0], fmt.Sprintf(" %x", want)) {
		t.Errorf("times %s, want %x", got.columns[0], want)
	}
	if s := textOfColumns(got, true); s != "55+11 bad-time" {
		t.Errorf("refused %s", s)
	}
}

// TestMonitorTables decodes the tables of SlapOS's monitor, all of whose values
// are texts.
func TestMonitorTables(t *testing.T) {
	t.Parallel()
	var in []byte
	for i := range 3 {
		in = append(in, entry(1500000000+60*i, map[string]any{
			"partition": "slappart" + fmt.Sprint(i%2), "pid": fmt.Sprint(100 + i), "process": "/usr/bin/python -m x", "cpu_percent": "0.5",
			"memory_rss": "1048576", "date": "2017-07-14", "reported": "0",
		})...)
	}
	got := textOfColumns(feed(t, Spec{Kind: kindMetrics}, in, nil, whole, never), false)
	want := `cpu_percent[0.5 0.5 0.5]; date[1 1 1] {"flag_meanings":"2017-07-14","flag_values":[1],"long_name":"date","vocabulary":["2017-07-14"]}; ` +
		`memory_rss[1.048576e+06 1.048576e+06 1.048576e+06]; partition[1 2 1] {"flag_meanings":"slappart0 slappart1","flag_values":[1,2],"long_name":"partition","vocabulary":["slappart0","slappart1"]}; ` +
		`pid[100 101 102]; process[1 1 1] {"long_name":"process","vocabulary":["/usr/bin/python -m x"]}; reported[0 0 0]`
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

// TestBoundsOfMetrics refuses what would grow without end, once for many.
func TestBoundsOfMetrics(t *testing.T) {
	t.Parallel()
	var words, columns []byte
	for i := range 3000 {
		words = append(words, entry(i, map[string]any{"w": fmt.Sprintf("word%d", i)})...)
		columns = append(columns, entry(i, map[string]any{fmt.Sprintf("f%d", i): i})...)
	}
	got := feed(t, Spec{Kind: kindMetrics}, words, nil, whole, never)
	if len(got.refused) != directPerBlock || got.refused[0].Reason != "vocabulary-full" || got.rows != 3000 {
		t.Errorf("%d rows, refused %v", got.rows, got.refused)
	}
	got = feed(t, Spec{Kind: kindMetrics}, columns, nil, whole, never)
	if len(got.columns) != maxColumns || len(got.refused) != directPerBlock || got.refused[0].Reason != "too-many-columns" || got.rows != 3000 {
		t.Errorf("%d columns, %d rows, refused %v", len(got.columns), got.rows, got.refused)
	}
	got = feed(t, Spec{Kind: kindMetrics}, entry(1, map[string]any{strings.Repeat("n", 256): 1, "w": "w"}), nil, whole, never)
	if textOfColumns(got, true) != "0+267 bad-field-name" {
		t.Errorf("refused %v", got.refused)
	}
	if got := feed(t, Spec{Kind: kindMetrics}, entry(1, map[string]any{"w": strings.Repeat("w", 257)}), nil, whole, never); len(got.refused) != 1 {
		t.Errorf("refused %v", got.refused)
	}
}

// TestLongEntry skips an entry that is too long, in pieces, and goes on.
func TestLongEntry(t *testing.T) {
	t.Parallel()
	long := entry(1, map[string]any{"text": strings.Repeat("x", maxRecord), "more": []any{1, "two", map[string]any{"k": 3.0}}})
	in := bytes.Join([][]byte{entry(1, map[string]any{"a": 1}), long, entry(2, map[string]any{"a": 2})}, nil)
	want := feed(t, Spec{Kind: kindMetrics}, in, nil, whole, never)
	if s := textOfColumns(want, false); s != fmt.Sprintf("6+%d entry-too-long; a[1 2]", maxRecord) {
		t.Errorf("got %s", s)
	}
	cuts := []int{3, 100, maxRecord - 1, maxRecord + 3, maxRecord + 17, maxRecord + 30, len(long) + 1, len(long) + 7}
	agree(t, want, feed(t, Spec{Kind: kindMetrics}, in, cuts, whole, func() bool { return true }))
}

// TestDamagedEntries goes on with the first whole entry after damage.
func TestDamagedEntries(t *testing.T) {
	t.Parallel()
	one := func(i int) []byte { return entry(i, map[string]any{"a": i}) }
	for _, c := range []struct {
		name string
		in   []byte
		want string
	}{
		{"a bad byte", bytes.Join([][]byte{one(1), {0xc1}, one(2)}, nil), "6+1 bad-msgpack; a[1 2]"},
		{"a cut entry", bytes.Join([][]byte{one(1), one(2)[:4], {0xc1, 0xc1}, one(3)}, nil), "6+6 bad-msgpack; a[1 3]"},
		{"a long damage", bytes.Join([][]byte{bytes.Repeat([]byte{0xc1}, 2*pieceBytes+5), one(1)}, nil), "0+65536 bad-msgpack; 65536+65536 bad-msgpack; 131072+5 bad-msgpack; a[1]"},
		{"false beginnings", bytes.Join([][]byte{{0xc1}, bytes.Repeat([]byte{0x92, 0xc1}, 20), one(1)}, nil), "0+41 bad-msgpack; a[1]"},
		{"nothing but false beginnings", bytes.Join([][]byte{{0xc1}, bytes.Repeat([]byte{0x92, 0, 0xdf, 0xff, 0xff, 0xff, 0xff}, pieceBytes), one(1)}, nil), "…"},
	} {
		got := textOfColumns(feed(t, Spec{Kind: kindMetrics}, c.in, nil, whole, never), false)
		if got != c.want && c.want != "…" {
			t.Errorf("%s: %.200s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestSpecs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		spec Spec
		want string // keys with mistakes
	}{
		{Spec{Kind: "numbers"}, ""}, {Spec{Kind: "wav"}, ""}, {Spec{Kind: "metrics"}, ""},
		{Spec{Kind: "metrics", Time: "t", Columns: map[string]string{"a": "float64", "b": "category"}}, ""},
		{Spec{}, "kind"}, {Spec{Kind: "image"}, "kind"},
		{Spec{Kind: "wav", Time: "t"}, "time"}, {Spec{Kind: "numbers", Columns: map[string]string{"a": "float64"}}, "columns"},
		{Spec{Kind: "metrics", Time: "t", Columns: map[string]string{"a": "int", "": "float64", "t": "float64"}}, "columns. columns.a columns.t"},
	} {
		if got := strings.Join(sortedKeys(c.spec.Validate()), " "); got != c.want {
			t.Errorf("%+v: mistakes in %q, want %q", c.spec, got, c.want)
		}
	}
}
