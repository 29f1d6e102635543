package arrays

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// denseGroups opens a store of small chunks with a group of each kind, n rows.
func denseGroups(t testing.TB, n int) (*Store, *pythonStreams, func(f *fakeStream, kind string)) {
	t.Helper()
	s := open(t, t.TempDir(), Options{ChunkBytes: 256, Refuse: func(context.Context, Refusal) error { return nil }})
	p := newPythonStreams()
	p.grow(n)
	build := func(f *fakeStream, kind string) {
		t.Helper()
		advance(t, s, f, Spec{Kind: kind})
	}
	build(p.numbers, kindNumbers)
	build(p.wav, kindWAV)
	build(p.metrics, kindMetrics)
	return s, p, build
}

func dense(t testing.TB, s *Store, group, array string, fields []string, r ...Range) *Dense {
	t.Helper()
	d, err := s.Dense(group, array, fields, r)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func bytesOf(t testing.TB, d *Dense) []byte {
	t.Helper()
	b, err := io.ReadAll(d.Reader(0, d.Size))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDense(t *testing.T) {
	t.Parallel()
	s, _, _ := denseGroups(t, 100)
	for _, tc := range []struct {
		group, array string
		fields       []string
		kind, descr  string
		shape        []int64
		size         int64
	}{
		{"numbers", "", nil, "float64", "'<f8'", []int64{100}, 800},
		{"numbers", "value", nil, "float64", "'<f8'", []int64{100}, 800},
		{"wav", "", nil, "int16", "'<i2'", []int64{100, 2}, 400},
		{"metrics", "time", nil, "datetime64[ns]", "'<M8[ns]'", []int64{100}, 800},
		{"metrics", "word", nil, "uint32", "'<u4'", []int64{100}, 400},
		{"metrics", "", nil, "[('time', '<M8[ns]'), ('cpu', '<f8'), ('word', '<u4')]", "", []int64{100}, 2000},
		{"metrics", "", []string{"word", "time"}, "[('word', '<u4'), ('time', '<M8[ns]')]", "", []int64{100}, 1200},
		{"metrics", "", []string{"cpu"}, "[('cpu', '<f8')]", "", []int64{100}, 800},
	} {
		d := dense(t, s, tc.group, tc.array, tc.fields)
		if d.Type != tc.kind || !slices.Equal(d.Shape, tc.shape) || d.Size != tc.size || int(d.Size) != len(bytesOf(t, d)) {
			t.Errorf("%s/%s%v: %s %v, %d bytes", tc.group, tc.array, tc.fields, d.Type, d.Shape, d.Size)
		}
		if tc.descr == "" {
			tc.descr = tc.kind
		}
		if d.Header.Type() != tc.descr || !slices.Equal(d.Header.Shape, tc.shape) {
			t.Errorf("%s/%s: the head says %s %v", tc.group, tc.array, d.Header.Type(), d.Header.Shape)
		}
	}
	row := bytesOf(t, dense(t, s, "metrics", "", nil))[7*20:]
	if ns := int64(binary.LittleEndian.Uint64(row)); ns != 1700000007e9 ||
		math.Float64frombits(binary.LittleEndian.Uint64(row[8:])) != 7./4 || binary.LittleEndian.Uint32(row[16:]) != 2 {
		t.Errorf("row 7 is %x", row[:20])
	}
	d := dense(t, s, "metrics", "", []string{"word", "cpu"}, Range{Start: at(10)})
	for i, c := range d.Columns() {
		name := []string{"word", "cpu"}[i]
		if same := dense(t, s, "metrics", name, nil, Range{Start: at(10)}); c.Name != name || c.ETag != same.ETag || !bytes.Equal(bytesOf(t, c), bytesOf(t, same)) {
			t.Errorf("column %d is %s %v, not %s", i, c.Name, c.Shape, name)
		}
	}
	if d := dense(t, s, "wav", "", nil); d.Columns()[0] != d {
		t.Error("a plain array is not its only column")
	}
	first, last, step, ok := dense(t, s, "metrics", "", nil).Times()
	if !ok || first.Unix() != 1700000000 || last.Unix() != 1700000099 || step != time.Second {
		t.Errorf("times: %v %v %v %v", first, last, step, ok)
	}
	if _, _, _, ok := dense(t, s, "numbers", "", nil).Times(); ok {
		t.Error("numbers have a time")
	}
}

func at(n int64) *int64 { return &n }

func TestDenseErrors(t *testing.T) {
	t.Parallel()
	s, _, _ := denseGroups(t, 3)
	for _, tc := range []struct {
		group, array string
		fields       []string
		slices       []Range
		err          error
	}{
		{"none", "", nil, nil, ErrNotFound},
		{"numbers", "none", nil, nil, ErrNotFound},
		{"numbers", "", []string{"value"}, nil, ErrSelection},
		{"metrics", "", []string{"none"}, nil, ErrSelection},
		{"metrics", "", []string{"cpu", "cpu"}, nil, ErrSelection},
		{"metrics", "", nil, []Range{{}, {}}, ErrSelection},
		{"numbers", "", nil, []Range{{}, {}}, ErrSelection},
		{"wav", "", nil, []Range{{}, {}, {}}, ErrSelection},
		{"numbers", "", nil, []Range{{Step: at(0)}}, ErrSelection},
	} {
		if d, err := s.Dense(tc.group, tc.array, tc.fields, tc.slices); !errors.Is(err, tc.err) {
			t.Errorf("%v: %v, %v", tc, d, err)
		}
	}
}

// Any slice is what picking the elements one by one gives, however it is read;
// and it stays so while the group grows.
func TestAnyDense(t *testing.T) {
	t.Parallel()
	const rows = 150
	s, p, build := denseGroups(t, rows)
	whole := bytesOf(t, dense(t, s, "wav", "", nil))
	record := bytesOf(t, dense(t, s, "metrics", "", nil))
	bound := rapid.OneOf(rapid.Just((*int64)(nil)), rapid.Map(rapid.Int64Range(-200, 200), at),
		rapid.SampledFrom([]*int64{at(math.MinInt64), at(math.MaxInt64), at(math.MinInt64 + 1)}))
	rapid.Check(t, func(rt *rapid.T) {
		step := rapid.OneOf(rapid.Just((*int64)(nil)), rapid.Map(rapid.Int64Range(1, 40), at), rapid.Map(rapid.Int64Range(-40, -1), at),
			rapid.SampledFrom([]*int64{at(math.MinInt64), at(math.MaxInt64)}))
		a := Range{bound.Draw(rt, "start"), bound.Draw(rt, "stop"), step.Draw(rt, "step")}
		b := Range{bound.Draw(rt, "start2"), bound.Draw(rt, "stop2"), step.Draw(rt, "step2")}
		var want, wantRecord []byte
		for _, i := range model(a, rows) {
			for _, k := range model(b, 2) {
				want = append(want, whole[i*4+k*2:][:2]...)
			}
			wantRecord = append(append(wantRecord, record[i*20+8:][:8]...), record[i*20:][:8]...)
		}
		d, err := s.Dense("wav", "", nil, []Range{a, b})
		d2, err2 := s.Dense("metrics", "", []string{"cpu", "time"}, []Range{a})
		if err != nil || err2 != nil {
			rt.Fatal(err, err2)
		}
		if rapid.Bool().Draw(rt, "grow") {
			p.grow(1)
			build(p.wav, kindWAV)
			build(p.metrics, kindMetrics)
			defer func() { // back to the rows that the model has
				s, p, build = denseGroups(t, rows)
			}()
		}
		for i, c := range []struct {
			d    *Dense
			want []byte
		}{{d, want}, {d2, wantRecord}} {
			from := rapid.IntRange(0, len(c.want)).Draw(rt, "from")
			to := rapid.IntRange(from, len(c.want)).Draw(rt, "to")
			got, err := io.ReadAll(c.d.Reader(int64(from), int64(to)))
			if err != nil || c.d.Size != int64(len(c.want)) || !bytes.Equal(got, c.want[from:to]) {
				rt.Fatalf("%d: %d bytes of %d, %v, want %d of %d", i, len(got), c.d.Size, err, to-from, len(c.want))
			}
		}
	})
}

// model gives the indices of a slice as the language's reference has them.
func model(r Range, n int64) (list []int64) {
	step := int64(1)
	if r.Step != nil {
		step = *r.Step
	}
	norm := func(b *int64, missing, least, most int64) int64 {
		switch {
		case b == nil:
			return missing
		case *b < 0 && *b+n < least:
			return least
		case *b < 0:
			return *b + n
		}
		return min(*b, most)
	}
	if step > 0 {
		stop := norm(r.Stop, n, 0, n)
		for i := norm(r.Start, 0, 0, n); i < stop; i += step {
			list = append(list, i)
			if step > n {
				break
			}
		}
		return list
	}
	stop := norm(r.Stop, -1, -1, n-1)
	for i := norm(r.Start, n-1, -1, n-1); i > stop; i += step {
		list = append(list, i)
		if step < -n {
			break
		}
	}
	return list
}

// A Dense of a group that is built anew ends with ErrChanged.
func TestDenseChanged(t *testing.T) {
	t.Parallel()
	s, p, build := denseGroups(t, 100)
	d := dense(t, s, "numbers", "", nil)
	tag := d.ETag
	r := d.Reader(0, d.Size)
	p.numbers.reset([]byte("1\n2\n3\n"))
	build(p.numbers, kindNumbers)
	if b, err := io.ReadAll(r); !errors.Is(err, ErrChanged) || len(b) != 0 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	again := dense(t, s, "numbers", "", nil)
	if again.ETag == tag || again.Size != 24 {
		t.Errorf("the new one has the tag %s and %d bytes", again.ETag, again.Size)
	}
}

// Tags differ where bytes do.
func TestDenseTags(t *testing.T) {
	t.Parallel()
	s, p, build := denseGroups(t, 50)
	seen := map[string]string{}
	note := func(name string, d *Dense) {
		if was, ok := seen[d.ETag]; ok {
			t.Errorf("%s has the tag of %s", name, was)
		}
		seen[d.ETag] = name
	}
	for i := range 2 {
		note(fmt.Sprint("whole", i), dense(t, s, "metrics", "", nil))
		note(fmt.Sprint("field", i), dense(t, s, "metrics", "", []string{"cpu"}))
		note(fmt.Sprint("array", i), dense(t, s, "metrics", "cpu", nil))
		note(fmt.Sprint("slice", i), dense(t, s, "metrics", "cpu", nil, Range{Start: at(1)}))
		note(fmt.Sprint("other", i), dense(t, s, "metrics", "cpu", nil, Range{Step: at(-1)}))
		p.grow(1)
		build(p.metrics, kindMetrics)
	}
}

func BenchmarkDense(b *testing.B) {
	s := open(b, b.TempDir(), Options{Refuse: func(context.Context, Refusal) error { return nil }})
	p := newPythonStreams()
	p.grow(1 << 20)
	for f, kind := range map[*fakeStream]string{p.wav: kindWAV, p.metrics: kindMetrics} {
		advance(b, s, f, Spec{Kind: kind})
	}
	for _, group := range []string{"wav", "metrics"} {
		b.Run(group, func(b *testing.B) {
			d := dense(b, s, group, "", nil)
			b.SetBytes(d.Size)
			b.ReportAllocs()
			for b.Loop() {
				if n, err := io.Copy(io.Discard, d.Reader(0, d.Size)); err != nil || n != d.Size {
					b.Fatal(n, err)
				}
			}
		})
	}
}
