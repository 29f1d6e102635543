package server

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"weir/conf"
	"weir/policies"
	"weir/streams"
)

// retaining is a configuration whose log is soon full, and whose policies keep
// little.
func retaining(t *testing.T, dir string) *conf.Config {
	t.Helper()
	c, ds := conf.Parse("retention.yaml", []byte(`
http: {listen: "127.0.0.1:0"}
forward: {listen: []}
streams: {segment_bytes: 64KiB, live_segments: 1, large_bytes: 8KiB}
jobs: {schedules: {expire: never}}
policies:
  - {name: numbers, match: "numbers.**", keep: text, array: {kind: numbers}, retention: {bytes: 70000}}
  - {name: counts, match: "counts.**", keep: bytes, array: {kind: numbers}, retention: {bytes: 70000}}
  - {name: files, match: "files.**", keep: bytes, retention: {age: 1ms}}
  - {name: rest, match: "**"}
`), conf.Source{})
	if ds != nil {
		t.Fatal(ds)
	}
	c.Data, c.Streams.ChunkBytes = dir, 16<<10
	return c
}

func startRetaining(t *testing.T, dir string) *Server {
	t.Helper()
	s, err := Start(Options{Config: retaining(t, dir)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop(context.Background()) })
	return s
}

// add appends a body to a stream.
func add(t *testing.T, s *Server, name string, body []byte, headers ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequest("POST", "http://"+s.Addresses().HTTP+"/streams/"+name, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	a.Body.Close()
	if a.StatusCode/100 != 2 {
		t.Fatalf("POST %s: %d", name, a.StatusCode)
	}
	return a
}

// leaveLog fills the log until a stream is in chunk files up to a byte.
func leaveLog(t *testing.T, s *Server, name string, upto int64) {
	t.Helper()
	st, ok := s.streams.Stream(name)
	if !ok {
		t.Fatalf("no %s", name)
	}
	for st.Folded() < upto {
		add(t, s, "rest", make([]byte, 7<<10))
	}
}

func synced(t *testing.T, s *Server, name string, want int64) {
	t.Helper()
	p, _ := s.router.Policy("numbers")
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if n, err := s.arrays.Needs(name, 1, *p.Array); err != nil || n == want {
			return
		} else if time.Now().After(end) {
			t.Fatalf("the array of %s is at byte %d, want %d", name, n, want)
		}
	}
}

// TestExpire: the action gives up what is beyond the retention of a policy, at
// whole lines, and nothing of others; the array stays, and a repeat is known.
func TestExpire(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startRetaining(t, dir)
	var all []byte
	for i := range 30_000 {
		all = fmt.Appendf(all, "%d\n", i)
	}
	const part = 5001 // cuts lines
	for at := 0; at < len(all); at += part {
		add(t, s, "numbers.a", all[at:min(at+part, len(all))], "Idempotency-Key", fmt.Sprint(at))
	}
	add(t, s, "files.old", make([]byte, 5000))
	leaveLog(t, s, "numbers.a", int64(len(all)))
	leaveLog(t, s, "files.old", 5000)
	synced(t, s, "numbers.a", int64(len(all)))
	st, _ := s.streams.Stream("numbers.a")

	if j := job(t, s, `{"action":"expire","payload":"{\"dryRun\":true}"}`); j["state"] != "SUCCESS" || !strings.Contains(fmt.Sprint(j["statusMessage"]), "of 2 streams to be given up") || st.State().Begin != 0 {
		t.Fatalf("%v, begins at %d", j, st.State().Begin)
	}
	j := job(t, s, `{"action":"expire"}`)
	if j["state"] != "SUCCESS" || !strings.Contains(fmt.Sprint(j["statusMessage"]), "of 2 streams given up, of 2 with a retention") || !strings.Contains(fmt.Sprint(j["affectedResources"]), "streams/numbers.a") {
		t.Fatalf("%v", j)
	}
	begin := st.State().Begin
	if kept := int64(len(all)) - begin; kept < 70_000-8 || kept > 70_000+40_000 || all[begin-1] != '\n' {
		t.Fatalf("%d bytes are kept, from %q on", kept, all[begin-3:begin+3])
	}
	if status, text := get(t, s, "/streams/numbers.a?format=jsonl"); status != 200 || text != string(all[begin:]) {
		t.Fatalf("%d %.60s", status, text)
	}
	if files, _ := s.streams.Stream("files.old"); files.State().Begin != 5000 {
		t.Errorf("what is old begins at %d", files.State().Begin)
	}
	if rest, _ := s.streams.Stream("rest"); rest.State().Begin != 0 {
		t.Error("a stream without a retention was trimmed")
	}
	if a := add(t, s, "numbers.a", all[:part], "Idempotency-Key", "0"); a.Header.Get("Weir-Duplicate") != "true" {
		t.Error("the repeat of what was trimmed was stored again")
	}
	if info, err := s.arrays.Info("numbers.a"); err != nil || info.Arrays[0].Shape[0] != 30_000 {
		t.Errorf("%+v %v", info, err)
	}
	_, text := get(t, s, "/metrics")
	for _, want := range []string{fmt.Sprintf(`weir_retention_trimmed_bytes_total{policy="numbers"} %d`, begin), fmt.Sprintf("weir_stream_trimmed_bytes_total %d", begin+5000),
		`weir_retention_held_bytes{policy="numbers"} 0`} {
		if !strings.Contains(text, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	if j := job(t, s, `{"action":"verify_streams"}`); j["state"] != "SUCCESS" {
		t.Errorf("verification: %v", j)
	}
	if j := job(t, s, `{"action":"expire"}`); !strings.HasPrefix(fmt.Sprint(j["statusMessage"]), "0 bytes of 0 streams") {
		t.Errorf("once more: %v", j)
	}
	stop(t, s)
	s = startRetaining(t, dir)
	if st, _ := s.streams.Stream("numbers.a"); st.State().Begin != begin {
		t.Errorf("after a restart it begins at %d", st.State().Begin)
	}
}

// TestExpireNumbers: what numbers are built from begins with a whole one, also
// where the policy keeps bytes that were cut anywhere: an array that is built
// anew has no number that was half of one.
func TestExpireNumbers(t *testing.T) {
	t.Parallel()
	s := startRetaining(t, t.TempDir())
	all := bytes.Repeat([]byte("1234567890123\n"), 15_000)
	const part = 5001 // cuts numbers
	for at := 0; at < len(all); at += part {
		add(t, s, "counts.a", all[at:min(at+part, len(all))])
	}
	leaveLog(t, s, "counts.a", int64(len(all)))
	synced(t, s, "counts.a", int64(len(all)))
	if j := job(t, s, `{"action":"expire"}`); j["state"] != "SUCCESS" {
		t.Fatalf("%v", j)
	}
	st, _ := s.streams.Stream("counts.a")
	if begin := st.State().Begin; begin == 0 || all[begin-1] != '\n' {
		t.Errorf("it begins at byte %d, within a number", begin)
	}
}

// TestExpireHeld: what an array has not decoded stays, and is told.
func TestExpireHeld(t *testing.T) {
	t.Parallel()
	c := retaining(t, t.TempDir())
	c.Arrays.SyncEvery = time.Hour // nothing is surely kept
	s, err := Start(Options{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop(context.Background()) })
	for range 40 {
		add(t, s, "numbers.a", bytes.Repeat([]byte("12345\n"), 1000))
	}
	leaveLog(t, s, "numbers.a", 240_000)
	j := job(t, s, `{"action":"expire"}`)
	if st, _ := s.streams.Stream("numbers.a"); st.State().Begin != 0 || !strings.HasPrefix(fmt.Sprint(j["statusMessage"]), "0 bytes of 0 streams") || strings.HasSuffix(fmt.Sprint(j["statusMessage"]), " 0 bytes wait for arrays") {
		t.Errorf("begins at %d: %v", st.State().Begin, j)
	}
	if _, text := get(t, s, "/"+fmt.Sprint(j["id"])+"/log"); text == "" {
		t.Error("no log")
	}
	_, text := get(t, s, "/metrics")
	if !strings.Contains(text, `weir_retention_held_bytes{policy="numbers"} 1`) {
		t.Error("the metrics do not tell what is held")
	}
}

// TestLogAge: the log is as young as the shortest retention needs it.
func TestLogAge(t *testing.T) {
	t.Parallel()
	day := 24 * time.Hour
	for _, c := range []struct {
		ages []time.Duration
		want time.Duration
	}{{nil, 0}, {[]time.Duration{0}, 0}, {[]time.Duration{0, 16 * day, 8 * day}, day}, {[]time.Duration{time.Second, day}, time.Minute}} {
		var list []policies.Policy
		for _, age := range c.ages {
			list = append(list, policies.Policy{Retention: streams.Limit{Age: age, Bytes: 1}})
		}
		if got := logAge(list); got != c.want {
			t.Errorf("%v: %v, want %v", c.ages, got, c.want)
		}
	}
}

// TestExpireOrder: what a job may ask for.
func TestExpireOrder(t *testing.T) {
	t.Parallel()
	s := startRetaining(t, t.TempDir())
	add(t, s, "rest", []byte("x"))
	for body, says := range map[string]string{
		`{"action":"expire","payload":"{\"dry\":true}"}`:               "dryRun",
		`{"action":"expire","payload":"yes"}`:                          "dryRun",
		`{"action":"expire","targetResource":{"href":"streams/none"}}`: "streams/none",
	} {
		if j := job(t, s, body); j["state"] != "FAILED" || !strings.Contains(fmt.Sprint(j["statusMessage"]), says) {
			t.Errorf("%s: %v", body, j)
		}
	}
	if j := job(t, s, `{"action":"expire","targetResource":{"href":"streams/rest"}}`); j["state"] != "SUCCESS" || !strings.Contains(fmt.Sprint(j["statusMessage"]), "of 0 with a retention") {
		t.Errorf("%v", j)
	}
}
