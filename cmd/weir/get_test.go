package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// serveOnce gives the address of a server with the answers in turn; the last
// one stays.
func serveOnce(t *testing.T, answers ...http.HandlerFunc) *url.URL {
	t.Helper()
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := answers[min(n, len(answers)-1)]
		n++
		h(w, r)
	}))
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

const stored = "0123456789abcdefghij"

// part answers with the bytes that are asked for, and breaks off after some.
func part(generation string, breakAt int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		from, to, status := 0, len(stored)-1, 200
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to); err == nil {
			status = 206
		}
		w.Header().Set("ETag", `"`+generation+`-20"`)
		w.Header().Set("Content-Length", fmt.Sprint(to+1-from))
		w.WriteHeader(status)
		body := stored[from : to+1]
		fmt.Fprint(w, body[:min(breakAt, len(body))])
	}
}

func refusal(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Error(w, "because", status) }
}

func TestGet(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		answers []http.HandlerFunc
		err     string
	}{
		{"whole", []http.HandlerFunc{part("1", 100)}, ""},
		{"broken", []http.HandlerFunc{part("1", 3), part("1", 10), refusal(503), part("1", 100)}, ""},
		{"replaced", []http.HandlerFunc{part("1", 3), part("2", 100)}, "replaced after 3 bytes"},
		{"missing", []http.HandlerFunc{refusal(404)}, "404 Not Found: because"},
		{"failing", []http.HandlerFunc{refusal(500)}, "500"},
		{"never more", []http.HandlerFunc{part("1", 3), part("1", 0)}, "EOF"},
	} {
		file := filepath.Join(t.TempDir(), "file")
		g := getting{url: serveOnce(t, tc.answers...), resumes: true}
		err := g.run(t.Context(), file, nil)
		b, _ := os.ReadFile(file)
		switch {
		case tc.err == "" && (err != nil || string(b) != stored):
			t.Errorf("%s: %q, %v", tc.name, b, err)
		case tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err) || len(b) > 0):
			t.Errorf("%s: %q, %v, want %s", tc.name, b, err, tc.err)
		}
		if _, err := os.Stat(file + ".part"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: a part of the file is left: %v", tc.name, err)
		}
	}
	var out bytes.Buffer
	g := getting{url: serveOnce(t, part("1", 100))}
	if err := g.run(t.Context(), "", &out); err != nil || out.String() != stored {
		t.Errorf("to standard output: %q, %v", &out, err)
	}
	records := getting{url: serveOnce(t, part("1", 3))}
	if err := records.run(t.Context(), "", &out); err == nil {
		t.Error("records that break off are taken for whole")
	}
}

func events(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, text)
	}
}

func TestTail(t *testing.T) {
	t.Parallel()
	var ids []string
	noting := func(h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			ids = append(ids, r.Header.Get("Last-Event-ID")+" "+r.URL.RawQuery)
			h(w, r)
		}
	}
	var out, notes bytes.Buffer
	tail := &tailing{from: "0", count: 3, out: &out, notes: &notes, pause: time.Millisecond, url: serveOnce(t,
		noting(events("retry: 2000\nid: 1-0\n\nid: 1-5\ndata: {\"a\":1}\n\n: \n\nid: 1-9\ndata: half")), noting(refusal(503)),
		noting(events("id: 1-9\ndata: two\n\nevent: replaced\nid: 2-0\ndata: {}\n\nid: 2-4\ndata: three\n\nid: 2-8\ndata: four\n\n")))}
	if err := tail.run(t.Context()); err != nil || out.String() != "{\"a\":1}\ntwo\nthree\n" || !strings.Contains(notes.String(), "replaced") {
		t.Errorf("%v: %q, %q", err, &out, &notes)
	}
	if got := strings.Join(ids, "|"); got != " format=events&offset=0|1-5 format=events&offset=0|1-5 format=events&offset=0" {
		t.Errorf("asked for %s", got)
	}
	for _, bad := range []http.HandlerFunc{refusal(404), events("event: error\ndata: \"cannot go on\"\n\n")} {
		tail := &tailing{out: &out, notes: &notes, url: serveOnce(t, bad)}
		if err := tail.run(t.Context()); !errors.Is(err, errRefused) {
			t.Errorf("%v", err)
		}
	}
	for _, bad := range []string{"ftp://x/y", "http:///x"} {
		if u, err := streamAt("http://127.0.0.1:8880", bad); err == nil {
			t.Errorf("%s is %s", bad, u)
		}
	}
	if u, err := streamAt("http://127.0.0.1:8880/", "a/b c"); err != nil || u.String() != "http://127.0.0.1:8880/streams/a%2Fb%20c" {
		t.Errorf("%v, %v", u, err)
	}
}

// TestGetTrimmed: of a stream that was trimmed the bytes that there are come,
// also over a break.
func TestGetTrimmed(t *testing.T) {
	t.Parallel()
	gone := func(then http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			from := 0
			fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
			if from >= 7 {
				if strings.HasSuffix(r.Header.Get("Range"), "-") {
					r.Header.Set("Range", r.Header.Get("Range")+fmt.Sprint(len(stored)-1))
				}
				then(w, r)
				return
			}
			w.Header().Set("Weir-Begin", "7")
			refusal(410)(w, r)
		}
	}
	var out, notes bytes.Buffer
	g := getting{url: serveOnce(t, gone(nil), gone(part("1", 3)), gone(part("1", 100))), resumes: true, notes: &notes}
	if err := g.run(t.Context(), "", &out); err != nil || out.String() != stored[7:] || !strings.Contains(notes.String(), "byte 7") {
		t.Errorf("%q, %q, %v", &out, &notes, err)
	}
	records := getting{url: serveOnce(t, gone(nil)), notes: &notes}
	if err := records.run(t.Context(), "", &out); !errors.Is(err, errRefused) {
		t.Errorf("records from before the beginning: %v", err)
	}
}
