package tags

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// cdn is the grammar of an access log's tags, by a template and an expression.
var (
	cdn = Spec{Kind: Custom, Pattern: "cdnaccess.{cluster}_{node}_{shared}", Supply: "{cluster}", Product: "cdn_access_log", Ingestion: "{cluster}_{node}"}
	re  = Spec{Kind: Custom, Pattern: `/lab\.(?P<supply>[a-z]+)\.(?P<product>\d+)(\.x)?/`, Stream: "{supply}-{product}", Examples: []string{"lab.room.12"}}
)

func TestRead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		spec                               Spec
		tag                                string
		supply, product, ingestion, stream string
		fields                             string
	}{
		{Spec{Kind: SensorProduct}, "test_sensor.test_product", "test_sensor", "test_product", "test_sensor", "test_sensor.test_product", "product sensor"},
		{Spec{Kind: SensorProduct}, "s.p.ignored.more", "s", "p", "s", "s.p", "product sensor"},
		{Spec{Kind: MQTT}, "default_mqtt.mqtt_data", "default_mqtt", "mqtt_data", "default_mqtt", "default_mqtt.mqtt_data", "product supply"},
		{Spec{Kind: WholeTag}, "a.b.c", "a", "a.b.c", "a", "a.b.c", ""},
		{Spec{Kind: WholeTag}, "alone", "alone", "alone", "alone", "alone", ""},
		{Spec{Kind: Prefix, Prefix: "ors.", Product: "ors_enb_log_data"}, "ors.ors123_COMP-4567_e0xABCDE", "ors123_COMP-4567_e0xABCDE", "ors_enb_log_data",
			"ors123_COMP-4567_e0xABCDE", "ors.ors123_COMP-4567_e0xABCDE", "supply"},
		{Spec{Kind: Ebulk}, "supplier/set/path/to/file/csv/END/10/abc", "supplier", "set", "set/path/to/file/csv", "set/path/to/file/csv",
			"dataset eof extension filename hash size supplier"},
		{Spec{Kind: Ebulk}, "supplier/set/file/none/001//", "supplier", "set", "set/file/none", "set/file/none", "dataset eof extension filename hash size supplier"},
		{cdn, "cdnaccess.c1_n2_s3_4", "c1", "cdn_access_log", "c1_n2", "cdnaccess.c1_n2_s3_4", "cluster node shared"},
		{re, "lab.room.12", "room", "12", "room", "room-12", "product supply"},
		{re, "lab.room.12.x", "room", "12", "room", "room-12", "product supply"},
		{Spec{Kind: Custom, Pattern: "{supply}.{product}"}, "a.b.c", "a", "b.c", "a", "a.b.c", "product supply"},
	} {
		g, err := c.spec.Compile()
		if err != nil {
			t.Errorf("%+v: %v", c.spec, err)
			continue
		}
		m, err := g.Read(c.tag)
		if err != nil || m.Supply != c.supply || m.Product != c.product || m.Ingestion != c.ingestion || m.Stream != c.stream {
			t.Errorf("%s of %s: %+v, %v", c.tag, c.spec.Kind, m, err)
		}
		if got := strings.Join(slices.Sorted(maps.Keys(m.Fields)), " "); got != c.fields {
			t.Errorf("%s of %s has the fields %s, want %s", c.tag, c.spec.Kind, got, c.fields)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	ors := Spec{Kind: Prefix, Prefix: "ors.", Product: "p"}
	for _, c := range []struct {
		spec      Spec
		tag, says string
	}{
		{Spec{Kind: SensorProduct}, "nodot", `"nodot" has no dot between sensor and product: write it like sensor1.temperature`},
		{Spec{Kind: SensorProduct}, ".p", "empty sensor or product"},
		{Spec{Kind: SensorProduct}, "s.", "empty sensor or product"},
		{Spec{Kind: SensorProduct}, "s..x", "empty sensor or product"},
		{Spec{Kind: MQTT}, "s", "between supply and product"},
		{Spec{Kind: WholeTag}, ".x", "begins with a dot"},
		{ors, "enb.1", "does not begin with ors.: write it like ors.machine1"},
		{ors, "ors.", "does not begin with ors. and go on"},
		{Spec{Kind: Ebulk}, "a/b/c/d/e/f", "has 6 fields"},
		{Spec{Kind: Ebulk}, "a/b/c/d/e/f/g+h", `'+'`},
		{Spec{Kind: Ebulk}, "/b/c/d/e/f/g", "empty supply"},
		{cdn, "cdnaccess.c1_n2", "does not match cdnaccess.{cluster}_{node}_{shared}: write it like cdnaccess.cluster_node_shared"},
		{re, "lab.room.x", "write it like lab.room.12"},
		{Spec{Kind: SensorProduct}, strings.Repeat("x", 500), "xx…"},
	} {
		g, err := c.spec.Compile()
		if err != nil {
			t.Fatal(err)
		}
		_, err = g.Read(c.tag)
		says := strings.ReplaceAll(c.says, "ors.: write", "ors. and go on: write")
		if !errors.Is(err, ErrTag) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s of %s: %v, want %q", c.tag, c.spec.Kind, err, says)
		}
	}
}

func TestSpecsThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		spec        Spec
		field, says string
	}{
		{Spec{}, "kind", `"" is not known`},
		{Spec{Kind: "sensor"}, "kind", "write sensor.product"},
		{Spec{Kind: SensorProduct, Prefix: "x"}, "prefix", "means nothing"},
		{Spec{Kind: WholeTag, Pattern: "x"}, "pattern", "means nothing"},
		{Spec{Kind: Prefix, Product: "p"}, "prefix", "is missing"},
		{Spec{Kind: Prefix, Prefix: "p"}, "product", "is missing"},
		{Spec{Kind: Custom}, "pattern", "is missing"},
		{Spec{Kind: Custom, Pattern: "plain"}, "pattern", "names nothing"},
		{Spec{Kind: Custom, Pattern: "{a"}, "pattern", "does not close"},
		{Spec{Kind: Custom, Pattern: "a}"}, "pattern", "did not open"},
		{Spec{Kind: Custom, Pattern: "{A}"}, "pattern", "no name"},
		{Spec{Kind: Custom, Pattern: "{a}{b}"}, "pattern", "nothing between {a} and {b}"},
		{Spec{Kind: Custom, Pattern: "{a}.{a}"}, "pattern", "twice"},
		{Spec{Kind: Custom, Pattern: "/(/"}, "pattern", "no RE2"},
		{Spec{Kind: Custom, Pattern: "/abc/"}, "pattern", "names nothing"},
		{Spec{Kind: Custom, Pattern: "/(?P<a>x)|(?P<a>y)/"}, "pattern", ""},
		{Spec{Kind: Custom, Pattern: "{a}.{b}"}, "supply", "{supply}, which the pattern {a}.{b} has not: it has {a}, {b}"},
		{Spec{Kind: Custom, Pattern: "{a}.{b}", Supply: "{a}"}, "product", "{product}"},
		{Spec{Kind: Custom, Pattern: "{a}.{b}", Supply: "{a}", Product: "{b", Stream: "x"}, "product", "does not close"},
		{Spec{Kind: Custom, Pattern: "{a}.{b}", Supply: "{a}", Product: "{b}", Stream: "{c}"}, "stream", "{c}"},
		{Spec{Kind: SensorProduct, Examples: []string{"good.one", "bad"}}, "examples", `"bad" has no dot`},
	} {
		bad := c.spec.Validate()
		if err := bad[c.field]; err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v, want %s with %q", c.spec, bad, c.field, c.says)
		}
		if _, err := c.spec.Compile(); err == nil {
			t.Errorf("%+v is compiled", c.spec)
		}
	}
}

// FuzzRead: whatever a tag is, a meaning is whole and an error is ErrTag.
func FuzzRead(f *testing.F) {
	var grammars []*Grammar
	for _, s := range []Spec{{Kind: SensorProduct}, {Kind: WholeTag}, {Kind: Prefix, Prefix: "a", Product: "b"}, {Kind: Ebulk}, cdn, re} {
		g, err := s.Compile()
		if err != nil {
			f.Fatal(err)
		}
		grammars = append(grammars, g)
	}
	for _, s := range []string{"a.b", "a/b/c/d/e/f/g", "cdnaccess.a_b_c", "", ".", "\xff.\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, tag string) {
		for _, g := range grammars {
			m, err := g.Read(tag)
			if err == nil && !utf8.ValidString(m.Supply+m.Product+m.Ingestion+m.Stream) {
				t.Errorf("%s of %q: %+v is no UTF-8", g.spec.Kind, tag, m)
			}
			if err != nil && !errors.Is(err, ErrTag) || err == nil && (m.Supply == "" || m.Product == "" || m.Ingestion == "" || m.Stream == "") {
				t.Errorf("%s of %q: %+v, %v", g.spec.Kind, tag, m, err)
			}
		}
	})
}

func BenchmarkRead(b *testing.B) {
	g, err := Spec{Kind: SensorProduct}.Compile()
	if err != nil {
		b.Fatal(err)
	}
	const tag = "test_sensor.test_product.more"
	b.SetBytes(int64(len(tag)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.Read(tag); err != nil {
			b.Fatal(err)
		}
	}
}
