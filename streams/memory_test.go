package streams

import (
	"fmt"
	"runtime"
	"testing"
	"unsafe"

	"weir/internal/vfs"
)

// BenchmarkOpen opens a store of ten thousand folded streams, and tells the
// memory that each takes.
func BenchmarkOpen(b *testing.B) {
	const n = 10_000
	dir := benchDir(b)
	o := Options{FS: vfs.OS{}, SegmentBytes: 1 << 20, LiveSegments: 1}
	s := mustOpen(b, dir, o)
	recs, res := make([]Record, n), make([]Result, n)
	for i := range recs {
		recs[i] = Record{Stream: mustCreate(b, s, fmt.Sprintf("bench.%05d", i)), Data: make([]byte, 100)}
	}
	if err := s.Append(b.Context(), recs, res); err != nil {
		b.Fatal(err)
	}
	if err := waitFolded(s); err != nil {
		b.Fatal(err)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	recs, s = nil, nil
	before := heap()
	b.ResetTimer()
	for range b.N {
		if s != nil {
			s.Close()
		}
		s = mustOpen(b, dir, o)
	}
	b.StopTimer()
	b.ReportMetric(float64(heap()-before)/n, "heap-B/stream")
	b.ReportMetric(float64(unsafe.Sizeof(Stream{})), "struct-B/stream")
	s.Close()
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkAlone is one writer that waits for each append.
func BenchmarkAlone(b *testing.B) {
	s := mustOpen(b, benchDir(b), Options{})
	defer s.Close()
	st := mustCreate(b, s, "a")
	data := make([]byte, 1024)
	b.SetBytes(1024)
	b.ReportAllocs()
	for b.Loop() {
		mustAppend(b, s, Record{Stream: st, Data: data})
	}
}
