package arrays

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// decoded is what came of a stream: text that two ways of cutting it must
// agree on.
type decoded struct {
	columns []string
	refused []refusal
	rows    int64
	offset  int64
}

// feed decodes data in steps that end where cuts say, each of at most limit
// bytes of rows, and with a decoder that is made anew from its saved state
// whenever again says so.
func feed(t testing.TB, spec Spec, data []byte, cuts []int, limit int, again func() bool) decoded {
	t.Helper()
	tab := &table{attrs: map[string]any{}, limit: limit}
	d, err := newDecoder(spec, nil, tab)
	if err != nil {
		t.Fatal(err)
	}
	var out decoded
	all := map[string][]byte{}
	for _, cut := range append(cuts, len(data)) {
		for {
			n := d.decode(data[out.offset:cut], out.offset, tab)
			for _, c := range tab.columns {
				if len(c.data) != tab.rows*c.rowBytes() {
					t.Fatalf("column %s has %d bytes for %d rows of %d", c.name, len(c.data), tab.rows, c.rowBytes())
				}
				if all[c.name] == nil {
					all[c.name] = appendFill(nil, c.dtype, int(out.rows)*c.rowBytes())
				}
				all[c.name] = append(all[c.name], c.data...)
			}
			stopped := tab.full()
			out.refused = append(out.refused, tab.refused.out...)
			out.rows += int64(tab.rows)
			out.offset += int64(n)
			tab.reset(true)
			tab.first = out.rows
			if again() {
				d, tab = reload(t, spec, d, tab)
			}
			if n == 0 || !stopped && out.offset == int64(cut) {
				break
			}
		}
	}
	for _, c := range tab.columns {
		attrs, err := json.Marshal(c.attrs)
		if err != nil {
			t.Fatal(err)
		}
		out.columns = append(out.columns, fmt.Sprintf("%s %s %d %s %x", c.name, c.dtype.name, c.width, attrs, all[c.name]))
	}
	return out
}

// reload brings a decoder through its JSON.
func reload(t testing.TB, spec Spec, d decoder, tab *table) (decoder, *table) {
	t.Helper()
	b, err := json.Marshal(savedState{must(json.Marshal(d.state())), &tab.refused})
	if err != nil {
		t.Fatal(err)
	}
	next := &table{attrs: tab.attrs, limit: tab.limit, first: tab.first}
	for _, c := range tab.columns {
		var attrs map[string]any
		if err := json.Unmarshal(must(json.Marshal(c.attrs)), &attrs); err != nil {
			t.Fatal(err)
		}
		next.put(&column{name: c.name, dtype: c.dtype, dims: c.dims, width: c.width, from: c.from, attrs: attrs})
	}
	saved := savedState{Refused: &next.refused}
	if err := json.Unmarshal(b, &saved); err != nil {
		t.Fatal(err)
	}
	nd, err := newDecoder(spec, saved.Decoder, next)
	if err != nil {
		t.Fatal(err)
	}
	return nd, next
}

func never() bool { return false }

// agree fails when two ways of cutting a stream give different results.
func agree(t interface{ Fatalf(string, ...any) }, a, b decoded) {
	if len(a.columns) != len(b.columns) || a.rows != b.rows || a.offset != b.offset {
		t.Fatalf("%d columns, %d rows, offset %d; in pieces %d, %d, %d", len(a.columns), a.rows, a.offset, len(b.columns), b.rows, b.offset)
	}
	for i := range a.columns {
		if a.columns[i] != b.columns[i] {
			t.Fatalf("column %.2000s\nin pieces %.2000s", a.columns[i], b.columns[i])
		}
	}
	if len(a.refused) != len(b.refused) {
		t.Fatalf("refused %v\nin pieces %v", a.refused, b.refused)
	}
	for i := range a.refused {
		if a.refused[i] != b.refused[i] {
			t.Fatalf("refusal %d is %v\nin pieces %v", i, a.refused[i], b.refused[i])
		}
	}
}

// whole is a table limit that nothing reaches.
const whole = 1 << 40

// TestCutsMakeNoDifference feeds streams of good and bad records in pieces of
// any size, through decoders that are made anew from their state.
func TestCutsMakeNoDifference(t *testing.T) {
	t.Parallel()
	makers := map[string]func(r *rand.Rand) []byte{
		kindNumbers: someNumbers, kindWAV: someWAVs, kindMetrics: someEntries,
	}
	for kind, make := range makers {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(rt *rapid.T) {
				r := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
				data := make(r)
				spec := Spec{Kind: kind}
				want := feed(t, spec, data, nil, whole, never)
				var cuts []int
				for at := 0; len(cuts) < 200; {
					at += 1 + r.IntN(1+len(data)/(1+r.IntN(50)))
					if at >= len(data) {
						break
					}
					cuts = append(cuts, at)
				}
				limit := 1 << (6 + r.IntN(20))
				got := feed(t, spec, data, cuts, limit, func() bool { return r.IntN(3) == 0 })
				agree(rt, want, got)
			})
		})
	}
}

// someNumbers makes lines, few of them bad.
func someNumbers(r *rand.Rand) []byte {
	var b bytes.Buffer
	for range r.IntN(200) {
		for range r.IntN(8) {
			switch r.IntN(30) {
			case 0:
				b.WriteString([]string{"x1", "0x10", "1_0", "--1", "1.2.3", "\xff\x00", "é"}[r.IntN(7)])
			case 1:
				b.WriteString([]string{"", "nan", "-inf", "1e400", "+.5", "5.", "\xef\xbb\xbf3"}[r.IntN(7)])
			default:
				fmt.Fprint(&b, r.NormFloat64()*1e6)
			}
			b.WriteString([]string{",", ";", " ", ", ", "\t", "\r"}[r.IntN(6)])
		}
		b.WriteString([]string{"\n", "\r\n"}[r.IntN(2)])
	}
	if r.IntN(2) == 0 {
		b.WriteString("12,3")
	}
	return b.Bytes()
}
