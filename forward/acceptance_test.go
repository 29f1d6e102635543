package forward

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// An acceptance is a row of the table of what forward servers take. A row
// either has input of its own or names the test that holds it, or says why it
// does not apply.
type acceptance struct {
	id      string
	what    string
	in      []byte
	set     func(*Options)
	events  string // as describe gives them
	acks    string
	closed  bool   // the server closes the connection
	refused string // key of Stats.Refused that counts one
	by      string // the test that holds the row
	reason  string // why the row does not hold
}

const at = 1700000000

// now is the time in acceptance tests.
var now = time.Unix(1800000000, 5)

// chunk is the usual option.
var chunk = pairs{"chunk", "id"}

// two are two entries, and the same in an array.
var (
	two      = packs(list{et{at, 1}, record(1)}, list{at + 1, record(2)})
	twoArray = list{list{et{at, 1}, record(1)}, list{at + 1, record(2)}}
	twoSaid  = "t@1700000000.000000001=1 t@1700000001=2"
	one      = pack(list{"t", at, record(1)})
	mixed    = packs(list{at, record(1)}, list{at, "text"}, list{"time", record(2)}, list{at, record(3)})
	mixedMsg = "t@1700000000=1 t@1700000000=3 t!bad-record:11 t!bad-time:10"
)

func acceptances() []acceptance {
	ack1 := ack("id")
	return append(fluentdRows(ack1), append(otherRows(ack1), oddRows(ack1)...)...)
}

// fluentdRows are those of fluentd's suites for in_forward and out_forward.
func fluentdRows(ack1 string) []acceptance {
	tag := func(o *Options) { o.Tag = "X" }
	prefix := func(o *Options) { o.TagPrefix = "X" }
	sender := func(o *Options) { o.AddressKey, o.HostnameKey = "addr", "a" }
	return []acceptance{
		{id: "F01", by: "TestOptionsNamed"},
		{id: "F02", by: "TestOptionsNamed"},
		{id: "F03", reason: "an empty string is an option that was left out, as the configuration's defaults show it"},
		{id: "F04", by: "TestKeepalivePackets"}, // always on; deny_keepalive is Options.DenyKeepalive,
		{id: "F05", what: "time 0", in: pack(list{"t", 0, record(1)}), events: "t@now=1"},
		{id: "F06", what: "EventTime, integer", in: packs(list{"t", et{at, 7}, record(1)}, list{"t", at, record(2)}),
			events: "t@1700000000.000000007=1 t@1700000000=2"},
		{id: "F07", what: "bad messages before good ones",
			in:     packs(list{"t", true, record(1)}, list{"t", at, "text"}, list{"t", at, record(3)}, list{"t", at, record(4)}),
			events: "t!bad-time:6 t!bad-record:11 t@1700000000=3 t@1700000000=4"},
		{id: "F08", what: "JSON", in: []byte(`["t", 1294750800, {"a": 1}]`), events: "t@1294750800=1"},
		{id: "F09", what: "JSON lines", in: []byte("[\"t\",1294750800,{\"a\":1}]\n[\"t\",1294750801,{\"a\":2}]\n"),
			events: "t@1294750800=1 t@1294750801=2"},
		{id: "F10", what: "Forward", in: pack(list{"t", twoArray}), events: twoSaid},
		{id: "F11", what: "Forward, integer times", in: pack(list{"t", list{list{at, record(1)}}}), events: "t@1700000000=1"},
		{id: "F12", what: "Forward, bad entries", in: packs(list{"t", raw("\x94" + string(mixed))}), events: mixedMsg},
		{id: "F13", what: "forced tag", in: pack(list{"t", twoArray}), set: tag, events: strings.ReplaceAll(twoSaid, "t@", "X@")},
		{id: "F13", what: "prefix", in: pack(list{"t", twoArray}), set: prefix, events: strings.ReplaceAll(twoSaid, "t@", "X.t@")},
		{id: "F14", what: "packed str", in: pack(list{"t", string(two)}), events: twoSaid},
		{id: "F14", what: "packed bin", in: pack(list{"t", two}), events: twoSaid},
		{id: "F15", what: "packed, integer times", in: pack(list{"t", pack(list{at, record(1)})}), events: "t@1700000000=1"},
		{id: "F16", what: "packed, bad entries", in: pack(list{"t", mixed}), events: mixedMsg},
		{id: "F17", what: "packed, forced tag", in: pack(list{"t", two}), set: tag, events: strings.ReplaceAll(twoSaid, "t@", "X@")},
		{id: "F17", what: "packed, prefix", in: pack(list{"t", two}), set: prefix, events: strings.ReplaceAll(twoSaid, "t@", "X.t@")},
		{id: "F18", what: "gzip, two members", in: pack(list{"t", zip(two[:15], two[15:]), pairs{"compressed", "gzip"}}), events: twoSaid},
		{id: "F19", what: "zstd, two frames", in: pack(list{"t", zstandard(two[:15], two[15:]), pairs{"compressed", "zstd"}}), events: twoSaid},
		{id: "F20", by: "TestInflatedLimit"},
		{id: "F21", by: "TestMessageLimits"},
		{id: "F22", by: "TestMessageLimits"},
		{id: "F23", by: "TestMessageLimits"},
		{id: "F24", what: "broken chunks", in: packs("text", 7), refused: "no-message"},
		{id: "F25", what: "ack, Message", in: pack(list{"t", at, record(1), chunk}), events: "t@1700000000=1", acks: ack1},
		{id: "F25", what: "ack, Forward", in: pack(list{"t", twoArray, chunk}), events: twoSaid, acks: ack1},
		{id: "F25", what: "ack, packed", in: pack(list{"t", two, chunk}), events: twoSaid, acks: ack1},
		{id: "F25", what: "ack, JSON", in: []byte(`["t",1294750800,{"a":1},{"chunk":"a<b"}]`), events: "t@1294750800=1", acks: `{"ack":"a<b"}`},
		{id: "F25", by: "TestReplay"}, // with authentication
		{id: "F26", what: "no chunk", in: packs(list{"t", at, record(1), pairs{"size", 1}}, list{"t", two, pairs{"size", 2}}),
			events: "t@1700000000=1 " + twoSaid},
		{id: "F27", what: "sender fields, Message", in: pack(list{"t", at, pairs{"a", 1, "b", 2}}), set: sender,
			events: `t@1700000000={"a":"host.example","addr":"127.0.0.1","b":2}`},
		{id: "F27", what: "sender fields, packed", in: pack(list{"t", two}), set: sender,
			events: `t@1700000000.000000001={"a":"host.example","addr":"127.0.0.1"} t@1700000001={"a":"host.example","addr":"127.0.0.1"}`},
		{id: "F28", what: "metadata, Forward", in: pack(list{"t", list{list{list{et{at, 0}, pairs{}}, record(1)}}}), events: "t@1700000000=1+80"},
		{id: "F28", what: "metadata, packed", in: pack(list{"t", pack(list{list{at, pairs{"m", 1}}, record(1)})}), events: "t@1700000000=1+81a16d01"},
		{id: "F28", what: "metadata, gzip", in: pack(list{"t", zip(pack(list{list{at, pairs{"m", 1}}, record(1)})), pairs{"compressed", "gzip"}}), events: "t@1700000000=1+81a16d01"},
		{id: "F29", what: "JSON key twice", in: []byte(`["t",1294750800,{"a":1,"b":5,"a":2,"b":{"c":1,"c":2}}]`),
			events: `t@1294750800={"a":2,"b":{"c":2}}`},
		{id: "A01", by: "TestGoLogger"},
		{id: "A02", by: "TestShutdownAcknowledges"},
		{id: "A03", by: "TestTLS"},
		{id: "A04", by: "TestAckWithheldWhenNotKept"},
		{id: "A05", by: "TestAckWithheldWhenNotKept"},
		{id: "A06", by: "TestHandshake"},
		{id: "A07", by: "TestReplay"},
		{id: "A08", by: "TestManyConnections"},
		{id: "A09", by: "TestHeartbeat"},
		{id: "A10", by: "TestTLS"},
		{id: "A11", by: "TestReplay"},
		{id: "A12", by: "TestReplay"},
	}
}

// otherRows are those of Fluent Bit, the OpenTelemetry receiver and Vector.
func otherRows(ack1 string) []acceptance {
	values := pairs{"u", raw("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), "n", nil, "b", []byte("\xff"), "m", pairs{"l", list{1, pairs{}}}}
	return []acceptance{
		{id: "H01-H18", reason: "HTTP ingest is another package's"},
		{id: "B01", what: "one message", in: one, events: "t@1700000000=1"},
		{id: "B02", reason: "the prefix is joined by a dot, as fluentd does"},
		{id: "B03", by: "TestUnixSocket"},
		{id: "B04", what: "packed zstd", in: pack(list{"t", zstandard(two), pairs{"compressed", "zstd"}}), events: twoSaid},
		{id: "B05", by: "TestMessageLimits"},
		{id: "B06", by: "TestInflatedLimit"},
		{id: "B07", by: "TestReplay"},
		{id: "B08", by: "TestOptionsNamed"},
		{id: "B09", reason: "a shared key is required, as in fluentd; an empty one proves nothing"},
		{id: "B10", by: "TestReplay"},
		{id: "B11", what: "nanoseconds", in: pack(list{"t", et{at, 999999999}, record(1)}), events: "t@1700000000.999999999=1"},
		{id: "B12", by: "TestManyConnections"},
		{id: "B13", by: "TestManyConnections"},
		{id: "B14", what: "good, then malformed", in: append(bytes.Clone(one), 0xc1), events: "t@1700000000=1", closed: true, refused: "garbage"},
		{id: "B15", by: "TestCutMessages"},
		{id: "B16", what: "gzip with chunk", in: pack(list{"t", zip(two), pairs{"compressed", "gzip", "chunk", "id"}}), events: twoSaid, acks: ack1},
		{id: "B17", what: "metadata in the option", in: pack(list{"t", at, record(1), pairs{"chunk", "id", "metadata", pairs{"m", 1}}}),
			events: "t@1700000000=1+81a16d01", acks: ack1},
		{id: "B18", by: "F13"},
		{id: "B19", by: "TestTLS"},
		{id: "B20", by: "TestHandshake"},
		{id: "B21", by: "TestBackpressure"},
		{id: "O01", by: "TestReplay"},
		{id: "O02", by: "F25"},
		{id: "O03", by: "TestBrokenBytes"},
		{id: "O04", by: "TestUnixSocket"},
		{id: "O05", by: "TestManyConnections"},
		{id: "O06", what: "tags of each width", events: "t@1700000000=1 t@1700000000=2 t@1700000000=3 t@1700000000=4 !bad-tag:11",
			in: packs(list{"t", at, record(1)}, list{raw("\xd9\x01t"), at, record(2)}, list{raw("\xda\x00\x01t"), at, record(3)},
				list{raw("\xdb\x00\x00\x00\x01t"), at, record(4)}, list{7, at, record(5)})},
		{id: "O07", reason: "a float time is taken: the Python logger sends it"},
		{id: "O07", what: "float time", in: pack(list{"t", 1700000000.5, record(1)}), events: "t@1700000000.500000000=1"},
		{id: "O08", by: "TestCutMessages"},
		{id: "O09", what: "no gzip", in: pack(list{"t", two, pairs{"compressed", "gzip", "chunk", "id"}}), closed: true, refused: "bad-compression"},
		{id: "O10", what: "values of every kind", in: pack(list{"t", at, values}),
			events: `t@1700000000={"b":{"$hex":"ff"},"m":{"l":[1,{}]},"n":null,"u":18446744073709551615}`},
		{id: "O11", what: "EventTime of another length", in: packs(list{"t", raw("\xd6\x00\x00\x00\x00\x01"), record(1)}, list{"t", raw("\xd8\x00" + strings.Repeat("\x00", 16)), record(1)}),
			events: "t!bad-time:11 t!bad-time:23"},
		{id: "O12", by: "TestHeartbeat"},
		{id: "V01", by: "TestCarrierModes"},
		{id: "V02", by: "TestCutMessages"},
		{id: "V03", by: "TestMessageLimits"},
		{id: "V04", by: "F25"},
		{id: "V05", by: "TestAckWithheldWhenNotKept"},
		{id: "V06", by: "TestReplay"},
		{id: "V07", by: "TestUnixSocket"},
		{id: "X01", what: "packed, last entry cut", in: pack(list{"t", two[:len(two)-1], chunk}),
			events: "t@1700000000.000000001=1 t!bad-payload:9", acks: ack1},
		{id: "X02", by: "X09-odd"},
		{id: "X03", by: "TestHugeCounts"},
		{id: "X04", by: "TestHugeCounts"},
		{id: "X05", what: "good chunk, then c1", in: append(pack(list{"t", two, chunk}), 0xc1), events: twoSaid, acks: ack1, closed: true, refused: "garbage"},
		{id: "X06", by: "TestCarrierModes"},
		{id: "X07", by: "TestMessageLimits"},
		{id: "X08", by: "TestWrongProtocol"},
		{id: "X09", by: "TestSilence"},
		{id: "X10", by: "TestAcksInOneWrite"},
		{id: "X11", by: "X11-odd"},
		{id: "X12", reason: "the handler's: what is not durable it does not return as kept"},
	}
}

// oddRows are inputs on which servers differ.
func oddRows(ack1 string) []acceptance {
	gz := func(b []byte) []byte { return pack(list{"t", b, pairs{"compressed", "gzip", "chunk", "id"}}) }
	zs := func(b []byte) []byte { return pack(list{"t", b, pairs{"compressed", "zstd", "chunk", "id"}}) }
	badCRC := zip(two)
	badCRC[len(badCRC)-6] ^= 1
	anyRecord := func(o *Options) { o.AnyRecord = true }
	strict := func(o *Options) { o.RefuseInvalid = true }
	with := func(option any) []byte { return pack(list{"t", two, option}) }
	id := "X09-odd"
	return []acceptance{
		{id: id, what: "nil", in: packs(nil, raw(one), nil), events: "t@1700000000=1"},
		{id: id, what: "map", in: packs(pairs{1, 2}), refused: "no-message"},
		{id: id, what: "short arrays", in: packs(list{}, list{"t"}, list{"t", at}), refused: "no-message"},
		{id: id, what: "EventTime 0, Message", in: pack(list{"t", et{0, 5}, record(1)}), events: "t@now=1"},
		{id: id, what: "time 0, packed", in: pack(list{"t", pack(list{0, record(1)})}), events: "t@0=1"},
		{id: id, what: "time negative", in: pack(list{"t", -5, record(1)}), events: "t@-5=1"},
		{id: id, what: "time nil, Message", in: pack(list{"t", nil, record(1), chunk}), events: "t@now=1", acks: ack1},
		{id: id, what: "time nil, packed", in: pack(list{"t", pack(list{nil, record(1)}), chunk}), events: "t!bad-time:6", acks: ack1},
		{id: id, what: "time map", in: pack(list{"t", pairs{}, record(1), chunk}), events: "t!bad-time:6", acks: ack1},
		{id: id, what: "nanoseconds over a second", in: pack(list{"t", et{at, 1_500_000_000}, record(1)}), events: "t@1700000001.500000000=1"},
		{id: id, what: "unknown ext as time", in: pack(list{"t", raw("\xd4\x05\x00"), record(1), chunk}), events: "t!bad-time:8", acks: ack1},
		{id: id, what: "ext in a record", in: pack(list{"t", at, pairs{"a", raw("\xd4\x05\x00")}}), events: "t@1700000000=81a161d40500"},
		{id: id, what: "record nil", in: pack(list{"t", at, nil, chunk}), events: "t!bad-record:7", acks: ack1},
		{id: id, what: "record text, wanted", in: pack(list{"t", at, "text"}), set: anyRecord, events: `t@1700000000="text"`},
		{id: id, what: "bad record, strict", in: pack(list{"t", mixed, chunk}), set: strict, closed: true, refused: "invalid"},
		{id: id, what: "record {}", in: pack(list{"t", at, pairs{}}), events: "t@1700000000={}"},
		{id: id, what: "tag bin", in: pack(list{[]byte("t"), at, record(1)}), events: "t@1700000000=1"},
		{id: id, what: "tag nil", in: pack(list{nil, two, chunk}), events: "!bad-tag:39", acks: ack1},
		{id: id, what: "tag empty, with NUL, not UTF-8", in: packs(list{"", at, record(1)}, list{"a\x00 b", at, record(2)}, list{"\xff", at, record(3)}),
			events: "@1700000000=1 a\x00 b@1700000000=2 \xff@1700000000=3"},
		{id: id, what: "5 elements", in: pack(list{"t", at, record(1), chunk, 7}), events: "t@1700000000=1", acks: ack1},
		{id: id, what: "option nil", in: with(nil), events: twoSaid},
		{id: id, what: "option array", in: with(list{1}), events: twoSaid},
		{id: id, what: "option text", in: with("x"), events: twoSaid},
		{id: id, what: "option map32, keys bin", in: with(raw("\xdf\x00\x00\x00\x01\xc4\x05chunk\xa2id")), events: twoSaid, acks: ack1},
		{id: id, what: "chunk bin", in: with(pairs{"chunk", []byte("id")}), events: twoSaid, acks: "\x81\xa3ack\xc4\x02id"},
		{id: id, what: "chunk integer", in: with(pairs{"chunk", 7}), events: twoSaid, acks: "\x81\xa3ack\x07"},
		{id: id, what: "chunk map", in: with(pairs{"chunk", pairs{"x", 1}}), events: twoSaid, acks: "\x81\xa3ack\x81\xa1x\x01"},
		{id: id, what: "chunk str8", in: with(pairs{"chunk", raw("\xd9\x02id")}), events: twoSaid, acks: "\x81\xa3ack\xd9\x02id"},
		{id: id, what: "chunk empty", in: with(pairs{"chunk", ""}), events: twoSaid, acks: ack("")},
		{id: id, what: "chunk nil", in: with(pairs{"chunk", nil}), events: twoSaid},
		{id: id, what: "chunk twice", in: with(pairs{"chunk", "x", "chunk", "id"}), events: twoSaid, acks: ack1},
		{id: id, what: "keys of other kinds", in: pack(list{"t", at, raw("\x82\x01\xc0\xc0\x01")}), events: "t@1700000000=8201c0c001"},
		{id: id, what: "Forward []", in: pack(list{"t", list{}, chunk}), acks: ack1},
		{id: id, what: "Forward, odd entries", in: pack(list{"t", list{nil, 1, "s", list{}, list{at}, list{at, record(1)}}, chunk}),
			events: "t@1700000000=1 t!bad-entry:11", acks: ack1},
		{id: id, what: "entry of 3", in: pack(list{"t", list{list{at, record(1), 5}}}), events: "t@1700000000=1"},
		{id: id, what: "packed, empty", in: pack(list{"t", "", chunk}), acks: ack1},
		{id: id, what: "packed, c1 at the end", in: pack(list{"t", append(bytes.Clone(two), 0xc1), chunk}), events: twoSaid + " t!bad-payload:1", acks: ack1},
		{id: id, what: "packed, odd values first", in: pack(list{"t", append([]byte("\x01\x02"), two...), chunk}), events: twoSaid + " t!bad-entry:2", acks: ack1},
		{id: id, what: "group markers", in: pack(list{"t", packs(list{list{et{0xffffffff, 0}, pairs{}}, pairs{"x", 1}}, list{at, record(1)}, list{et{0xfffffffe, 0}, pairs{}}), chunk}),
			events: "t@1700000000=1", acks: ack1},
		{id: id, what: "metrics", in: pack(list{"t", []byte("\x01\x02\x03"), pairs{"fluent_signal", 1, "chunk", "id"}}), events: "t!1:3", acks: ack1},
		{id: id, what: "traces, gzip", in: pack(list{"t", zip([]byte("abcd")), pairs{"fluent_signal", 2, "compressed", "gzip"}}), events: "t!2:4"},
		{id: id, what: "unknown compression", in: with(pairs{"compressed", "lz4", "chunk", "id"}), closed: true, refused: "bad-compression"},
		{id: id, what: "compression 1", in: with(pairs{"compressed", 1}), events: twoSaid},
		{id: id, what: "Forward with compressed", in: pack(list{"t", twoArray, pairs{"compressed", "gzip"}}), events: twoSaid},
		{id: id, what: "wrong size", in: with(pairs{"size", 9}), events: twoSaid},
		{id: id, what: "JSON object", in: []byte(`{"a":1}["t",1294750800,{"a":1}]`), events: "t@1294750800=1", refused: "no-message"},
		{id: id, what: "JSON Forward", in: []byte(`["t",[[1294750800,{"a":1}],[1294750801.5,{"a":18446744073709551615}]]]`),
			events: "t@1294750800=1 t@1294750801.500000000=18446744073709551615"},
		{id: id, what: "JSON not UTF-8", in: []byte("[\"t\",1294750800,{\"a\":\"\xff\"}]"), closed: true, refused: "garbage"},
		{id: id, what: "JSON broken", in: []byte(`["t",1294750800,{"a":1}]["t",1294750800,{"a":]]`), events: "t@1294750800=1", closed: true, refused: "garbage"},
		{id: id, what: "JSON, then msgpack", in: append([]byte(`["t",1294750800,{"a":1}]`), one...), events: "t@1294750800=1", closed: true, refused: "garbage"},
		{id: "X11-odd", what: "gzip, empty member first", in: gz(zip(nil, two)), events: twoSaid, acks: ack1},
		{id: "X11-odd", what: "gzip of nothing", in: gz(zip(nil)), acks: ack1},
		{id: "X11-odd", what: "gzip, empty payload", in: gz(nil), acks: ack1},
		{id: "X11-odd", what: "gzip cut", in: gz(zip(two)[:20]), closed: true, refused: "bad-compression"},
		{id: "X11-odd", what: "gzip, bad checksum", in: gz(badCRC), closed: true, refused: "bad-compression"},
		{id: "X11-odd", what: "gzip, zeros behind", in: gz(append(zip(two), 0, 0, 0)), closed: true, refused: "bad-compression"},
		{id: "X11-odd", what: "gzip, garbage behind", in: gz(append(zip(two), "garbage"...)), closed: true, refused: "bad-compression"},
		{id: "X11-odd", what: "zstd cut", in: zs(zstandard(two)[:20]), closed: true, refused: "bad-compression"},
		{id: "X11-odd", what: "zstd, garbage behind", in: zs(append(zstandard(two), "garbage"...)), closed: true, refused: "bad-compression"},
		{id: "X11-odd", what: "zstd, empty frame first", in: zs(zstandard(nil, two)), events: twoSaid, acks: ack1},
		{id: "X11-odd", what: "gzip, cut entry inside", in: gz(zip(two[:len(two)-1])), events: "t@1700000000.000000001=1 t!bad-payload:9", acks: ack1},
	}
}

// TestAcceptance sends the input of each row, glued and byte by byte, and
// compares events, acks and what becomes of the connection. Rows that name
// another test must name one that is there.
func TestAcceptance(t *testing.T) {
	t.Parallel()
	rows := acceptances()
	known := testNames(t)
	for _, a := range rows {
		if a.in == nil {
			known[a.id] = known[a.id] || a.by != "" || a.reason != ""
		} else {
			known[a.id] = true
		}
	}
	for _, a := range rows {
		if a.in == nil {
			if a.reason == "" && !known[a.by] {
				t.Errorf("%s: there is no %q", a.id, a.by)
			}
			continue
		}
		for how, piece := range map[string]int{"glued": 0, "bytes": 1} {
			t.Run(a.id+"/"+a.what+"/"+how, func(t *testing.T) {
				t.Parallel()
				a.run(t, piece)
			})
		}
	}
}

// testNames gives the tests of the package.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	files, _ := filepath.Glob("*_test.go")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range strings.Split(string(b), "\n") {
			if name, ok := strings.CutPrefix(l, "func "); ok {
				name, _, _ = strings.Cut(name, "(")
				names[name] = true
			}
		}
	}
	return names
}

func (a acceptance) run(t *testing.T, piece int) {
	k := &keeper{}
	o := Options{Handler: k, Now: func() time.Time { return now }, Resolve: resolveTo("host.example")}
	if a.set != nil {
		a.set(&o)
	}
	s, err := NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	talk := connect(t, s)
	talk.send(a.in, piece)
	if a.closed {
		talk.heard(1 << 30) // until the server closes
	} else if a.set == nil && a.in[0] != '[' && a.in[0] != '{' {
		talk.send(pack(list{"last", at, record(9), pairs{"chunk", "last"}}), piece)
		a.acks += ack("last")
		a.events = strings.TrimSpace(a.events + " last@1700000000=9")
	}
	got := talk.finish()
	if string(got) != a.acks {
		t.Errorf("answer %q, want %q", got, a.acks)
	}
	if got := describe(k.kept(), now.Unix()); got != a.events {
		t.Errorf("events\n%s, want\n%s", got, a.events)
	}
	if n := s.Stats().Refused; (a.refused != "") != (len(n) == 1) || a.refused != "" && n[a.refused].Bytes == 0 {
		t.Errorf("refused %v, want %q", n, a.refused)
	}
}
