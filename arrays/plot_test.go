package arrays

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"testing"

	"weir/internal/vfs"
)

func TestPlot(t *testing.T) {
	t.Parallel()
	s := open(t, "d", Options{FS: vfs.NewMem(1 << 40), ChunkBytes: 800})
	var entries []byte
	for i := range 1000 {
		m := map[string]any{"v": math.Abs(float64(i - 500))}
		if i >= 900 {
			delete(m, "v")
		}
		entries = append(entries, entry(1700000000+i, m)...)
	}
	f := &fakeStream{name: "m", data: entries}
	advance(t, s, f, Spec{Kind: kindMetrics})
	p, err := s.Plot("m", "v", 0, 0, math.MaxInt64, 10)
	if err != nil {
		t.Fatal(err)
	}
	want := "[0 100 200 300 400 500 600 700 800 900] [401 301 201 101 1 0 100 200 300 NaN] [500 400 300 200 100 99 199 299 399 NaN]"
	if got := fmt.Sprint(p.Index, p.Min, p.Max); got != want {
		t.Errorf("plot %s\nwant %s", got, want)
	}
	if p.X[0] != 1700000000 || p.X[9] != 1700000900 || p.Info.Shape[0] != 1000 {
		t.Errorf("x %v, info %+v", p.X, p.Info)
	}
	for _, c := range []struct{ start, stop, points, want int }{{0, 5, 100, 5}, {5, 5, 10, 0}, {-10, 1000, 3, 3}, {0, 1000, 0, 0}} {
		p, err := s.Plot("m", "v", 0, int64(c.start), int64(c.stop), c.points)
		if err != nil || len(p.Index) != c.want || len(p.Min) != c.want || len(p.Max) != c.want {
			t.Errorf("plot of [%d, %d) in %d points has %d, %v", c.start, c.stop, c.points, len(p.Index), err)
		}
	}
	for _, column := range []int{-1, 1} {
		if _, err := s.Plot("m", "v", column, 0, 1, 1); !errors.Is(err, ErrNotFound) {
			t.Errorf("column %d gave %v", column, err)
		}
	}
}

// TestPlotTypes draws columns of every type of sample.
func TestPlotTypes(t *testing.T) {
	t.Parallel()
	s := open(t, "d", Options{FS: vfs.NewMem(1 << 40)})
	for _, c := range []struct {
		w      testWAV
		lo, hi float64
	}{
		{testWAV{bits: 8, data: []byte{1, 2, 200, 4}}, 2, 4},
		{testWAV{bits: 16, data: []byte{1, 0, 0xff, 0xff, 9, 9, 3, 0}}, -1, 3},
		{testWAV{bits: 24, data: []byte{1, 0, 0, 0xff, 0xff, 0xff, 9, 9, 9, 0, 0, 0x40}}, -1, 1 << 22},
		{testWAV{bits: 32, data: []byte{1, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 9, 9, 9, 9, 5, 0, 0, 0}}, -2, 5},
		{testWAV{bits: 32, tag: waveFloat, data: []byte{0, 0, 0, 0, 0, 0, 0x80, 0xbf, 0, 0, 0, 0, 0, 0, 0, 0x40}}, -1, 2},
	} {
		name := fmt.Sprint(c.w.bits, c.w.tag)
		c.w.channels, c.w.rate = 2, 8000
		f := &fakeStream{name: name, data: c.w.bytes()}
		advance(t, s, f, Spec{Kind: kindWAV})
		p, err := s.Plot(name, "pcm", 1, 0, 2, 1)
		if err != nil || p.Min[0] != c.lo || p.Max[0] != c.hi || p.X != nil {
			t.Errorf("%s: %v to %v, want %v to %v: %v", name, p.Min, p.Max, c.lo, c.hi, err)
		}
	}
}

// TestPlotIsBounded reads no more than it may of a large array.
func TestPlotIsBounded(t *testing.T) {
	t.Parallel()
	s := open(t, "d", Options{FS: vfs.NewMem(1 << 40)})
	f := &fakeStream{name: "w", data: testWAV{channels: 1, bits: 64, tag: waveFloat, rate: 1, riff: unknownSize, size: unknownSize}.bytes()}
	f.append(bytes.Repeat([]byte{0, 0, 0, 0, 0, 0, 0xf0, 0x3f}, 96<<20/8))
	advance(t, s, f, Spec{Kind: kindWAV})
	p, err := s.Plot("w", "pcm", 0, 0, math.MaxInt64, 1000)
	if err != nil || len(p.Index) != 64 {
		t.Fatalf("%d points, %v", len(p.Index), err)
	}
	if st := s.Stats(); st.CacheMisses > 64 {
		t.Errorf("the plot read %d chunks", st.CacheMisses)
	}
	for i := range p.Min {
		if p.Min[i] != 1 || p.Max[i] != 1 {
			t.Fatalf("point %d is %v to %v", i, p.Min[i], p.Max[i])
		}
	}
}
