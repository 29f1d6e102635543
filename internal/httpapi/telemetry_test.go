package httpapi

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/klauspost/compress/snappy"

	"weir/arrays"
	"weir/internal/vfs"
	"weir/policies"
	"weir/streams"
)

func withCollectors(t *testing.T) *weir {
	t.Helper()
	return startWith(t, policies.Policy{Name: "collected", Match: "telegraf.** influx.** db.** prometheus.** node.**",
		Keep: policies.Verbatim, Array: &arrays.Spec{Kind: "metrics"}})
}

func (w *weir) post(target, body string, headers ...string) answer {
	w.t.Helper()
	return w.do("POST", target, strings.NewReader(body), headers...)
}

// jsonl gives the records of a stream as lines.
func (w *weir) jsonl(stream string) string {
	w.t.Helper()
	return w.get("/streams/" + stream + "?format=jsonl").body
}

func TestLineProtocol(t *testing.T) {
	t.Parallel()
	w := withCollectors(t)
	const body = "cpu,host=a usage=1.5,n=2i 1700000000\nmem,host=a free=7i 1700000001\ncpu,host=b usage=2.5,n=3i 1700000002\n"
	for range 2 { // points with their own times are the same when they come again
		w.post("/write?db=db&precision=s", body).want(t, 204, "")
	}
	const cpu = `{"time":"2023-11-14T22:13:20Z","record":{"host":"a","usage":1.5,"n":2}}
{"time":"2023-11-14T22:13:22Z","record":{"host":"b","usage":2.5,"n":3}}
`
	if got := w.jsonl("db.cpu"); got != cpu {
		t.Errorf("db.cpu is %s", got)
	}
	w.build("db.cpu")
	w.get("/arrays/db.cpu?list_index:list=usage").want(t, 200, f8(1.5, 2.5))
	w.post("/api/v2/write?org=o&bucket=influx&precision=ns", "m v=1", "Content-Encoding", "identity").want(t, 204, "")
	w.post("/api/v2/write?bucket=influx", "m v=1").want(t, 204, "")
	if got := w.jsonl("influx.m"); strings.Count(got, "\n") != 2 {
		t.Errorf("points without a time are two readings: %s", got)
	}
	w.post("/telegraf", `{"metrics":[{"name":"disk","tags":{"path":"/"},"fields":{"free":5},"timestamp":1700000000}]}`).want(t, 204, "")
	if got := w.jsonl("telegraf.disk"); got != `{"time":"2023-11-14T22:13:20Z","record":{"path":"/","free":5}}`+"\n" {
		t.Errorf("telegraf.disk is %s", got)
	}
	w.post("/telegraf", "net in=1i 1700000000000000000\n").want(t, 204, "")
	if got := w.jsonl("telegraf.net"); !strings.Contains(got, "2023-11-14T22:13:20Z") {
		t.Errorf("telegraf.net is %s", got)
	}
	w.post("/write", "").want(t, 204, "")
	w.get("/ping").wantHeader(t, "X-Influxdb-Version", influxVersion)
	w.post("/query", "q=CREATE+DATABASE+%22telegraf%22", "Content-Type", "application/x-www-form-urlencoded").want(t, 200, "results")
	w.get("/query?q=SELECT+1").want(t, 400, "no InfluxQL")
	w.get("/write").want(t, 405, "POST")
	w.do("DELETE", "/query", nil).want(t, 405, "POST")
}

// The same text with times of another unit is other points.
func TestPrecisionIsPartOfAPoint(t *testing.T) {
	t.Parallel()
	w := withCollectors(t)
	for range 2 {
		for _, precision := range []string{"", "ns", "ms", "s"} {
			w.post("/write?db=db&precision="+precision, "m v=1 1700000000\n").want(t, 204, "")
		}
	}
	const want = `{"time":"1970-01-01T00:00:01.7Z","record":{"v":1}}
{"time":"1970-01-20T16:13:20Z","record":{"v":1}}
{"time":"2023-11-14T22:13:20Z","record":{"v":1}}
`
	if got := w.jsonl("db.m"); got != want {
		t.Errorf("db.m is %s", got)
	}
}

// A part that is refused is told line by line; what is good is kept.
func TestPartialWrite(t *testing.T) {
	t.Parallel()
	w := withCollectors(t)
	a := w.post("/write?db=db", "cpu v=1 1\nbad\ncpu v=nan 2\ncpu v=3 3\n")
	if a.status != 400 || !strings.Contains(a.header.Get("X-Influxdb-Error"), "partial write: 2 points written, 2 refused") {
		t.Errorf("%d %v", a.status, a.header)
	}
	var told struct {
		Code    string
		Error   string
		Message string
		Written int
		Refused int
		Lines   []struct {
			Line  int
			Text  string
			Error string
		}
	}
	if err := json.Unmarshal([]byte(a.body), &told); err != nil || told.Code != "invalid" || told.Written != 2 || told.Refused != 2 ||
		len(told.Lines) != 2 || told.Lines[0].Line != 2 || told.Lines[0].Text != "bad" || told.Lines[1].Line != 3 || told.Error != told.Message {
		t.Errorf("%v %s", err, a.body)
	}
	if n := strings.Count(w.jsonl("db.cpu"), "\n"); n != 2 {
		t.Errorf("%d points are kept", n)
	}
	if c, _ := w.refused("bad-point"); c.Records != 2 {
		t.Errorf("%d points are counted as refused", c.Records)
	}
	// A measurement that no policy takes, and one of a name that is weir's own.
	w.post("/write?db=other", "cpu v=1 1").want(t, 400, "no policy matches")
	w.post("/write?db=_own", "cpu v=1 1").want(t, 400, "partial write: 0 points")
	w.post("/telegraf", `{"metrics":`).want(t, 400, "unable to parse")
	w.post("/write?precision=weeks", "cpu v=1 1").want(t, 400, "precision")
	w.post("/write", "cpu v=1 1", "Content-Encoding", "br").want(t, 415, "gzip")
	w.absent("other.cpu")
}

// An append that fails is no 2xx and no 4xx: the sender comes again.
func TestCollectWithheld(t *testing.T) {
	t.Parallel()
	w := withCollectors(t)
	w.streams.Close()
	for target, body := range map[string]string{"/write?db=db": "cpu v=1 1\nbad", "/api/v1/write": remoteBody("up", 1, 1000)} {
		a := w.post(target, body, "Content-Type", "application/x-protobuf", "Content-Encoding", map[bool]string{true: "snappy", false: "identity"}[target == "/api/v1/write"])
		if a.status != 503 || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %v %s", target, a.status, a.header, a.body)
		}
	}
}

// pb makes a field of a protobuf message.
func pb(n int, text string) string {
	return string(binary.AppendUvarint([]byte{byte(n<<3 | 2)}, uint64(len(text)))) + text
}

// remoteBody makes a body of remote write 1.0 of one sample.
func remoteBody(name string, v float64, ms uint64) string {
	sample := "\x09" + string(binary.LittleEndian.AppendUint64(nil, math.Float64bits(v))) + "\x10" + string(binary.AppendUvarint(nil, ms))
	series := pb(1, pb(1, "__name__")+pb(2, name)) + pb(1, pb(1, "job")+pb(2, "node")) + pb(2, sample)
	return string(snappy.Encode(nil, []byte(pb(1, series))))
}

func TestRemoteWrite(t *testing.T) {
	t.Parallel()
	w := withCollectors(t)
	const kind, encoding = "application/x-protobuf", "snappy"
	send := func(target, body, kind, encoding string) answer {
		return w.post(target, body, "Content-Type", kind, "Content-Encoding", encoding, "X-Prometheus-Remote-Write-Version", "0.1.0")
	}
	for range 2 { // as after a lost answer
		a := send("/api/v1/write", remoteBody("up", 1, 1700000000123), kind, encoding)
		a.want(t, 204, "")
		a.wantHeader(t, "X-Prometheus-Remote-Write-Samples-Written", "1")
	}
	send("/api/v1/push?tag=node", remoteBody("up", 0, 1700000000123), kind, encoding).want(t, 204, "")
	for stream, want := range map[string]string{"prometheus.up": "1", "node.up": "0"} {
		if got := w.jsonl(stream); got != `{"time":"2023-11-14T22:13:20.123Z","record":{"job":"node","value":`+want+"}}\n" {
			t.Errorf("%s is %s", stream, got)
		}
	}
	two := pb(4, "") + pb(4, "__name__") + pb(4, "two") + pb(5, pb(1, "\x01\x02")+pb(2, "\x09\x00\x00\x00\x00\x00\x00\xf0\x3f\x10\x01"))
	a := send("/api/v1/write", string(snappy.Encode(nil, []byte(two))), kind+";proto=io.prometheus.write.v2.Request", encoding)
	a.want(t, 204, "")
	if got := w.jsonl("prometheus.two"); got != `{"time":"1970-01-01T00:00:00.001Z","record":{"value":1}}`+"\n" {
		t.Errorf("version 2: %s", got)
	}
	bomb := string(binary.AppendUvarint(nil, 1<<31)) + "\x00"
	for _, tc := range []struct {
		body, kind, encoding string
		status               int
	}{
		{"no snappy", kind, encoding, 400},
		{bomb, kind, encoding, 413},
		{string(snappy.Encode(nil, []byte("no protobuf"))), kind, encoding, 400},
		{remoteBody("", 1, 1), kind, encoding, 400},
		{remoteBody("up", 1, 1), "text/plain", encoding, 415},
		{remoteBody("up", 1, 1), kind, "gzip", 415},
		{remoteBody("up", 1, 1), kind + "; proto=other", encoding, 415},
	} {
		if a := send("/api/v1/write", tc.body, tc.kind, tc.encoding); a.status != tc.status || a.body == "" {
			t.Errorf("%.20q of %s, %s: %d %s, not %d", tc.body, tc.kind, tc.encoding, a.status, a.body, tc.status)
		}
	}
	waitFor(t, func() bool { return w.s.budget.used() == 0 })
}

// What a little body becomes is bounded by the memory of all bodies.
func TestCollectBounded(t *testing.T) {
	t.Parallel()
	w := startPolicies(t, vfs.OS{}, streams.Options{}, append(testPolicies(), policies.Policy{Name: "p", Match: "prometheus.**", Keep: policies.Verbatim}),
		func(o *Options) { o.MaxBody = 1 << 20; o.BodyMemory = 4 << 20 })
	series := pb(1, pb(1, "__name__")+pb(2, strings.Repeat("n", 100))) + pb(1, pb(1, "l")+pb(2, strings.Repeat("x", 100_000)))
	for range 1000 {
		series += pb(2, "\x09\x00\x00\x00\x00\x00\x00\xf0\x3f\x10\x01")
	}
	body := string(snappy.Encode(nil, []byte(pb(1, series))))
	w.post("/api/v1/write", body, "Content-Type", "application/x-protobuf", "Content-Encoding", "snappy").want(t, 413, "bounded")
	waitFor(t, func() bool { return w.s.budget.used() == 0 })
}

// A collector may write where its user may, and nothing of a body is kept that
// also has what it may not write.
func TestCollectorsRights(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	const line = "a text=\"x\" 1\n"
	w.post("/write?db=raw", line).want(t, 401, "who you are")
	w.post("/write?db=raw", line, as("reader")...).want(t, 403, "no right")
	w.post("/write?db=raw", line, as("files")...).want(t, 403, `policy "raw"`)
	w.absent("raw.a")
	w.post("/write?db=files/x", line, as("files")...).want(t, 204, "")
	w.post("/write?db=raw", line, as("sender")...).want(t, 204, "")
	if got := w.content("files/x.a"); got != "x" {
		t.Errorf("files/x.a holds %q", got)
	}
	w.post("/api/v2/write?bucket=raw", line, "Authorization", "Token 0123456789abcdef").want(t, 403, "user reader has no right ingest")
	w.post("/api/v2/write?bucket=raw", line, "Authorization", "Token unknown").want(t, 401, "")
	w.get("/ping").want(t, 204, "")
}
