package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what should happen at once: in vain on
// a machine that is broken, not on one that is slow.
const patience = 2 * time.Minute

// A weir is one data folder and the process that serves it, if any.
type weir struct {
	t       testing.TB
	data    string
	args    []string
	HTTP    string // host:port
	Forward string // host:port
	cmd     *exec.Cmd
	exited  chan error
	cookie  string // of a session, for api
	log     string // file that all processes of this folder write to
	query   string // with which streams are read
}

// acceptance are the arguments for the policies raw, numbers, wavs and metrics.
func acceptance() []string {
	return []string{"--config", filepath.Join(root, "conf", "examples", "acceptance.yaml")}
}

// start serves a new folder on ports of its own.
func start(t testing.TB, args ...string) *weir {
	t.Helper()
	return startIn(t, t.TempDir(), args...)
}

func startIn(t testing.TB, data string, args ...string) *weir {
	t.Helper()
	w := &weir{t: t, data: data, args: args, HTTP: freeAddress(t), Forward: freeAddress(t),
		log: filepath.Join(t.TempDir(), "weir.log")}
	t.Cleanup(w.finish)
	w.up()
	return w
}

// up starts a process and waits until it is ready. After the first time the
// addresses stay the same.
func (w *weir) up() {
	w.t.Helper()
	w.begin()
	w.await("weir is ready", func() bool {
		select {
		case err := <-w.exited:
			w.exited <- err
			w.t.Fatalf("%s ended at its start: %v\n%s", strings.Join(w.cmd.Args, " "), err, w.tail())
		default:
		}
		return w.readAddresses() && w.status("/ready") == http.StatusOK
	})
}

func (w *weir) addresses() string { return filepath.Join(w.data, "addresses.json") }

// begin starts a process.
func (w *weir) begin() {
	w.t.Helper()
	if err := os.Remove(w.addresses()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.t.Fatal(err)
	}
	out, err := os.OpenFile(w.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		w.t.Fatal(err)
	}
	defer out.Close()
	args := append([]string{"serve", "--data", w.data, "--http", w.HTTP, "--forward", w.Forward}, w.args...)
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	w.cmd, w.exited = cmd, exited
}

func (w *weir) readAddresses() bool {
	b, err := os.ReadFile(w.addresses())
	if err != nil {
		return false
	}
	var a struct {
		HTTP    string   `json:"http"`
		Forward []string `json:"forward"`
	}
	if json.Unmarshal(b, &a) != nil || a.HTTP == "" || len(a.Forward) == 0 {
		return false
	}
	w.HTTP, w.Forward = a.HTTP, a.Forward[0]
	return true
}

// kill ends the process as a power switch would, as far as a process goes.
func (w *weir) kill() {
	w.t.Helper()
	if err := w.cmd.Process.Kill(); err != nil {
		w.t.Fatalf("kill: %v\n%s", err, w.tail())
	}
	<-w.exited
	w.cmd = nil
}

// stop asks for an orderly end and gives how long it took.
func (w *weir) stop() time.Duration {
	w.t.Helper()
	began := time.Now()
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		w.t.Fatalf("SIGTERM: %v\n%s", err, w.tail())
	}
	select {
	case err := <-w.exited:
		w.cmd = nil
		if err != nil {
			w.t.Fatalf("after SIGTERM weir ended with %v, want status 0\n%s", err, w.tail())
		}
	case <-time.After(patience):
		w.kill()
		w.t.Fatalf("weir did not end within %v of SIGTERM\n%s", patience, w.tail())
	}
	return time.Since(began)
}

// finish stops the process at the end of a test and reads the log for what
// must never be in one.
func (w *weir) finish() {
	switch {
	case w.cmd == nil:
	case w.t.Failed():
		w.cmd.Process.Kill()
		<-w.exited
		w.cmd = nil
	default:
		w.stop()
	}
	log, err := os.ReadFile(w.log)
	if err != nil {
		w.t.Error(err)
	}
	for _, bad := range []string{"panic:", "DATA RACE", "fatal error:", "level=PANIC"} {
		if bytes.Contains(log, []byte(bad)) {
			w.t.Errorf("the log has %q\n%s", bad, w.tail())
		}
	}
	if w.t.Failed() {
		w.t.Logf("log of weir:\n%s", w.tail())
	}
}

// logged gives what the process wrote to its log so far.
func (w *weir) logged() string {
	w.t.Helper()
	b, err := os.ReadFile(w.log)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b)
}

func (w *weir) tail() string {
	b, _ := os.ReadFile(w.log)
	if len(b) > 6000 {
		b = b[len(b)-6000:]
	}
	return string(b)
}

// await waits until ok.
func (w *weir) await(what string, ok func() bool) {
	w.t.Helper()
	awaitFor(w.t, patience, what, ok)
}

func awaitFor(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for pause := 2 * time.Millisecond; !ok(); pause = min(2*pause, 100*time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after %v: not yet: %s", limit, what)
		}
		time.Sleep(pause)
	}
}

func (w *weir) url(path string) string { return "http://" + w.HTTP + path }

// status is the status of a GET, 0 when there is no answer.
func (w *weir) status(path string) int {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", w.url(path), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// An answer is an HTTP answer with its body.
type answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// ask makes a request; header is pairs of names and values.
func ask(method, url string, body io.Reader, header ...string) (answer, error) {
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		return answer{}, err
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, b}, err
}

// do is ask for requests that must be answered.
func (w *weir) do(method, path string, body []byte, header ...string) answer {
	w.t.Helper()
	a, err := ask(method, w.url(path), bytes.NewReader(body), header...)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// ingest posts a body as fluentd's wendelin output does.
func (w *weir) ingest(policy, tag string, body []byte, header ...string) answer {
	w.t.Helper()
	header = append([]string{"Content-Type", "application/octet-stream"}, header...)
	return w.do("POST", "/erp5/portal_ingestion_policies/"+policy+"/ingest?reference="+tag, body, header...)
}

// put uploads a body as curl -T does and requires success.
func (w *weir) put(name string, body []byte) {
	w.t.Helper()
	if a := w.do("PUT", "/streams/"+name, body); a.Status/100 != 2 {
		w.t.Fatalf("PUT %s: %d %s", name, a.Status, a.Body)
	}
}

// stream gives all bytes of a stream, none where it is missing.
func (w *weir) stream(name string) []byte {
	w.t.Helper()
	a := w.do("GET", "/streams/"+name+w.query, nil)
	switch a.Status {
	case http.StatusOK:
		return a.Body
	case http.StatusNotFound:
		return nil
	}
	w.t.Fatalf("GET /streams/%s: %d %s", name, a.Status, a.Body)
	return nil
}

// awaitStream waits until a stream has n bytes and gives them.
func (w *weir) awaitStream(name string, n int) []byte {
	w.t.Helper()
	var got []byte
	w.await(fmt.Sprintf("stream %s has %d bytes", name, n), func() bool {
		got = w.stream(name)
		return len(got) >= n
	})
	return got
}

// rows is the published length of an array, -1 where it is missing.
func (w *weir) rows(group, array string) int {
	w.t.Helper()
	a := w.do("GET", "/arrays/"+group+"/"+array+"/zarr.json", nil)
	if a.Status == http.StatusNotFound {
		return -1
	}
	var meta struct {
		Shape []int `json:"shape"`
	}
	if err := json.Unmarshal(a.Body, &meta); err != nil || len(meta.Shape) == 0 {
		w.t.Fatalf("GET /arrays/%s/%s/zarr.json: %d %s", group, array, a.Status, a.Body)
	}
	return meta.Shape[0]
}

// awaitRows waits until an array has n rows.
func (w *weir) awaitRows(group, array string, n int) {
	w.t.Helper()
	last := -1
	deadline := time.Now().Add(patience)
	for ; last < n; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("array %s/%s has %d rows after %v, want %d", group, array, last, patience, n)
		}
		last = w.rows(group, array)
	}
}

// memory gives the anonymous resident memory of the process, in bytes.
func (w *weir) memory() int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.cmd.Process.Pid))
	m := regexp.MustCompile(`RssAnon:\s+(\d+) kB`).FindSubmatch(b)
	if err != nil || m == nil {
		w.t.Errorf("memory of the process: %v\n%s", err, b)
		return 0
	}
	n, _ := strconv.ParseInt(string(m[1]), 10, 64)
	return n << 10
}
