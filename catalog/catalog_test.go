package catalog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"weir/streams"
)

// A fixture is a catalog in a folder, with a clock of its own.
type fixture struct {
	*Store
	t       testing.TB
	dir     string
	streams *streams.Store
	now     time.Time
	started []string
}

func open(t testing.TB, dir string) *fixture {
	t.Helper()
	f := &fixture{t: t, dir: dir, now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	var err error
	if f.streams, err = streams.Open(filepath.Join(dir, "streams"), streams.Options{SegmentBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	f.Store, err = Open(Options{Streams: f.streams, Now: func() time.Time { return f.now }, Started: func(s []string) { f.started = append(f.started, s...) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.close)
	return f
}

func (f *fixture) close() {
	f.Store.Close()
	f.streams.Close()
}

func (f *fixture) define(v Supply) {
	f.t.Helper()
	if _, err := f.Define(v); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) act(kind, key string, actions ...string) {
	f.t.Helper()
	for _, a := range actions {
		if err := f.Act(kind, key, a); err != nil {
			f.t.Fatalf("%s of %s: %v", a, key, err)
		}
	}
}

// arrival is data of SUPPLY.PRODUCT.
func arrival(supply, product string) Arrival {
	return Arrival{Supply: supply, Product: product, Ingestion: supply, Stream: supply + "." + product, Policy: "p"}
}

func (f *fixture) admit(a Arrival, want error) {
	f.t.Helper()
	if err := f.Admit(a); !errors.Is(err, want) {
		f.t.Fatalf("%+v: %v, want %v", a, err, want)
	}
}

func (f *fixture) state(id, want string) {
	f.t.Helper()
	i, err := f.Ingestion(id)
	if err != nil || i.State != want {
		f.t.Fatalf("ingestion %s is %q, %v, want %q", id, i.State, err, want)
	}
}

func TestASupplyMakesItsIngestion(t *testing.T) {
	t.Parallel()
	f := open(t, t.TempDir())
	f.admit(arrival("s", "p"), ErrUnknownSupply)
	f.define(Supply{Reference: "s", Title: "A sensor", Products: []string{"p", "q"}, Source: "here"})
	f.admit(arrival("s", "r"), ErrUnknownProduct)
	f.admit(arrival("s", "p"), nil)
	f.admit(arrival("s", "p"), nil)
	f.admit(arrival("s", "q"), nil)
	i, err := f.Ingestion("20261121-s")
	if err != nil || i.State != Started || i.Supply != "s" || i.Source != "here" || len(i.Lines) != 2 || i.Lines[1].Stream != "s.q" {
		t.Errorf("%+v, %v", i, err)
	}
	if p, err := f.Product("q"); err != nil || p.State != Validated {
		t.Errorf("%+v, %v", p, err)
	}
	if n := len(f.Ingestions("", 10)); n != 1 {
		t.Errorf("there are %d ingestions", n)
	}
}

func TestUnknownOnesAreMadeWhereThePolicySaysSo(t *testing.T) {
	t.Parallel()
	f := open(t, t.TempDir())
	a := arrival("s", "p")
	a.Unknown = true
	f.admit(a, nil)
	a.Product, a.Stream = "q", "s.q"
	f.admit(a, nil)
	s, err := f.Supply("s")
	if err != nil || s.Origin != FromTag || !slices.Equal(s.Products, []string{"p", "q"}) {
		t.Errorf("%+v, %v", s, err)
	}
	f.act(KindSupply, "s", "invalidate")
	f.act(KindIngestion, "20261121-s", "deliver")
	f.admit(a, ErrState) // what somebody closed is no unknown one
}

// TestStates is the table of what states do to data, as in Wendelin.
func TestStates(t *testing.T) {
	t.Parallel()
	const id = "20261121-s"
	supply := func(a ...string) func(*fixture) { return func(f *fixture) { f.act(KindSupply, "s", a...) } }
	product := func(a ...string) func(*fixture) { return func(f *fixture) { f.act(KindProduct, "p", a...) } }
	ingestion := func(a ...string) func(*fixture) { return func(f *fixture) { f.act(KindIngestion, id, a...) } }
	for _, c := range []struct {
		what  string
		state string // of the supply at first
		do    []func(*fixture)
		err   error
		runs  bool // the stream's arrays grow
	}{
		{"a started one takes data", Validated, nil, nil, true},
		{"a stopped one, too, and nothing follows from it", Validated, []func(*fixture){ingestion("stop")}, nil, false},
		{"started again", Validated, []func(*fixture){ingestion("stop", "start")}, nil, true},
		{"after a delivered one there is a new one", Validated, []func(*fixture){ingestion("deliver")}, nil, true},
		{"not from an invalidated supply", Validated, []func(*fixture){supply("invalidate"), ingestion("deliver")}, ErrState, false},
		{"an invalidated supply stops its ingestion, which takes data", Validated, []func(*fixture){supply("invalidate")}, nil, false},
		{"and starts it when it is back", Validated, []func(*fixture){supply("invalidate", "validate")}, nil, true},
		{"but not one that somebody stopped", Validated, []func(*fixture){ingestion("stop"), supply("invalidate", "validate")}, nil, false},
		{"nor one that was stopped while the supply was away", Validated, []func(*fixture){supply("invalidate"), ingestion("start", "stop"), supply("validate")}, nil, false},
		{"a product that was invalidated", Validated, []func(*fixture){product("invalidate")}, ErrState, true},
		{"a product that is back", Validated, []func(*fixture){product("invalidate", "validate")}, nil, true},
		{"a default supply leaves it a draft", Default, nil, nil, false},
		{"until it is started", Default, []func(*fixture){ingestion("start")}, nil, true},
		{"planned is not yet", Default, []func(*fixture){ingestion("plan")}, ErrState, false},
		{"confirmed neither", Default, []func(*fixture){ingestion("plan", "confirm")}, ErrState, false},
		{"cancelled makes room for a new one", Default, []func(*fixture){ingestion("cancel")}, nil, false},
		{"a deleted supply", Validated, []func(*fixture){supply("invalidate", "delete"), ingestion("deliver")}, ErrState, false},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			f := open(t, dir)
			f.define(Supply{Reference: "s", State: c.state, Products: []string{"p"}})
			f.admit(arrival("s", "p"), nil)
			for _, do := range c.do {
				before := f.Epoch()
				do(f)
				if f.Epoch() == before {
					t.Error("the epoch is the same")
				}
			}
			f.close()
			again := open(t, dir) // and the same after a restart
			again.admit(arrival("s", "p"), c.err)
			if again.Runs("s.p") != c.runs {
				t.Errorf("what follows runs is %v", !c.runs)
			}
		})
	}
}

func TestStepsThatCannotBe(t *testing.T) {
	t.Parallel()
	f := open(t, t.TempDir())
	f.define(Supply{Reference: "s", Products: []string{"p"}})
	f.admit(arrival("s", "p"), nil)
	for _, c := range []struct {
		kind, key, action string
		err               error
		says              string
	}{
		{KindSupply, "s", "validate", ErrConflict, "possible is default, invalidate"},
		{KindSupply, "s", "explode", ErrConflict, `"explode"`},
		{KindSupply, "t", "validate", ErrNotFound, `"t"`},
		{KindProduct, "p", "default", ErrConflict, "possible is invalidate"},
		{KindProduct, "q", "validate", ErrNotFound, `"q"`},
		{KindIngestion, "20261121-s", "start", ErrConflict, "possible is deliver, stop"},
		{KindIngestion, "20261121-t", "start", ErrNotFound, "20261121-t"},
		{"streams", "s", "start", ErrNotFound, "streams"},
	} {
		if err := f.Act(c.kind, c.key, c.action); !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, v := range []Supply{{}, {Reference: "a\n"}, {Reference: "a", Products: []string{""}}, {Reference: "a", State: "started"}, {Reference: strings.Repeat("x", 600)}} {
		if _, err := f.Define(v); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", v, err)
		}
	}
	if len(f.Supplies("", 10)) != 1 {
		t.Error("a refused supply is there")
	}
}

// A delivered ingestion can start again, but not beside its successor.
func TestTwoIngestionsOfADay(t *testing.T) {
	t.Parallel()
	f := open(t, t.TempDir())
	f.define(Supply{Reference: "s", Products: []string{"p"}})
	f.admit(arrival("s", "p"), nil)
	f.act(KindIngestion, "20261121-s", "deliver")
	f.admit(arrival("s", "p"), nil)
	f.state("20261121-s-2", Started)
	if err := f.Act(KindIngestion, "20261121-s", "start"); !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "20261121-s-2") {
		t.Errorf("two stand for one reference: %v", err)
	}
	f.act(KindIngestion, "20261121-s-2", "deliver")
	f.started = nil
	f.act(KindIngestion, "20261121-s", "start")
	if !slices.Equal(f.started, []string{"s.p"}) {
		t.Errorf("started %v", f.started)
	}
	f.now = f.now.Add(24 * time.Hour)
	f.act(KindIngestion, "20261121-s", "deliver")
	f.admit(arrival("s", "p"), nil)
	f.state("20261122-s", Started)
}

// A definition that comes again, as at each start, changes nothing.
func TestDefineAgain(t *testing.T) {
	t.Parallel()
	f := open(t, t.TempDir())
	v := Supply{Reference: "s", Products: []string{"p"}, Origin: FromConfiguration}
	f.define(v)
	f.act(KindSupply, "s", "invalidate")
	length, epoch := f.stream.State().Length, f.Epoch()
	f.define(v)
	if f.stream.State().Length != length || f.Epoch() != epoch {
		t.Error("the same definition is a change")
	}
	v.Products = []string{"p", "q"}
	f.define(v)
	s, _ := f.Supply("s")
	if s.State != Invalidated || len(s.Products) != 2 {
		t.Errorf("%+v: want new products and the old state", s)
	}
	f.act(KindSupply, "s", "delete")
	f.define(v)
	if s, _ = f.Supply("s"); s.State != Deleted {
		t.Errorf("the configuration brought back a supply that is %s", s.State)
	}
	v.Origin = FromRequest
	f.define(v)
	if s, _ = f.Supply("s"); s.State != Validated {
		t.Errorf("a request left the supply %s", s.State)
	}
}

// Many tags at once cost few commits, and each is there once.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	f := open(t, t.TempDir())
	var all sync.WaitGroup
	for i := range 2000 {
		all.Go(func() {
			a := arrival(fmt.Sprint("s", i%1000), "p")
			a.Unknown = true
			if err := f.Admit(a); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := len(f.Ingestions("", 5000)); n != 1000 {
		t.Errorf("%d ingestions", n)
	}
	if n := f.stream.State().Records; n > 500 {
		t.Errorf("2000 calls made %d commits", n)
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	f := open(t, t.TempDir())
	f.Store.Close()
	if err := f.Act(KindSupply, "s", "validate"); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

// What is not durable is not shown, and the error is told.
func TestAFailedAppendChangesNothing(t *testing.T) {
	t.Parallel()
	f := open(t, t.TempDir())
	f.streams.Close()
	_, err := f.Define(Supply{Reference: "s", Products: []string{"p"}})
	if !errors.Is(err, streams.ErrClosed) {
		t.Errorf("the error is %v", err)
	}
	if _, err := f.Supply("s"); !errors.Is(err, ErrNotFound) {
		t.Errorf("it is there: %v", err)
	}
}

// A journal of an earlier time, and one with a line that is none.
func TestOldJournal(t *testing.T) {
	t.Parallel()
	f := openJournal(t, "testdata/journal-1.jsonl")
	f.admit(arrival("sensor1", "temperature"), nil)
	f.state("20261120-sensor1", Stopped)
	if s, err := f.Supply("sensor1"); err != nil || s.Title != "The first one" {
		t.Errorf("%+v, %v", s, err)
	}
}

// A journal in which resources grew.
func TestGrownJournal(t *testing.T) {
	t.Parallel()
	f := openJournal(t, "testdata/journal-2.jsonl")
	at := time.Date(2026, 11, 20, 11, 0, 0, 0, time.UTC)
	if i, err := f.Ingestion("20261120-sensor1"); err != nil || len(i.Lines) != 2 || i.Lines[1].Stream != "sensor1.pressure" || !i.Modified.Equal(at) {
		t.Errorf("%+v, %v", i, err)
	}
	if s, err := f.Supply("sensor1"); err != nil || !slices.Equal(s.Products, []string{"temperature", "pressure"}) || s.Title != "The first one" {
		t.Errorf("%+v, %v", s, err)
	}
	f.act(KindIngestion, "20261120-sensor1", "stop")
	if f.Runs("sensor1.pressure") {
		t.Error("the stream of a line that came later goes on when its ingestion is stopped")
	}
}

// openJournal opens a catalog whose journal is a file's.
func openJournal(t *testing.T, file string) *fixture {
	t.Helper()
	journal, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	st, err := streams.Open(filepath.Join(dir, "streams"), streams.Options{SegmentBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	name, err := st.Create(StreamName, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Append(t.Context(), []streams.Record{{Stream: name, Data: journal}}, make([]streams.Result, 1)); err != nil {
		t.Fatal(err)
	}
	st.Close()
	return open(t, dir)
}

// TestModel: whatever happens, what the journal gives after a restart is what
// was shown before, and one ingestion stands for a reference.
func TestModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		f := open(t, dir)
		defer f.close()
		names := []string{"a", "b"}
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			name := rapid.SampledFrom(names).Draw(rt, "name")
			switch rapid.IntRange(0, 3).Draw(rt, "what") {
			case 0:
				a := arrival(name, rapid.SampledFrom([]string{"p", "q"}).Draw(rt, "product"))
				a.Unknown = rapid.Bool().Draw(rt, "unknown")
				f.Admit(a)
			case 1:
				f.Define(Supply{Reference: name, Products: []string{"p"}, State: rapid.SampledFrom([]string{Draft, Validated, Default}).Draw(rt, "state")})
			case 2:
				f.Act(KindSupply, name, rapid.SampledFrom([]string{"validate", "invalidate", "default", "delete"}).Draw(rt, "action"))
			case 3:
				if list := f.Ingestions("", 100); len(list) > 0 {
					i := rapid.SampledFrom(list).Draw(rt, "ingestion")
					f.Act(KindIngestion, i.ID, rapid.SampledFrom([]string{"start", "stop", "deliver", "cancel", "plan"}).Draw(rt, "action"))
				}
			}
			live := map[string]int{}
			for _, i := range f.Ingestions("", 100) {
				if i.live() {
					live[i.Reference]++
				}
			}
			for r, n := range live {
				if n > 1 {
					rt.Fatalf("%d ingestions stand for %s", n, r)
				}
			}
		}
		if rapid.Bool().Draw(rt, "compact") {
			f.Store.Close() // compact is the committer's
			f.compact()
		}
		shown := fmt.Sprint(f.Supplies("", 100), f.Products("", 100), f.Ingestions("", 100))
		f.close()
		again := open(t, dir)
		defer again.close()
		if got := fmt.Sprint(again.Supplies("", 100), again.Products("", 100), again.Ingestions("", 100)); got != shown {
			rt.Fatalf("after a restart\n%s\nbefore\n%s", got, shown)
		}
	})
}

func BenchmarkAdmit(b *testing.B) {
	f := open(b, b.TempDir())
	a := arrival("s", "p")
	a.Unknown = true
	f.admit(a, nil)
	b.SetBytes(1)
	b.ReportAllocs()
	for b.Loop() {
		if err := f.Admit(a); err != nil {
			b.Fatal(err)
		}
	}
}
