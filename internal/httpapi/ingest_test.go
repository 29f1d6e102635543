package httpapi

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"mime/multipart"
	"net/url"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/tinylib/msgp/msgp"
)

// vectorA1 is Wendelin's own test: the text of the numbers 0 to 100,000, ten a
// line, and the chunk that carries it, [0, text] as msgpack.
func vectorA1(t testing.TB) (text string, chunk []byte) {
	t.Helper()
	var b strings.Builder
	for i := range 100001 {
		b.WriteString(fmt.Sprint(i))
		if i%10 == 9 || i == 100000 {
			b.WriteByte('\n')
		} else {
			b.WriteByte(',')
		}
	}
	text = b.String()
	chunk = msgp.AppendArrayHeader(nil, 2)
	chunk = msgp.AppendInt(chunk, 0)
	chunk = msgp.AppendString(chunk, text)
	sum := md5.Sum([]byte(text))
	if hex.EncodeToString(sum[:]) != "9ab92a072f5f532f3d1d45dda2e3aba9" || len(text) != 588897 || len(chunk) != 588904 {
		t.Fatalf("vector A1 is not built as its facts say: %x, %d bytes, %d bytes", sum, len(text), len(chunk))
	}
	return text, chunk
}

func TestIngestVectorA1(t *testing.T) {
	t.Parallel()
	text, chunk := vectorA1(t)
	form := fieldChunk + url.QueryEscape(string(chunk))
	if len(form) != 788929 {
		t.Fatalf("the form has %d bytes, not 788929", len(form))
	}
	for name, post := range map[string]func(w *weir) answer{
		"octet-stream": func(w *weir) answer { return w.ingest("numbers", "numbers.a1", chunk) },
		"form": func(w *weir) answer {
			return w.ingest("numbers", "numbers.a1", []byte(form), "Content-Type", typeForm)
		},
		"chunked transfer": func(w *weir) answer {
			return w.do("POST", "/x/portal_ingestion_policies/numbers//ingest?reference=numbers.a1",
				struct{ *bytes.Reader }{bytes.NewReader(chunk)}, "Content-Type", "application/octet-stream")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			a := post(w)
			a.want(t, 204, "")
			if a.body != "" {
				t.Errorf("the answer has a body: %q", a.body)
			}
			if got := w.content("numbers.a1"); got != text {
				t.Errorf("the stream has %d bytes, not the %d that were sent", len(got), len(text))
			}
			if got := w.get("/streams/numbers.a1").body; got != text {
				t.Errorf("reading gives %d bytes, not the %d that were sent", len(got), len(text))
			}
		})
	}
}

// Vector A9: one msgpack array of pairs is kept as it came.
func TestIngestVectorA9(t *testing.T) {
	t.Parallel()
	w := start(t)
	body := msgp.AppendArrayHeader(nil, 10001)
	for i := range 10001 {
		body = msgp.AppendArrayHeader(body, 2)
		body = msgp.AppendInt(body, i)
		body = msgp.AppendFloat64(body, float64(i)/2)
	}
	w.ingest("raw", "raw.test_sensor.test_product", body).want(t, 204, "")
	if w.content("raw.test_sensor.test_product") != string(body) {
		t.Error("the stream is not the body")
	}
}

// entry is a chunk of one record.
func entry(text string) []byte {
	b := msgp.AppendArrayHeader(nil, 2)
	b = msgp.AppendInt(b, 1700000000)
	return msgp.AppendString(b, text)
}

func TestIngestBodyShapes(t *testing.T) {
	t.Parallel()
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	chunk := entry(string(all))
	var multi bytes.Buffer
	m := multipart.NewWriter(&multi)
	field, _ := m.CreateFormField("other")
	field.Write([]byte("x"))
	field, _ = m.CreateFormFile("data_chunk", "chunk.bin")
	field.Write(chunk)
	m.Close()
	const at = "/portal_ingestion_policies/raw/ingest?reference=raw.shape"
	for _, tc := range []struct{ name, target, kind, body string }{
		{"octet stream", at, "application/octet-stream", string(chunk)},
		{"no type", at, "", string(chunk)},
		{"form", at, typeForm, fieldChunk + url.QueryEscape(string(chunk))},
		{"form with charset", at, typeForm + "; charset=UTF-8", fieldChunk + url.QueryEscape(string(chunk))},
		{"form, all escaped", at, typeForm, fieldChunk + escapeAll(chunk)},
		{"form with another field", at, typeForm, "a=b&" + fieldChunk + url.QueryEscape(string(chunk)) + "&c=d"},
		{"curl --data-binary", at, typeForm, string(chunk)},
		{"query", at + "&data_chunk=" + url.QueryEscape(string(chunk)), "", ""},
		{"query first", "/portal_ingestion_policies/raw/ingest?data_chunk=" + url.QueryEscape(string(chunk)) + "&reference=raw.shape", "", ""},
		{"multipart", at, m.FormDataContentType(), multi.String()},
		{"long prefix", "/a/b/erp5" + at, "application/octet-stream", string(chunk)},
		{"two slashes", "/erp5/portal_ingestion_policies/raw//ingest?reference=raw.shape", "application/octet-stream", string(chunk)},
		{"encoded tag", "/portal_ingestion_policies/raw/ingest?reference=raw%2eshape", "application/octet-stream", string(chunk)},
		{"gzip", at, "gzip", string(gzipped(chunk))},
		{"two gzip members", at, "gzip", string(gzipped(chunk[:100])) + string(gzipped(chunk[100:]))},
		{"zstd", at, "zstd", string(zstded(chunk))},
		{"two zstd frames", at, "zstd", string(zstded(chunk[:100])) + string(zstded(chunk[100:]))},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			headers := []string{"Content-Type", tc.kind}
			if tc.kind == "gzip" || tc.kind == "zstd" {
				headers = []string{"Content-Encoding", tc.kind}
			}
			w.do("POST", tc.target, strings.NewReader(tc.body), headers...).want(t, 204, "")
			if got := w.content("raw.shape"); got != string(chunk) {
				t.Errorf("the stream holds %x, not %x", got, chunk)
			}
		})
	}
}

func escapeAll(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		fmt.Fprintf(&s, "%%%02x", c)
	}
	return s.String()
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write(b)
	z.Close()
	return out.Bytes()
}

func zstded(b []byte) []byte {
	z, _ := zstd.NewWriter(nil)
	return z.EncodeAll(b, nil)
}

// Every refusal of an ingestion has its status and a text that helps, keeps
// nothing, and is counted by its reason.
func TestIngestRefusals(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.ingest("raw", "raw.mine", entry("x")).want(t, 204, "")
	const at = "/portal_ingestion_policies/raw/ingest?reference=raw.no"
	chunk := string(entry("x"))
	for _, tc := range []struct {
		name, method, target, kind, body string
		status                           int
		text, reason                     string
	}{
		{"get", "GET", at, "", "", 400, "Only POST request is allowed.", "bad-method"},
		{"put", "PUT", at, "", chunk, 400, "Only POST request is allowed.", "bad-method"},
		{"unknown policy", "POST", "/portal_ingestion_policies/row/ingest?reference=raw.no", "", chunk, 404, "raw, numbers", "unknown-policy"},
		{"policy in bad escapes", "POST", "/portal_ingestion_policies/%25zz/ingest?reference=raw.no", "", chunk, 404, "%zz", "unknown-policy"},
		{"no query", "POST", "/portal_ingestion_policies/raw/ingest", "", chunk, 400, "reference=TAG", "missing-reference"},
		{"empty tag", "POST", "/portal_ingestion_policies/raw/ingest?reference=", "", chunk, 400, "reference=TAG", "missing-reference"},
		{"reserved tag", "POST", "/portal_ingestion_policies/raw/ingest?reference=_dead", "", chunk, 400, "_dead", ""},
		{"long tag", "POST", "/portal_ingestion_policies/raw/ingest?reference=" + strings.Repeat("x", 2000), "", chunk, 400, "", ""},
		{"another policy's stream", "POST", "/portal_ingestion_policies/files/ingest?reference=raw.mine", "", chunk, 409, "raw.mine", ""},
		{"no body", "POST", at, "", "", 400, "no data", "empty-body"},
		{"empty field", "POST", at, typeForm, "data_chunk=", 400, "no data", "empty-body"},
		{"empty gzip", "POST", at, "gzip", string(gzipped(nil)), 400, "no data", "empty-body"},
		{"bad escape", "POST", at, typeForm, "data_chunk=%9", 400, "percent", "bad-encoding"},
		{"bad escape in the query", "POST", at + "&data_chunk=%9", "", "", 400, "percent", "bad-encoding"},
		{"no boundary", "POST", at, typeMultipart, "x", 400, "boundary", "bad-form"},
		{"no field", "POST", at, typeMultipart + "; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\ny\r\n--b--\r\n", 400, "data_chunk", "bad-form"},
		{"cut form", "POST", at, typeMultipart + "; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"data_chunk\"\r\n\r\ny", 400, "form", "bad-form"},
		{"broken entries", "POST", "/portal_ingestion_policies/numbers/ingest?reference=numbers.no", "", "\x92\x00", 400, "numbers", ""},
	} {
		before := w.s.Stats().Refused[tc.reason]
		headers := []string{"Content-Type", tc.kind}
		if tc.kind == "gzip" {
			headers = []string{"Content-Encoding", tc.kind}
		}
		a := w.do(tc.method, tc.target, strings.NewReader(tc.body), headers...)
		if a.status != tc.status || !strings.Contains(a.body, tc.text) {
			t.Errorf("%s: %d %q, not %d with %q", tc.name, a.status, a.body, tc.status, tc.text)
		}
		if tc.reason != "" && w.s.Stats().Refused[tc.reason] != before+1 {
			t.Errorf("%s: it was not counted as %s: %v", tc.name, tc.reason, w.s.Stats().Refused)
		}
		a = w.do(tc.method, tc.target, strings.NewReader(tc.body), append(headers, "Accept", "application/json")...)
		if a.status != tc.status || a.header.Get("Content-Type") != "application/problem+json" || !strings.Contains(a.body, `"type":"urn:weir:`) {
			t.Errorf("%s: as JSON it is %d %s %q", tc.name, a.status, a.header.Get("Content-Type"), a.body)
		}
	}
	w.absent("raw.no")
	w.absent("numbers.no")
	if got := w.content("raw.mine"); got != chunk {
		t.Errorf("the stream of another policy holds %q", got)
	}
	if c, _ := w.refused("unknown-policy"); c.Bytes != int64(len(chunk))*4 {
		t.Errorf("unknown policies took %d bytes, not %d", c.Bytes, len(chunk)*4)
	}
}

// A tag as fluentd's plugin puts it in the address, byte for byte.
func TestIngestRawTags(t *testing.T) {
	t.Parallel()
	w := start(t)
	for target, tag := range map[string]string{
		"raw.a/b/c":            "raw.a/b/c",
		"raw.a:b":              "raw.a:b",
		"raw.a://b":            "raw.a://b",
		"raw.a=b&c=d":          "raw.a=b&c=d",
		"raw.a+b":              "raw.a+b",
		"raw.100%":             "raw.100%",
		"raw.\xc3\xa9":         "raw.é",
		"raw.a%20b":            "raw.a b",
		"raw.a?b":              "raw.a?b",
		"raw.ors1_COMP_e0x1A3": "raw.ors1_COMP_e0x1A3",
	} {
		c := w.dial()
		body := entry(tag)
		c.say(fmt.Sprintf("POST /erp5/portal_ingestion_policies/raw/ingest?reference=%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", target, len(body), body))
		if a := c.hear("POST"); a.status != 204 {
			t.Errorf("%s: %d %q", target, a.status, a.body)
			continue
		}
		if got := w.content(tag); got != string(body) {
			t.Errorf("%s: the stream %q holds %q", target, tag, got)
		}
	}
}
