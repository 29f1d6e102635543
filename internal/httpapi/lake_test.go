package httpapi

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"weir/lake"
)

// startLake starts a weir with a data lake.
func startLake(t *testing.T) *weir {
	t.Helper()
	return start(t, func(o *Options) {
		l, err := lake.Open(lake.Options{Streams: o.Streams})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		o.Lake, o.LakePolicy = l, "default_ebulk"
	})
}

// push sends a file as ebulk does: a form with lines of Base64.
func (w *weir) pushLake(reference, data string) answer {
	w.t.Helper()
	var text strings.Builder
	for line := range slices.Chunk([]byte(data), 45) {
		text.WriteString(base64.StdEncoding.EncodeToString(line) + "\n")
	}
	form := url.Values{"data_chunk": {text.String()}}.Encode()
	return w.do("POST", "/erp5/portal_ingestion_policies/default_ebulk/ingest?reference="+reference, strings.NewReader(form), "Content-Type", typeForm)
}

// call calls a script; fields are name and value in turn.
func (w *weir) call(method, script string, fields ...string) answer {
	w.t.Helper()
	v := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		v.Set(fields[i], fields[i+1])
	}
	if method == "POST" {
		return w.do(method, "/erp5/"+script, strings.NewReader(v.Encode()), "Content-Type", typeForm)
	}
	return w.do(method, "/some/prefix/"+script+"?"+v.Encode(), nil)
}

func md5Of(s string) string { b := md5.Sum([]byte(s)); return hex.EncodeToString(b[:]) }

// A push in parts and a pull, with the calls that ebulk makes.
func TestLakePushAndPull(t *testing.T) {
	t.Parallel()
	w := startLake(t)
	parts := []string{strings.Repeat("a\x00\xff", 100_000), strings.Repeat("b", 70_000), "end"}
	all := strings.Join(parts, "")
	tail := fmt.Sprintf("/%d/%s", len(all), md5Of(all))
	w.call("POST", "ERP5Site_checkIngestionReferenceExists", "reference", "sup/my set/rec/day 1/fif/001"+tail).want(t, 200, "FALSE")
	for i, mark := range []string{"001", "002", "EOF"} {
		w.call("GET", "ERP5Site_getDataStreamList", "data_set_reference", "my set").want(t, 200, `{"status_code": 0, "result": []}`)
		w.pushLake("sup/my%20set/rec/day%201/fif/"+mark+tail, parts[i]).want(t, 204, "")
	}
	again := w.pushLake("sup/my%20set/rec/day%201/fif/EOF"+tail, parts[2])
	again.want(t, 204, "")
	again.wantHeader(t, headerDuplicate, "true")
	w.call("POST", "ERP5Site_checkIngestionReferenceExists", "reference", "sup/my set/rec/day 1/fif/END//").want(t, 200, "TRUE")

	var list struct {
		Code   int `json:"status_code"`
		Result []struct {
			ID        string
			Reference string
			LargeHash string `json:"large-hash"`
			FullSize  int64  `json:"full-size"`
			Parts     []struct {
				ID, Hash string
				Size     int64
			} `json:"data-stream-list"`
		}
	}
	a := w.call("GET", "ERP5Site_getDataStreamList", "data_set_reference", "my set", "offset", "0", "batch_size", "10")
	a.want(t, 200, `"full-size": 370003, "data-stream-list": [{"id": "data_stream_module/sup_my set_`)
	if err := json.Unmarshal([]byte(a.body), &list); err != nil || len(list.Result) != 1 || list.Result[0].Reference != "my set/rec/day 1/fif" {
		t.Fatalf("list: %s, %v", a.body, err)
	}
	w.call("POST", "ERP5Site_getDataStreamCount", "data_set_reference", "my set").want(t, 200, `{"status_code": 0, "result": 3}`)
	var pulled strings.Builder
	for _, p := range list.Result[0].Parts {
		const step = 50_000
		var part strings.Builder
		for at := int64(0); at < p.Size; at += step {
			a := w.call("POST", "ERP5Site_getDataStreamChunk", "id", p.ID, "start_offset", fmt.Sprintf("%d.0", at), "end_offset", fmt.Sprint(at+step))
			a.want(t, 200, "")
			part.WriteString(a.body)
		}
		if md5Of(part.String()) != p.Hash {
			t.Errorf("part %s has other bytes than its hash says", p.ID)
		}
		pulled.WriteString(part.String())
	}
	if pulled.String() != all {
		t.Errorf("%d bytes were pulled, %d pushed", pulled.Len(), len(all))
	}
	w.get("/lake/").want(t, 200, `"name":"my set","version":0,"state":"validated","files":1,"bytes":370003`)
	w.get("/lake/my%20set/").want(t, 200, `"url":"/lake/my%20set/rec/day%201.fif"`)
	w.get("/lake/my%20set/rec/day%201.fif").want(t, 200, "")
	if a := w.get("/lake/my%20set/rec/day%201.fif", "Range", "bytes=369999-"); a.status != 206 || a.body != "bend" {
		t.Errorf("a range: %d %q", a.status, a.body)
	}
}

func TestLakeForms(t *testing.T) {
	t.Parallel()
	w := startLake(t)
	const at = "/x/portal_ingestion_policies/default_ebulk/ingest?reference=s/set/f/csv/END//"
	text := base64.StdEncoding.EncodeToString([]byte("hello?>~~"))
	for name, c := range map[string]struct {
		target, body, kind string
		status             int
		text               string
	}{
		"form":             {at, "data_chunk=" + url.QueryEscape(text), typeForm, 204, ""},
		"form, plus as is": {at, "data_chunk=" + text, typeForm, 204, ""},
		"second field":     {at, "x=y&data_chunk=" + url.QueryEscape(text) + "&z=1", typeForm, 204, ""},
		"not a form":       {at, text, typeForm, 204, ""},
		"plain body":       {at, text, "application/octet-stream", 204, ""},
		"lines":            {at, text[:4] + "\r\n" + text[4:8] + " \n" + text[8:], "text/plain", 204, ""},
		"in the query":     {at + "&data_chunk=" + url.QueryEscape(text), "", "", 204, ""},
		"multipart":        {at, "--B\r\nContent-Disposition: form-data; name=\"data_chunk\"\r\n\r\n" + text + "\r\n--B--\r\n", "multipart/form-data; boundary=B", 204, ""},
		"no such part":     {at, "--B\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n" + text + "\r\n--B--\r\n", "multipart/form-data; boundary=B", 400, "data_chunk"},
		"no boundary":      {at, text, "multipart/form-data", 400, "boundary"},
		"no Base64":        {at, "data_chunk=hello%3F", typeForm, 400, "Base64"},
		"half Base64":      {at, "data_chunk=" + text[:len(text)-1], typeForm, 400, "Base64"},
		"bad escape":       {at, "data_chunk=aGVs%zz", typeForm, 400, "percent"},
		"half escape":      {at, "data_chunk=aGVs%4", typeForm, 400, "percent"},
		"bad in query":     {at + "&data_chunk=%zz", "", "", 400, "percent"},
		"no reference":     {strings.Replace(at, "?reference=s/set/f/csv/END//", "", 1), text, "", 400, "fields"},
		"short reference":  {strings.Replace(at, "s/set/f/csv/END//", "s/set/f/csv", 1), text, "", 400, "fields"},
		"wrong size":       {at[:len(at)-2] + "/10/", text, "", 400, "not what was announced"},
	} {
		a := w.do("POST", c.target, strings.NewReader(c.body), "Content-Type", c.kind)
		a.want(t, c.status, c.text)
		got := w.get("/lake/set/f.csv")
		if c.status == 204 {
			got.want(t, 200, "hello?>~~")
			w.call("GET", "ERP5Site_invalidateIngestionObjects", "reference", "set/f/csv").want(t, 204, "")
		} else if got.status != 404 {
			t.Errorf("%s: the set has %q", name, got.body)
		}
	}
	w.do("GET", at, nil).want(t, 400, "Only POST")
}

func TestLakeCalls(t *testing.T) {
	t.Parallel()
	w := startLake(t)
	w.pushLake("s/set/f/csv/END//", "hello").want(t, 204, "")
	for _, c := range []struct {
		method, script string
		fields         []string
		status         int
		text           string
	}{
		{"GET", "ERP5Site_getIngestionConstantsJson", nil, 200, `"split_end_suffix": "EOF"`},
		{"GET", "ERP5Site_getDescriptorHTMLContent", []string{"reference", "set/f/csv"}, 200, `{"metadata": "f.csv: 5 bytes in 1 parts, MD5 5d41402abc4b2a76b9719d911017c592`},
		{"GET", "ERP5Site_getDescriptorHTMLContent", []string{"reference", "set/x/csv"}, 200, `"No metadata available for this type of file yet"`},
		{"POST", "ERP5Site_increaseDatasetVersion", []string{"reference", "set"}, 204, ""},
		{"POST", "ERP5Site_increaseDatasetVersion", []string{"reference", "none"}, 404, "no set"},
		{"POST", "ERP5Site_setDatasetDescription", []string{"dataset", "set", "data_chunk", base64.StdEncoding.EncodeToString([]byte("what it is"))}, 200, `"status_code": 0`},
		{"POST", "ERP5Site_setDatasetDescription", []string{"dataset", "set", "data_chunk", "?"}, 400, "Base64"},
		{"POST", "ERP5Site_setDatasetDescription", []string{"dataset", "none", "data_chunk", ""}, 404, "no set"},
		{"POST", "ERP5Site_renameIngestion", []string{"reference", "set/f/csv", "new_reference", "set/g/txt"}, 204, ""},
		{"POST", "ERP5Site_renameIngestion", []string{"reference", "set/f/csv", "new_reference", "set/h/txt"}, 404, "no file"},
		{"POST", "ERP5Site_renameIngestion", []string{"reference", "set/g/txt", "new_reference", "set/g/txt"}, 409, "exists"},
		{"GET", "ERP5Site_getDataStreamChunk", []string{"id", "data_stream_module/x", "start_offset", "0", "end_offset", "1"}, 404, "no data stream"},
		{"GET", "ERP5Site_getDataStreamChunk", []string{"id", "x", "start_offset", "zero", "end_offset", "1"}, 400, "start_offset"},
		{"GET", "ERP5Site_getDataStreamList", []string{"data_set_reference", "set", "offset", "-1"}, 400, "offset"},
		{"GET", "ERP5Site_getDataStreamList", []string{"data_set_reference", "none"}, 200, `{"status_code": 0, "result": []}`},
		{"POST", "ERP5Site_checkIngestionReferenceExists", []string{"reference", "s/set"}, 400, "fields"},
		{"DELETE", "ERP5Site_getDataStreamList", nil, 405, ""},
		{"HEAD", "ERP5Site_renameIngestion", []string{"reference", "set/g/txt", "new_reference", "set/k/txt"}, 405, ""},
		{"GET", "ERP5Site_newCredentialRequest", nil, 404, ""},
	} {
		a := w.call(c.method, c.script, c.fields...)
		if a.status != c.status || !strings.Contains(a.body, c.text) {
			t.Errorf("%s %s %v: %d %q, want %d with %q", c.method, c.script, c.fields, a.status, a.body, c.status, c.text)
		}
	}
	w.get("/lake/set").want(t, 200, `"version":1,"description":"what it is","state":"validated","files":[{"title":"g.txt"`)
	w.do("POST", "/lake/set?action=publish", nil).want(t, 204, "")
	w.get("/lake/set/").want(t, 200, `"state":"published"`)
	w.do("POST", "/lake/set?action=validate", nil).want(t, 409, "cannot become")
	w.do("POST", "/lake/set?action=burn", nil).want(t, 400, "publish")
	w.do("POST", "/lake/none?action=publish", nil).want(t, 404, "no set")
	w.do("POST", "/lake/set?action=invalidate", nil).want(t, 204, "")
	w.get("/lake/set/g.txt").want(t, 404, "no file")
	// A page of another site may not change it, even with a plain link.
	a := w.do("GET", "/erp5/ERP5Site_increaseDatasetVersion?reference=set", nil, "Sec-Fetch-Site", "cross-site")
	a.want(t, 403, "another site")
}

// Without a lake its addresses are nothing, and its policy is like any other.
func TestNoLake(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.call("GET", "ERP5Site_getDataStreamCount").want(t, 404, "")
	w.get("/lake/").want(t, 404, "")
	w.pushLake("s/set/f/csv/END//", "x").want(t, 404, "no ingestion policy")
}

// A part whose connection breaks is not kept.
func TestLakeBrokenBody(t *testing.T) {
	t.Parallel()
	w := startLake(t)
	c := w.dial()
	c.say("POST /portal_ingestion_policies/default_ebulk/ingest?reference=s/set/f/csv/END// HTTP/1.1\r\nHost: x\r\nContent-Type: " + typeForm + "\r\nContent-Length: 100\r\n\r\ndata_chunk=aGVsbG8=")
	if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if a := c.hear("POST"); a.status != 400 || !strings.Contains(a.body, "ended early") {
		t.Errorf("%d %q", a.status, a.body)
	}
	w.get("/lake/set/").want(t, 404, "")
}

// TestFieldReader: the field comes out the same however the form comes in.
func TestFieldReader(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 3*fieldRoom)
	for _, c := range []struct {
		form, want string
		err        error
	}{
		{"data_chunk=abc", "abc", nil},
		{"data_chunk=", "", nil},
		{"a=b&data_chunk=a%2Bb+c%3D&d=e", "a+b+c=", nil},
		{"data_chunk=" + long, long, nil},
		{"data_chunk=" + strings.Repeat("%41", fieldRoom), strings.Repeat("A", fieldRoom), nil},
		{long, long, nil},
		{"", "", nil},
		{"xdata_chunk=abc", "xdata_chunk=abc", nil},
		{"data_chunk=abc%", "abc", errEscape},
		{"data_chunk=abc%4", "abc", errEscape},
		{"data_chunk=abc%4g", "abc", errEscape},
	} {
		for name, r := range map[string]io.Reader{
			"whole": strings.NewReader(c.form), "bytes": iotest.OneByteReader(strings.NewReader(c.form)),
			"early end": iotest.DataErrReader(strings.NewReader(c.form)),
		} {
			got, err := io.ReadAll(newFieldReader(r))
			if !errors.Is(err, c.err) || string(got) != c.want {
				t.Errorf("%.30q, %s: %d bytes %.30q, %v; want %.30q, %v", c.form, name, len(got), got, err, c.want, c.err)
			}
		}
	}
	broken := errors.New("broken")
	if _, err := io.ReadAll(newFieldReader(io.MultiReader(strings.NewReader("data_chunk=ab"), iotest.ErrReader(broken)))); err != broken {
		t.Errorf("a form that breaks off: %v", err)
	}
}

// FuzzFieldReader compares what comes out of a form in pieces with what a
// form that is there as a whole says.
func FuzzFieldReader(f *testing.F) {
	for _, s := range []string{"data_chunk=abc", "a=b&data_chunk=a%2Bb&c=d", "data_chunk=%4", "plain", "&data_chunk=", "%data_chunk=%%"} {
		f.Add(s, 3)
	}
	f.Fuzz(func(t *testing.T, form string, piece int) {
		want, wantErr := form, error(nil)
		if at := fieldAt([]byte(form)); at >= 0 {
			value, _, _ := strings.Cut(form[at:], "&")
			want, wantErr = unescape(value)
		}
		got, err := io.ReadAll(newFieldReader(inPieces{strings.NewReader(form), 1 + max(0, piece)%64}))
		if (err != nil) != (wantErr != nil) || err == nil && string(got) != want {
			t.Errorf("%q: %q, %v; want %q, %v", form, got, err, want, wantErr)
		}
	})
}

type inPieces struct {
	r io.Reader
	n int
}

func (p inPieces) Read(b []byte) (int, error) { return p.r.Read(b[:min(len(b), p.n)]) }

// Two files of one title are listed with addresses of their own.
func TestLakeOneTitleOfTwoFiles(t *testing.T) {
	t.Parallel()
	w := startLake(t)
	w.pushLake("lab/set/day1/csv/END//", "with").want(t, 204, "")
	w.pushLake("lab/set/day1.csv/none/END//", "without").want(t, 204, "")
	w.get("/lake/set/day1.csv").want(t, 409, "set/day1/csv and set/day1.csv/none")
	list := w.get("/lake/set/", "Accept", "application/json").body
	for at, want := range map[string]string{"/lake/set/day1/csv": "with", "/lake/set/day1.csv/none": "without"} {
		if !strings.Contains(list, `"url":"`+at+`"`) {
			t.Errorf("the list has no %s: %s", at, list)
		}
		w.get(at).want(t, 200, want)
	}
}
