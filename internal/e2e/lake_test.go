package e2e

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// An ebulk is a client of the data lake that makes its calls with curl, as
// Wendelin's ebulk makes them with Ruby.
type ebulk struct {
	t    *testing.T
	w    *weir
	curl string
	dir  string
}

func newEbulk(t *testing.T, w *weir) *ebulk {
	t.Helper()
	return &ebulk{t, w, command(t, "curl"), t.TempDir()}
}

// run runs curl and gives the status and the body of the answer.
func (e *ebulk) run(args ...string) (status int, body []byte, err error) {
	e.t.Helper()
	out := filepath.Join(e.dir, "out")
	if err := os.WriteFile(out, nil, 0o600); err != nil {
		e.t.Fatal(err)
	}
	told, err := exec.Command(e.curl, append([]string{"-sS", "-o", out, "-w", "%{http_code}"}, args...)...).Output()
	if err != nil {
		return 0, nil, err
	}
	status, _ = strconv.Atoi(string(told))
	body, err = os.ReadFile(out)
	return status, body, err
}

// call calls a script with POST and a form, and wants a status.
func (e *ebulk) call(want int, script string, fields ...string) []byte {
	e.t.Helper()
	args := []string{e.w.url("/erp5/" + script)}
	for i := 0; i < len(fields); i += 2 {
		args = append(args, "--data-urlencode", fields[i]+"="+fields[i+1])
	}
	status, body, err := e.run(args...)
	if err != nil || status != want {
		e.t.Fatalf("%s %v: %d, not %d: %s %v", script, fields, status, want, body, err)
	}
	return body
}

// send sends one part.
func (e *ebulk) send(reference string, part []byte) (status int, body []byte, err error) {
	e.t.Helper()
	file := filepath.Join(e.dir, "part")
	if err := os.WriteFile(file, []byte(base64.StdEncoding.EncodeToString(part)), 0o600); err != nil {
		e.t.Fatal(err)
	}
	return e.run("--max-time", "20", "--data-urlencode", "data_chunk@"+file,
		e.w.url("/erp5/portal_ingestion_policies/default_ebulk/ingest?reference="+strings.ReplaceAll(reference, " ", "%20")))
}

// push pushes a file in parts of a size, each part until it is answered.
func (e *ebulk) push(ref string, data []byte, size int) {
	e.t.Helper()
	tail := fmt.Sprintf("/%d/%s", len(data), md5Hex(data))
	count := max(1, (len(data)+size-1)/size)
	for i := range count {
		mark := fmt.Sprintf("%03d", i+1)
		switch {
		case count == 1:
			mark = "END"
		case i == count-1:
			mark = "EOF"
		}
		full := "lab/" + ref + "/" + mark + tail
		if i == 0 {
			if got := e.call(200, "ERP5Site_checkIngestionReferenceExists", "reference", full); string(got) != "FALSE" {
				e.t.Fatalf("%s exists: %s", full, got)
			}
		}
		part := data[i*size : min(len(data), (i+1)*size)]
		awaitFor(e.t, patience, full, func() bool {
			status, body, err := e.send(full, part)
			if err == nil && status != 204 && status/100 != 5 {
				e.t.Fatalf("%s: %d %s", full, status, body)
			}
			return err == nil && status == 204
		})
	}
}

// A pulled is a file as the list tells it.
type pulled struct {
	ID        string `json:"id"`
	Reference string `json:"reference"`
	LargeHash string `json:"large-hash"`
	FullSize  int    `json:"full-size"`
	Parts     []struct {
		ID   string `json:"id"`
		Size int    `json:"size"`
		Hash string `json:"hash"`
	} `json:"data-stream-list"`
}

func (e *ebulk) list(set string) []pulled {
	e.t.Helper()
	var all []pulled
	var count struct{ Result int }
	if err := json.Unmarshal(e.call(200, "ERP5Site_getDataStreamCount", "data_set_reference", set), &count); err != nil {
		e.t.Fatal(err)
	}
	var list struct {
		Code   int `json:"status_code"`
		Result []pulled
	}
	if err := json.Unmarshal(e.call(200, "ERP5Site_getDataStreamList", "data_set_reference", set), &list); err != nil || list.Code != 0 {
		e.t.Fatal(list.Code, err)
	}
	all = append(all, list.Result...)
	n := 0
	for _, f := range all {
		n += len(f.Parts)
	}
	if n != count.Result {
		e.t.Errorf("%d parts are listed, %d counted", n, count.Result)
	}
	return all
}

// pull reads a file part by part, and each part chunk by chunk.
func (e *ebulk) pull(f pulled) []byte {
	e.t.Helper()
	const step = 300_000
	var all []byte
	hashes := ""
	for _, p := range f.Parts {
		var part []byte
		for at := 0; at < p.Size; at += step {
			part = append(part, e.call(200, "ERP5Site_getDataStreamChunk", "id", p.ID, "start_offset", fmt.Sprint(at), "end_offset", fmt.Sprint(at+step))...)
		}
		if len(part) != p.Size || md5Hex(part) != p.Hash {
			e.t.Errorf("part %s: %d bytes with MD5 %s, listed are %d and %s", p.ID, len(part), md5Hex(part), p.Size, p.Hash)
		}
		hashes += p.Hash
		all = append(all, part...)
	}
	if hashes != f.LargeHash || len(all) != f.FullSize {
		e.t.Errorf("%s: %d bytes, listed are %d; large-hash %s", f.Reference, len(all), f.FullSize, f.LargeHash)
	}
	return all
}

func md5Hex(b []byte) string { s := md5.Sum(b); return hex.EncodeToString(s[:]) }

// TestLake pushes and pulls a set with every call that ebulk makes.
func TestLake(t *testing.T) {
	t.Parallel()
	w := start(t)
	e := newEbulk(t, w)
	files := map[string][]byte{
		"scans/subject 1/raw/fif":   noise(1, 2_500_000),
		"scans/subject 1/notes/txt": []byte("resting state, eyes open\n"),
		"scans/empty/none":          {},
		"scans/one/nii":             noise(2, 400_000),
	}
	for ref, data := range files {
		e.push(ref, data, 1_000_000)
	}
	check := func(set string, want map[string][]byte) {
		t.Helper()
		list := e.list(set)
		if len(list) != len(want) {
			t.Errorf("%d files are listed, want %d", len(list), len(want))
		}
		for _, f := range list {
			if data, ok := want[f.Reference]; !ok || !bytes.Equal(e.pull(f), data) {
				t.Errorf("%s: not among those pushed, or with other bytes", f.Reference)
			}
		}
	}
	check("scans", files)
	w.kill()
	w.up()
	check("scans", files)

	e.call(204, "ERP5Site_renameIngestion", "reference", "scans/one/nii", "new_reference", "scans/first/nii")
	e.call(204, "ERP5Site_invalidateIngestionObjects", "reference", "scans/empty/none")
	e.call(204, "ERP5Site_increaseDatasetVersion", "reference", "scans")
	e.call(200, "ERP5Site_setDatasetDescription", "dataset", "scans", "data_chunk", base64.StdEncoding.EncodeToString([]byte("of last week")))
	if b := e.call(200, "ERP5Site_getDescriptorHTMLContent", "reference", "scans/first/nii"); !bytes.Contains(b, []byte("400000 bytes")) {
		t.Errorf("descriptor: %s", b)
	}
	if b := e.call(200, "ERP5Site_getIngestionConstantsJson"); !json.Valid(b) {
		t.Errorf("constants: %s", b)
	}
	files["scans/first/nii"] = files["scans/one/nii"]
	delete(files, "scans/one/nii")
	delete(files, "scans/empty/none")
	check("scans", files)

	// People read it without ebulk.
	if status, body, err := e.run(w.url("/lake/scans/subject%201/raw.fif")); err != nil || status != 200 || !bytes.Equal(body, files["scans/subject 1/raw/fif"]) {
		t.Errorf("a file by its name: %d, %d bytes, %v", status, len(body), err)
	}
	if status, body, err := e.run("-X", "POST", w.url("/lake/scans?action=publish")); err != nil || status != 204 {
		t.Errorf("publish: %d %s %v", status, body, err)
	}
	if _, body, _ := e.run(w.url("/lake/scans")); !bytes.Contains(body, []byte(`"version":1,"description":"of last week","state":"published"`)) {
		t.Errorf("the set: %s", body)
	}
	// What was announced does not come.
	status, body, err := e.send("lab/scans/bad/fif/END/5/"+md5Hex([]byte("hello")), []byte("hellO"))
	if err != nil || status != 400 || !bytes.Contains(body, []byte("not what was announced")) {
		t.Errorf("other bytes than announced: %d %s %v", status, body, err)
	}
	check("scans", files)
}

// TestLakeKilled kills the server again and again while a file is pushed in
// parts: the set never has half of it, and at last it has it once.
func TestLakeKilled(t *testing.T) {
	t.Parallel()
	w := start(t)
	e := newEbulk(t, w)
	first, second := noise(3, 150_000), noise(4, 3_000_000)
	e.push("scans/f/fif", first, 1_000_000)
	stop, stopped := make(chan struct{}), make(chan struct{})
	var kills atomic.Int64
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(40+kills.Load()%7*35) * time.Millisecond):
			}
			w.kill()
			kills.Add(1)
			w.up()
			if got := w.do("GET", "/lake/scans/f.fif", nil); got.Status != 200 || !bytes.Equal(got.Body, first) && !bytes.Equal(got.Body, second) {
				t.Errorf("after kill %d the file has %d bytes, status %d", kills.Load(), len(got.Body), got.Status)
			}
		}
	}()
	func() {
		defer func() { close(stop); <-stopped }()
		tail := fmt.Sprintf("/%d/%s", len(second), md5Hex(second))
		for i := range 15 {
			mark := fmt.Sprintf("%03d", i+1)
			if i == 14 {
				mark = "EOF"
			}
			part := second[i*200_000 : (i+1)*200_000]
			awaitFor(t, patience, "another kill", func() bool { return kills.Load() >= int64(i/4) || t.Failed() })
			awaitFor(t, patience, "part "+mark, func() bool {
				status, body, err := e.send("lab/scans/f/fif/"+mark+tail, part)
				if err == nil && status == 409 {
					t.Errorf("part %s: %s", mark, body)
				}
				return err == nil && status == 204
			})
		}
	}()
	list := e.list("scans")
	if len(list) != 1 || len(list[0].Parts) != 15 || !bytes.Equal(e.pull(list[0]), second) {
		t.Errorf("after %d kills: %d files", kills.Load(), len(list))
	}
	t.Logf("%d kills", kills.Load())
}
