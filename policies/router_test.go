package policies

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/arrays"
	"weir/internal/vfs"
	"weir/streams"
)

// everyKeep has one policy of each kind.
var everyKeep = []Policy{
	{Name: "raw", Match: "raw.**", Keep: Verbatim},
	{Name: "numbers", Match: "numbers.**", Keep: Text, Array: &arrays.Spec{Kind: "numbers"}},
	{Name: "wavs", Match: "wavs.**", Keep: Bytes},
	{Name: "metrics", Match: "metrics.**", Keep: Verbatim, Array: &arrays.Spec{Kind: "metrics"}},
	{Name: "named", Match: "named.**", Keep: Text, Field: "line"},
	{Name: "equal", Match: "equal.**", Keep: Verbatim, Dedupe: DedupeContent},
	{Name: "small", Match: "small.**", Keep: Verbatim, MaxBytes: 5},
}

// clock is the time of all tests: 2026-11-21 12:00:00.000000005 UTC.
func clock() time.Time { return time.Unix(1795262400, 5).UTC() }

func openStore(t testing.TB, fs vfs.FS) *streams.Store {
	t.Helper()
	return openSegments(t, fs, 1<<20)
}

func openSegments(t testing.TB, fs vfs.FS, size int64) *streams.Store {
	t.Helper()
	s, err := streams.Open("s", streams.Options{FS: fs, SegmentBytes: size, MinFree: 1, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func newRouter(t testing.TB, s *streams.Store, list ...Policy) *Router {
	t.Helper()
	r, err := New(Options{Policies: list, Streams: s, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// keep keeps one batch.
func keep(r *Router, b Batch, accepted bool) Kept {
	var kept [1]Kept
	r.Keep(context.Background(), []Batch{b}, kept[:], accepted)
	return kept[0]
}

// streamBytes gives the bytes of a stream; nil when there is none.
func streamBytes(t testing.TB, s *streams.Store, name string) []byte {
	t.Helper()
	st, ok := s.Stream(name)
	if !ok {
		return nil
	}
	state := st.State()
	r, err := st.Reader(state.Generation, 0, state.Length)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem(64<<20))
	for _, c := range []struct {
		list []Policy
		says string
	}{
		{[]Policy{{Name: "a", Match: "a"}, {Name: "a", Match: "b"}}, `two policies are named "a"`},
		{[]Policy{{Name: "a", Match: "/("}}, `policy "a": match`},
		{[]Policy{{Name: "", Match: "a"}}, "name: missing"},
	} {
		if _, err := New(Options{Policies: c.list, Streams: s}); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("got %v, want an error with %q", err, c.says)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	good := Policy{Name: "a-1.B_c", Match: "a"}
	for _, c := range []struct {
		change func(*Policy)
		key    string
	}{
		{func(p *Policy) {}, ""},
		{func(p *Policy) { p.Keep, p.Dedupe = Text, DedupeContent }, ""},
		{func(p *Policy) { p.Keep, p.Field = Bytes, "x" }, ""},
		{func(p *Policy) { p.Keep, p.Array = Bytes, &arrays.Spec{Kind: "numbers"} }, ""},
		{func(p *Policy) { p.Array = &arrays.Spec{Kind: "metrics"} }, ""},
		{func(p *Policy) { p.Name = "" }, "name"},
		{func(p *Policy) { p.Name = "_dead" }, "name"},
		{func(p *Policy) { p.Name = ".a" }, "name"},
		{func(p *Policy) { p.Name = "a/b" }, "name"},
		{func(p *Policy) { p.Name = "ä" }, "name"},
		{func(p *Policy) { p.Name = strings.Repeat("a", maxPolicyName+1) }, "name"},
		{func(p *Policy) { p.Match = " " }, "match"},
		{func(p *Policy) { p.Keep = "all" }, "keep"},
		{func(p *Policy) { p.Dedupe = "time" }, "dedupe"},
		{func(p *Policy) { p.Field = "x" }, "field"},
		{func(p *Policy) { p.MaxBytes = -1 }, "max_bytes"},
		{func(p *Policy) { p.Array = &arrays.Spec{Kind: "x"} }, "array.kind"},
		{func(p *Policy) { p.Keep, p.Array = Verbatim, &arrays.Spec{Kind: "numbers"} }, "array.kind"},
		{func(p *Policy) { p.Keep, p.Array = Text, &arrays.Spec{Kind: "wav"} }, "array.kind"},
		{func(p *Policy) { p.Keep, p.Array = Text, &arrays.Spec{Kind: "metrics"} }, "array.kind"},
		{func(p *Policy) { p.Keep, p.Array = Text, &arrays.Spec{Kind: "numbers", Time: "t"} }, "array.time"},
	} {
		p := good
		c.change(&p)
		bad := p.Validate()
		if c.key == "" && len(bad) > 0 || c.key != "" && (len(bad) != 1 || bad[c.key] == nil) {
			t.Errorf("%+v: got %v, want key %q", p, bad, c.key)
		}
	}
	if bad := Default().Validate(); len(bad) > 0 {
		t.Error(bad)
	}
}

func TestRoute(t *testing.T) {
	t.Parallel()
	r := newRouter(t, openStore(t, vfs.NewMem(64<<20)),
		Policy{Name: "first", Match: "a.**"}, Policy{Name: "second", Match: "a.b b.*", Keep: Text})
	for range 2 { // the second time from the cache
		for tag, want := range map[string]string{"a.b": "first", "b.x": "second", "c": "", "": "", "_a": "", strings.Repeat("a.", 600): ""} {
			p, ok := r.Route(tag)
			if p.Name != want || ok != (want != "") {
				t.Errorf("%q goes to %q, want %q", tag, p.Name, want)
			}
		}
	}
	if p, ok := r.Policy("second"); !ok || p.Keep != Text || p.Dedupe != DedupeChunk {
		t.Errorf("got %+v", p)
	}
	if _, ok := r.Policy("third"); ok {
		t.Error("there is a third policy")
	}
	if l := r.Policies(); len(l) != 2 || l[0].Name != "first" || l[1].Name != "second" {
		t.Errorf("got %v", l)
	}
}

// More tags than are remembered go where they belong, and so do they again.
func TestManyTags(t *testing.T) {
	t.Parallel()
	r := newRouter(t, nil, Policy{Name: "even", Match: "**.{0,2,4,6,8}"}, Policy{Name: "odd", Match: "a.**"})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for i := range maxRoutes + 4000 {
				tag := fmt.Sprintf("a.%d.%d", i/10, i%10)
				want := [2]string{"even", "odd"}[i%2]
				if p, _ := r.Route(tag); p.Name != want {
					t.Errorf("%s goes to %q, want %q", tag, p.Name, want)
				}
			}
		})
	}
	wg.Wait()
	if n := r.routes.Len(); n != maxRoutes {
		t.Errorf("%d tags are remembered, want %d", n, maxRoutes)
	}
}

func TestTargetAndOf(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem(64<<20))
	r := newRouter(t, s, everyKeep...)
	st, p, err := r.Target("wavs.a")
	if err != nil || p.Name != "wavs" || st.Name() != "wavs.a" || st.Label() != "wavs" {
		t.Fatalf("got %v, %v, %v", st, p.Name, err)
	}
	for name, want := range map[string]error{"other": ErrUnmatched, "": ErrTag, "_dead": ErrTag, strings.Repeat("x", 1025): ErrTag} {
		if _, _, err := r.Target(name); !errors.Is(err, want) {
			t.Errorf("%.20q: got %v, want %v", name, err, want)
		}
	}
	if _, err := s.Create("raw.mine", "gone"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Target("raw.mine"); !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), `"gone"`) {
		t.Errorf("got %v, want %v", err, ErrConflict)
	}
	if p, ok := r.Of(st); !ok || p.Name != "wavs" {
		t.Errorf("got %v", p)
	}
	other, _ := s.Create("numbers.x", "nobody")
	if p, ok := r.Of(other); !ok || p.Name != "numbers" {
		t.Errorf("a stream of a policy that is gone has %q", p.Name)
	}
	dead, _ := s.Create("_dead", deadName)
	if p, ok := r.Of(dead); ok {
		t.Errorf("dead letters have policy %q", p.Name)
	}
}

// Streams of weir's first start, without configuration, go on where the
// configuration keeps verbatim as well.
func TestInheritDefault(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem(64<<20))
	for _, tag := range []string{"raw.a", "numbers.a"} {
		if k := keep(newRouter(t, s), Batch{Tag: tag, Entries: entry(`a`)}, false); k.Err != nil {
			t.Fatal(k.Err)
		}
	}
	r := newRouter(t, s, everyKeep...)
	if k := keep(r, Batch{Tag: "raw.a", Entries: entry(`b`)}, false); k.Err != nil {
		t.Error(k.Err)
	}
	if k := keep(r, Batch{Tag: "numbers.a", Entries: entry(`1`)}, false); !errors.Is(k.Err, ErrConflict) {
		t.Errorf("text was added to a stream of msgpack: %v", k.Err)
	}
	if got := streamBytes(t, s, "raw.a"); !bytes.Equal(got, append(entry(`a`), entry(`b`)...)) {
		t.Errorf("got %x", got)
	}
}

// While the default policy is configured its streams are its own.
func TestDefaultKeepsItsStreams(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem(64<<20))
	r := newRouter(t, s, Policy{Name: "raw", Match: "raw.**"}, Default())
	if k := keep(r, Batch{Tag: "raw.a", Policy: "default", Entries: entry("a")}, false); k.Err != nil {
		t.Fatal(k.Err)
	}
	if k := keep(r, Batch{Tag: "raw.a", Entries: entry("b")}, false); !errors.Is(k.Err, ErrConflict) {
		t.Errorf("got %+v", k)
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem(64<<20))
	r := newRouter(t, s, Policy{Name: "one", Match: "a.*"}, Policy{Name: "two", Match: "**.b"}, Policy{Name: "three", Match: "c"})
	e := r.Explain("a.b")
	if e.Policy != "one" || e.Stream != "a.b" || e.Error != "" || len(e.Trials) != 3 {
		t.Fatalf("got %+v", e)
	}
	if !e.Trials[0].Takes || !e.Trials[1].Matches || e.Trials[1].Takes || e.Trials[2].Matches {
		t.Errorf("got %+v", e.Trials)
	}
	if e := r.Explain("x"); e.Policy != "" || e.Stream != "_dead" || !strings.Contains(e.Error, "three (c)") {
		t.Errorf("got %+v", e)
	}
	if e := r.Explain(strings.Repeat("x", 2000) + ".b"); e.Policy != "" || !strings.Contains(e.Error, "2002 bytes") {
		t.Errorf("got %+v", e)
	}
	if e := r.Explain("_x"); e.Stream != "_dead" || !strings.Contains(e.Error, "begins with _") {
		t.Errorf("got %+v", e)
	}
	if k := keep(r, Batch{Tag: "c", Policy: "one", Entries: entry("x")}, false); k.Err != nil {
		t.Fatal(k.Err)
	}
	if e := r.Explain("c"); e.Stream != "_dead.three" || !strings.Contains(e.Error, "another policy") {
		t.Errorf("got %+v", e)
	}
}
