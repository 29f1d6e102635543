package e2e

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A wendelinOutput does as fluentd with @type wendelin and a file buffer by
// tag: chunks are files; one flusher a tag posts the oldest on a connection
// that it keeps, and posts the same one again on anything but a 2xx, until
// there is one. Nothing is told apart by status, and there is no chunk id on the wire.
type wendelinOutput struct {
	dir     string // of the chunks, a folder a tag
	base    string // streamtool_uri, without the policy
	timeout time.Duration
	keyed   bool // sends an Idempotency-Key: the chunk's file name

	stop    chan struct{}
	wg      sync.WaitGroup
	repeats atomic.Int64 // of chunks that may have been kept
}

// begin starts to flush what is in the buffer, also of an earlier run.
func (o *wendelinOutput) begin(tags ...string) {
	o.stop = make(chan struct{})
	for _, tag := range tags {
		o.wg.Go(func() { o.flush(tag) })
	}
}

// halt ends the process, as far as its buffer can tell.
func (o *wendelinOutput) halt() {
	close(o.stop)
	o.wg.Wait()
}

// emit puts a chunk into the buffer.
func (o *wendelinOutput) emit(t *testing.T, tag string, n int, body []byte) {
	t.Helper()
	name := filepath.Join(o.dir, tag, fmt.Sprintf("%06d", n))
	err := os.MkdirAll(filepath.Dir(name), 0o755)
	if err == nil {
		err = os.WriteFile(name+".part", body, 0o644)
	}
	if err == nil {
		err = os.Rename(name+".part", name)
	}
	if err != nil {
		t.Error(err)
	}
}

// queued lists the chunks of a tag, the oldest first.
func (o *wendelinOutput) queued(tag string) []string {
	names, _ := filepath.Glob(filepath.Join(o.dir, tag, "[0-9]*"))
	return slices.DeleteFunc(names, func(n string) bool { return strings.HasSuffix(n, ".part") })
}

func (o *wendelinOutput) flush(tag string) {
	transport := &http.Transport{MaxConnsPerHost: 1, ResponseHeaderTimeout: o.timeout, DialContext: (&net.Dialer{Timeout: o.timeout}).DialContext}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: o.timeout}
	wait := 5 * time.Millisecond
	for {
		names := o.queued(tag)
		if len(names) > 0 && o.post(client, tag, names[0]) {
			wait = 5 * time.Millisecond
			os.Remove(names[0])
			continue
		}
		select {
		case <-o.stop:
			return
		case <-time.After(wait):
			wait = min(2*wait, o.timeout/4)
		}
	}
}

// post tells whether there was a 2xx.
func (o *wendelinOutput) post(client *http.Client, tag, name string) bool {
	body, err := os.ReadFile(name)
	if err != nil {
		return false
	}
	policy, _, _ := strings.Cut(tag, ".")
	req, err := http.NewRequest("POST", o.base+"/erp5/portal_ingestion_policies/"+policy+"/ingest?reference="+tag, bytes.NewReader(body))
	if err != nil {
		return false
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	req.GetBody = nil // so that Go does not repeat it by itself
	if o.keyed {
		req.Header.Set("Idempotency-Key", tag+"/"+filepath.Base(name))
	}
	resp, err := client.Do(req)
	if err != nil {
		o.repeats.Add(1)
		return false
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode/100 == 2
}

// wendelinRun is one policy's share of TestWendelinSender.
type wendelinRun struct {
	*wendelinOutput
	tags  []string
	exact bool // nothing may be there twice
}

// TestWendelinSender: through a freeze of the server that is longer than the
// sender's patience, through kill -9 again and again, and through a restart of
// the sender itself, nothing is lost; and nothing is there twice where the
// policy asks for dedupe: content or the sender gives an Idempotency-Key.
//
// The freeze is 6.6 s and the sender's patience 3 s, as 130 s and 60 s are to
// one another; WEIR_FREEZE=130s makes it that long, with a patience of 60 s.
func TestWendelinSender(t *testing.T) {
	t.Parallel()
	freeze, patience := 6600*time.Millisecond, 3*time.Second
	if d, err := time.ParseDuration(os.Getenv("WEIR_FREEZE")); err == nil {
		freeze, patience = d, d*60/130
	}
	config := filepath.Join(t.TempDir(), "wendelin.yaml")
	text := "policies:\n  - {name: plain, match: plain.**, keep: verbatim}\n  - {name: keyed, match: keyed.**, keep: verbatim}\n" +
		"  - {name: content, match: content.**, keep: verbatim, dedupe: content}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w := start(t, "--config", config)
	var runs []wendelinRun
	for _, policy := range []string{"plain", "keyed", "content"} {
		o := &wendelinOutput{dir: t.TempDir(), base: w.url(""), timeout: patience, keyed: policy == "keyed"}
		runs = append(runs, wendelinRun{o, []string{policy + ".a:1=x", policy + ".b"}, policy != "plain"})
	}
	chunks := 0
	emit := func(n int) {
		for range n {
			for _, r := range runs {
				for _, tag := range r.tags {
					var body []byte
					for k := range 5 {
						body = append(body, encode(entry{1_700_000_000, uint32(chunks), map[string]any{"seq": chunks*5 + k}})...)
					}
					r.emit(t, tag, chunks, body)
				}
			}
			chunks++
		}
	}
	for i := range runs {
		runs[i].begin(runs[i].tags...)
	}
	emit(40)
	if err := w.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	emit(10)
	time.Sleep(freeze)
	if err := w.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		emit(20)
		time.Sleep(time.Duration(20+rand.IntN(120)) * time.Millisecond)
		w.kill()
		if i == 4 { // the sender's host, too
			for k := range runs {
				runs[k].halt()
			}
			for k := range runs {
				runs[k].begin(runs[k].tags...)
			}
		}
		w.up()
	}
	emit(5)
	for _, r := range runs {
		awaitFor(t, 4*time.Minute+freeze, "the buffers are empty", func() bool {
			return !slices.ContainsFunc(r.tags, func(tag string) bool { return len(r.queued(tag)) > 0 })
		})
		r.halt()
		for _, tag := range r.tags {
			r.compare(t, w, tag, 5*chunks)
		}
		t.Logf("%s: %d chunks a tag, %d times a chunk was sent again without knowing", r.tags[0], chunks, r.repeats.Load())
	}
}

// compare counts the records of a tag.
func (r *wendelinRun) compare(t *testing.T, w *weir, tag string, n int) {
	t.Helper()
	times := make([]int, n)
	for _, row := range w.records(tag) {
		seq, ok := row.Record["seq"].(float64)
		if !ok || int(seq) >= n {
			t.Fatalf("%s: a record is %v", tag, row.Record)
		}
		times[int(seq)]++
	}
	var lost, twice int
	for _, k := range times {
		if k == 0 {
			lost++
		}
		twice += max(k-1, 0)
	}
	if lost > 0 || twice > 0 && r.exact || twice > 5*int(r.repeats.Load()) {
		t.Errorf("%s: of %d records %d are lost and %d there again, after %d repetitions", tag, n, lost, twice, r.repeats.Load())
	}
	if !r.exact {
		t.Logf("%s: %d of %d records are there again, which nothing on the wire tells from new ones", tag, twice, n)
	}
}
