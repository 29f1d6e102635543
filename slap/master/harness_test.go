package master

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"weir/internal/vfs"
	"weir/slap"
	"weir/streams"
)

const (
	sr      = "http://sr.example/demo/software.cfg"
	other   = "http://sr.example/other/software.cfg"
	theNode = "node-0"
)

// A bench is a master on a disk in memory, behind a real listener.
type bench struct {
	*slap.Client
	t      testing.TB
	disk   *vfs.Mem
	store  *streams.Store
	master *Master
	http   *httptest.Server
	clock  time.Time
	o      Options
}

func newBench(t testing.TB, o Options) *bench {
	t.Helper()
	b := &bench{t: t, disk: vfs.NewMem(1 << 30), clock: time.Unix(1_800_000_000, 0), o: o}
	b.open()
	t.Cleanup(b.close)
	return b
}

// serveBench puts a master of the caller's behind a listener.
func serveBench(t testing.TB, m *Master) *bench {
	t.Helper()
	b := &bench{t: t, master: m, http: httptest.NewServer(m)}
	t.Cleanup(b.http.Close)
	var err error
	b.Client, err = slap.NewClient(slap.ClientOptions{URL: b.http.URL, HTTP: b.http.Client()})
	b.must(err)
	return b
}

// open starts a master on the disk.
func (b *bench) open() {
	b.t.Helper()
	var err error
	b.store, err = streams.Open("data", streams.Options{FS: b.disk, SegmentBytes: 1 << 20, MinFree: 1 << 20})
	if err != nil {
		b.t.Fatal(err)
	}
	o := b.o
	o.Streams, o.Log = b.store, slog.New(slog.NewTextHandler(io.Discard, nil))
	if o.Computer == "" {
		o.Computer = theNode
	}
	if o.Now == nil {
		o.Now = func() time.Time { return b.clock }
	}
	if b.master, err = New(o); err != nil {
		b.t.Fatal(err)
	}
	b.http = httptest.NewServer(b.master)
	if b.Client, err = slap.NewClient(slap.ClientOptions{URL: b.http.URL, HTTP: b.http.Client()}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) close() {
	b.http.Close()
	if err := b.store.Close(); err != nil {
		b.t.Error(err)
	}
}

// restart stops the master and starts one on the same disk.
func (b *bench) restart() {
	b.t.Helper()
	b.close()
	b.open()
}

// formatNode gives a computer n partitions.
func (b *bench) formatNode(id string, n int) {
	b.t.Helper()
	list := []any{}
	for k := range n {
		list = append(list, map[string]any{
			"reference": partitionID(k), "tap": map[string]any{"name": "tap" + partitionID(k)},
			"address_list": []any{map[string]any{"addr": "10.0.0.1", "netmask": "255.255.255.255"}},
		})
	}
	b.must(b.Format(context.Background(), map[string]any{"reference": id, "address": "::1", "netmask": "::", "partition_list": list}))
}

func partitionID(k int) string {
	return "slappart" + string(rune('0'+k/100)) + string(rune('0'+k/10%10)) + string(rune('0'+k%10))
}

func at(k int) slap.Place { return slap.Place{Computer: theNode, Partition: partitionID(k)} }

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// ask requests an instance, and wants it.
func (b *bench) ask(c *slap.Client, r slap.Request) *slap.Instance {
	b.t.Helper()
	if r.Software == "" {
		r.Software = sr
	}
	i, err := c.Request(context.Background(), r)
	if err != nil {
		b.t.Fatalf("request %q: %v", r.Reference, err)
	}
	return i
}

func (b *bench) partition(p slap.Place) *slap.Partition {
	b.t.Helper()
	row, err := b.Partition(context.Background(), p)
	if err != nil {
		b.t.Fatal(err)
	}
	return row
}

// raw sends a request as it is and gives status and body.
func (b *bench) raw(method, path, body string, header http.Header) (int, string) {
	b.t.Helper()
	r, err := http.NewRequest(method, b.http.URL+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	for k, v := range header {
		r.Header[http.CanonicalHeaderKey(k)] = v
	}
	c := *b.http.Client()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	a, err := c.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return a.StatusCode, string(text)
}

var formType = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}

// post sends a form of pairs.
func (b *bench) post(path string, pairs ...string) (int, string) {
	b.t.Helper()
	form := url.Values{}
	for k := 0; k < len(pairs); k += 2 {
		form.Set(pairs[k], pairs[k+1])
	}
	return b.raw(http.MethodPost, path, form.Encode(), formType)
}

// dump is the whole state as the records keep it.
func (b *bench) dump() string {
	b.t.Helper()
	rec, err := b.master.state.record(b.master.state.m.all(), true)
	b.must(err)
	return string(rec.Data)
}
