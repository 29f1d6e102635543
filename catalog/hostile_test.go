package catalog

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A tag of one supply that leads to the ingestion of another one is held
// against its own supply: unknown, invalidated or deleted it brings nothing.
func TestAnIngestionOfAnotherSupply(t *testing.T) {
	t.Parallel()
	f := open(t, t.TempDir())
	f.define(Supply{Reference: "s", Products: []string{"p"}})
	f.admit(arrival("s", "p"), nil)
	a := arrival("s", "p")
	a.Supply = "other"
	f.admit(a, ErrUnknownSupply)
	f.define(Supply{Reference: "other", Products: []string{"p"}})
	f.admit(a, nil)
	f.act(KindSupply, "other", "invalidate")
	f.admit(a, ErrState)
	f.act(KindSupply, "other", "delete")
	f.admit(a, ErrState)
	f.admit(arrival("s", "p"), nil)
}

// What a question says is what the data is told: a product that a supply no
// longer lists is taken as long as its ingestion has the line.
func TestAQuestionIsAnsweredAsTheDataIs(t *testing.T) {
	t.Parallel()
	f := open(t, t.TempDir())
	f.define(Supply{Reference: "s", Products: []string{"p", "q"}})
	f.admit(arrival("s", "p"), nil)
	f.define(Supply{Reference: "s", Products: []string{"q"}})
	for _, step := range []func(){func() {}, func() { f.act(KindIngestion, "20261121-s", "deliver") }} {
		step()
		would := f.WouldAdmit(arrival("s", "p"))
		if err := f.Admit(arrival("s", "p")); fmt.Sprint(err) != fmt.Sprint(would) {
			t.Errorf("the question is answered %v, the data %v", would, err)
		}
	}
}

// A deleted supply that a request defines again starts what stopped with it.
func TestASupplyThatIsDefinedAgainGoesOn(t *testing.T) {
	t.Parallel()
	f := open(t, t.TempDir())
	v := Supply{Reference: "s", Products: []string{"p"}, Origin: FromRequest}
	f.define(v)
	f.admit(arrival("s", "p"), nil)
	f.act(KindSupply, "s", "invalidate", "delete")
	f.define(v)
	f.state("20261121-s", Started)
	if !slices.Equal(f.started, []string{"s.p"}) {
		t.Errorf("started %v", f.started)
	}
}

// The journal is UTF-8: a reference that is not would come back as another one.
func TestReferencesAreUTF8(t *testing.T) {
	t.Parallel()
	f := open(t, t.TempDir())
	for _, v := range []Supply{{Reference: "a\xff"}, {Reference: "a", Products: []string{"\xff"}}} {
		if _, err := f.Define(v); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", v, err)
		}
	}
}

// A sender whose tags are all different is refused in the end, of what it has
// made nothing is lost, and the error says what helps.
func TestTagsMakeNoMoreThanTheyMay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := open(t, dir)
	f.most = limits{each: 10, lines: 4}
	flood := func(tag func(i int) Arrival) (taken int, last error) {
		for i := range 20 {
			a := tag(i)
			a.Unknown = true
			if err := f.Admit(a); err == nil {
				taken++
			} else if last = err; !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
			if err := f.WouldAdmit(a); (err == nil) != (last == nil) {
				t.Errorf("%+v: would be %v, is %v", a, err, last)
			}
		}
		return taken, last
	}
	says := func(err error, text string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("the error is %v; want %q", err, text)
		}
	}
	n, err := flood(func(i int) Arrival { return arrival("one", fmt.Sprint(i)) })
	if n != 4 {
		t.Errorf("a supply has %d products of tags", n)
	}
	says(err, `the product "*"`)
	f.define(Supply{Reference: "one", Products: []string{AnyProduct}})
	_, err = flood(func(i int) Arrival { return arrival("one", fmt.Sprint(i)) })
	says(err, "20261121-one has 4 lines: deliver it")
	f.act(KindIngestion, "20261121-one", "deliver")
	f.admit(arrival("one", "more"), nil)

	n, err = flood(func(i int) Arrival { return arrival(fmt.Sprint("s", i), "0") })
	if n != 9 { // beside the one
		t.Errorf("%d supplies of tags", n)
	}
	says(err, "10 data supplies")
	f.define(Supply{Reference: "s19", Products: []string{"0"}})
	says(f.Admit(arrival("s19", "0")), "deliver ingestions that have ended")
	f.act(KindIngestion, "20261121-s0", "deliver")
	f.admit(arrival("s19", "0"), nil)
	n, err = flood(func(i int) Arrival { return arrival(fmt.Sprint("s", 1+i/3), fmt.Sprint("new", i)) })
	if n != 10-len([]string{"0", "1", "2", "3", "more"}) {
		t.Errorf("%d more products of tags", n)
	}
	says(err, "10 data products")
}

// Changes of one commit write a resource once, however often it changed.
func TestACommitWritesAResourceOnce(t *testing.T) {
	t.Parallel()
	f := open(t, t.TempDir())
	a := arrival("s", "p")
	a.Unknown = true
	f.admit(a, nil)
	before := f.stream.State()
	var all sync.WaitGroup
	for i := range 1000 {
		all.Go(func() {
			b := a
			b.Product, b.Stream = fmt.Sprint(i), fmt.Sprint("s.", i)
			if err := f.Admit(b); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	i, err := f.Ingestion("20261121-s")
	if err != nil || len(i.Lines) != 1001 {
		t.Errorf("%d lines, %v", len(i.Lines), err)
	}
	after := f.stream.State()
	most := (after.Records-before.Records)*250_000 + 1000*500
	if n := after.Length - before.Length; n > most {
		t.Errorf("%d commits wrote %d bytes", after.Records-before.Records, n)
	}
}

// What comes to a resource is written, not the resource anew: thousands of
// products of one ingestion make a journal of as many short lines, and are all
// there after a restart.
func TestManyProductsMakeAShortJournal(t *testing.T) {
	t.Parallel()
	const products = 500
	dir := t.TempDir()
	f := open(t, dir)
	for i := range products {
		a := arrival("s", fmt.Sprint("p", i))
		a.Unknown = true
		f.admit(a, nil)
	}
	before, err := f.Ingestion("20261121-s")
	if err != nil {
		t.Fatal(err)
	}
	if got := f.stream.State().Length; got > products*1500 {
		t.Errorf("the journal has %d bytes for %d products", got, products)
	}
	f.close()
	f = open(t, dir)
	after, err := f.Ingestion("20261121-s")
	if err != nil || len(after.Lines) != products || !reflect.DeepEqual(before, after) {
		t.Errorf("after a restart there are %d lines of %d, %v", len(after.Lines), products, err)
	}
	if s, err := f.Supply("s"); err != nil || len(s.Products) != products {
		t.Errorf("after a restart the supply has %d products, %v", len(s.Products), err)
	}
}
