package httpapi

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"weir/policies"
)

// entryText makes an entry [1700000000+i, {"n": i}].
func entryText(i int) string {
	return "\x92" + be32(0xce, uint32(1700000000+i)) + "\x81\xa1n" + be32(0xce, uint32(i))
}

func entriesText(from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		b.WriteString(entryText(i))
	}
	return b.String()
}

func jsonText(from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, "{\"time\":\"2023-11-14T22:%02d:%02dZ\",\"record\":{\"n\":%d}}\n", 13+(20+i)/60, (20+i)%60, i)
	}
	return b.String()
}

func TestRecordViews(t *testing.T) {
	t.Parallel()
	w := start(t)
	size := len(entryText(0))
	w.put("/streams/raw.v", entriesText(0, 10)+entryText(10)[:size-2]) // the last one is torn
	w.put("/streams/numbers.v", "1\n2,3\r\n{\"a\":4}\n5")
	w.put("/streams/up.v", "bytes")
	w.put("/streams/raw.text", "this is no msgpack")
	w.put("/streams/raw.late", entriesText(0, 3)+"\xc1 and no more")
	next := func(n int) string { return strconv.Itoa(n) }
	for _, tc := range []struct {
		target     string
		status     int
		body, next string
	}{
		{"raw.v?format=jsonl", 200, jsonText(0, 10), ""},
		{"raw.v?format=jsonl&offset=0", 200, jsonText(0, 10), next(10 * size)},
		{"raw.v?format=jsonl&limit=3", 200, jsonText(0, 3), next(3 * size)},
		{"raw.v?format=jsonl&limit=3&offset=" + next(9*size), 200, jsonText(9, 10), next(10 * size)},
		{"raw.v?format=jsonl&offset=" + next(10*size), 200, "", next(10 * size)}, // as often as one asks
		{"raw.v?format=msgpack&offset=" + next(8*size), 200, entriesText(8, 10), next(10 * size)},
		{"raw.v?format=csv&limit=2", 200, "time,n\n2023-11-14T22:13:20Z,0\n2023-11-14T22:13:21Z,1\n", next(2 * size)},
		{"raw.v?format=csv&offset=" + next(10*size), 200, "", next(10 * size)}, // no columns are known, so no row of their names
		{"raw.v?format=csv&columns=n,x&limit=2", 200, "n,x\n0,\n1,\n", next(2 * size)},
		{"raw.v?format=jsonl&offset=1", 422, "no record begins", ""},
		{"raw.v?format=jsonl&offset=9999", 416, "beyond", ""},
		{"raw.v?format=jsonl&offset=-1", 400, "offset", ""},
		{"raw.v?format=jsonl&offset=x", 400, "offset", ""},
		{"raw.v?format=jsonl&limit=0", 400, "limit", ""},
		{"raw.v?format=jsonl&generation=2", 412, "replaced", ""},
		{"raw.v?format=jsonl&generation=1&limit=1", 200, jsonText(0, 1), next(size)},
		{"raw.v?format=xml", 400, "jsonl", ""},
		{"raw.v?offset=5", 400, "Range", ""},
		{"raw.v?1700000000", 200, "", ""}, // Wendelin's client keeps caches away so
		{"numbers.v?format=jsonl", 200, "1\n\"2,3\"\n{\"a\":4}\n", ""},
		{"numbers.v?format=csv", 200, "line\n1\n\"2,3\"\n\"{\"\"a\"\":4}\"\n", ""},
		{"numbers.v?format=jsonl&offset=2", 200, "\"2,3\"\n{\"a\":4}\n", next(15)},
		{"numbers.v?format=jsonl&offset=3", 422, "inside a line", ""},
		{"numbers.v?format=msgpack&offset=0&limit=1", 200, "\xdb\x00\x00\x00\x011", next(2)},
		{"up.v?format=jsonl", 400, "format=raw", ""},
		{"raw.text?format=jsonl", 422, "format=raw", ""},
		{"raw.late?format=jsonl&offset=0", 200, jsonText(0, 3), next(3 * size)}, // the next page tells
		{"raw.late?format=jsonl&offset=" + next(3*size), 422, "no record begins", ""},
		{"raw.none?format=jsonl", 404, "raw.none", ""},
	} {
		a := w.get("/streams/" + tc.target)
		if a.status != tc.status || tc.status == 200 && tc.next+tc.body != "" && a.body != tc.body || !strings.Contains(a.body, tc.body) {
			t.Errorf("%s: %d %q, not %d %q", tc.target, a.status, a.body, tc.status, tc.body)
		}
		a.wantHeader(t, "Weir-Next-Offset", tc.next)
	}
	a := w.do("HEAD", "/streams/raw.v?format=jsonl&offset=0", nil)
	a.want(t, 200, "")
	a.wantHeader(t, "Content-Type", "application/jsonl")
	a.wantHeader(t, "Weir-Records", "10")
	a.wantHeader(t, "Weir-Length", fmt.Sprint(11*size-2))
	// What is no record is met in the middle of an answer: it must not look whole.
	resp, err := w.client.Get(w.base + "/streams/raw.late?format=jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err == nil || string(b) != jsonText(0, 3) {
		t.Errorf("an answer that breaks off looks whole: %q", b)
	}
}

// Frames of a policy that checks the envelope: pages end between frames.
func TestRecordViewsOfFrames(t *testing.T) {
	t.Parallel()
	w := startWith(t, policies.Policy{Name: "framed", Match: "framed.**", Keep: policies.Verbatim, Check: policies.CheckEnvelope})
	w.ingest("framed", "framed.a", []byte(entriesText(0, 5))).want(t, 204, "")
	w.ingest("framed", "framed.a", []byte(entriesText(5, 7))).want(t, 204, "")
	first := w.get("/streams/framed.a?format=jsonl&limit=1")
	first.want(t, 200, "")
	if first.body != jsonText(0, 5) {
		t.Errorf("the first frame is %s", first.body)
	}
	second := w.get("/streams/framed.a?format=jsonl&offset=" + first.header.Get("Weir-Next-Offset"))
	if second.body != jsonText(5, 7) {
		t.Errorf("the second frame is %s", second.body)
	}
	if whole := w.get("/streams/framed.a?format=jsonl"); whole.body != jsonText(0, 7) {
		t.Errorf("the whole is %s", whole.body)
	}
}

// However a stream is appended to and polled, the pages are its records, each
// once, and none is torn.
func TestAnyPolling(t *testing.T) {
	t.Parallel()
	w := start(t)
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		name := fmt.Sprintf("raw.poll%d", n)
		text := entriesText(0, rapid.IntRange(1, 40).Draw(rt, "records"))
		var got strings.Builder
		next := "0"
		for sent := 0; sent < len(text); {
			k := rapid.IntRange(1, min(200, len(text)-sent)).Draw(rt, "bytes")
			w.do("POST", "/streams/"+name, strings.NewReader(text[sent:sent+k]))
			sent += k
			for range rapid.IntRange(0, 3).Draw(rt, "polls") {
				a := w.get(fmt.Sprintf("/streams/%s?format=msgpack&offset=%s&limit=%d", name, next, rapid.IntRange(1, 20).Draw(rt, "limit")))
				if a.status != 200 || len(a.body)%len(entryText(0)) != 0 {
					rt.Fatalf("a page is %d and %d bytes", a.status, len(a.body))
				}
				got.WriteString(a.body)
				next = a.header.Get("Weir-Next-Offset")
			}
		}
		got.WriteString(w.get("/streams/" + name + "?format=msgpack&offset=" + next).body)
		if got.String() != text {
			rt.Fatalf("%d bytes of %d were polled", got.Len(), len(text))
		}
	})
}

// A record that is too large to be shown is told, and what a large one costs is
// shared and given back.
func TestRecordTooLarge(t *testing.T) {
	t.Parallel()
	w := start(t, func(o *Options) { o.BodyWait = 2 * time.Second })
	w.do("PUT", "/streams/numbers.long", io.LimitReader(zeros{}, 17<<20)).want(t, 201, "")
	w.get("/streams/numbers.long?format=jsonl").want(t, 422, "more than")
	w.put("/streams/numbers.large", strings.Repeat("x", 1<<20)+"\n").want(t, 201, "")
	w.get("/streams/numbers.large?format=jsonl").want(t, 200, "xxx")
	waitFor(t, func() bool { return w.s.answers.used() == 0 })
	if err := w.s.answers.take(t.Context(), answerMemory, time.Second); err != nil {
		t.Fatal(err)
	}
	defer w.s.answers.give(answerMemory)
	w.get("/streams/numbers.large?format=jsonl").want(t, 503, "large records")
}

// The memory of a large record serves the next one, too: a stream of them is
// read to its end, however long it is.
func TestManyLargeRecords(t *testing.T) {
	t.Parallel()
	w := start(t)
	const lines, size = 60, 1 << 20
	line := strings.Repeat("x", size)
	w.put("/streams/numbers.large", strings.Repeat(line+"\n", lines))
	a := w.get("/streams/numbers.large?format=jsonl")
	a.want(t, 200, "")
	if want := lines * (size + 3); len(a.body) != want { // quotes and the line feed
		t.Errorf("%d bytes of %d", len(a.body), want)
	}
	waitFor(t, func() bool { return w.s.answers.used() == 0 })
}
