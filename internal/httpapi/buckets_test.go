package httpapi

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/tinylib/msgp/msgp"

	"weir/policies"
)

// bucketed starts a weir with policies of buckets and messages.
func bucketed(t *testing.T) *weir {
	t.Helper()
	return start(t, func(o *Options) {
		var err error
		o.Policies, err = policies.New(policies.Options{Streams: o.Streams, Log: slog.New(slog.DiscardHandler), Policies: []policies.Policy{
			{Name: "drone", Match: "drone/**", Keep: policies.Buckets},
			{Name: "mqtt", Match: "mqtt.**", Keep: policies.Messages},
			{Name: "raw", Match: "**", Keep: policies.Verbatim},
		}})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// fields is an entry [0, map] of names and values in turn.
func fields(list ...string) []byte {
	b := msgp.AppendMapHeader([]byte{0x92, 0}, uint32(len(list)/2))
	for _, f := range list {
		b = msgp.AppendString(b, f)
	}
	return b
}

func TestBuckets(t *testing.T) {
	t.Parallel()
	w := bucketed(t)
	w.get("/buckets/drone/1").want(t, 404, "drone/1")
	for i, key := range []string{"two words", "b", "a", "b"} {
		w.ingest("drone", "drone/1", fields("filepath", "/data/"+key, "message", fmt.Sprintf("value %d", i))).want(t, 204, "")
	}
	w.get("/buckets/drone/1?key=b").want(t, 200, "value 3")
	w.get("/buckets/drone%2F1?index=1").want(t, 200, "value 3") // the key's newest
	a := w.get("/buckets/drone/1?key=two+words")
	a.want(t, 200, "value 0")
	a.wantHeader(t, "Weir-Key", "two%20words")
	a.wantHeader(t, "Weir-Index", "0")
	if a.body != "value 0" {
		t.Errorf("the value is %q", a.body)
	}
	w.get("/buckets/drone/1?key=a", "If-None-Match", w.get("/buckets/drone/1?key=a").header.Get("Etag")).want(t, 304, "")
	part := w.get("/buckets/drone/1?key=a", "Range", "bytes=6-6")
	if part.status != 206 || part.body != "2" {
		t.Errorf("%d %q", part.status, part.body)
	}
	w.get("/buckets/drone/1").want(t, 200, `"keys":3,"count":4`)
	w.get("/buckets/drone/1?order=key&start=b&limit=1").want(t, 200, `"buckets":[{"key":"b","index":3,"size":7`)
	w.get("/buckets/drone/1?start=2&stop=3").want(t, 200, `"buckets":[{"key":"a","index":2`)
	w.do("DELETE", "/buckets/drone/1?key=b", nil).want(t, 204, "")
	w.get("/buckets/drone/1?key=b").want(t, 404, `"b"`)
	w.get("/buckets/drone/1?index=1").want(t, 404, "")
	w.get("/buckets/drone/1").want(t, 200, `"keys":2,"count":2`)
	w.ingest("raw", "plain", entry("x")).want(t, 204, "")
	for _, c := range []struct {
		method, target string
		status         int
	}{
		{"GET", "/buckets/plain", 400}, {"GET", "/buckets/drone/1?index=x", 400}, {"GET", "/buckets/drone/1?order=size", 400},
		{"GET", "/buckets/drone/1?start=x", 400}, {"GET", "/buckets/drone/1?limit=0", 400}, {"DELETE", "/buckets/drone/1", 400},
		{"DELETE", "/buckets/drone/1?key=none", 404}, {"POST", "/buckets/drone/1", 405}, {"PUT", "/streams/drone/1", 400}, {"GET", "/buckets/", 404},
	} {
		if a := w.do(c.method, c.target, strings.NewReader("x")); a.status != c.status {
			t.Errorf("%s %s: %d %s, want %d", c.method, c.target, a.status, a.body, c.status)
		}
	}
}

func TestMessages(t *testing.T) {
	t.Parallel()
	w := bucketed(t)
	for _, payload := range []string{"21", "22"} {
		w.ingest("mqtt", "mqtt.data", fields("topic", "room/temperature", "payload", payload)).want(t, 204, "")
	}
	w.get("/buckets/mqtt.data?index=0").want(t, 200, "21")
	w.get("/buckets/mqtt.data?key=room%2Ftemperature").want(t, 200, "22")
	w.get("/buckets/mqtt.data").want(t, 200, `"count":2`)
	w.get("/streams/mqtt.data?format=jsonl").want(t, 200, "room/temperature")
}
