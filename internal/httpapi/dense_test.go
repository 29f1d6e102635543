package httpapi

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"strings"
	"testing"

	"weir/arrays"
	"weir/policies"
)

// withSensor starts a weir with a group of metrics of n rows, a minute apart,
// and numbers 0, 1, … n-1.
func withSensor(t *testing.T, n int) *weir {
	t.Helper()
	w := startWith(t, policies.Policy{Name: "m", Match: "m.**", Keep: policies.Verbatim, Array: &arrays.Spec{Kind: "metrics"}})
	var entries bytes.Buffer
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&entries, "\x92%s\x82\xa1p\xcb%s\xa4word\xa2w%d", be32(0xce, uint32(1700000000+60*i)), be64(float64(i)/2), i%2)
		fmt.Fprintf(&text, "%d\n", i)
	}
	w.ingest("m", "m.room", entries.Bytes()).want(t, 204, "")
	w.put("/streams/numbers.n", text.String()).want(t, 201, "")
	w.build("m.room")
	w.build("numbers.n")
	return w
}

func be32(lead byte, n uint32) string { return string(binary.BigEndian.AppendUint32([]byte{lead}, n)) }

func be64(f float64) string { return string(binary.BigEndian.AppendUint64(nil, math.Float64bits(f))) }

func le64(n uint64) string { return string(binary.LittleEndian.AppendUint64(nil, n)) }

func f8(values ...float64) string {
	var b strings.Builder
	for _, v := range values {
		b.WriteString(le64(math.Float64bits(v)))
	}
	return b.String()
}

func TestArrayBytes(t *testing.T) {
	t.Parallel()
	w := withSensor(t, 100)
	const records = ":records:int="
	for _, tc := range []struct {
		target, body string
		status       int
		headers      []string
	}{
		{"numbers.n?slice_index.start:records:int=3&slice_index.stop:records:int=6", f8(3, 4, 5), 200, nil},
		{"numbers.n/value?slice_index.start=-2", f8(98, 99), 200, nil},
		{"numbers.n?slice_index.start" + records + "9&slice_index.stop" + records + "0&slice_index.step" + records + "-4", f8(9, 5, 1), 200, nil},
		{"numbers.n?slice_index.start%3Arecords%3Aint=98", f8(98, 99), 200, nil},
		{"numbers.n?slice_index.start=200&1700000000", "", 200, nil},
		{"numbers.n", f8(1, 2), 206, []string{"Range", "bytes=8-23"}},
		{"numbers.n", f8(99), 206, []string{"Range", "bytes=-8"}},
		{"numbers.n?slice_index.start=50", f8(50), 206, []string{"Range", "bytes=0-7"}},
		{"numbers.n", "", 416, []string{"Range", "bytes=800-"}},
		{"m.room?slice_index.start=1&slice_index.stop=3&list_index:list=p", f8(.5, 1), 200, nil},
		{"m.room?slice_index.start=1&slice_index.stop=2&list_index:list=p&list_index:list=time", f8(.5) + le64(1700000060e9), 200, nil},
		{"m.room?slice_index.start=2&slice_index.stop=3", le64(1700000120e9) + f8(1) + "\x01\x00\x00\x00", 200, nil},
		{"m.room/word?slice_index.stop=2", "\x01\x00\x00\x00\x02\x00\x00\x00", 200, nil},
		{"m.room?list_index:list=none", "", 400, nil},
		{"m.room/p?list_index:list=p", "", 400, nil},
		{"numbers.n?slice_index.start=1&slice_index.start=2", "", 400, nil},
		{"numbers.n?slice_index.step=0", "", 400, nil},
		{"numbers.n?slice_index.end=1", "", 400, nil},
		{"numbers.n?slice_index.start=1.5", "", 400, nil},
		{"numbers.n?slice_index.start=99999999999999999999", "", 400, nil},
		{"numbers.n?format=zarr", "", 400, nil},
		{"numbers.none", "", 404, nil},
	} {
		a := w.get("/arrays/"+tc.target, tc.headers...)
		if a.status != tc.status || tc.status < 300 && a.body != tc.body {
			t.Errorf("%s %v: %d %q, not %d %q", tc.target, tc.headers, a.status, a.body, tc.status, tc.body)
		}
	}
	a := w.get("/arrays/numbers.n")
	a.wantHeader(t, "Content-Length", "800")
	w.get("/arrays/numbers.n", "If-None-Match", a.header.Get("ETag")).want(t, 304, "")
	waitFor(t, func() bool { return w.s.answers.used() == 0 })
}

func TestArrayDescription(t *testing.T) {
	t.Parallel()
	w := withSensor(t, 100)
	for target, want := range map[string]string{
		"numbers.n": `{"array_shape":[100],"array_dtype":"float64","size":800}`,
		"m.room": `{"array_shape":[100],"array_dtype":"[('time', '\u003cM8[ns]'), ('p', '\u003cf8'), ('word', '\u003cu4')]","size":2000,` +
			`"start_date":"2023-11-14T22:13:20Z","stop_date":"2023-11-14T23:52:20Z","related_variation":"60 S"}`,
	} {
		a := w.get("/arrays/" + target + "?format=json")
		a.wantHeader(t, "Content-Type", "application/json")
		if a.status != 200 || strings.TrimSpace(a.body) != want {
			t.Errorf("%s: %d %s, not %s", target, a.status, a.body, want)
		}
		if !json.Valid([]byte(a.body)) {
			t.Errorf("%s is no JSON", a.body)
		}
	}
}

func TestArrayFiles(t *testing.T) {
	t.Parallel()
	w := withSensor(t, 100)
	raw := w.get("/arrays/numbers.n").body
	file := w.get("/arrays/numbers.n?format=npy")
	file.wantHeader(t, "Content-Disposition", `attachment; filename="value.npy"`)
	if file.status != 200 || !strings.HasPrefix(file.body, "\x93NUMPY\x01\x00") || !strings.HasSuffix(file.body, raw) || len(file.body) != 128+800 {
		t.Errorf("npy: %d and %d bytes", file.status, len(file.body))
	}
	for _, part := range [][2]int{{0, 5}, {120, 135}, {128, 130}, {500, 927}} {
		a := w.get("/arrays/numbers.n?format=npy", "Range", fmt.Sprintf("bytes=%d-%d", part[0], part[1]))
		if a.status != 206 || a.body != file.body[part[0]:part[1]+1] {
			t.Errorf("bytes %v of the npy: %d and %d bytes", part, a.status, len(a.body))
		}
	}
	blob := w.get("/arrays/numbers.n?format=blob")
	if blob.body[:6] != "\x92WEN\x00\x01" || blob.body[10:] != file.body ||
		binary.LittleEndian.Uint32([]byte(blob.body[6:])) != crc32.ChecksumIEEE([]byte(file.body)) {
		t.Errorf("blob: %d and %d bytes: %q…", blob.status, len(blob.body), blob.body[:10])
	}
	a := w.get("/arrays/m.room?format=npz&slice_index.start=90")
	a.wantHeader(t, "Content-Type", "application/zip")
	z, err := zip.NewReader(strings.NewReader(a.body), int64(len(a.body)))
	if err != nil || len(z.File) != 3 {
		t.Fatalf("npz: %d and %d bytes, %v", a.status, len(a.body), err)
	}
	f, err := z.File[1].Open()
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(f); err != nil || z.File[1].Name != "p.npy" || !strings.HasSuffix(string(b), f8(45, 45.5, 46, 46.5, 47, 47.5, 48, 48.5, 49, 49.5)) {
		t.Errorf("%s in the npz: %d bytes, %v", z.File[1].Name, len(b), err)
	}
	for _, format := range []string{"raw", "npy", "npz", "blob", "json"} {
		if head := w.do("HEAD", "/arrays/m.room?format="+format, nil); head.status != 200 || head.body != "" {
			t.Errorf("HEAD of %s: %d %q", format, head.status, head.body)
		}
	}
	waitFor(t, func() bool { return w.s.answers.used() == 0 })
}

// A query is read without a panic, and what is taken can be sliced.
func FuzzSelection(f *testing.F) {
	f.Add("slice_index.start:records:int=1&slice_index.stop:records:int=2&list_index:list=a")
	f.Add("slice_index.=1&slice_index.step=%2&x")
	f.Fuzz(func(t *testing.T, query string) {
		fields, slices, err := target{query: query}.selection()
		if err != nil && (fields != nil || slices != nil) {
			t.Error("an error, and a selection")
		}
		if len(fields)+len(slices) > strings.Count(query, "&")+1 {
			t.Errorf("%d fields and %d slices of %q", len(fields), len(slices), query)
		}
	})
}
