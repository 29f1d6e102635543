package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const retaining = `
streams: {segment_bytes: 64KiB, live_segments: 1, large_bytes: 8KiB, chunk_bytes: 1MiB}
arrays: {sync_every: 100ms}
jobs: {schedules: {expire: 200ms}}
policies:
  - {name: numbers, match: "numbers.**", keep: text, array: {kind: numbers}, retention: {bytes: 1000000}}
  - {name: files, match: "files.**", keep: bytes, retention: {age: 1s}}
  - {name: rest, match: "**"}
`

// kept is what the chunk list says of a stream.
type kept struct {
	Begin, Length int64
}

func (w *weir) kept(name string) (k kept) {
	w.t.Helper()
	if a := w.do("GET", "/streams/"+name+"/chunks", nil); json.Unmarshal(a.Body, &k) != nil {
		w.t.Fatalf("chunks of %s: %d %s", name, a.Status, a.Body)
	}
	return k
}

// disk is the size of a stream's chunk files.
func (w *weir) disk(name string) (sum int64) {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(w.data, "streams", "chunks", name, "*"))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err == nil { // else it has just gone
			sum += info.Size()
		}
	}
	return sum
}

// TestRetention sends lines to a stream of which the policy keeps a part,
// through kills of the process: what is beyond the part goes, and its space, the
// rest is as it was sent, the array has all of it, and a repeat of anything is
// known.
func TestRetention(t *testing.T) {
	t.Parallel()
	config := filepath.Join(t.TempDir(), "retention.yaml")
	if err := os.WriteFile(config, []byte(retaining), 0o644); err != nil {
		t.Fatal(err)
	}
	w := start(t, "--config", config)
	const rows, piece, limit = 400_000, 5000, 1_000_000
	const file = 1 << 20 // streams.chunk_bytes: a file goes with its last byte
	var all []byte
	for i := range rows {
		all = fmt.Appendf(all, "%d\n", i)
	}
	var pieces [][]byte
	for at := 0; at < len(all); at += piece {
		pieces = append(pieces, all[at:min(at+piece, len(all))])
	}
	w.put("rest", []byte("stays"))
	if a := w.do("POST", "/streams/files.old", make([]byte, 5000)); a.Status/100 != 2 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	post := func(i int) (answer, error) {
		return ask("POST", w.url("/streams/numbers.kept"), bytes.NewReader(pieces[i]), "Idempotency-Key", fmt.Sprint(i))
	}
	ctx, cancel := context.WithCancel(t.Context())
	var sent atomic.Int64
	ended := make(chan struct{})
	go func() { // as a sender does: again until it is kept
		defer close(ended)
		for ctx.Err() == nil && sent.Load() < int64(len(pieces)) {
			if a, err := post(int(sent.Load())); err == nil && a.Status/100 == 2 {
				sent.Add(1)
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
	const kills = 8
	for i := range kills {
		awaitFor(t, 4*patience, "more is kept", func() bool { return sent.Load() > int64(i*len(pieces)/kills) })
		w.kill()
		w.up()
	}
	awaitFor(t, 4*patience, "all is kept", func() bool { return sent.Load() == int64(len(pieces)) })
	w.awaitRows("numbers.kept", "value", rows)

	var k kept
	awaitFor(t, 4*patience, "what is beyond the limit is gone", func() bool {
		k = w.kept("numbers.kept")
		return k.Begin > int64(len(all)-limit-file-piece) && w.disk("numbers.kept") < limit+file+piece
	})
	if k.Length != int64(len(all)) || k.Begin > k.Length-limit+piece || all[k.Begin-1] != '\n' {
		t.Errorf("%d bytes are kept: %+v", k.Length-k.Begin, k)
	}
	for i := range pieces {
		if a, err := post(i); err != nil || a.Header.Get("Weir-Duplicate") != "true" {
			t.Fatalf("the repeat of piece %d: %d %v %s", i, a.Status, err, a.Body)
		}
	}
	if a := w.do("GET", "/streams/numbers.kept", nil); a.Status != 410 || !strings.Contains(string(a.Body), "Range: bytes=") {
		t.Errorf("all bytes: %d %.200s", a.Status, a.Body)
	}
	begin := w.kept("numbers.kept").Begin
	if a := w.do("GET", "/streams/numbers.kept", nil, "Range", fmt.Sprintf("bytes=%d-", begin)); a.Status != 206 || !bytes.Equal(a.Body, all[begin:]) {
		t.Errorf("from byte %d on: %d, %d bytes", begin, a.Status, len(a.Body))
	}
	t.Run("xarray", func(t *testing.T) {
		checkArrays(t, w, group{Name: "numbers.kept", Arrays: map[string]array{"value": {Dtype: "float64", Shape: []int{rows}, Values: counting(rows)}}})
	})

	w.push("files.old", 5000)
	if k := w.kept("rest"); k.Begin != 0 || k.Length == 0 {
		t.Errorf("a stream without a retention: %+v", k)
	}
	out, err := exec.Command(program, "get", "numbers.kept", "--server", w.url("")).Output()
	if err != nil || !bytes.HasSuffix(all, out) || len(out) < limit {
		t.Errorf("weir get: %d bytes, %v", len(out), err)
	}
	for _, args := range [][]string{{"expire", "--dry-run"}, {"expire", "numbers.kept"}} {
		out, err := exec.Command(program, append(args, "--ss-url", w.url(""))...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "with a retention") {
			t.Errorf("weir %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	w.kill()
	w.up()
	if k := w.kept("numbers.kept"); k.Begin < begin {
		t.Errorf("after a kill it begins at %d, before at %d", k.Begin, begin)
	}
	w.stop()
	if out, err := exec.Command(program, "fsck", w.data, "--deep").CombinedOutput(); err != nil {
		t.Errorf("fsck: %v\n%s", err, out)
	}
}

// push appends to another stream until one that is too old has gone.
func (w *weir) push(name string, begin int64) {
	w.t.Helper()
	for end := time.Now().Add(4 * patience); w.kept(name).Begin < begin; {
		if a := w.do("POST", "/streams/rest", make([]byte, 7<<10)); a.Status/100 != 2 || time.Now().After(end) {
			w.t.Fatalf("%s begins at %d; %d %s", name, w.kept(name).Begin, a.Status, a.Body)
		}
	}
}
