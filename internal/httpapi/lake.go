package httpapi

import (
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"weir/lake"
)

// lakeFolder is where people read the data lake.
const lakeFolder = "/lake"

// maxLakeForm bounds the body of a call, in bytes.
const maxLakeForm = 1 << 20

// A lakeCall is a script of Wendelin's site that ebulk calls, with GET or POST,
// below any folder.
type lakeCall struct {
	changes bool
	serve   func(*request, url.Values) error
}

func lakeCalls() map[string]lakeCall {
	return map[string]lakeCall{
		"ERP5Site_checkIngestionReferenceExists": {changes: true, serve: (*request).lakeExists},
		"ERP5Site_getDataStreamList":             {serve: (*request).lakeList},
		"ERP5Site_getDataStreamCount":            {serve: (*request).lakeCount},
		"ERP5Site_getDataStreamChunk":            {serve: (*request).lakeChunk},
		"ERP5Site_getDescriptorHTMLContent":      {serve: (*request).lakeDescriptor},
		"ERP5Site_getIngestionConstantsJson":     {serve: (*request).lakeConstants},
		"ERP5Site_invalidateIngestionObjects":    {changes: true, serve: (*request).lakeRemove},
		"ERP5Site_renameIngestion":               {changes: true, serve: (*request).lakeRename},
		"ERP5Site_increaseDatasetVersion":        {changes: true, serve: (*request).lakeVersion},
		"ERP5Site_setDatasetDescription":         {changes: true, serve: (*request).lakeDescribe},
	}
}

// lakeRoute finds the route of a request for the data lake.
func lakeRoute(method string, t target) *route {
	if _, ok := t.under(lakeFolder); ok {
		if method == fasthttp.MethodPost && t.isLakeSet() {
			return routeLakeChange
		}
		return routeLakeFiles
	}
	_, script, _ := cutLast(t.path, '/')
	if !strings.HasPrefix(script, "ERP5Site_") {
		return nil
	}
	call, ok := lakeCalls()[script]
	switch {
	case !ok:
		return nil
	case call.changes:
		return routeLakeChange
	}
	return routeLake
}

// isLakeSet tells whether a path is that of a set, not of a file in it.
func (t target) isLakeSet() bool {
	set, ok := t.under(lakeFolder)
	set = strings.TrimSuffix(set, "/")
	return ok && set != "" && !strings.Contains(set, "/")
}

// policyOfLake is the policy that uploads to the data lake name.
func (r *request) policyOfLake() []string { return []string{r.s.LakePolicy} }

// serveLake answers a call.
func (r *request) serveLake() error {
	if r.s.Lake == nil {
		return r.notFound()
	}
	if r.ctx.IsPost() {
		if _, ok := r.target.under(lakeFolder); ok {
			return r.lakeState()
		}
	} else if !r.ctx.IsGet() && (!r.ctx.IsHead() || r.route.takes) {
		p := refuse(405, "bad-method", "%s is not possible here; use GET or POST", r.ctx.Method())
		p.allow = "GET, POST"
		return p
	}
	fields, err := r.lakeFields()
	if err != nil {
		return err
	}
	_, script, _ := cutLast(r.target.path, '/')
	return lakeCalls()[script].serve(r, fields)
}

// lakeFields gives the fields of the query and of a form.
func (r *request) lakeFields() (url.Values, error) {
	fields, err := url.ParseQuery(r.target.query)
	if err != nil {
		return nil, refuse(400, "bad-query", "the query is badly encoded: %v", err)
	}
	body, err := r.read(&r.body, r.body.length, maxLakeForm)
	if err != nil {
		return nil, err
	}
	if r.contentType() != typeForm {
		return fields, nil
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, refuse(400, "bad-form", "the form is badly encoded: %v", err)
	}
	maps.Copy(fields, form)
	return fields, nil
}

// lakeExists answers TRUE when an upload is not to be sent, as text.
func (r *request) lakeExists(f url.Values) error {
	ref, err := lake.ParseReference(f.Get("reference"))
	if err != nil {
		return err
	}
	exists, err := r.s.Lake.Exists(ref)
	if err != nil {
		return err
	}
	r.ctx.SetContentType("text/plain; charset=utf-8")
	r.ctx.SetBodyString(strings.ToUpper(strconv.FormatBool(exists)))
	return nil
}

// lakeList lists a set's files.
func (r *request) lakeList(f url.Values) error {
	var bad error
	offset, most := whole32(f, "offset", &bad), whole32(f, "batch_size", &bad)
	if bad != nil {
		return bad
	}
	return r.lakeJSON(struct {
		Code   int           `json:"status_code"`
		Result []lake.Listed `json:"result"`
	}{0, r.s.Lake.List(f.Get("data_set_reference"), offset, most)})
}

// whole32 reads a field that is a number of things; a missing one is 0.
func whole32(f url.Values, name string, bad *error) int {
	text := f.Get(name)
	if text == "" {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil && *bad == nil {
		*bad = refuse(400, "bad-query", "%s=%s is no whole number", name, text)
	}
	return int(n)
}

// lakeCount counts the parts of a set's files.
func (r *request) lakeCount(f url.Values) error {
	return r.lakeJSON(struct {
		Code   int `json:"status_code"`
		Result int `json:"result"`
	}{0, r.s.Lake.Count(f.Get("data_set_reference"))})
}

// lakeChunk answers with bytes of a part. Offsets may be written as 1.0e6.
func (r *request) lakeChunk(f url.Values) error {
	var at [2]int64
	for i, name := range []string{"start_offset", "end_offset"} {
		n, err := strconv.ParseFloat(f.Get(name), 64)
		if err != nil || math.IsNaN(n) {
			return refuse(400, "bad-query", "%s=%s is no number of bytes", name, f.Get(name))
		}
		at[i] = int64(max(0, min(n, 1<<60)))
	}
	chunk, err := r.s.Lake.Chunk(f.Get("id"), at[0], at[1])
	if err != nil {
		return err
	}
	return r.sendLake(chunk, time.Time{})
}

// sendLake answers with a range of a stream.
func (r *request) sendLake(chunk lake.Range, modified time.Time) error {
	generation := chunk.Stream.State().Generation
	return r.send(resource{
		size: chunk.To - chunk.From, kind: "application/octet-stream", modified: modified,
		etag: fmt.Sprintf(`"%s-%d-%d-%d"`, chunk.Stream.Name(), generation, chunk.From, chunk.To),
		open: func(sp span) (io.ReadCloser, error) {
			return chunk.Stream.Reader(generation, chunk.From+sp.start, chunk.From+sp.end)
		},
	})
}

// lakeDescriptor tells of a file in one sentence.
func (r *request) lakeDescriptor(f url.Values) error {
	file, err := r.s.Lake.Find(f.Get("reference"))
	text := "No metadata available for this type of file yet"
	if err == nil {
		text = fmt.Sprintf("%s: %d bytes in %d parts, MD5 %s, SHA-256 %s", lake.Title(file.Reference), file.Size(), len(file.Parts), file.MD5, file.SHA256)
	}
	return r.lakeJSON(map[string]string{"metadata": text})
}

// lakeConstants tells the words that references are made of.
func (r *request) lakeConstants(url.Values) error {
	return r.lakeJSON(map[string]any{
		"invalid_suffix": lake.InvalidSuffix, "split_end_suffix": lake.EndSplit, "single_end_suffix": lake.EndSingle,
		"split_first_suffix": lake.FirstSplit, "none_extension": lake.NoExtension, "reference_separator": lake.Separator,
		"complex_files_extensions": []string{"fif", "nii", ".nii/gz"}, "reference_length": lake.Fields,
		"invalid_chars": strings.Split(lake.InvalidChars, ""),
	})
}

// done answers a change that worked.
func (r *request) done(err error) error {
	if err == nil {
		r.ctx.SetStatusCode(fasthttp.StatusNoContent)
	}
	return err
}

func (r *request) lakeRemove(f url.Values) error {
	return r.done(r.s.Lake.Remove(f.Get("reference")))
}

func (r *request) lakeRename(f url.Values) error {
	return r.done(r.s.Lake.Rename(f.Get("reference"), f.Get("new_reference")))
}

func (r *request) lakeVersion(f url.Values) error {
	return r.done(r.s.Lake.IncreaseVersion(f.Get("reference")))
}

// lakeDescribe gives a set its description, which comes as Base64. A plus
// that the client did not encode came as a space.
func (r *request) lakeDescribe(f url.Values) error {
	text := strings.ReplaceAll(strings.Trim(f.Get("data_chunk"), " \r\n"), " ", "+")
	plain, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return refuse(400, "bad-encoding", "data_chunk is not whole Base64: %v", err)
	}
	if err := r.s.Lake.Describe(f.Get("dataset"), string(plain)); err != nil {
		return err
	}
	return r.lakeJSON(struct {
		Code    int    `json:"status_code"`
		Message string `json:"message"`
	}{0, "Dataset description successfully set."})
}

// lakeJSON answers with JSON as Python writes it, with a space behind each
// colon and comma: ebulk reads it as YAML, to which these matter.
func (r *request) lakeJSON(v any) error {
	if err := r.json(v); err != nil {
		return err
	}
	r.ctx.Response.SetBodyRaw(spaced(r.ctx.Response.Body()))
	return nil
}

// spaced puts a space behind each colon and comma that is not in a text.
func spaced(plain []byte) []byte {
	out := make([]byte, 0, len(plain)+len(plain)/8)
	text, escaped := false, false
	for _, c := range plain {
		out = append(out, c)
		switch {
		case escaped:
			escaped = false
		case text && c == '\\':
			escaped = true
		case c == '"':
			text = !text
		case !text && (c == ':' || c == ','):
			out = append(out, ' ')
		}
	}
	return out
}

// A lakeSet is a set as people see it.
type lakeSet struct {
	lake.Set
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
}

// lakeStates are what a POST to a set's address may ask for.
var lakeStates = map[string]lake.State{"publish": lake.Published, "invalidate": lake.Invalidated, "validate": lake.Validated}

// lakeState publishes or invalidates a set: POST /lake/SET?action=publish.
func (r *request) lakeState() error {
	set, title, err := r.lakePath()
	if err != nil {
		return err
	}
	to, ok := lakeStates[r.target.value("action")]
	if set == "" || title != "" || !ok {
		return refuse(400, "bad-query", "use POST /lake/SET?action=ACTION with one of %s", strings.Join(slices.Sorted(maps.Keys(lakeStates)), ", "))
	}
	return r.done(r.s.Lake.SetState(set, to))
}

// lakePath gives the set and the file that an address names.
func (r *request) lakePath() (set, title string, err error) {
	escaped, _ := r.target.under(lakeFolder)
	set, title, _ = strings.Cut(escaped, "/")
	if set, err = unescape(set); err == nil {
		title, err = unescape(title)
	}
	if err != nil {
		return "", "", refuse(400, "bad-encoding", "the address %q is badly percent-encoded", escaped)
	}
	return set, title, nil
}

// lakeFiles answers below /lake: the sets, a set's files, a file's bytes.
func (r *request) lakeFiles() error {
	if r.s.Lake == nil {
		return r.notFound()
	}
	set, title, err := r.lakePath()
	switch {
	case err != nil:
		return err
	case set == "":
		return r.lakeSets()
	case title == "":
		return r.lakeSet(set)
	}
	file, chunk, err := r.s.Lake.Open(set, title)
	if err != nil {
		return err
	}
	return r.sendLake(chunk, time.UnixMilli(file.At))
}

func (r *request) lakeSets() error {
	list := []lakeSet{}
	for _, s := range r.s.Lake.Sets() {
		one := lakeSet{Set: s}
		for _, f := range r.s.Lake.List(s.Name, 0, 0) {
			one.Files++
			one.Bytes += f.FullSize
		}
		list = append(list, one)
	}
	return r.json(struct {
		Sets []lakeSet `json:"sets"`
	}{list})
}

func (r *request) lakeSet(name string) error {
	set, err := r.s.Lake.Set(name)
	if err != nil {
		return err
	}
	type file struct {
		Title string `json:"title"`
		URL   string `json:"url"`
		lake.Listed
	}
	listed := r.s.Lake.List(name, 0, 0)
	titles := map[string]int{}
	for _, f := range listed {
		titles[lake.Title(f.Reference)]++
	}
	list := []file{}
	for _, f := range listed {
		title := lake.Title(f.Reference)
		at := title
		if titles[title] > 1 {
			at = strings.TrimPrefix(f.Reference, name+"/")
		}
		list = append(list, file{title, lakeFolder + "/" + url.PathEscape(name) + "/" + (&url.URL{Path: at}).EscapedPath(), f})
	}
	return r.json(struct {
		lake.Set
		Files []file `json:"files"`
	}{set, list})
}
