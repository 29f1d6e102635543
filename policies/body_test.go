package policies

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"weir/internal/vfs"
	"weir/streams"
)

// everyOperation are everyKeep and the other operations.
func everyOperation() []Policy {
	return append(slices.Clone(everyKeep),
		Policy{Name: "buckets", Match: "buckets.**", Keep: Buckets},
		Policy{Name: "messages", Match: "messages.**", Keep: Messages},
		Policy{Name: "decoded", Match: "decoded.**", Keep: Decoded},
		Policy{Name: "e", Match: "e.**", Check: CheckEnvelope})
}

func staged(t testing.TB, s *streams.Store, data []byte) *streams.Staged {
	t.Helper()
	b, err := s.NewStaged()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Write(data); err != nil {
		t.Fatal(err)
	}
	return b
}

// keepBody keeps a body from a file.
func keepBody(t testing.TB, r *Router, s *streams.Store, b Batch) Kept {
	t.Helper()
	b.Body, b.Entries, b.Raw = staged(t, s, b.Entries), nil, true
	defer b.Body.Discard()
	return keep(r, b, false)
}

// files counts those of bodies on the disk, of streams or of nobody.
func files(t testing.TB, fs vfs.FS) int {
	t.Helper()
	names, err := fs.List(path.Join("s", "uploads"))
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// Whatever a body holds, and whatever a policy keeps of it, from a file it is
// the same as from memory: entries of all sizes, a broken end, no entries.
func TestBodyIsAsInMemory(t *testing.T) {
	t.Parallel()
	record := func(r *rand.Rand, n int) any {
		text := strings.Repeat(string(rune('a'+r.IntN(26))), n)
		switch r.IntN(4) {
		case 0:
			return text
		case 1:
			return map[string]any{"message": text, "filepath": fmt.Sprintf("/x/%d.csv", r.IntN(5)), "topic": "t", "payload": n, "line": text}
		case 2:
			return map[string]any{"line": text + "\n", "message": "m", "filepath": "same", "topic": "u", "payload": text}
		}
		return map[string]any{"message": []byte(text), "filepath": "f", "topic": "v", "payload": 1.5, "line": 7}
	}
	rapid.Check(t, func(rt *rapid.T) {
		var body []byte
		pick := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		for range rapid.IntRange(0, 4).Draw(rt, "entries") {
			size := rapid.SampledFrom([]int{0, 1, 300, blockBytes / 3, blockBytes - 20, 2 * blockBytes}).Draw(rt, "size")
			body = append(body, entry(record(pick, size))...)
		}
		switch rapid.IntRange(0, 5).Draw(rt, "end") {
		case 0:
			body = body[:len(body)-min(len(body), 1)]
		case 1:
			body = append(body, "text"...)
		case 2:
			body = append([]byte("text\n"), body...)
		}
		if len(body) == 0 {
			return
		}
		p := rapid.SampledFrom(everyOperation()[:10]).Draw(rt, "policy") // but for envelopes, see below
		s, other := openSegments(t, vfs.NewMem(64<<20), 1<<20), openSegments(t, vfs.NewMem(64<<20), 1<<20)
		defer s.Close()
		defer other.Close()
		fromMemory := keep(newRouter(t, s, everyOperation()...), Batch{Tag: p.Name + ".x", Entries: body, Raw: true}, false)
		fromFile := keepBody(t, newRouter(t, other, everyOperation()...), other, Batch{Tag: p.Name + ".x", Entries: body})
		if (fromMemory.Err == nil) != (fromFile.Err == nil) || reasonOf(fromMemory.Err) != reasonOf(fromFile.Err) {
			rt.Fatalf("%s: from memory %v, from a file %v", p.Name, fromMemory.Err, fromFile.Err)
		}
		got, want := streamBytes(t, other, p.Name+".x"), streamBytes(t, s, p.Name+".x")
		if !bytes.Equal(got, want) || fromMemory.Length != fromFile.Length {
			rt.Fatalf("%s: from a file %d bytes, from memory %d", p.Name, len(got), len(want))
		}
	})
}

// Frames of a large body are small, and hold its entries; what are no entries
// is refused, for no reader could open it.
func TestBodyInEnvelopes(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem(64<<20))
	r := newRouter(t, s, everyOperation()...)
	body := bytes.Repeat(entry(map[string]any{"message": strings.Repeat("x", 1000)}), 3000)
	if k := keepBody(t, r, s, Batch{Tag: "e.x", Entries: body}); k.Err != nil {
		t.Fatal(k.Err)
	}
	if got := readEntries(t, r, "e.x"); !bytes.Equal(got, body) {
		t.Errorf("%d bytes of entries come back, or others than the %d", len(got), len(body))
	}
	if k := keepBody(t, r, s, Batch{Tag: "e.y", Entries: body[:len(body)-1]}); !errors.Is(k.Err, ErrData) {
		t.Errorf("half an entry: %v", k.Err)
	}
}

// A body that comes again is known by its bytes or its id, and what is refused
// leaves no file.
func TestBodyAgainAndRefused(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem(64 << 20)
	s := openSegments(t, fs, 1<<20)
	r := newRouter(t, s, everyOperation()...)
	text := bytes.Repeat(entry("a line of text\n"), 50_000)
	for _, b := range []Batch{
		{Tag: "equal.x", Entries: text},
		{Tag: "raw.x", Entries: text, ID: []byte("id")},
		{Tag: "numbers.x", Entries: text, ID: []byte("id")},
	} {
		if k := keepBody(t, r, s, b); k.Err != nil || k.Duplicate {
			t.Fatalf("%s: %+v", b.Tag, k)
		}
		kept := files(t, fs)
		if k := keepBody(t, r, s, b); k.Err != nil || !k.Duplicate {
			t.Errorf("%s again: %+v", b.Tag, k)
		}
		if n := files(t, fs); n != kept {
			t.Errorf("%s again: %d files, there were %d", b.Tag, n, kept)
		}
	}
	if k := keep(r, Batch{Tag: "equal.x", Entries: text, Raw: true}, false); k.Err != nil || !k.Duplicate {
		t.Errorf("the same bytes from memory: %+v", k)
	}

	marker := []byte{0x92, 0xd7, 0, 255, 255, 255, 255, 0, 0, 0, 0, 0x80}
	full := errors.New("no memory left")
	before := files(t, fs)
	for _, c := range []struct {
		name string
		b    Batch
		says string
	}{
		{"a bad record far behind", Batch{Tag: "numbers.y", Entries: join(text, entry(true))}, "entry 50000: value is no text"},
		{"no field", Batch{Tag: "named.y", Entries: join(entry(map[string]any{"line": "l"}), entry(map[string]any{"a": 1, "b": 2}))}, `no field "line"`},
		{"cut", Batch{Tag: "numbers.y", Entries: text[:len(text)-3]}, "not entries alone"},
		{"a large entry", Batch{Tag: "numbers.y", Entries: entry(strings.Repeat("x", 2*blockBytes)), Take: func(int64) error { return full }}, full.Error()},
		{"buckets", Batch{Tag: "buckets.y", Entries: entry(map[string]any{"filepath": "f", "message": "m"}), Take: func(int64) error { return full }}, full.Error()},
		{"too large", Batch{Tag: "small.y", Entries: text}, "takes 5"},
		{"markers alone", Batch{Tag: "numbers.y", Entries: bytes.Repeat(marker, maxMarkers/len(marker)+1)}, "group markers"},
	} {
		k := keepBody(t, r, s, c.b)
		if k.Err == nil || !strings.Contains(k.Err.Error(), c.says) || k.Stream != nil {
			t.Errorf("%s: %+v, want an error with %q", c.name, k, c.says)
		}
		if got := streamBytes(t, s, c.b.Tag); len(got) > 0 {
			t.Errorf("%s: the stream has %d bytes", c.name, len(got))
		}
	}
	if n := files(t, fs); n != before {
		t.Errorf("%d files, there were %d before bodies were refused", n, before)
	}
	if k := keepBody(t, r, s, Batch{Tag: "numbers.z", Entries: join(marker, text, marker), ID: []byte("id")}); k.Err != nil || k.Dead != 1 || k.Length != int64(len("a line of text\n"))*50_000 {
		t.Errorf("with markers: %+v", k)
	}
}
