package master

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"weir/slap"
)

// differences are the recorded answers that this master gives otherwise, by
// file and index. DESIGN.md says why.
var differences = map[string]string{
	"00-start 0":           "getHateoasUrl is answered",
	"00-start 3":           "getHateoasUrl is answered",
	"14-forward 4":         "getHateoasUrl is answered",
	"01-unknown-node 1":    "404 instead of 500",
	"01-unknown-node 4":    "404 instead of 500",
	"02-format 3":          "400 instead of 500",
	"03-supply 4":          "400 instead of 500",
	"04-request 10":        "400 instead of 500",
	"07-child 8":           "400 instead of 500",
	"12-products 2":        "a list instead of 500",
	"06-connection 4":      "404 for an unknown partition",
	"10-reports 9":         "404 for an unknown partition",
	"10-reports 12":        "404 for an unknown partition",
	"11-states 15":         "404 for an unknown partition",
	"11-states 5":          "a state that is none is refused",
	"11-states 17":         "destroying what never was allocates nothing",
	"14-forward 6":         "the partition that 11-states 17 did not take",
	"13-production-only 3": "status of computers",
	"13-production-only 4": "computers are registered by title",
	"13-production-only 5": "addresses of a tree",
	"13-production-only 6": "related instances are taken",
	"13-production-only 7": "status of partitions",
	// What follows from the vectors that are not in the set.
	"10-reports 10": "09 made shared instances",
	"11-states 8":   "09 made shared instances",
	"16-hateoas 0":  "15 dropped partitions",
	"16-hateoas 2":  "15 dropped partitions",
	"16-hateoas 4":  "15 dropped partitions",
}

type exchange struct {
	Method, Path, Body string
	Headers            map[string]string
	Status             int
	Answer             *string
}

// TestVectors replays what the real library and raw requests exchanged with
// slapproxy.
func TestVectors(t *testing.T) {
	t.Parallel()
	far := httptest.NewServer(http.HandlerFunc(otherMaster))
	defer far.Close()
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	b := newBench(t, Options{
		Products: map[string]string{"demo": sr},
		Forward: []Forward{
			{URL: far.URL + "/", Releases: []string{"http://sr.example/later.cfg", "http://sr.example/forwarded.cfg"}},
			{URL: "http://" + nobody.Addr().String() + "/", Releases: []string{"http://sr.example/down.cfg"}},
		},
	})
	hosts := map[string]string{
		"${MASTER}": strings.TrimPrefix(b.http.URL, "http://"), "${OTHER_MASTER}": strings.TrimPrefix(far.URL, "http://"),
		"${NO_MASTER}": nobody.Addr().String(),
	}
	files, _ := filepath.Glob("testdata/vectors/*.json")
	seen, expected := 0, 0
	for _, f := range files {
		for k, e := range readExchanges(t, f) {
			seen++
			id := fmt.Sprintf("%s %d", strings.TrimSuffix(filepath.Base(f), ".json"), k)
			diff := b.replay(e, hosts)
			switch reason := differences[id]; {
			case diff != "" && reason == "":
				t.Errorf("%s: %s %s: %s", id, e.Method, e.Path, diff)
			case diff == "" && reason != "":
				t.Errorf("%s is answered as recorded; take it off the list of differences", id)
			case reason != "":
				expected++
			}
		}
	}
	if seen < 180 || expected != len(differences) {
		t.Errorf("%d exchanges, %d of %d differences met", seen, expected, len(differences))
	}
}

func readExchanges(t *testing.T, file string) []exchange {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var v struct{ Exchanges []exchange }
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v.Exchanges
}

// replay gives what differs, "" for nothing.
func (b *bench) replay(e exchange, hosts map[string]string) string {
	put := func(s string, escaped bool) string {
		for name, h := range hosts {
			if escaped {
				h = url.QueryEscape(h)
			}
			s = strings.ReplaceAll(s, name, h)
		}
		return s
	}
	header := http.Header{}
	for k, v := range e.Headers {
		header.Set(k, v)
	}
	status, body := b.raw(e.Method, put(e.Path, false), put(e.Body, strings.Contains(header.Get("Content-Type"), "urlencoded")), header)
	if status != e.Status {
		return fmt.Sprintf("status %d, want %d: %.200s", status, e.Status, body)
	}
	if e.Answer == nil {
		return ""
	}
	want, got := decodeAnswer(put(*e.Answer, false)), decodeAnswer(body)
	if !same(want, got) {
		return fmt.Sprintf("\n got %.1500v\nwant %.1500v", got, want)
	}
	return ""
}

// decodeAnswer gives a value of either kind of document, or the text.
func decodeAnswer(s string) any {
	if v, err := slap.Unmarshal([]byte(s)); err == nil {
		return plain(v)
	}
	var v any
	if json.Unmarshal([]byte(s), &v) == nil {
		return v
	}
	return s
}

// plain makes objects dictionaries, so that same sees into them.
func plain(v any) any {
	switch v := v.(type) {
	case *slap.Object:
		return map[string]any{"class": v.Class, "args": plain([]any(v.Args)), "attributes": plain(v.Attributes)}
	case slap.Tuple:
		return append([]any{"tuple"}, plain([]any(v)).([]any)...)
	case []any:
		list := make([]any, len(v))
		for k := range v {
			list[k] = plain(v[k])
		}
		return list
	case map[string]any:
		m := map[string]any{}
		for k := range v {
			m[k] = plain(v[k])
		}
		return m
	}
	return v
}

var stamps = regexp.MustCompile(`^\d+$`)

// same compares; ${TIME} is any whole number, ${RUN_ID} any word.
func same(want, got any) bool {
	switch w := want.(type) {
	case string:
		text := fmt.Sprint(got)
		if n, ok := got.(float64); ok {
			text = fmt.Sprintf("%.0f", n)
		}
		switch w {
		case "${TIME}":
			return stamps.MatchString(text)
		case "${RUN_ID}":
			return regexp.MustCompile(`^\w{32}$`).MatchString(text)
		}
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return false
		}
		for k := range w {
			if !same(w[k], g[k]) {
				return false
			}
		}
		return true
	case map[string]any:
		g, ok := got.(map[string]any)
		if _, recorded := w["_access_status"]; !recorded {
			delete(g, "_access_status") // of reports that slapproxy throws away
		}
		if !ok || len(g) != len(w) {
			return false
		}
		for k := range w {
			if _, ok := g[k]; !ok || !same(w[k], g[k]) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(want, got)
}

// otherMaster stands in for a master that requests are passed on to.
func otherMaster(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/requestComputerPartition" {
		http.NotFound(w, r)
		return
	}
	if strings.HasSuffix(r.PostFormValue("software_release"), "later.cfg") {
		w.WriteHeader(http.StatusRequestTimeout)
		return
	}
	b, err := slap.Marshal(&slap.Object{Class: "SoftwareInstance", Attributes: map[string]any{
		"_connection_dict": map[string]any{"url": "http://far.example"}, "_parameter_dict": map[string]any{}, "_requested_state": "started",
		"slap_computer_id": "COMP-1", "slap_computer_partition_id": "slappart7",
	}})
	if err != nil {
		panic(err)
	}
	w.Write(b)
}
