package lake

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"weir/streams"
)

var update = flag.Bool("update", false, "write testdata/v1.jsonl anew")

// TestGolden: the records of version 1 stay readable and mean what they meant,
// and are written as they were.
func TestGolden(t *testing.T) {
	t.Parallel()
	const name = "testdata/v1.jsonl"
	w := start(t)
	w.lake.Close()
	var err error
	if w.lake, err = Open(Options{Streams: w.store, Now: func() time.Time { return time.UnixMilli(1_800_000_000_000) }}); err != nil {
		t.Fatal(err)
	}
	w.must("lab/set/a/csv/END/3/"+md5Of("one"), "one")
	w.must("lab/set/p/fif/001//", "first ")
	w.must("lab/set/p/fif/EOF/10/"+md5Of("first last"), "last")
	w.must("lab/set/a/csv/END//", "two")
	w.must("lab/set/q/fif/001/10/"+md5Of("0123456789"), "01234")
	w.must("lab/other/x/none/001//", "x")
	ref, err := ParseReference("lab/other/x/none/001//")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.lake.Exists(ref); err != nil { // gives it up
		t.Fatal(err)
	}
	for _, err := range []error{w.lake.Rename("set/a/csv", "set/b/csv"), w.lake.Describe("set", "about"), w.lake.SetState("set", Published)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	state := w.lake.stream.State()
	written := []byte(w.read(Range{w.lake.stream, 0, state.Length}))
	if *update {
		if err := os.WriteFile(name, written, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(golden, written) {
		t.Errorf("it is written as\n%s", written)
	}
	first, err := os.ReadFile("testdata/v1-first.jsonl") // before removals had a time
	if err != nil {
		t.Fatal(err)
	}
	for old := newModel(); ; {
		line, rest, more := bytes.Cut(first, []byte("\n"))
		if !more {
			if f := old.file("set/b/csv"); f == nil || f.Removed != 0 || len(old.files) != 3 {
				t.Errorf("the records of old give %+v", old.all())
			}
			break
		}
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		old.apply(&r)
		first = rest
	}
	read := newModel()
	for line := range strings.Lines(string(golden)) {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		read.apply(&r)
	}
	want, _ := json.Marshal(w.lake.m.all())
	got, _ := json.Marshal(read.all())
	if !bytes.Equal(got, want) {
		t.Errorf("it is read as\n%s\nnot as\n%s", got, want)
	}
}

// A state that this weir cannot read is refused, not begun anew.
func TestUnreadableState(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"{\"format\":2}\n", "{}\n", "{\"format\":1,\"more\":1}\n", "{\"format\":1", "no JSON\n"} {
		w := start(t)
		rec := []streams.Record{{Stream: w.lake.stream, Data: []byte(text), Reset: true}}
		if err := w.store.Append(t.Context(), rec, make([]streams.Result, 1)); err != nil {
			t.Fatal(err)
		}
		if l, err := Open(Options{Streams: w.store}); err == nil || !strings.Contains(err.Error(), "backup") {
			t.Errorf("%q: %v", text, err)
			l.Close()
		}
	}
}

func FuzzReference(f *testing.F) {
	for _, s := range []string{"sup/set/file/csv//10/h", "s/set/a/b/fif/001//", "s/set/f/none/EOF/1/ab", "/////", "a/b/c/d/e/f/g/h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseReference(s)
		if err != nil {
			return
		}
		back := strings.Join([]string{r.Supplier, r.Set, r.Name, r.Extension, r.Mark, r.Size, r.Hash}, Separator)
		if back != s || r.File() != r.Set+"/"+r.Name+"/"+r.Extension || setOf(r.File()) != r.Set || Title(r.File()) == "" {
			t.Errorf("%q became %+v", s, r)
		}
	})
}
