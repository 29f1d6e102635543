package policies

import (
	"testing"

	"weir/internal/vfs"
)

// By content, batches without entries are all alike; the parts that their
// listener could not use are not.
func TestDeadPartsByContent(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem(64<<20))
	r := newRouter(t, s, Policy{Name: "p", Match: "**", Dedupe: DedupeContent})
	for i, c := range []struct {
		entries []byte
		part    string
		known   bool
	}{
		{nil, "first", false},
		{nil, "second", false},
		{nil, "first", true},
		{entry("x"), "first", false},
		{entry("x"), "second", false},
		{entry("x"), "second", true},
	} {
		before := s.Stats().Records
		k := keep(r, Batch{Tag: "a", Entries: c.entries, Refused: []Refused{{Reason: "signal", Data: []byte(c.part)}}}, true)
		if k.Err != nil {
			t.Fatal(k.Err)
		}
		if known := s.Stats().Records == before; known != c.known {
			t.Errorf("batch %d: taken for known is %v, want %v", i, known, c.known)
		}
	}
}
