package httpapi

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// Vector A13: a blob is six bytes, the CRC-32 of the rest without a sign, and
// a .npy file; also where the sum is above 2^31, as it is of about every other
// array, and of an array without rows.
func TestBlobVectorA13(t *testing.T) {
	t.Parallel()
	w := withSensor(t, 100)
	const empty = "\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (0,), }"
	var above, below int
	for n := range 20 {
		slice := fmt.Sprintf("/arrays/numbers.n?slice_index.start:records:int=0&slice_index.stop:records:int=%d", n)
		a := w.get(slice + "&format=blob")
		head, file := a.body[:min(10, len(a.body))], a.body[min(10, len(a.body)):]
		if a.status != 200 || len(a.body) != 10+128+8*n || !strings.HasPrefix(head, "\x92WEN\x00\x01") {
			t.Fatalf("%d rows: %d, %d bytes, %q", n, a.status, len(a.body), head)
		}
		sum := crc32.ChecksumIEEE([]byte(file))
		if said := binary.LittleEndian.Uint32([]byte(head[6:])); said != sum {
			t.Errorf("%d rows: the sum is %08x, said %08x", n, sum, said)
		}
		if sum >= 1<<31 {
			above++
		} else {
			below++
		}
		if file != w.get(slice+"&format=npy").body || file[128:] != w.get(slice).body {
			t.Errorf("%d rows: the blob has another array", n)
		}
		if n == 0 && strings.TrimRight(file, " \n") != empty {
			t.Errorf("no rows are %q", file)
		}
	}
	if above == 0 || below == 0 {
		t.Errorf("%d sums above 2^31, %d below: both have to be seen", above, below)
	}
}

// No sender is told to look elsewhere: Ruby's client does not follow a 3xx, and
// fluentd would send the chunk again for ever.
func TestIngestionNeverRedirects(t *testing.T) {
	t.Parallel()
	const policies = "/portal_ingestion_policies"
	for name, w := range map[string]*weir{"open": start(t), "guarded": guarded(t), "lake": startLake(t)} {
		targets := []string{
			ingestRaw, "/" + strings.TrimPrefix(ingestRaw, "/erp5"), "/erp5" + policies + "/raw//ingest?reference=raw.a", "/erp5" + policies + "/raw/ingest/?reference=raw.a",
			"/erp5/../erp5" + policies + "/raw/./ingest?reference=raw.a", "//erp5//" + policies + "//raw//ingest?reference=raw.a", "/erp5" + policies + "/raw?reference=raw.a",
			"/erp5" + policies + "/raw/ingest", "/erp5" + policies + "/RAW/INGEST?reference=raw.a", "/erp5" + policies + "/none/ingest?reference=none.a",
			"/erp5" + policies + "/raw/ingest?reference=_dead", "/erp5" + policies + "/default_ebulk/ingest?reference=s/set/f/csv/END//", "/ingest?reference=raw.a",
		}
		headers := [][]string{
			nil, {"If-None-Match", "*"}, {"If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT"}, {"Content-Range", "bytes */*"}, {"Content-Range", "bytes 0-3/4"},
			{"Content-Type", typeForm}, {"Authorization", basicHeader("sender", "wrong")}, {"Authorization", basicHeader("sender", "pw")}, {"Host", "another.example"},
			{"X-Forwarded-Proto", "https"}, {"Upgrade-Insecure-Requests", "1"}, {"Idempotency-Key", "once"},
		}
		for _, method := range []string{"POST", "GET", "HEAD", "PUT"} {
			for _, target := range targets {
				for _, h := range headers {
					a := w.do(method, target, strings.NewReader(string(entry("x"))), h...)
					if a.status/100 == 3 || a.header.Get("Location") != "" {
						t.Errorf("%s: %s %s %q: %d, Location %q", name, method, target, h, a.status, a.header.Get("Location"))
					}
				}
			}
		}
	}
}

// A30: two addresses are sent to at once, each on one connection that is kept,
// and each body comes under the tag of its request.
func TestOneConnectionForEachAddress(t *testing.T) {
	t.Parallel()
	w := start(t)
	var all sync.WaitGroup
	for _, prefix := range []string{"/erp5", "/different_uri/"} {
		all.Go(func() {
			var dials atomic.Int32
			dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
				dials.Add(1)
				return new(net.Dialer).DialContext(ctx, network, addr)
			}
			transport := &http.Transport{DialContext: dial}
			defer transport.CloseIdleConnections()
			for i := range 50 {
				tag := fmt.Sprintf("raw.%s.%d", strings.Trim(prefix, "/"), i)
				answer, err := (&http.Client{Transport: transport}).Post(w.base+prefix+"/portal_ingestion_policies/raw/ingest?reference="+tag,
					"application/octet-stream", strings.NewReader(string(entry(tag))))
				if err != nil {
					t.Error(err)
					return
				}
				io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
				if answer.StatusCode != 204 {
					t.Errorf("%s: %d", tag, answer.StatusCode)
				} else if got := w.content(tag); got != string(entry(tag)) {
					t.Errorf("%s holds %q", tag, got)
				}
			}
			if n := dials.Load(); n != 1 {
				t.Errorf("%s: %d connections", prefix, n)
			}
		})
	}
	all.Wait()
}

// A23: two files of a set are listed by the set, and no file of another.
func TestLakeVectorA23(t *testing.T) {
	t.Parallel()
	w := startLake(t)
	files := map[string]string{"set/one/csv": "1;2\n", "set/two/csv": "3;4;5\n", "other/one/csv": "6\n"}
	for reference, data := range files {
		w.pushLake("supplier/"+reference+fmt.Sprintf("/END/%d/%s", len(data), md5Of(data)), data).want(t, 204, "")
	}
	for set, want := range map[string][]string{"set": {"set/one/csv", "set/two/csv"}, "other": {"other/one/csv"}, "none": nil} {
		var list struct {
			Result []struct {
				Reference string
				Size      int    `json:"full-size"`
				Hash      string `json:"large-hash"`
			}
		}
		a := w.call("GET", "ERP5Site_getDataStreamList", "data_set_reference", set)
		if err := json.Unmarshal([]byte(a.body), &list); err != nil {
			t.Fatal(a.body, err)
		}
		seen := url.Values{}
		for _, f := range list.Result {
			seen.Add(f.Reference, f.Hash)
			if f.Size != len(files[f.Reference]) || f.Hash != md5Of(files[f.Reference]) {
				t.Errorf("%s: %+v", set, f)
			}
		}
		for _, reference := range want {
			if len(seen[reference]) != 1 {
				t.Errorf("%s: %s is listed %d times", set, reference, len(seen[reference]))
			}
		}
		if len(list.Result) != len(want) {
			t.Errorf("%s: %s", set, a.body)
		}
		w.call("GET", "ERP5Site_getDataStreamCount", "data_set_reference", set).want(t, 200, fmt.Sprintf(`{"status_code": 0, "result": %d}`, len(want)))
	}
}
