package records

import (
	"encoding/csv"
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"
	"pgregory.net/rapid"

	"weir/forward"
)

// entryOf makes an entry of a record that is msgpack already.
func entryOf(t interface{ Fatal(...any) }, time, record string) forward.Entry {
	e, rest, err := forward.Next([]byte("\x92" + time + record))
	if err != nil || len(rest) > 0 {
		t.Fatal(err, len(rest))
	}
	return e
}

const second = "\xce\x65\x53\xf1\x00" // 1700000000

func TestJSON(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ time, record, want string }{
		{second, "\x80", `{"time":"2023-11-14T22:13:20Z","record":{}}`},
		{"\xd7\x00\x65\x53\xf1\x00\x00\x00\x00\x01", "\x80", `{"time":"2023-11-14T22:13:20.000000001Z","record":{}}`},
		{"\x92" + second + "\x81\xa1k\xa1v", "\x80", `{"time":"2023-11-14T22:13:20Z","metadata":{"k":"v"},"record":{}}`},
		{"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "\x80", `{"time":18446744073709551615,"record":{}}`},
		{second, "\x81\xa1n\xd3\x80\x00\x00\x00\x00\x00\x00\x00", `"record":{"n":-9223372036854775808}`},
		{second, "\x81\xa1n\xcf\xff\xff\xff\xff\xff\xff\xff\xff", `"record":{"n":18446744073709551615}`},
		{second, "\x81\xa1n\xd0\x80", `{"n":-128}`},
		{second, "\x81\xa1n\xe0", `{"n":-32}`},
		{second, "\x81\xa1n\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", `{"n":null}`},
		{second, "\x81\xa1n\xca\x3d\xcc\xcc\xcd", `{"n":0.1}`},
		{second, "\x81\xa1n\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a", `{"n":0.1}`},
		{second, "\x81\xa1t\xa5a\"\\\n\x01", `{"t":"a\"\\\n\u0001"}`},
		{second, "\x81\xa1t\xc4\x02\xff\x00", `{"t":{"base64":"/wA="}}`},
		{second, "\x81\xa1t\xc4\x02ok", `{"t":"ok"}`},
		{second, "\x82\x01\xc0\xa2\xff\x00\xc3", `{"1":null,"` + "\uFFFD" + `\u0000":true}`},
		{second, "\x81\xa1l\x93\x01\x90\x81\xa1m\xc2", `{"l":[1,[],{"m":false}]}`},
		{second, "\x81\xa1e\xc7\x03\x05abc", `{"e":{"ext":5,"base64":"YWJj"}}`},
		{second, "\x81\xa1e\xd4\xffx", `{"e":{"ext":-1,"base64":"eA=="}}`},
		{second, "\x81\xa1e\xd7\x00\x65\x53\xf1\x00\x00\x00\x00\x00", `{"e":"2023-11-14T22:13:20Z"}`},
		{second, "\xa5hello", `"record":"hello"}`},
	} {
		got := string(AppendEntry(nil, entryOf(t, tc.time, tc.record)))
		if !strings.Contains(got, tc.want) || !json.Valid([]byte(got)) {
			t.Errorf("%q is %s, want %s", tc.record, got, tc.want)
		}
	}
	for line, want := range map[string]string{`{"a":1}`: `{"a":1}`, "42": "42", "1,2": `"1,2"`, "": `""`, "\xff": `{"base64":"/w=="}`, `"x`: `"\"x"`} {
		if got := string(AppendLine(nil, []byte(line))); got != want {
			t.Errorf("the line %q is %s, not %s", line, got, want)
		}
	}
}

// anyValue draws a value that JSON can have, as msgpack and as Go has it from JSON.
func anyValue(rt *rapid.T, depth int) any {
	kind := rapid.IntRange(0, 6).Draw(rt, "kind")
	if depth > 3 {
		kind %= 5
	}
	switch kind {
	case 0:
		return nil
	case 1:
		return rapid.Bool().Draw(rt, "bool")
	case 2:
		return float64(rapid.Int64Range(-1<<53, 1<<53).Draw(rt, "int"))
	case 3:
		return rapid.Float64Range(-1e300, 1e300).Draw(rt, "float")
	case 4:
		return rapid.String().Draw(rt, "text")
	case 5:
		list := []any{}
		for range rapid.IntRange(0, 20).Draw(rt, "n") {
			list = append(list, anyValue(rt, depth+1))
		}
		return list
	}
	m := map[string]any{}
	for range rapid.IntRange(0, 20).Draw(rt, "n") {
		m[rapid.String().Draw(rt, "key")] = anyValue(rt, depth+1)
	}
	return m
}

// Any record comes out of its JSON as it went in, and its row of CSV has the
// cells of its fields.
func TestAnyRecord(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		m := map[string]any{}
		for range rapid.IntRange(0, 5).Draw(rt, "n") {
			m[rapid.StringMatching(`[a-z.]{1,3}`).Draw(rt, "key")] = anyValue(rt, 0)
		}
		raw, err := msgp.AppendIntf(nil, compact(m))
		if err != nil {
			rt.Fatal(err)
		}
		e := entryOf(rt, second, string(raw))
		var got struct{ Record map[string]any }
		if err := json.Unmarshal(AppendEntry(nil, e), &got); err != nil || !reflect.DeepEqual(got.Record, m) {
			rt.Fatalf("%v: %s, not %v", err, AppendEntry(nil, e), m)
		}
		table := NewTable(nil)
		table.Learn(e)
		rows, err := csv.NewReader(strings.NewReader(string(table.AppendEntry(table.AppendHead(nil), e)))).ReadAll()
		if err != nil || len(rows) != 2 || len(rows[0]) != len(rows[1]) || rows[1][0] != "2023-11-14T22:13:20Z" {
			rt.Fatalf("%v: %v", err, rows)
		}
		for name, v := range m {
			text, ok := v.(string)
			if i := slices.Index(rows[0], name); ok && !slices.Contains(rows[0][:max(i, 0)], name) && !dotted(m, name) && rows[1][i] != strings.ReplaceAll(text, "\r\n", "\n") {
				rt.Fatalf("%q is %q in the row, not %q", name, rows[1][i], text)
			}
		}
	})
}

// dotted tells whether a nested field has the same name.
func dotted(m map[string]any, name string) bool {
	for key, v := range m {
		if _, nested := v.(map[string]any); nested && strings.HasPrefix(name, key+".") {
			return true
		}
	}
	return name == "time"
}

// compact turns whole numbers into integers, so that both kinds are tried.
func compact(v any) any {
	switch v := v.(type) {
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int64(v)
		}
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = compact(v[i])
		}
		return list
	case map[string]any:
		m := map[string]any{}
		for k, x := range v {
			m[k] = compact(x)
		}
		return m
	}
	return v
}

func TestCSV(t *testing.T) {
	t.Parallel()
	entries := []forward.Entry{
		entryOf(t, second, "\x83\xa1a\x01\xa1b\xa4x,\"y\xa4time\x05"),
		entryOf(t, second, "\x82\xa1n\x82\xa1x\x01\xa1y\x91\x02\xa1b\xc0"),
		entryOf(t, second, "\xa4text"),
	}
	table := NewTable(nil)
	for _, e := range entries {
		table.Learn(e)
	}
	out := table.AppendHead(nil)
	for _, e := range entries {
		out = table.AppendEntry(out, e)
	}
	const at = "2023-11-14T22:13:20Z"
	want := "time,a,b,record.time,n.x,n.y,record\n" + at + ",1,\"x,\"\"y\",5,,,\n" + at + ",,,,1,[2],\n" + at + ",,,,,,text\n"
	if string(out) != want {
		t.Errorf("the table is\n%s, not\n%s", out, want)
	}
	chosen := NewTable([]string{"b", "time", "b"})
	chosen.Learn(entries[0])
	if got := string(chosen.AppendEntry(chosen.AppendHead(nil), entries[0])); got != "b,time\n\"x,\"\"y\","+at+"\n" {
		t.Errorf("chosen columns give %q", got)
	}
	lines := NewTable(nil)
	lines.LearnLine()
	if got := string(lines.AppendLine(lines.AppendLine(lines.AppendHead(nil), []byte("1,2")), nil)); got != "line\n\"1,2\"\n\"\"\n" {
		t.Errorf("lines give %q", got)
	}
	wide := NewTable(nil)
	for i := range maxColumns + 1 {
		wide.add(string(rune('a' + i)))
	}
	if names, full := wide.Columns(); len(names) != maxColumns || !full {
		t.Errorf("%d columns, full: %t", len(names), full)
	}
}

// Whatever entry is taken comes out as one line of JSON and one row.
func FuzzEntry(f *testing.F) {
	f.Add([]byte("\x92" + second + "\x82\xa1a\x93\x01\xc0\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00\xa1b\xc7\x01\x02x"))
	f.Add([]byte("\x92\x01\x81\xa4time\xde\x00\x01\x01\x81\x90\xd9\x01\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, _, err := forward.Next(b)
		if err != nil {
			return
		}
		line := AppendEntry(nil, e)
		if !json.Valid(line) || strings.ContainsAny(string(line), "\r\n") || !utf8.Valid(line) {
			t.Fatalf("%q", line)
		}
		table := NewTable(nil)
		table.Learn(e)
		names, _ := table.Columns()
		r := csv.NewReader(strings.NewReader(string(table.AppendEntry(table.AppendHead(nil), e))))
		if rows, err := r.ReadAll(); err != nil || len(rows) != 2 || len(rows[1]) != len(names) {
			t.Fatalf("%v: %q", err, rows)
		}
	})
}

func BenchmarkEntry(b *testing.B) {
	raw := "\x92\xd7\x00\x65\x53\xf1\x00\x00\x00\x00\x01\x84\xa4host\xa6node-1\xa7message\xd9\x40" + strings.Repeat("x", 64) + "\xa3cpu\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a\xa1n\xce\x00\x01\x00\x00"
	e, _, err := forward.Next([]byte(raw))
	if err != nil {
		b.Fatal(err)
	}
	table := NewTable(nil)
	table.Learn(e)
	out := make([]byte, 0, 1024)
	for name, appendTo := range map[string]func() []byte{
		"json": func() []byte { return AppendEntry(out, e) },
		"csv":  func() []byte { return table.AppendEntry(out, e) },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				appendTo()
			}
		})
	}
}
