package policies

import (
	"bytes"
	"compress/gzip"
	"io"
	"testing"

	"github.com/tinylib/msgp/msgp"

	"weir/arrays"
	"weir/internal/vfs"
)

var envelopes = []Policy{{Name: "e", Match: "e.**", Check: CheckEnvelope}}

// packed makes a frame [tag, entries, option].
func packed(tag string, entries []byte, option map[string]any) []byte {
	b := msgp.AppendString([]byte{0x93}, tag)
	b = msgp.AppendBytes(b, entries)
	b, err := msgp.AppendIntf(b, option)
	if err != nil {
		panic(err)
	}
	return b
}

func zipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

// readEntries reads all of a stream's entries.
func readEntries(t *testing.T, r *Router, name string) []byte {
	t.Helper()
	st, ok := r.streams.Stream(name)
	if !ok {
		t.Fatalf("there is no stream %q", name)
	}
	in, err := r.Entries(t.Context(), st, st.State().Generation, 0, st.State().Length)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	b, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEnvelopesAreKeptAsTheyCameAndOpenedWhenRead(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem(64<<20))
	r := newRouter(t, s, envelopes...)
	one, two, three := entry(map[string]any{"a": 1}), entry("two"), bytes.Repeat(entry(map[string]any{"b": "x"}), 200000)
	frames := [][]byte{
		packed("e.a", join(one, two), map[string]any{"chunk": "1"}),
		packed("e.a", zipped(three), map[string]any{"compressed": "gzip"}),
	}
	for i, f := range frames {
		if k := keep(r, Batch{Tag: "e.a", Entries: f, Framed: true, ID: []byte{byte(i)}}, true); k.Err != nil || k.Length != int64(len(f)) {
			t.Fatalf("frame %d: %+v", i, k)
		}
	}
	// by HTTP there is no frame
	if k := keep(r, Batch{Tag: "e.a", Policy: "e", Entries: two, Raw: true}, false); k.Err != nil {
		t.Fatal(k.Err)
	}
	if got, want := readEntries(t, r, "e.a"), join(one, two, three, two); !bytes.Equal(got, want) {
		t.Errorf("%d bytes of entries, want %d, or other ones", len(got), len(want))
	}
	if _, ok := s.Stream("_dead.e"); ok {
		t.Error("good frames left dead letters")
	}
}

func TestABrokenFrameIsADeadLetterOnceHoweverOftenItIsRead(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem(64<<20))
	r := newRouter(t, s, envelopes...)
	good := entry(map[string]any{"a": 1})
	cut := zipped(bytes.Repeat(good, 100))
	for _, f := range [][]byte{
		packed("e.a", good, nil),
		packed("e.a", cut[:len(cut)-9], map[string]any{"compressed": "gzip"}),
		packed("e.a", join(good, []byte{0xc0}, good), nil), // nil is no entry
		packed("e.a", []byte("metrics"), map[string]any{"fluent_signal": 1}),
	} {
		if k := keep(r, Batch{Tag: "e.a", Entries: f, Framed: true}, true); k.Err != nil {
			t.Fatal(k.Err)
		}
	}
	for range 2 {
		if got := readEntries(t, r, "e.a"); !bytes.Equal(got, join(good, good, good)) {
			t.Errorf("entries %x, want the good one three times", got)
		}
	}
	dead, _ := s.Stream("_dead.e")
	if n := dead.State().Records; n != 3 {
		t.Errorf("%d dead letters, want 3", n)
	}
	if n := r.Stats().Policies["e"].Dead; n != 3 {
		t.Errorf("%d dead letters counted, want 3", n)
	}
}

func TestEntriesOfAVerbatimStreamAreItsBytes(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem(64<<20))
	r := newRouter(t, s, Policy{Name: "v", Match: "**"})
	if k := keep(r, Batch{Tag: "a", Entries: entry("x")}, true); k.Err != nil {
		t.Fatal(k.Err)
	}
	if got := readEntries(t, r, "a"); !bytes.Equal(got, entry("x")) {
		t.Errorf("entries %x", got)
	}
	if r.HasEnvelopes() || r.ChecksEnvelope([]byte("a")) {
		t.Error("a policy checks envelopes that was not told to")
	}
}

func TestWhatAnEnvelopeCannotBe(t *testing.T) {
	t.Parallel()
	for _, p := range []Policy{
		{Name: "a", Match: "**", Check: "never"},
		{Name: "a", Match: "**", Check: CheckEnvelope, Keep: Text},
		{Name: "a", Match: "**", Check: CheckEnvelope, Array: &arrays.Spec{Kind: kindMetrics}},
	} {
		if p.Validate()["check"] == nil {
			t.Errorf("%+v is taken", p)
		}
	}
	s := openStore(t, vfs.NewMem(64<<20))
	r := newRouter(t, s, envelopes...)
	if !r.HasEnvelopes() || !r.ChecksEnvelope([]byte("e.a")) || r.ChecksEnvelope([]byte("other")) {
		t.Error("ChecksEnvelope is wrong")
	}
	if _, _, err := r.Target("e.a"); err == nil {
		t.Error("a file may be put where frames are kept")
	}
}
