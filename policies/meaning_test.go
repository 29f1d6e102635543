package policies

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"weir/catalog"
	"weir/internal/vfs"
	"weir/tags"
)

// Senders that cannot be told have what a grammar or the catalog refuses in
// the dead letters, and the acknowledgement all the same.
func TestGrammarsAndDeadLetters(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem(64<<20))
	c, err := catalog.Open(catalog.Options{Streams: s})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := c.Define(catalog.Supply{Reference: "room", Products: []string{"temperature"}}); err != nil {
		t.Fatal(err)
	}
	r, err := New(Options{Streams: s, Catalog: c, Policies: []Policy{{Name: "p", Match: "**", Grammar: &tags.Spec{Kind: tags.SensorProduct}}}})
	if err != nil {
		t.Fatal(err)
	}
	data := []byte{0x92, 0, 0xa1, 'x'}
	for _, q := range []struct {
		tag    string
		err    error
		reason string
	}{
		{"room.temperature", nil, ""},
		{"room.temperature.more", nil, ""},
		{"nodot", ErrTag, "bad-tag"},
		{"room\xff.temperature", ErrTag, "bad-tag"},
		{"room.humidity", catalog.ErrUnknownProduct, "unknown-product"},
		{"cellar.temperature", catalog.ErrUnknownSupply, "unknown-supply"},
	} {
		before := r.Stats().Refused[q.reason].Bytes
		if err := r.Takes("", q.tag); !errors.Is(err, q.err) {
			t.Errorf("%s would be %v", q.tag, err)
		}
		kept := make([]Kept, 1)
		r.Keep(t.Context(), []Batch{{Tag: q.tag, Entries: data, Records: 1}}, kept, false)
		if !errors.Is(kept[0].Err, q.err) {
			t.Errorf("%s: told %v, want %v", q.tag, kept[0].Err, q.err)
		}
		r.Keep(t.Context(), []Batch{{Tag: q.tag, Entries: data, Records: 1}}, kept, true)
		if kept[0].Err != nil || (kept[0].Dead == 1) != (q.err != nil) {
			t.Errorf("%s: accepted with %+v", q.tag, kept[0])
		}
		if n := r.Stats().Refused[q.reason].Bytes - before; q.err != nil && n != 2*int64(len(data)) {
			t.Errorf("%s: %d bytes counted as %s", q.tag, n, q.reason)
		}
	}
	again := []Batch{{Tag: "nodot", Entries: data, Records: 1}, {Tag: "nodot", Entries: data, Records: 1}}
	twice := make([]Kept, 2)
	if r.Keep(t.Context(), again, twice, false); !errors.Is(twice[0].Err, ErrTag) || !errors.Is(twice[1].Err, ErrTag) {
		t.Errorf("a bad tag that comes twice: %v, %v", twice[0].Err, twice[1].Err)
	}
	if letters := readLetters(t, streamBytes(t, s, "_dead.p")); len(letters) != 4 || streamBytes(t, s, "_dead") != nil {
		t.Errorf("%d dead letters of the policy; those of a bad tag are its, too", len(letters))
	}
	if e := r.Explain("nodot"); e.Stream != "_dead.p" || e.Policy != "p" || e.Error == "" {
		t.Errorf("%+v", e)
	}
	if got := streamBytes(t, s, "room.temperature"); string(got) != strings.Repeat(string(data), 4) {
		t.Errorf("the stream holds %q", got)
	}
	e := r.Explain("room.temperature.more")
	if e.Stream != "room.temperature" || e.Meaning == nil || e.Meaning.Product != "temperature" || e.Error != "" {
		t.Errorf("%+v", e)
	}
	if e := r.Explain("cellar.x"); !strings.Contains(e.Error, "unknown data supply") {
		t.Errorf("%+v", e)
	}
}

// What was taken once is asked for again when the catalog changes.
func TestAChangeOfTheCatalogReachesKnownTags(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem(64<<20))
	c, err := catalog.Open(catalog.Options{Streams: s})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	r, err := New(Options{Streams: s, Catalog: c, Policies: []Policy{{Name: "p", Match: "**", Grammar: &tags.Spec{Kind: tags.SensorProduct}, Unknown: true}}})
	if err != nil {
		t.Fatal(err)
	}
	kept := make([]Kept, 1)
	keep := func() error {
		r.Keep(t.Context(), []Batch{{Tag: "a.b", Entries: []byte{0x92, 0, 1}, Records: 1}}, kept, false)
		return kept[0].Err
	}
	if err := keep(); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		action string
		err    error
	}{{"invalidate", catalog.ErrState}, {"validate", nil}} {
		if err := c.Act(catalog.KindProduct, "b", step.action); err != nil {
			t.Fatal(err)
		}
		if err := keep(); !errors.Is(err, step.err) {
			t.Errorf("after %s: %v", step.action, err)
		}
	}
	c.Close()
	if err := r.Takes("", "c.d"); err != nil {
		t.Errorf("a closed catalog cannot be read: %v", err)
	}
	r.Keep(t.Context(), []Batch{{Tag: "c.d", Entries: []byte{0x92, 0, 1}, Records: 1}}, kept, true)
	if !errors.Is(kept[0].Err, catalog.ErrClosed) {
		t.Errorf("what the catalog cannot keep is %v: that is not the data's fault, and no dead letter", kept[0].Err)
	}
}

// What tags have made too much of is the data's fault: a sender that cannot be
// told has it in the dead letters.
func TestAFullCatalogIsTheDatasFault(t *testing.T) {
	t.Parallel()
	if reason := reasonOf(fmt.Errorf("policies: tag: %w", catalog.ErrFull)); reason != "catalog-full" {
		t.Errorf("the reason is %q", reason)
	}
}
