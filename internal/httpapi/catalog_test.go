package httpapi

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"weir/catalog"
	"weir/policies"
	"weir/streams"
	"weir/tags"
)

// catalogued starts a weir whose policies have grammars.
func catalogued(t *testing.T, list ...policies.Policy) *weir {
	t.Helper()
	return start(t, func(o *Options) {
		var err error
		if o.Catalog, err = catalog.Open(catalog.Options{Streams: o.Streams}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { o.Catalog.Close() })
		o.Policies, err = policies.New(policies.Options{Policies: list, Streams: o.Streams, Catalog: o.Catalog, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func simple() policies.Policy {
	return policies.Policy{Name: "default", Match: "**", Keep: policies.Verbatim, Grammar: &tags.Spec{Kind: tags.SensorProduct}}
}

func TestDataOfASupply(t *testing.T) {
	t.Parallel()
	w := catalogued(t, simple())
	json200 := []string{"Content-Type", "application/json"}
	w.ingest("default", "s.p", entry("x")).want(t, 404, `unknown data supply "s"`)
	w.do("PUT", "/api/supplies/s", strings.NewReader(`{"products": ["p"], "title": "S"}`), json200...).want(t, 200, `"state":"validated"`)
	w.ingest("default", "s.p", entry("x")).want(t, 204, "")
	w.ingest("default", "s.p.more", entry("y")).want(t, 204, "")
	w.ingest("default", "s.q", entry("x")).want(t, 404, `unknown data product "q"`)
	w.ingest("default", "nodot", entry("x")).want(t, 400, "write it like sensor1.temperature")
	if got := w.content("s.p"); got != string(entry("x"))+string(entry("y")) {
		t.Errorf("the stream of the sensor and product holds %q", got)
	}
	w.absent("s.p.more")
	w.put("/streams/s.p.more", "x").want(t, 400, `in the stream "s.p"`)
	w.get("/api/route?tag=s.p.more").want(t, 200, `"supply":"s"`)

	var list struct {
		Ingestions []catalog.Ingestion `json:"ingestions"`
		Next       string              `json:"next"`
	}
	if err := json.Unmarshal([]byte(w.get("/api/ingestions?limit=1").body), &list); err != nil || len(list.Ingestions) != 1 || list.Next == "" {
		t.Fatalf("%+v, %v", list, err)
	}
	id := list.Ingestions[0].ID
	w.get("/api/ingestions/"+id).want(t, 200, `"stream":"s.p"`)
	w.get("/api/ingestions?after="+id).want(t, 200, `"ingestions":[]`)
	w.get("/api/products/p").want(t, 200, `"state":"validated"`)
	w.get("/api/products").want(t, 200, `"reference":"p"`)
	w.get("/api/supplies").want(t, 200, `"title":"S"`)

	w.do("POST", "/api/supplies/s/invalidate", nil).want(t, 200, `"state":"invalidated"`)
	w.get("/api/ingestions/"+id).want(t, 200, `"state":"stopped"`)
	w.ingest("default", "s.p", entry("z")).want(t, 204, "") // as in Wendelin
	w.do("POST", "/api/ingestions/"+id+"/deliver", nil).want(t, 200, `"state":"delivered"`)
	w.ingest("default", "s.p", entry("z")).want(t, 409, "invalidated: validate it")
	if c, _ := w.s.Policies.Stats().Refused["not-open"]; c.Bytes != int64(len(entry("z"))) {
		t.Errorf("%d bytes are counted as refused", c.Bytes)
	}
	w.do("POST", "/api/supplies/s/validate", nil).want(t, 200, `"state":"validated"`)
	w.ingest("default", "s.p", entry("z")).want(t, 204, "")
}

func TestRequestsToTheCatalogThatCannotBe(t *testing.T) {
	t.Parallel()
	w := catalogued(t, simple())
	for _, c := range []struct {
		method, target, kind, body string
		status                     int
		text                       string
	}{
		{"GET", "/api/supplies/none", "", "", 404, `"none"`},
		{"GET", "/api/ingestions/a%2Fb", "", "", 404, "a/b"},
		{"GET", "/api/products?limit=x", "", "", 400, ""},
		{"PUT", "/api/supplies/s", "text/plain", `{}`, 415, "application/json"},
		{"PUT", "/api/supplies/s", "application/json", `{"product": []}`, 400, "product"},
		{"PUT", "/api/supplies/s", "application/json", `{"state": "started"}`, 400, "started"},
		{"PUT", "/api/supplies/s", "application/json", strings.Repeat(" ", 2<<20), 413, ""},
		{"PUT", "/api/products/s", "application/json", `{}`, 405, "PUT"},
		{"PUT", "/api/supplies", "application/json", `{}`, 405, ""},
		{"POST", "/api/supplies/s", "", "", 405, ""},
		{"POST", "/api/supplies/s/validate", "", "", 404, ""},
		{"DELETE", "/api/supplies/s", "", "", 405, ""},
	} {
		a := w.do(c.method, c.target, strings.NewReader(c.body), "Content-Type", c.kind)
		if a.status != c.status || !strings.Contains(a.body, c.text) {
			t.Errorf("%s %s: %d %s, want %d with %q", c.method, c.target, a.status, a.body, c.status, c.text)
		}
		if (a.status == 405) != (a.header.Get("Allow") != "") {
			t.Errorf("%s %s: %d with Allow %q", c.method, c.target, a.status, a.header.Get("Allow"))
		}
	}
	plain := start(t)
	plain.get("/api/supplies").want(t, 404, "no policy has a grammar")
}

// A wrong tag is told before the body is sent, and makes nothing.
func TestExpectWithAWrongTag(t *testing.T) {
	t.Parallel()
	w := catalogued(t, simple())
	for tag, status := range map[string]int{"nodot": 400, "s.p": 404} {
		c := w.dial()
		c.say("POST /portal_ingestion_policies/default/ingest?reference=" + tag + " HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 20000\r\n\r\n")
		c.hear("POST").want(t, status, "")
	}
	w.get("/api/supplies").want(t, 200, `"supplies":[]`)
}

// A batch of a known tag asks the catalog no more than one number.
func TestAGrammarCostsNothingPerRequest(t *testing.T) {
	p := simple()
	p.Unknown = true
	w := catalogued(t, p)
	body := entry("x")
	batch, kept := []policies.Batch{{Tag: "s.p.q", Policy: "default", Entries: body, Raw: true}}, make([]policies.Kept, 1)
	keep := func() {
		w.s.Policies.Keep(t.Context(), batch, kept, false)
		if kept[0].Err != nil {
			t.Fatal(kept[0].Err)
		}
	}
	with := leastAllocations(keep)
	w = start(t)
	batch[0].Policy = "raw"
	without := leastAllocations(keep)
	if with > without {
		t.Errorf("%v allocations with a grammar, %v without", with, without)
	}
}

// leastAllocations counts what one call costs by itself: other goroutines
// allocate meanwhile, and pools are emptied, but not each time.
func leastAllocations(f func()) float64 {
	least := testing.AllocsPerRun(1, f)
	for range 200 {
		least = min(least, testing.AllocsPerRun(1, f))
	}
	return least
}

// What tags have made too much of is told as a conflict that repetition does
// not mend.
func TestAFullCatalogIsTold(t *testing.T) {
	t.Parallel()
	if p := problemOf(fmt.Errorf("policies: tag: %w", catalog.ErrFull)); p.status != 409 || p.reason != "catalog-full" || p.retry != 0 {
		t.Errorf("%+v", p)
	}
}

// Who may not change the catalog changes nothing, and a collector is held
// against the policy that takes its tag, also where a stream of the tag's name
// is another one's.
func TestRightsOfTheCatalogAndOfTags(t *testing.T) {
	t.Parallel()
	w := guarded(t, func(o *Options) {
		var err error
		if o.Catalog, err = catalog.Open(catalog.Options{Streams: o.Streams}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { o.Catalog.Close() })
		others := simple()
		others.Unknown, others.Match = true, "s.**"
		o.Policies, err = policies.New(policies.Options{Policies: []policies.Policy{others, {Name: "files", Match: "**", Keep: policies.Bytes}},
			Streams: o.Streams, Catalog: o.Catalog})
		if err != nil {
			t.Fatal(err)
		}
		st, err := o.Streams.Create("s.p.m", "files")
		if err == nil {
			err = o.Streams.Append(t.Context(), []streams.Record{{Stream: st, Data: []byte("x")}}, make([]streams.Result, 1))
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	w.post("/write?db=s.p", "m v=1", as("files")...).want(t, 403, `policy "default"`)
	w.absent("s.p")
	w.post("/write?db=s.p", "m v=1", as("sender")...).want(t, 204, "")
	for who, status := range map[string]int{"": 401, "sender": 403, "reader": 403, "both": 403, "files": 403} {
		w.do("POST", "/api/supplies/s/invalidate", nil, as(who)...).want(t, status, "")
		w.do("PUT", "/api/supplies/t", strings.NewReader(`{}`), append(as(who), "Content-Type", "application/json")...).want(t, status, "")
	}
	w.get("/api/supplies/s", as("reader")...).want(t, 200, `"state":"validated"`)
	w.get("/api/supplies/t", as("reader")...).want(t, 404, "")
	w.do("POST", "/api/supplies/s/invalidate", nil, as("admin")...).want(t, 200, `"state":"invalidated"`)
}
