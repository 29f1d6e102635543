package slap

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// documents gives all marshalled values of the recorded exchanges.
func documents(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("master/testdata/vectors/*.json")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files of vectors: %v", len(files), err)
	}
	var list []string
	add := func(s string) {
		if strings.HasPrefix(s, "<marshal>") {
			list = append(list, s)
		}
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var v struct {
			Exchanges []struct{ Body, Answer string }
		}
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatal(err)
		}
		for _, e := range v.Exchanges {
			add(e.Answer)
			if form, err := url.ParseQuery(e.Body); err == nil {
				for _, values := range form {
					add(values[0])
				}
			}
		}
	}
	return list
}

// TestVectors: what the real library and slapproxy sent is read, and written
// again byte for byte.
func TestVectors(t *testing.T) {
	t.Parallel()
	list := documents(t)
	if len(list) < 100 {
		t.Fatalf("%d documents", len(list))
	}
	for _, d := range list {
		v, err := Unmarshal([]byte(d))
		if err != nil {
			t.Fatalf("%v in %.300s", err, d)
		}
		b, err := Marshal(v)
		if err != nil || string(b) != d {
			t.Fatalf("written again: %v\n got %.600s\nwant %.600s", err, b, d)
		}
	}
}

func TestMarshal(t *testing.T) {
	t.Parallel()
	huge, _ := new(big.Int).SetString("1000000000000000000000000", 10)
	for _, c := range []struct {
		v    any
		want string
	}{
		{nil, "<none/>"},
		{true, "<bool>1</bool>"},
		{false, "<bool>0</bool>"},
		{-5, "<int>-5</int>"},
		{int64(math.MaxInt64), "<int>9223372036854775807</int>"},
		{huge, "<long>1000000000000000000000000</long>"},
		{1.5, "<float>1.5</float>"},
		{2.0, "<float>2.0</float>"},
		{"a<b & \"c\" > 'd' é\nline 2", "<string>a&amp;lt;b &amp;amp; \"c\" &amp;gt; 'd' &#233;\nline 2</string>"},
		{"", "<string></string>"},
		{"\r", "<string>&#13;</string>"},
		{Tuple{}, "<tuple/>"},
		{Tuple{"a", nil}, "<tuple><string>a</string><none/></tuple>"},
		{[]any{[]any{}, Set{int64(1)}}, `<list id="i2"><list id="i3"/><set id="i4"><int>1</int></set></list>`},
		{[]string{"x"}, `<list id="i2"><string>x</string></list>`},
		{map[string]any{"b": nil, "a": map[string]any{}}, `<dictionary id="i2"><string>a</string><dictionary id="i3"/><string>b</string><none/></dictionary>`},
		{&Object{Class: "SoftwareInstance", Attributes: map[string]any{"k": "v"}},
			`<object id="i2" module="slapos.slap.slap" class="SoftwareInstance"><tuple/><dictionary id="i3"><string>k</string><string>v</string></dictionary></object>`},
	} {
		b, err := Marshal(c.v)
		if want := "<marshal>" + c.want + "</marshal>"; err != nil || string(b) != want {
			t.Errorf("Marshal(%#v) = %s, %v; want %s", c.v, b, err, want)
		}
	}
}

func TestMarshalRefuses(t *testing.T) {
	t.Parallel()
	deep := any(nil)
	for range maxDepth + 2 {
		deep = []any{deep}
	}
	for name, v := range map[string]any{
		"control character": "a\x00b", "no UTF-8": "a\xff", "surrogate": "\xed\xa0\x80", "a key": map[string]any{"\x01": nil},
		"type": struct{}{}, "class": &Object{Class: "object"}, "arguments": &Object{Class: "Computer"}, "depth": deep,
	} {
		if b, err := Marshal(v); !errors.Is(err, ErrMarshal) {
			t.Errorf("%s: %.100s, %v", name, b, err)
		}
	}
}

func TestUnmarshal(t *testing.T) {
	t.Parallel()
	huge, _ := new(big.Int).SetString("123456789012345678901234567890", 10)
	for in, want := range map[string]any{
		"<unicode>a &amp;amp; b</unicode>":          "a & b",
		"<string>&#233;<!-- x -->t</string>":        "ét",
		"<string>a &lt; b</string>":                 "a < b",
		"<long>5L</long>":                           int64(5),
		"<int> 7 </int>":                            int64(7),
		"<int>123456789012345678901234567890</int>": huge,
		"<float>1e3</float>":                        1000.0,
		"<none></none>":                             nil,
		" <tuple> <none/> </tuple> ":                Tuple{nil},
		`<list id="i2"><dictionary id="i3"/><reference id="i3"/></list>`:    []any{map[string]any{}, map[string]any{}},
		`<dictionary><int>1</int><none/><none/><bool>1</bool></dictionary>`: map[string]any{"1": nil, "None": true},
	} {
		v, err := Unmarshal([]byte("<?xml version='1.0'?><marshal>" + in + "</marshal>"))
		if err != nil || !reflect.DeepEqual(v, want) {
			t.Errorf("%s: %#v, %v; want %#v", in, v, err, want)
		}
	}
}

func TestUnmarshalRefuses(t *testing.T) {
	t.Parallel()
	bomb := `<list id="a"><int>1</int></list>`
	for k := range 30 {
		ref := `<reference id="` + string(rune('a'+k)) + `"/>`
		bomb += `<list id="` + string(rune('a'+k+1)) + `">` + ref + ref + `</list>`
	}
	for name, in := range map[string]string{
		"nothing":           "",
		"text":              "nonsense",
		"other root":        "<unmarshal><none/></unmarshal>",
		"empty":             "<marshal/>",
		"two values":        "<marshal><none/><none/></marshal>",
		"something behind":  "<marshal><none/></marshal><none/>",
		"broken off":        "<marshal><list id='i2'>",
		"document type":     "<!DOCTYPE x><marshal><none/></marshal>",
		"entity":            "<!DOCTYPE x [<!ENTITY a 'aaaa'>]><marshal><string>&a;</string></marshal>",
		"external entity":   "<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><marshal><string>&a;</string></marshal>",
		"undeclared entity": "<marshal><string>&a;</string></marshal>",
		"type inside":       "<marshal><string><!DOCTYPE x>a</string></marshal>",
		"element":           "<marshal><code>x</code></marshal>",
		"class":             `<marshal><object id="i2" module="os" class="system"><tuple/><dictionary id="i3"/></object></marshal>`,
		"class of module":   `<marshal><object id="i2" module="slapos.slap.slap" class="slap"><tuple/><dictionary id="i3"/></object></marshal>`,
		"arguments":         `<marshal><object id="i2" module="slapos.slap.slap" class="Computer"><tuple/><dictionary id="i3"/></object></marshal>`,
		"no attributes":     `<marshal><object id="i2" module="slapos.slap.slap" class="SoftwareInstance"><tuple/></object></marshal>`,
		"cycle":             `<marshal><list id="i2"><reference id="i2"/></list></marshal>`,
		"unknown reference": `<marshal><reference id="i9"/></marshal>`,
		"reference bomb":    "<marshal><tuple>" + bomb + "</tuple></marshal>",
		"full reference":    `<marshal><tuple><list id="a"/><reference id="a"><none/></reference></tuple></marshal>`,
		"odd dictionary":    "<marshal><dictionary><none/></dictionary></marshal>",
		"key":               "<marshal><dictionary><list/><none/></dictionary></marshal>",
		"int":               "<marshal><int>five</int></marshal>",
		"hex":               "<marshal><int>0x10</int></marshal>",
		"endless int":       "<marshal><int>" + strings.Repeat("9", 5000) + "</int></marshal>",
		"float":             "<marshal><float>0x1p4</float></marshal>",
		"bool":              "<marshal><bool>2</bool></marshal>",
		"none":              "<marshal><none>x</none></marshal>",
		"element in text":   "<marshal><string><b/></string></marshal>",
		"text between":      "<marshal><list>x<none/></list></marshal>",
		"depth":             "<marshal>" + strings.Repeat("<list>", 100) + strings.Repeat("</list>", 100) + "</marshal>",
		"other encoding":    "<?xml version='1.0' encoding='utf-16'?><marshal><none/></marshal>",
	} {
		if v, err := Unmarshal([]byte(in)); !errors.Is(err, ErrMarshal) {
			t.Errorf("%s: %#v, %v", name, v, err)
		}
	}
	if _, err := Unmarshal(make([]byte, MaxDocument+1)); !errors.Is(err, ErrMarshal) {
		t.Errorf("a document that is too large: %v", err)
	}
}

// anyValue draws a value that can be sent.
func anyValue(t *rapid.T, depth int) any {
	text := rapid.StringOf(rapid.RuneFrom([]rune("ab<>&\"' é€\n\t\r\U0001f600;lgt")))
	kinds := 5
	if depth < 3 {
		kinds = 9
	}
	switch rapid.IntRange(0, kinds).Draw(t, "kind") {
	case 0:
		return nil
	case 1:
		return rapid.Bool().Draw(t, "bool")
	case 2:
		return rapid.Int64().Draw(t, "int")
	case 3:
		return rapid.Float64().Draw(t, "float")
	case 4, 5:
		return text.Draw(t, "text")
	case 6:
		m := map[string]any{}
		for range rapid.IntRange(0, 3).Draw(t, "n") {
			m[text.Draw(t, "key")] = anyValue(t, depth+1)
		}
		return m
	case 7:
		return &Object{Class: "SoftwareRelease", Args: Tuple{anyValue(t, depth+1), nil}, Attributes: map[string]any{"a": anyValue(t, depth+1)}}
	}
	items := []any{}
	for range rapid.IntRange(0, 3).Draw(t, "n") {
		items = append(items, anyValue(t, depth+1))
	}
	if rapid.Bool().Draw(t, "tuple") {
		return Tuple(items)
	}
	return items
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := anyValue(t, 0)
		b, err := Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range b {
			if c >= 0x80 {
				t.Fatalf("byte %x: not ASCII", c)
			}
		}
		back, err := Unmarshal(b)
		if err != nil || !reflect.DeepEqual(back, v) {
			t.Fatalf("%#v came back as %#v, %v by %s", v, back, err, b)
		}
	})
}

func FuzzUnmarshal(f *testing.F) {
	for _, d := range documents(f) {
		f.Add([]byte(d))
	}
	f.Add([]byte(`<marshal><list id="a"><reference id="a"/><set><float>nan</float><long>12345678901234567890123</long></set></list></marshal>`))
	f.Add([]byte(`<marshal><object id="i2" module="slapos.slap.slap" class="ComputerPartition"><tuple><none/><string>p</string><none/></tuple><dictionary id="i3"><string>_parameter_dict</string><list id="i4"/><string>_software_release_document</string><string>x</string></dictionary></object></marshal>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := Unmarshal(b)
		if err != nil {
			if !errors.Is(err, ErrMarshal) {
				t.Fatalf("error without ErrMarshal: %v", err)
			}
			return
		}
		PythonText(v)
		toComputer(v) // whatever a master says of a computer is taken or refused
		toPartition(v)
		toInstance(v)
		toCertificate(v)
		again, err := Marshal(v)
		if err != nil {
			t.Fatalf("read, and not written: %v", err)
		}
		back, err := Unmarshal(again)
		if err != nil {
			t.Fatalf("written, and not read: %v", err)
		}
		if third, err := Marshal(back); err != nil || string(third) != string(again) {
			t.Fatalf("not the same again: %v\n%s\n%s", err, again, third)
		}
	})
}

func TestPythonText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		v    any
		want string
	}{
		{"as it is", "as it is"}, {nil, "None"}, {true, "True"}, {int64(5), "5"}, {1.0, "1.0"}, {1e16, "1e+16"}, {1e15, "1000000000000000.0"},
		{1e-5, "1e-05"}, {0.0001, "0.0001"}, {1e100, "1e+100"}, {math.Inf(-1), "-inf"},
		{[]any{int64(1), "x"}, "[1, 'x']"}, {map[string]any{"a": int64(1)}, "{'a': 1}"}, {Tuple{int64(1)}, "(1,)"}, {Tuple{}, "()"}, {Set{}, "set()"},
		{[]any{"it's"}, `["it's"]`}, {[]any{`it's "x"`}, `['it\'s "x"']`}, {[]any{"a\\\n\t\x01\u00a0é"}, `['a\\\n\t\x01\xa0é']`},
	} {
		if got := PythonText(c.v); got != c.want {
			t.Errorf("PythonText(%#v) = %s, want %s", c.v, got, c.want)
		}
	}
}

func TestParameters(t *testing.T) {
	t.Parallel()
	p := ToParameters(map[string]any{"n": int64(5), "empty": "", "text": "a<b & \"c\"\nd", `k"<`: nil})
	want := "<?xml version='1.0' encoding='utf-8'?>\n<instance>\n  <parameter id=\"empty\"/>\n  <parameter id=\"k&quot;&lt;\">None</parameter>\n" +
		"  <parameter id=\"n\">5</parameter>\n  <parameter id=\"text\">a&lt;b &amp; \"c\"\nd</parameter>\n</instance>\n"
	if p.XML() != want {
		t.Errorf("document %s", p.XML())
	}
	back, err := ParseParameters([]byte(want))
	if err != nil || !reflect.DeepEqual(back, p) {
		t.Errorf("back: %#v, %v", back, err)
	}
	if v := p.Values(); v["empty"] != nil || v["n"] != "5" {
		t.Errorf("values %#v", v)
	}
	twice, err := ParseParameters([]byte(`<instance><parameter id="a">x</parameter><parameter id="a">y</parameter></instance>`))
	if err != nil || twice["a"] != "x y" {
		t.Errorf("an id twice: %v, %v", twice, err)
	}
	for _, bad := range []string{"<instance>", "<!DOCTYPE x><instance/>", "<instance><other/></instance>", "<instance><parameter id='a'><b/></parameter></instance>"} {
		if v, err := ParseParameters([]byte(bad)); err == nil {
			t.Errorf("%s: %v", bad, v)
		}
	}
	if j, err := JSONParameters(map[string]any{"size": 3}); err != nil || j[JSONKey] != `{"size":3}` {
		t.Errorf("as JSON: %v, %v", j, err)
	}
}

func FuzzParseParameters(f *testing.F) {
	f.Add([]byte("<?xml version='1.0' encoding='utf-8'?>\n<instance>\n  <parameter id=\"k\">v &amp; w</parameter>\n</instance>\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseParameters(b)
		if err != nil {
			return
		}
		back, err := ParseParameters([]byte(p.XML()))
		if err != nil || !reflect.DeepEqual(back, p) {
			t.Fatalf("%#v came back as %#v, %v", p, back, err)
		}
	})
}

// FuzzParseJournal: whatever a node sends is read or refused.
func FuzzParseJournal(f *testing.F) {
	f.Add([]byte(`<journal><transaction type="x"><title>t</title><stop_date>2026-11-20 23:59:59</stop_date><movement><resource>cpu</resource><quantity>2.5</quantity></movement></transaction></journal>`))
	f.Add([]byte(`<?xml version='1.0'?><journal><transaction><start_date>2026-11-21 at 10:00:00</start_date><movement><quantity>NaN</quantity><price>-1e400</price></movement></transaction></journal>`))
	f.Add([]byte(`<!DOCTYPE x [<!ENTITY a "b">]><journal>&a;</journal>`))
	f.Add([]byte(`<a><journal><transaction/></journal></a>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		j, err := ParseJournal(b)
		if (j == nil) == (err == nil) {
			t.Fatalf("%v, %v", j, err)
		}
		if err != nil {
			return
		}
		for _, v := range j.Transactions {
			for _, m := range v.Movements {
				if math.IsInf(m.Quantity, 0) || math.IsInf(m.Price, 0) {
					t.Fatalf("an amount without bounds: %+v", m)
				}
			}
		}
	})
}

func TestParseJournal(t *testing.T) {
	t.Parallel()
	j, err := ParseJournal([]byte(`<journal><transaction type="x"><title>t &amp; u</title><start_date>2026-11-20 00:00:00</start_date>
<stop_date>2026-11-21 at 10:00:00</stop_date><reference>r</reference><currency>EUR</currency><unknown><movement><resource>no</resource></movement></unknown>
<movement><resource>cpu</resource><title>CPU</title><reference>p</reference><quantity>2.5</quantity><price>1e1</price><category>c</category></movement></transaction><transaction/></journal>`))
	if err != nil {
		t.Fatal(err)
	}
	want := Transaction{
		Title: "t & u", Reference: "r", Currency: "EUR",
		Start: time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC), Stop: time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC),
		Movements: []Movement{{Resource: "cpu", Title: "CPU", Reference: "p", Category: "c", Quantity: 2.5, Price: 10}},
	}
	if len(j.Transactions) != 2 || !reflect.DeepEqual(j.Transactions[0], want) {
		t.Errorf("got %+v, want %+v", j.Transactions, want)
	}
	for name, bad := range map[string]string{
		"nothing": "", "no XML": "x", "broken off": "<journal><transaction>", "a document type": "<!DOCTYPE x><journal/>",
		"an entity": "<journal>&a;</journal>", "too deep": strings.Repeat("<a>", 100) + strings.Repeat("</a>", 100),
		"too many": "<journal>" + strings.Repeat("<a/>", maxElements+1) + "</journal>",
	} {
		if j, err := ParseJournal([]byte(bad)); err == nil || j != nil {
			t.Errorf("%s: %+v, %v", name, j, err)
		}
	}
}
