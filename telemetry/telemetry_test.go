package telemetry

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tinylib/msgp/msgp"
	"pgregory.net/rapid"

	"weir/forward"
)

var now = time.Unix(1_800_000_000, 5)

// told gives a reading as lines: NAME SECONDS.NS {record}.
func told(t interface {
	Helper()
	Fatal(...any)
}, r *Reading) (lines []string) {
	t.Helper()
	for _, b := range r.Batches {
		n := 0
		for rest := b.Entries; len(rest) > 0; n++ {
			var e forward.Entry
			var err error
			if e, rest, err = forward.Next(rest); err != nil {
				t.Fatal(err)
			}
			ns, _ := forward.UnixNano(e.Time)
			v, left, err := msgp.ReadIntfBytes(e.Record)
			if err != nil || len(left) > 0 {
				t.Fatal(err, len(left))
			}
			lines = append(lines, fmt.Sprintf("%s %d %v", b.Name, ns, v))
		}
		if n != b.Records {
			t.Fatal("a batch says ", b.Records, " and has ", n)
		}
	}
	return lines
}

func TestLines(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ line, want string }{
		{`cpu v=1 5`, "cpu 5 map[v:1]"},
		{`cpu,host=a,cpu=cpu0 idle=99.5,busy=0.5 1700000000000000001`, "cpu 1700000000000000001 map[busy:0.5 cpu:cpu0 host:a idle:99.5]"},
		{`m a=1i,b=2u,c=t,d=FALSE,e="x, y=\"z\"\\ \n",f=-1.5e3 1`, `m 1 map[a:1 b:2 c:true d:false e:x, y="z"\ \n f:-1500]`},
		{`a\,b\ c,t\=g=v\,\ w f\ =1 1`, "a,b c 1 map[f :1 t=g:v, w]"},
		{`m v=1`, "m 1800000000000000005 map[v:1]"},
		{"  m v=1 2  \r", "m 2 map[v:1]"},
		{"m v=\"two\nlines\" 3", "m 3 map[v:two\nlines]"},
		{`m\ v=1 1`, ""}, {`m`, ""}, {`m v`, ""}, {`m v=`, ""}, {`m =1`, ""}, {`m,a v=1`, ""}, {`m,a= v=1`, ""}, {`m,=b v=1`, ""},
		{`,a=b v=1`, ""}, {`m v=abc`, ""}, {`m v=1x`, ""}, {`m v=1.5i`, ""}, {`m v=-1u`, ""}, {`m v=nan`, ""}, {`m v=inf`, ""},
		{`m v=0x10`, ""}, {`m v=1e999`, ""}, {`m v="a`, ""}, {`m v="a"b`, ""}, {`m v=1 x`, ""}, {`m v=1 1 1`, ""}, {`m v=1 -1`, ""},
		{`m v=1 9223372036854775807`, ""}, {`m v=1,v=2 1`, ""}, {`m,a=1,a=2 v=1 1`, ""}, {"m v=\"\xff\" 1", ""}, {`m,a=b=c v=1`, ""}, {`m v=1,`, ""},
		{`m,v=tag v=1 1`, "m 1 map[v:1 v_tag:tag]"}, {`m,v=tag v=1,v_tag=2 1`, ""},
	} {
		r, err := Lines([]byte(tc.line), Options{Now: now})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(told(t, r), "; "); got != tc.want || (tc.want == "") != (r.Bad == 1) {
			t.Errorf("%q is %q and %d refused (%v), want %q", tc.line, got, r.Bad, r.Refused, tc.want)
		}
	}
}

// Good lines of a body are read, each bad one is named.
func TestPartial(t *testing.T) {
	t.Parallel()
	body := "# comment\n\ncpu v=1 1\nbad\nmem v=2 2\ncpu v=\"open 3\ncpu v=3 3\nlast,=x v=1"
	r, err := Lines([]byte(body), Options{Unit: time.Second, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"cpu 1000000000 map[v:1]", "cpu 3000000000 map[v:3]", "mem 2000000000 map[v:2]"}
	if got := told(t, r); !reflect.DeepEqual(got, want) || r.Untimed || r.Records() != 3 {
		t.Errorf("%q, want %q", got, want)
	}
	var lines []int
	for _, x := range r.Refused {
		lines = append(lines, x.Line)
	}
	if !reflect.DeepEqual(lines, []int{4, 6, 8}) || r.Bad != 3 {
		t.Errorf("refused: %+v", r.Refused)
	}
	many, err := Lines([]byte(strings.Repeat("bad\n", 1000)), Options{})
	if err != nil || many.Bad != 1000 || len(many.Refused) != MaxTold {
		t.Errorf("%d refused, %d told, %v", many.Bad, len(many.Refused), err)
	}
	var names strings.Builder
	for i := range maxBatches + 5 {
		fmt.Fprintf(&names, "m%d v=1 1\n", i)
	}
	if r, err := Lines([]byte(names.String()), Options{}); err != nil || r.Bad != 5 || len(r.Batches) != maxBatches {
		t.Errorf("%d measurements, %d refused, %v", len(r.Batches), r.Bad, err)
	}
}

// A comment ends with its line, whatever stands in it and before it.
func TestCommentsAreLines(t *testing.T) {
	t.Parallel()
	for _, before := range []string{"", " ", "\t", "  \t "} {
		r, err := Lines([]byte(before+"# like v=\"this\nm v=1 1\nm v=\"a\" 2\n"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := told(t, r); len(got) != 2 || r.Bad != 0 {
			t.Errorf("after %q: %q and %d refused", before, got, r.Bad)
		}
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	const one = `{"fields":{"a":1,"b":2.5,"c":"x","d":true,"e":null,"big":18446744073709551615},"name":"m","tags":{"host":"h"},"timestamp":1458229140}`
	const want = "m 1458229140000000000 map[a:1 b:2.5 big:18446744073709551615 c:x d:true host:h]"
	for body, n := range map[string]int{one: 1, `{"metrics":[` + one + "," + one + `]}`: 2, "[" + one + "]": 1, one + "\n" + one: 2, "": 0, `{"metrics":[]}`: 0} {
		r, err := JSON([]byte(body), Options{Unit: time.Second, Now: now})
		if err != nil || r.Bad != 0 || r.Records() != n {
			t.Errorf("%s: %v %v", body, r, err)
			continue
		}
		for _, got := range told(t, r) {
			if got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
	}
	for _, bad := range []string{
		`{"name":"m"}`, `{"fields":{"a":1}}`, `{"name":"m","fields":{"a":[1]}}`, `{"name":"m","fields":{"a":1e999}}`, `{"name":1}`,
		`{"name":"m","fields":{"a":1},"timestamp":1.5}`, `{"name":"m","fields":{"a":1},"timestamp":"now"}`, `{"name":"m","fields":{"a":1},"timestamp":-5}`,
		`{"name":"m","fields":{"a":1},"timestamp":9223372036854775807}`, `{"metrics":[5]}`,
	} {
		if r, err := JSON([]byte(bad), Options{Unit: time.Second}); err != nil || r.Bad != 1 || r.Records() != 0 || r.Refused[0].Line != 1 {
			t.Errorf("%s: %+v, %v", bad, r, err)
		}
	}
	for _, bad := range []string{"5", "{", `"x"`, "cpu v=1", one + "}"} {
		if r, err := JSON([]byte(bad), Options{}); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %+v, %v", bad, r, err)
		}
	}
	r, err := JSON([]byte(`{"name":"m","fields":{"a":1},"timestamp":"2023-11-14T22:13:20.5Z"}{"name":"m","fields":{"a":2}}`), Options{Now: now})
	if err != nil || !r.Untimed || !reflect.DeepEqual(told(t, r), []string{"m 1700000000500000000 map[a:1]", "m 1800000000000000005 map[a:2]"}) {
		t.Errorf("%v %v", told(t, r), err)
	}
}

// field makes a field of a protobuf message.
func field(n int, v any) []byte {
	switch v := v.(type) {
	case int:
		return binary.AppendUvarint(binary.AppendUvarint(nil, uint64(n<<3)), uint64(v))
	case float64:
		return binary.LittleEndian.AppendUint64(binary.AppendUvarint(nil, uint64(n<<3|1)), math.Float64bits(v))
	case string:
		return append(binary.AppendUvarint(binary.AppendUvarint(nil, uint64(n<<3|2)), uint64(len(v))), v...)
	}
	panic("no such field")
}

func message(fields ...[]byte) string {
	var b []byte
	for _, f := range fields {
		b = append(b, f...)
	}
	return string(b)
}

func label(name, value string) []byte { return field(1, message(field(1, name), field(2, value))) }

func sample(v float64, ms int) []byte { return field(2, message(field(1, v), field(2, ms))) }

func TestRemoteWrite(t *testing.T) {
	t.Parallel()
	body := message(
		field(1, message(label("__name__", "up"), label("job", "node"), label("empty", ""), sample(1, 1000), sample(0, 2000))),
		field(1, message(label("__name__", "x"), label("value", "tag"), sample(math.NaN(), 1), field(3, "exemplar"))),
		field(1, message(label("job", "none"), sample(1, 1))),
		field(1, message(label("__name__", "h"), field(4, "histogram"), sample(2, 1))),
		field(1, message(label("__name__", "old"), sample(2, -1))),
		field(1, message(label("__name__", "twice"), label("a", "1"), label("a", "2"), sample(2, 1))),
		field(3, "metadata"), field(9, 7), []byte{15<<3 | 5, 0, 0, 0, 0})
	r, err := RemoteWrite([]byte(body), Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"up 1000000000 map[job:node value:1]", "up 2000000000 map[job:node value:0]", "x 1000000 map[value:NaN value_tag:tag]", "h 1000000 map[value:2]"}
	if got := told(t, r); !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if r.Bad != 4 || !reflect.DeepEqual(r.Ignored, map[string]int{"metadata": 1, "exemplars": 1}) || r.Refused[1].Text != "h" || r.Refused[1].Line != 4 {
		t.Errorf("%+v, %v", r.Refused, r.Ignored)
	}
	for cut := 1; cut < 5; cut++ {
		if _, err := RemoteWrite([]byte(body[:len(body)-cut]), Options{}); !errors.Is(err, ErrFormat) {
			t.Errorf("without its last %d bytes: %v", cut, err)
		}
	}
}

func TestRemoteWrite2(t *testing.T) {
	t.Parallel()
	var body []byte
	for _, s := range []string{"", "__name__", "up", "job", "node"} {
		body = append(body, field(4, s)...)
	}
	series := func(refs string, more ...[]byte) {
		body = append(body, field(5, message(append([][]byte{field(1, refs)}, more...)...))...)
	}
	series("\x01\x02\x03\x04", sample(1, 1000), field(3, "histogram"), field(4, "exemplar"), field(5, "metadata"), field(6, 5))
	series("\x01\x02\x03")
	series("\x01\x09")
	series("\x01\x02\x00\x04")
	r, err := RemoteWrite2(body, Options{})
	if err != nil || !reflect.DeepEqual(told(t, r), []string{"up 1000000000 map[job:node value:1]"}) || r.Bad != 4 || r.Ignored["exemplars"] != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := RemoteWrite2(field(4, "first"), Options{}); !errors.Is(err, ErrFormat) {
		t.Errorf("a first symbol: %v", err)
	}
}

// TestTake: what comes out of a body is asked for before it is there, and an
// error ends the reading. A little body of remote write can be very much.
func TestTake(t *testing.T) {
	t.Parallel()
	samples := make([][]byte, 0, 1001)
	samples = append(samples, label("__name__", strings.Repeat("x", 100_000)))
	for i := range 1000 {
		samples = append(samples, sample(1, i))
	}
	body := message(field(1, message(append(samples, label("l", strings.Repeat("y", 100_000)))...)))
	full := errors.New("full")
	var taken int64
	o := Options{Take: func(n int64) error {
		if taken+n > 1<<20 {
			return full
		}
		taken += n
		return nil
	}}
	if r, err := RemoteWrite([]byte(body), o); !errors.Is(err, full) || errors.Is(err, ErrFormat) || r != nil {
		t.Errorf("%d bytes taken: %v", taken, err)
	}
	taken = 0
	if _, err := Lines([]byte(strings.Repeat("m v=1 1\n", 100_000)), o); !errors.Is(err, full) {
		t.Errorf("%d bytes taken for lines: %v", taken, err)
	}
	taken = 0
	if _, err := JSON([]byte(strings.Repeat(`{"name":"m","fields":{"a":1},"timestamp":1}`, 100_000)), o); !errors.Is(err, full) {
		t.Errorf("%d bytes taken for JSON: %v", taken, err)
	}
	taken = 0
	r, err := Lines([]byte(strings.Repeat("m v=1 1\n", 1000)), o)
	if err != nil || int64(cap(r.Batches[0].Entries)) > taken {
		t.Errorf("%d bytes were taken for %d: %v", taken, cap(r.Batches[0].Entries), err)
	}
}

// One point of a little body that is very many tags or fields is refused
// before it takes memory many times its size; its neighbours are read.
//
// It measures the process, so no other test runs beside it.
func TestWidePoint(t *testing.T) {
	const many = 2_000_000
	labels := strings.Repeat(string(field(1, message(field(1, "a"), field(2, "b")))), many)
	for name, tc := range map[string]struct {
		body string
		read func([]byte, Options) (*Reading, error)
	}{
		"tags":    {"m" + strings.Repeat(",a=1", many) + " v=1 1\nok v=1 1\n", Lines},
		"fields":  {"m " + strings.Repeat("a=1,", many) + "v=1 1\nok v=1 1\n", Lines},
		"JSON":    {`[{"name":"m","fields":{` + strings.Repeat(`"a":1,`, many) + `"b":1}},{"name":"ok","fields":{"v":1},"timestamp":1}]`, JSON},
		"labels":  {string(field(1, labels)) + string(field(1, message(label("__name__", "ok"), sample(1, 1)))), RemoteWrite},
		"symbols": {string(message(field(4, ""), field(4, "__name__"), field(4, "ok"), field(5, message(field(1, strings.Repeat("\x02", 2*many)))), field(5, message(field(1, "\x01\x02"), sample(1, 1))))), RemoteWrite2},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r, err := tc.read([]byte(tc.body), Options{})
		runtime.ReadMemStats(&after)
		if err != nil || r.Bad != 1 || r.Records() != 1 || !strings.Contains(r.Refused[0].Reason, "tags and fields") {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		if took, most := after.TotalAlloc-before.TotalAlloc, uint64(8*len(tc.body)); took > most {
			t.Errorf("%s: %d bytes for a body of %d", name, took, len(tc.body))
		}
	}
	widest := "m " + strings.TrimSuffix(strings.Repeat("%d=1,", maxPairs), ",")
	names := make([]any, maxPairs)
	for i := range names {
		names[i] = i
	}
	if r, err := Lines(fmt.Appendf(nil, widest+" 1", names...), Options{}); err != nil || r.Records() != 1 {
		t.Errorf("as many fields as may be: %v, %v", r.Refused, err)
	}
}

// Many little metrics in a list cost memory before they are read.
func TestListTakes(t *testing.T) {
	t.Parallel()
	full := errors.New("full")
	for _, body := range []string{"[" + strings.Repeat("{},", 100_000) + "{}]", `{"metrics":[` + strings.Repeat("{},", 100_000) + "{}]}"} {
		if _, err := JSON([]byte(body), Options{Take: func(n int64) error {
			if n > 1<<20 {
				return full
			}
			return nil
		}}); !errors.Is(err, full) {
			t.Errorf("%.20s…: %v", body, err)
		}
	}
	if n := commas([]byte(`{"a":"x,\\\",",b:[1,[2,3],{"c":4,"d":[5,6]}],"e":7}`), 2); n != 4 {
		t.Errorf("%d commas", n)
	}
}

// Any point that is written as a line, with what must be escaped escaped, is
// read as it was.
func TestAnyLine(t *testing.T) {
	t.Parallel()
	key := rapid.StringMatching(`[a-zäé=, "._/-]{1,8}`).Filter(func(s string) bool { return s[0] != '#' && strings.Trim(s, " ") == s })
	escape := strings.NewReplacer(",", `\,`, "=", `\=`, " ", `\ `)
	rapid.Check(t, func(rt *rapid.T) {
		var body strings.Builder
		var want []string
		for range rapid.IntRange(1, 4).Draw(rt, "points") {
			name := key.Draw(rt, "name")
			record := map[string]any{}
			line := escape.Replace(name)
			for k, v := range rapid.MapOfN(key, key, 0, 3).Draw(rt, "tags") {
				record[k] = v
				line += "," + escape.Replace(k) + "=" + escape.Replace(v)
			}
			sep := " "
			for k, v := range rapid.MapOfN(key, rapid.String().Filter(func(s string) bool { return !strings.ContainsAny(s, "\r") }), 1, 3).Draw(rt, "fields") {
				if _, ok := record[k]; ok {
					k += "x"
				}
				if _, ok := record[k]; ok {
					continue
				}
				record[k] = v
				line += sep + escape.Replace(k) + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v) + `"`
				sep = ","
			}
			if sep == " " {
				continue
			}
			at := rapid.Int64Range(0, 4_000_000_000_000_000_000).Draw(rt, "time")
			fmt.Fprintf(&body, "%s %d\n", line, at)
			want = append(want, fmt.Sprintf("%s %d %v", name, at, record))
		}
		r, err := Lines([]byte(body.String()), Options{})
		if err != nil || r.Bad > 0 {
			rt.Fatalf("%v %+v of %s", err, r.Refused, body.String())
		}
		got := map[string]int{}
		for _, line := range told(rt, r) {
			got[line]++
		}
		for _, line := range want {
			if got[line]--; got[line] < 0 {
				rt.Fatalf("%q is missing in %v", line, got)
			}
		}
	})
}

// valid checks that what was read is entries, whatever the body was.
func valid(t *testing.T, r *Reading, err error) {
	t.Helper()
	if (r == nil) == (err == nil) {
		t.Fatalf("%v and %v", r, err)
	}
	if r == nil {
		return
	}
	told(t, r)
	if len(r.Refused) > r.Bad || len(r.Refused) > MaxTold {
		t.Fatalf("%d told of %d", len(r.Refused), r.Bad)
	}
}

func FuzzLines(f *testing.F) {
	captured, err := os.ReadFile("testdata/like-telegraf.lines")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(captured)
	f.Add([]byte("m\\ ,a=b v=\"x\n\\\"\",w=1i 5\n#\n,\nm v=t"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Lines(b, Options{Now: now})
		valid(t, r, err)
		points := 0
		if r != nil {
			points = r.Records() + r.Bad
		}
		if points > strings.Count(string(b), "\n")+1 {
			t.Errorf("%d points in %d lines", points, strings.Count(string(b), "\n")+1)
		}
	})
}

func FuzzJSON(f *testing.F) {
	captured, err := os.ReadFile("testdata/like-telegraf.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(captured)
	f.Add([]byte(`[{"name":"m","fields":{"a":"\u0000"}}] {"metrics":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := JSON(b, Options{Now: now, Unit: time.Second})
		valid(t, r, err)
	})
}

func FuzzRemoteWrite(f *testing.F) {
	f.Add([]byte(message(field(1, message(label("__name__", "up"), sample(1, 1000))))))
	f.Add([]byte(message(field(4, ""), field(4, "__name__"), field(4, "up"), field(5, message(field(1, "\x01\x02"), sample(1, 5))))))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := RemoteWrite(b, Options{})
		valid(t, r, err)
		r, err = RemoteWrite2(b, Options{})
		valid(t, r, err)
	})
}

// TestTelegraf reads bodies in the form that Telegraf's documentation gives.
func TestTelegraf(t *testing.T) {
	t.Parallel()
	lines, err := os.ReadFile("testdata/like-telegraf.lines")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Lines(lines, Options{})
	if err != nil || r.Bad != 0 || r.Records() != 6 || len(r.Batches) != 5 {
		t.Errorf("%+v %v", r, err)
	}
	text, err := os.ReadFile("testdata/like-telegraf.json")
	if err != nil || !json.Valid(text) {
		t.Fatal(err)
	}
	r, err = JSON(text, Options{Unit: time.Second})
	if err != nil || r.Bad != 0 || r.Records() != 3 || len(r.Batches) != 2 {
		t.Errorf("%+v %v", r, err)
	}
}

func BenchmarkLines(b *testing.B) {
	var body strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&body, "cpu,cpu=cpu%d,host=node-1 usage_idle=%d.5,usage_user=0.25,usage_system=1.125 %d\n", i%8, i%100, 1_700_000_000_000_000_000+i)
	}
	bench(b, body.String(), Lines)
}

func BenchmarkRemoteWrite(b *testing.B) {
	var body []byte
	for i := range 1000 {
		body = append(body, field(1, message(label("__name__", fmt.Sprint("metric_", i%50)), label("instance", "node-1:9100"), label("job", "node"), sample(float64(i), 1_700_000_000_000)))...)
	}
	bench(b, string(body), RemoteWrite)
}

func bench(b *testing.B, body string, read func([]byte, Options) (*Reading, error)) {
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if r, err := read([]byte(body), Options{}); err != nil || r.Records() != 1000 {
			b.Fatal(r, err)
		}
	}
}
