package master

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"weir/slap"
)

// filled is a master with nodes of n busy partitions each.
func filled(tb testing.TB, nodes, n int) *bench {
	b := newBench(tb, Options{})
	for k := range nodes {
		id := fmt.Sprintf("node-%d", k)
		b.formatNode(id, n)
		for p := range n {
			b.ask(b.Client, slap.Request{Reference: fmt.Sprintf("i%d.%d", k, p), Filter: map[string]any{"computer_guid": id},
				Parameters: map[string]any{"size": int64(3), "_": `{"a": [1, 2, 3], "b": "text with <signs>"}`}})
		}
	}
	return b
}

// BenchmarkFullInformation answers a node of 200 busy partitions, with 2,000
// partitions in the master; the handler alone, without the network.
func BenchmarkFullInformation(b *testing.B) {
	m := filled(b, 10, 200)
	r := httptest.NewRequest(http.MethodGet, "/getFullComputerInformation?computer_id=node-0", nil)
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		m.master.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatal(w.Body)
		}
		b.SetBytes(int64(w.Body.Len()))
	}
}

// BenchmarkRequest asks again for instances that are there, which is nearly
// all that recipes do.
func BenchmarkRequest(b *testing.B) {
	m := filled(b, 1, 200)
	form := url.Values{"software_release": {sr}, "software_type": {"default"}, "partition_reference": {"i0.7"}, "state": {"<marshal><none/></marshal>"},
		"shared_xml": {"<marshal><bool>0</bool></marshal>"}, "filter_xml": {`<marshal><dictionary id="i2"><string>computer_guid</string><string>node-0</string></dictionary></marshal>`},
		"partition_parameter_xml": {`<marshal><dictionary id="i2"><string>size</string><int>3</int><string>_</string><string>{"a": [1, 2, 3], "b": "text with &amp;lt;signs&amp;gt;"}</string></dictionary></marshal>`}}.Encode()
	before := m.dump()
	b.SetBytes(int64(len(form)))
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest(http.MethodPost, "/requestComputerPartition", strings.NewReader(form))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		m.master.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatal(w.Body)
		}
	}
	if m.dump() != before {
		b.Fatal("the requests changed something")
	}
}

// BenchmarkChange changes a parameter each time, on a disk in memory.
func BenchmarkChange(b *testing.B) {
	m := filled(b, 1, 200)
	b.ReportAllocs()
	for k := 0; b.Loop(); k++ {
		_, err := m.Request(context.Background(), slap.Request{Reference: "i0.7", Software: sr, Parameters: map[string]any{"k": int64(k)}})
		if err != nil {
			b.Fatal(err)
		}
	}
}
