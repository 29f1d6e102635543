package httpapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/valyala/fasthttp"

	"weir/policies"
	"weir/telemetry"
)

// A collector is a way in for a sender of metrics.
type collector struct {
	prefix string // of the tags, unless the query says another one
	in     string // field of the query that says it
	read   func(r *request, unit time.Duration) (readout, error)
	// partial answers where a part was refused.
	partial func(r *request, p partial) error
	told    bool // what was written, in the answer's head
}

// collectors are those ways by their paths.
var collectors = map[string]collector{
	"/write":        {"influx", "db", (*request).readPoints, (*request).partialInflux, false},
	"/api/v2/write": {"influx", "bucket", (*request).readPoints, (*request).partialInflux, false},
	"/telegraf":     {"telegraf", "tag", (*request).readPoints, (*request).partialInflux, false},
	"/api/v1/write": {"prometheus", "tag", (*request).readRemoteWrite, (*request).partialPrometheus, true},
	"/api/v1/push":  {"prometheus", "tag", (*request).readRemoteWrite, (*request).partialPrometheus, true},
}

// A readout is what a body holds and the sum of what that depends on.
type readout struct {
	*telemetry.Reading
	sum [sha256.Size]byte
}

// sumOf tells bodies apart: the same text with times of another unit is other
// points. A nanosecond, which is the usual one, adds nothing.
func sumOf(body []byte, unit time.Duration) (sum [sha256.Size]byte) {
	h := sha256.New()
	h.Write(body)
	if unit > 1 {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(unit)))
	}
	h.Sum(sum[:0])
	return sum
}

// units are the names of a unit of time that the query may have.
// Without one it is a nanosecond in line protocol and a second in JSON.
var units = map[string]time.Duration{
	"": 0, "n": 1, "ns": 1, "u": time.Microsecond, "us": time.Microsecond, "µ": time.Microsecond, "µs": time.Microsecond,
	"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour,
}

// collect keeps what a collector sends: each measurement in the stream
// PREFIX.MEASUREMENT.
func (r *request) collect() error {
	c := collectors[r.target.path]
	if !r.ctx.IsPost() {
		p := refuse(405, "bad-method", "%s is not possible here; use POST", r.ctx.Method())
		p.allow = fasthttp.MethodPost
		return p
	}
	if err := r.checkSpace(); err != nil {
		return err
	}
	if prefix := r.target.value(c.in); prefix != "" {
		c.prefix = prefix
	}
	unit, ok := units[r.target.value("precision")]
	if !ok {
		return refuse(400, "bad-query", "there is no precision %q; write ns, us, ms, s, m or h", r.target.value("precision"))
	}
	x, err := c.read(r, unit)
	if errors.Is(err, telemetry.ErrFormat) {
		return refuse(400, "bad-data", "partial write: unable to parse: %v", err)
	}
	if err != nil {
		return err
	}
	for what, n := range x.Ignored {
		r.s.Policies.CountRefused(what, int64(n), 0)
	}
	p, err := r.keepReading(c, x)
	if err != nil {
		return err
	}
	if x.Bad > 0 {
		r.s.refused("bad-point", 0)
		r.s.Policies.CountRefused("bad-point", int64(x.Bad), 0)
	}
	if p.bad > 0 {
		return c.partial(r, p)
	}
	if c.told {
		r.told(p.written)
	}
	r.ctx.SetStatusCode(fasthttp.StatusNoContent)
	return nil
}

// readPoints reads a body of line protocol, or of Telegraf's JSON.
func (r *request) readPoints(unit time.Duration) (readout, error) {
	src, release, err := r.s.decoders.open(string(r.ctx.Request.Header.ContentEncoding()), &r.body)
	if err != nil {
		return readout{}, err
	}
	defer release()
	known := r.body.length
	if src != io.Reader(&r.body) {
		known = -1
	}
	body, err := r.read(src, known, r.s.MaxBody)
	if err != nil {
		return readout{}, err
	}
	var x readout
	o := telemetry.Options{Unit: unit, Now: time.Now(), Take: r.hold}
	if text := bytes.TrimLeft(body, " \t\r\n"); len(text) > 0 && (text[0] == '{' || text[0] == '[') {
		if o.Unit == 0 {
			o.Unit = time.Second
		}
		x.Reading, err = telemetry.JSON(body, o)
	} else {
		x.Reading, err = telemetry.Lines(body, o)
	}
	x.sum = sumOf(body, o.Unit)
	return x, err
}

// remoteWrite2 is the message that names remote write 2.0.
const remoteWrite2 = "io.prometheus.write.v2.Request"

// readRemoteWrite reads a body of Prometheus' remote write. The length that the
// snappy block tells is believed only as far as there is room for it.
func (r *request) readRemoteWrite(time.Duration) (readout, error) {
	kind := string(r.ctx.Request.Header.ContentType())
	if r.contentType() != "application/x-protobuf" {
		return readout{}, refuse(415, "unknown-type", "the body is %.60q; send application/x-protobuf", kind)
	}
	if e := string(r.ctx.Request.Header.ContentEncoding()); !strings.EqualFold(e, "snappy") {
		return readout{}, refuse(415, "unknown-encoding", "Content-Encoding is %.60q; send snappy", e)
	}
	read := telemetry.RemoteWrite
	switch _, proto, _ := strings.Cut(kind, "proto="); strings.Trim(proto, `"; `) {
	case "", "prometheus.WriteRequest":
	case remoteWrite2:
		read = telemetry.RemoteWrite2
	default:
		return readout{}, refuse(415, "unknown-type", "the message is %.60q; send prometheus.WriteRequest or %s", proto, remoteWrite2)
	}
	packed, err := r.read(&r.body, r.body.length, r.s.MaxBody)
	if err != nil {
		return readout{}, err
	}
	n, err := snappy.DecodedLen(packed)
	if err != nil {
		return readout{}, refuse(400, "bad-encoding", "the body is no snappy block: %v", err)
	}
	if int64(n) > r.s.MaxBody {
		return readout{}, tooLarge(r.s.MaxBody)
	}
	if err := r.hold(int64(n)); err != nil {
		return readout{}, err
	}
	body, err := snappy.Decode(nil, packed)
	if err != nil {
		return readout{}, refuse(400, "bad-encoding", "the body is no snappy block: %v", err)
	}
	x := readout{sum: sumOf(body, 0)}
	x.Reading, err = read(body, telemetry.Options{Take: r.hold})
	return x, err
}

// A partial is what became of a reading.
type partial struct {
	written int
	bad     int
	refused []telemetry.Refusal
}

// keepReading stores a reading with one commit. A measurement that no policy
// takes is refused like a line; what may pass is an error, so that the sender
// repeats the body. Points that carry their own time are known when they come
// again: the same body is the same points.
func (r *request) keepReading(c collector, x readout) (partial, error) {
	p := partial{bad: x.Bad, refused: x.Refused}
	if len(x.Batches) == 0 {
		return p, nil
	}
	id, err := r.idempotencyKey()
	if err != nil {
		return p, err
	}
	if len(id) > 0 || !x.Untimed {
		id = append(x.sum[:], id...)
	}
	batches := make([]policies.Batch, len(x.Batches))
	peer := r.ctx.RemoteAddr().String()
	for i, b := range x.Batches {
		tag := c.prefix + "." + b.Name
		if err := r.mayWrite(tag); err != nil {
			return p, err
		}
		batches[i] = policies.Batch{Tag: tag, Entries: b.Entries, Records: b.Records, ID: id, Peer: peer}
	}
	kept := make([]policies.Kept, len(batches))
	r.s.Policies.Keep(r.s.ctx, batches, kept, false)
	for i, k := range kept {
		if k.Err == nil {
			p.written += batches[i].Records
			continue
		}
		if problem := problemOf(k.Err); problem.status >= 500 {
			r.counted = true
			return p, k.Err
		}
		if p.bad += batches[i].Records; len(p.refused) < telemetry.MaxTold {
			p.refused = append(p.refused, telemetry.Refusal{Text: batches[i].Tag, Reason: k.Err.Error()})
		}
	}
	return p, nil
}

// summary is the text of a partial write; its first words are what Telegraf
// knows as something that another attempt does not cure.
func (p partial) summary() string {
	var b strings.Builder
	fmt.Fprintf(&b, "partial write: %d points written, %d refused", p.written, p.bad)
	for i, x := range p.refused {
		if i == 3 {
			b.WriteString("; …")
			break
		}
		if x.Line > 0 {
			fmt.Fprintf(&b, "; line %d", x.Line)
		}
		fmt.Fprintf(&b, ": %s (%q)", x.Reason, x.Text)
	}
	return b.String()
}

// partialInflux answers as InfluxDB does: 400, and each refused line by its
// number, as far as a hundred.
func (r *request) partialInflux(p partial) error {
	type line struct {
		Line  int    `json:"line,omitempty"`
		Text  string `json:"text"`
		Error string `json:"error"`
	}
	lines := make([]line, len(p.refused))
	for i, x := range p.refused {
		lines[i] = line{x.Line, x.Text, x.Reason}
	}
	text := p.summary()
	r.ctx.SetStatusCode(fasthttp.StatusBadRequest)
	r.ctx.Response.Header.Set("X-Influxdb-Error", strings.ToValidUTF8(strings.Map(printable, text), ""))
	return r.json(struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Error   string `json:"error"`
		Written int    `json:"written"`
		Refused int    `json:"refused"`
		Lines   []line `json:"lines"`
	}{"invalid", text, text, p.written, p.bad, lines})
}

// printable keeps a header to one line of plain letters.
func printable(c rune) rune {
	if c < ' ' || c > '~' {
		return '?'
	}
	return c
}

// partialPrometheus answers 400, which Prometheus does not repeat.
func (r *request) partialPrometheus(p partial) error {
	r.ctx.SetStatusCode(fasthttp.StatusBadRequest)
	r.ctx.SetContentType("text/plain; charset=utf-8")
	r.ctx.SetBodyString(p.summary() + "\n")
	r.told(p.written)
	return nil
}

// told sets the heads of remote write 2.0 that tell what was written.
func (r *request) told(samples int) {
	h := &r.ctx.Response.Header
	h.Set("X-Prometheus-Remote-Write-Samples-Written", strconv.Itoa(samples))
	h.Set("X-Prometheus-Remote-Write-Histograms-Written", "0")
	h.Set("X-Prometheus-Remote-Write-Exemplars-Written", "0")
}

// influxVersion is what InfluxDB's clients are told; they only look whether
// there is one.
const influxVersion = "1.8.10"

// influxPing answers InfluxDB's clients that something is there.
func (r *request) influxPing() error {
	r.ctx.Response.Header.Set("X-Influxdb-Version", influxVersion)
	r.ctx.SetStatusCode(fasthttp.StatusNoContent)
	return nil
}

// influxQuery takes the statement with which Telegraf begins. A database needs
// no making here; anything else is not answered by weir.
func (r *request) influxQuery() error {
	if !r.ctx.IsPost() && !r.ctx.IsGet() {
		p := refuse(405, "bad-method", "%s is not possible here; use POST", r.ctx.Method())
		p.allow = "GET, POST"
		return p
	}
	statement := r.target.value("q")
	if r.contentType() == typeForm {
		body, err := r.read(&r.body, r.body.length, 64<<10)
		if err != nil {
			return err
		}
		if q := (target{query: string(body)}).value("q"); q != "" {
			statement = q
		}
	}
	if !strings.HasPrefix(strings.ToUpper(strings.TrimSpace(statement)), "CREATE DATABASE ") {
		return refuse(400, "bad-query", "weir answers no InfluxQL but CREATE DATABASE; read GET /streams/NAME and /arrays/NAME")
	}
	r.ctx.Response.Header.Set("X-Influxdb-Version", influxVersion)
	return r.json(map[string]any{"results": []any{map[string]any{"statement_id": 0}}})
}
