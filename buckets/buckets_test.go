package buckets

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"weir/internal/vfs"
	"weir/streams"
)

// A fixture is a stream of buckets in memory.
type fixture struct {
	*Store
	t       testing.TB
	streams *streams.Store
	st      *streams.Stream
}

func open(t testing.TB) *fixture {
	t.Helper()
	s, err := streams.Open("s", streams.Options{FS: vfs.NewMem(64 << 20), SegmentBytes: 1 << 20, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	st, err := s.Create("b", "policy")
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{New(s, nil), t, s, st}
}

func (f *fixture) append(data []byte, reset bool) {
	f.t.Helper()
	if err := f.streams.Append(f.t.Context(), []streams.Record{{Stream: f.st, Data: data, Reset: reset}}, make([]streams.Result, 1)); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) insert(key string, value []byte) {
	f.t.Helper()
	f.append(Append(nil, time.Unix(1, 2), []byte(key), value), false)
}

func (f *fixture) read(v Value, err error) string {
	f.t.Helper()
	if err != nil {
		return err.Error()
	}
	r, err := v.Open(f.st)
	if err != nil {
		f.t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		f.t.Fatal(err)
	}
	return string(b)
}

func (f *fixture) list(r Range) List {
	f.t.Helper()
	l, err := f.List(f.st, r)
	if err != nil {
		f.t.Fatal(err)
	}
	return l
}

func keys(l List) (list []string) {
	for _, i := range l.Items {
		list = append(list, i.Key)
	}
	return list
}

const all = 1 << 30

// TestWendelinsBuckets are the steps of Wendelin's own tests of Data Bucket
// Streams.
func TestWendelinsBuckets(t *testing.T) {
	t.Parallel()
	f := open(t)
	if l := f.list(Range{Stop: all, Limit: all}); l.Buckets != 0 || l.Keys != 0 || len(l.Items) != 0 {
		t.Errorf("%+v", l)
	}
	value := strings.Repeat("0123456789", 10_000) // 100,000 bytes
	f.insert("1", []byte(value))
	if f.read(f.ByKey(f.st, false, "1")) != value || f.read(f.ByIndex(f.st, false, 0)) != value {
		t.Error("the bucket is not what was inserted")
	}
	if err := f.Delete(t.Context(), f.st, false, "1"); err != nil {
		t.Fatal(err)
	}
	if l := f.list(Range{Stop: all, Limit: all}); l.Buckets != 0 || l.Keys != 0 || len(l.Items) != 0 {
		t.Errorf("after the end of the key: %+v", l)
	}
	f.append(nil2(), true)
	for i := range 100 {
		f.insert(fmt.Sprintf("%02d", i), []byte(value))
	}
	l := f.list(Range{ByKey: true, Limit: all})
	if len(l.Items) != 100 || l.Items[0].Key != "00" || l.Items[99].Key != "99" || !slices.IsSorted(keys(l)) {
		t.Errorf("keys %v", keys(l))
	}
	if l := f.list(Range{ByKey: true, FirstKey: "10", Limit: 1}); len(l.Items) != 1 || l.Items[0].Key != "10" || l.Items[0].Index != 10 || l.Items[0].Size != 100_000 {
		t.Errorf("%+v", l)
	}
}

// nil2 is an entry that takes the place of all before, and ends at once.
func nil2() []byte { return appendDeleted(nil, time.Unix(0, 0), "nothing") }

func TestOverwrite(t *testing.T) {
	t.Parallel()
	f := open(t)
	for i, k := range []string{"b", "a", "b", "c"} {
		f.insert(k, fmt.Appendf(nil, "%s%d", k, i))
	}
	if got := f.read(f.ByIndex(f.st, false, 0)); got != "b2" {
		t.Errorf("index 0 of a key that came again is %q", got)
	}
	if got := f.read(f.ByIndex(f.st, false, 2)); got != "b2" {
		t.Errorf("index 2 is %q", got)
	}
	if l := f.list(Range{Stop: all, Limit: all}); l.Keys != 3 || l.Buckets != 4 || fmt.Sprint(keys(l)) != "[b a b c]" {
		t.Errorf("%+v", l)
	}
	if l := f.list(Range{ByKey: true, BeforeKey: "c", Limit: all}); fmt.Sprint(keys(l)) != "[a b]" {
		t.Errorf("%+v", l)
	}
	if l := f.list(Range{Start: 1, Stop: 3, Limit: all}); fmt.Sprint(keys(l)) != "[a b]" {
		t.Errorf("%+v", l)
	}
	if l := f.list(Range{Start: -5, Stop: all, Limit: 2}); fmt.Sprint(keys(l)) != "[b a]" {
		t.Errorf("%+v", l)
	}
	if err := f.Delete(t.Context(), f.st, false, "b"); err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{-1, 0, 2, 4} {
		if _, err := f.ByIndex(f.st, false, i); !errors.Is(err, ErrNotFound) {
			t.Errorf("index %d: %v", i, err)
		}
	}
	if _, err := f.ByKey(f.st, false, "b"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if err := f.Delete(t.Context(), f.st, false, "b"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	f.insert("b", []byte("new"))
	if v, err := f.ByKey(f.st, false, "b"); err != nil || v.Index != 4 {
		t.Errorf("a key that is back: %+v, %v", v, err)
	}
}

func TestMessagesKeepTheirValues(t *testing.T) {
	t.Parallel()
	f := open(t)
	f.insert("room", []byte("21"))
	f.insert("room", []byte("22"))
	if a, b := f.read(f.ByIndex(f.st, true, 0)), f.read(f.ByIndex(f.st, true, 1)); a != "21" || b != "22" {
		t.Errorf("the messages are %q and %q", a, b)
	}
	if got := f.read(f.ByKey(f.st, true, "room")); got != "22" {
		t.Errorf("the newest is %q", got)
	}
}

func TestBrokenStreams(t *testing.T) {
	t.Parallel()
	good := Append(nil, time.Unix(1, 0), []byte("key"), []byte("value"))
	for name, data := range map[string][]byte{
		"cut in the value":  good[:len(good)-1],
		"cut in the head":   good[:15],
		"cut in the time":   good[:5],
		"something else":    []byte("this is text and no bucket at all"),
		"an entry":          append(slices.Clone(good[:11]), 0xa1, 'x'),
		"other fields":      append(slices.Clone(good[:11]), 0x82, 0xa1, 'x', 0xa1, 'y', 0xa1, 'z', 0xc4, 0),
		"a value of text":   append(slices.Clone(good[:11]), 0x82, 0xa3, 'k', 'e', 'y', 0xa1, 'y', 0xa5, 'v', 'a', 'l', 'u', 'e', 0xa1, 'x'),
		"a key without end": append(append(slices.Clone(good[:11]), 0x82, 0xa3, 'k', 'e', 'y', 0xdb, 0, 2, 0, 0), make([]byte, 200_000)...),
	} {
		f := open(t)
		f.append(append(slices.Clone(good), data...), false)
		_, err := f.List(f.st, Range{Stop: all, Limit: all})
		if err == nil || !strings.Contains(err.Error(), fmt.Sprint("at byte ", len(good))) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestGolden: buckets of earlier versions can be read.
func TestGolden(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("testdata/buckets-1.bin")
	if err != nil {
		t.Fatal(err)
	}
	want := Append(nil, time.Unix(1795262400, 5), []byte("one.csv"), []byte("1;2\n"))
	want = Append(want, time.Unix(1795262401, 0), []byte("two.csv"), make([]byte, 300))
	want = appendDeleted(want, time.Unix(1795262402, 0), "one.csv")
	if string(b) != string(want) {
		t.Errorf("what is written now is\n%q, then\n%q", want, b)
	}
	f := open(t)
	f.append(b, false)
	if l := f.list(Range{Stop: all, Limit: all}); fmt.Sprint(keys(l)) != "[two.csv]" || l.Items[0].Index != 1 {
		t.Errorf("%+v", l)
	}
}

// TestModel: an index that follows agrees with maps, and with one that reads
// all at once.
func TestModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		f := open(t)
		var order []string // key of each index; "" is deleted
		values := map[string]string{}
		for i := range rapid.IntRange(1, 30).Draw(rt, "steps") {
			key := rapid.SampledFrom([]string{"a", "b", "c", strings.Repeat("k", MaxKey)}).Draw(rt, "key")
			switch rapid.IntRange(0, 3).Draw(rt, "what") {
			case 0:
				err := f.Delete(t.Context(), f.st, false, key)
				if _, there := values[key]; there != (err == nil) {
					rt.Fatal(err)
				}
				delete(values, key)
				for j := range order {
					if order[j] == key {
						order[j] = ""
					}
				}
			default:
				value := fmt.Sprint(i, strings.Repeat("v", rapid.SampledFrom([]int{0, 1, 300, 70_000}).Draw(rt, "size")))
				f.insert(key, []byte(value))
				values[key] = value
				order = append(order, key)
			}
			if rapid.Bool().Draw(rt, "look") {
				f.list(Range{Limit: 1})
			}
		}
		for _, s := range []*fixture{f, {New(f.streams, nil), t, f.streams, f.st}} {
			for k, want := range values {
				if got := s.read(s.ByKey(s.st, false, k)); got != want {
					rt.Fatalf("%.10s has %d bytes, not %d", k, len(got), len(want))
				}
			}
			l := s.list(Range{Stop: all, Limit: all})
			want := slices.DeleteFunc(slices.Clone(order), func(k string) bool { return k == "" })
			if l.Keys != len(values) || !slices.Equal(keys(l), want) {
				rt.Fatalf("keys %d, %v; want %v", l.Keys, keys(l), want)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(Append(nil, time.Unix(1, 0), []byte("key"), []byte("value")))
	f.Add(appendDeleted(nil, time.Unix(1, 0), "key"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parse(b)
		if err != nil && !errors.Is(err, errShort) && !errors.Is(err, errEntry) {
			t.Errorf("%q: %v", b, err)
		}
		if err == nil && (h.value > len(b) || h.value < timeBytes || h.length < 0 || h.length > 1<<32) {
			t.Errorf("%q: %+v", b, h)
		}
	})
}

func BenchmarkFollow(b *testing.B) {
	f := open(b)
	var data []byte
	for i := range 1000 {
		data = Append(data, time.Unix(1, 0), fmt.Appendf(nil, "key%d", i), make([]byte, 1000))
	}
	f.append(data, false)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := New(f.streams, nil).List(f.st, Range{Limit: 1}); err != nil {
			b.Fatal(err)
		}
	}
}
