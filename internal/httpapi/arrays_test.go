package httpapi

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"weir/arrays"
)

// withNumbers starts a weir with a group of numbers.
func withNumbers(t *testing.T, name, text string) *weir {
	t.Helper()
	w := start(t)
	w.put("/streams/"+strings.ReplaceAll(name, "/", "%2F"), text).want(t, 201, "")
	w.build(name)
	return w
}

func TestZarrKeys(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"numbers.a", "numbers/a/b.c", "numbers/c/1"} {
		w := withNumbers(t, name, "1,2,3\n4,5\n")
		at := "/arrays/" + name

		a := w.get(at + "/zarr.json")
		a.want(t, 200, `"consolidated_metadata"`)
		a.wantHeader(t, "Content-Type", "application/json")
		a.wantHeader(t, "Cache-Control", "no-cache")
		var group struct {
			NodeType string `json:"node_type"`
		}
		if err := json.Unmarshal([]byte(a.body), &group); err != nil || group.NodeType != "group" {
			t.Errorf("%s/zarr.json is no group: %v %s", at, err, a.body)
		}
		w.get(at+"/zarr.json", "If-None-Match", a.header.Get("ETag")).want(t, 304, "")
		w.get(at+"/value/zarr.json").want(t, 200, `"array"`)
		chunk := w.get(at + "/value/c/0")
		chunk.want(t, 200, "")
		if part := w.get(at+"/value/c/0", "Range", "bytes=0-15"); part.status != 206 || part.body != chunk.body[:16] {
			t.Errorf("a range of a chunk gives %d and %d bytes", part.status, len(part.body))
		}
		if parts := w.get(at+"/value/c/0", "Range", "bytes=0-3,8-11"); parts.status != 206 ||
			!strings.Contains(parts.body, chunk.body[:4]) || !strings.Contains(parts.body, chunk.body[8:12]) {
			t.Errorf("two ranges of a chunk give %d and %d bytes", parts.status, len(parts.body))
		}
		if head := w.do("HEAD", at+"/value/c/0", nil); head.status != 200 || head.body != "" ||
			head.header.Get("Content-Length") != fmt.Sprint(len(chunk.body)) {
			t.Errorf("HEAD gives %d %v", head.status, head.header)
		}
		for _, missing := range []string{"/value/c/1", "/value/c/00", "/value/c/0/0", "/value/c", "/other/zarr.json",
			"/.zgroup", "/.zattrs", "/.zmetadata", "/", "/value/", "/../../etc/passwd", "/%2e%2e/zarr.json", "/value/c/-1"} {
			a := w.get(at + missing)
			a.want(t, 404, "\n")
			if strings.Contains(a.body, "<") || len(a.body) > 200 {
				t.Errorf("%s is answered with %q, not with a short text", missing, a.body)
			}
		}
	}
}

func TestZarrETagFollowsGrowth(t *testing.T) {
	t.Parallel()
	w := withNumbers(t, "numbers.grow", "1\n2\n")
	before := w.get("/arrays/numbers.grow/zarr.json")
	tail := w.get("/arrays/numbers.grow/value/c/0")
	w.do("POST", "/streams/numbers.grow", strings.NewReader("3\n")).want(t, 200, "")
	w.build("numbers.grow")
	after := w.get("/arrays/numbers.grow/zarr.json", "If-None-Match", before.header.Get("ETag"))
	after.want(t, 200, "")
	w.get("/arrays/numbers.grow/value/c/0", "If-None-Match", tail.header.Get("ETag")).want(t, 200, "")
	// Replacing the stream replaces what is at the address of a chunk.
	w.put("/streams/numbers.grow", "7\n").want(t, 200, "")
	w.build("numbers.grow")
	w.get("/arrays/numbers.grow/value/c/0", "If-None-Match", tail.header.Get("ETag")).want(t, 200, "")
}

func TestZarrRootAndListing(t *testing.T) {
	t.Parallel()
	w := withNumbers(t, "numbers.b", "1\n")
	w.put("/streams/numbers.a", "1\n2\n")
	w.build("numbers.a")
	w.get("/arrays/zarr.json").want(t, 200, `"node_type":"group"`)
	for _, at := range []string{"/arrays", "/arrays/"} {
		var list struct {
			Arrays []arrays.Info
			Next   string
		}
		unmarshal(t, w.get(at), &list)
		if len(list.Arrays) != 2 || list.Arrays[0].Name != "numbers.a" || list.Arrays[0].Arrays[0].Shape[0] != 2 || list.Next != "" {
			t.Errorf("%s lists %+v", at, list)
		}
	}
	var page struct {
		Arrays []arrays.Info
		Next   string
	}
	unmarshal(t, w.get("/arrays/?limit=1"), &page)
	if len(page.Arrays) != 1 || page.Next != "numbers.a" {
		t.Errorf("a page of one is %+v", page)
	}
	unmarshal(t, w.get("/arrays/?limit=1&after="+page.Next), &page)
	if len(page.Arrays) != 1 || page.Arrays[0].Name != "numbers.b" {
		t.Errorf("the next page is %+v", page)
	}
}

func unmarshal(t *testing.T, a answer, v any) {
	t.Helper()
	if a.status != http.StatusOK || !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
		t.Fatalf("the answer is %d %s %q", a.status, a.header.Get("Content-Type"), a.body)
	}
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
}

func TestArrayAPI(t *testing.T) {
	t.Parallel()
	w := withNumbers(t, "numbers/x.y", "1,2\nnan\n4\n-inf\n")
	var info arrays.Info
	unmarshal(t, w.get("/api/arrays/numbers/x.y"), &info)
	if info.Kind != "numbers" || len(info.Arrays) != 1 || info.Arrays[0].DataType != "float64" {
		t.Errorf("the info is %+v", info)
	}
	a := w.get("/api/arrays/numbers%2Fx.y/value/slice?start=1&stop=4")
	a.want(t, 200, "")
	a.wantHeader(t, "Weir-Data-Type", "float64")
	a.wantHeader(t, "Weir-Shape", "3")
	a.wantHeader(t, "Weir-Start", "1")
	var rows []float64
	for b := []byte(a.body); len(b) >= 8; b = b[8:] {
		rows = append(rows, math.Float64frombits(binary.LittleEndian.Uint64(b)))
	}
	if len(rows) != 3 || rows[0] != 2 || !math.IsNaN(rows[1]) || rows[2] != 4 {
		t.Errorf("the slice is %v", rows)
	}
	var plot struct {
		Index    []int64
		Min, Max []*float64
	}
	unmarshal(t, w.get("/api/arrays/numbers/x.y/value/plot?points=5"), &plot)
	two := 2.0
	if !reflect.DeepEqual(plot.Index, []int64{0, 1, 2, 3, 4}) || len(plot.Min) != 5 || *plot.Min[1] != two || plot.Max[2] != nil {
		t.Errorf("the plot is %+v", plot)
	}
	for target, status := range map[string]int{
		"/api/arrays/none":                                 404,
		"/api/arrays/none/value/plot":                      404,
		"/api/arrays/numbers/x.y/none/plot":                404,
		"/api/arrays/numbers/x.y/none/slice":               404,
		"/api/arrays/":                                     404,
		"/api/arrays/numbers/x.y/value/plot?points=0":      400,
		"/api/arrays/numbers/x.y/value/plot?points=999999": 400,
		"/api/arrays/numbers/x.y/value/plot?start=x":       400,
		"/api/arrays/numbers/x.y/value/plot?column=7":      404,
		"/api/arrays/numbers/x.y/value/plot?column=-1":     404,
		"/api/arrays/numbers/x.y/value/slice?stop=1e3":     400,
		"/api/nothing":                                     404,
	} {
		w.get(target).want(t, status, "\n")
	}
}
