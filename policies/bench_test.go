package policies

import (
	"context"
	"fmt"
	"testing"

	"weir/internal/vfs"
	"weir/streams"
)

// benchBatches are n batches for 100 tags, each of one KiB in 8 entries.
func benchBatches(policy string, n int) []Batch {
	var body []byte
	for i := range 8 {
		body = append(body, entry(map[string]any{"message": fmt.Sprintf("%0108d", i)})...)
	}
	out := make([]Batch, n)
	for i := range out {
		out[i] = Batch{Tag: fmt.Sprintf("%s.sensor.%d", policy, i%100), Entries: body, Records: 8}
	}
	return out
}

// BenchmarkPrepare is the router's own part of Keep: everything but the append.
func BenchmarkPrepare(b *testing.B) {
	for _, policy := range []string{"raw", "numbers"} {
		b.Run(policy, func(b *testing.B) {
			r := newRouter(b, openStore(b, vfs.NewMem(64<<20)), everyKeep...)
			batches := benchBatches(policy, 64)
			w, kept := new(work), make([]Kept, len(batches))
			ids := make([][]byte, len(batches))
			for i := range ids {
				ids[i] = fmt.Appendf(nil, "chunk %d", i)
				batches[i].ID = ids[i]
			}
			b.SetBytes(int64(len(batches[0].Entries)))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%len(batches) == 0 {
					w.reset()
				}
				n := i % len(batches)
				r.prepare(w, n, &batches[n], &kept[n], true)
			}
		})
	}
}

// BenchmarkKeep appends 64 batches a call to a store on this machine's disk,
// from four senders at once.
func BenchmarkKeep(b *testing.B) {
	for _, policy := range []string{"raw", "numbers"} {
		b.Run(policy, func(b *testing.B) {
			s, err := streams.Open(b.TempDir(), streams.Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			r := newRouter(b, s, everyKeep...)
			batches := benchBatches(policy, 64)
			b.SetBytes(int64(len(batches) * len(batches[0].Entries)))
			b.ReportAllocs()
			b.SetParallelism(2)
			b.RunParallel(func(pb *testing.PB) {
				kept := make([]Kept, len(batches))
				for pb.Next() {
					r.Keep(context.Background(), batches, kept, true)
					if kept[0].Err != nil {
						b.Error(kept[0].Err)
					}
				}
			})
			b.ReportMetric(float64(b.N*len(batches))/b.Elapsed().Seconds(), "batches/s")
		})
	}
}

// BenchmarkMatch is one lookup of a tag that is not remembered.
func BenchmarkMatch(b *testing.B) {
	for _, pattern := range []string{"a.b.c", "a.**", "**.c", "{x,a}.*.{b,c.**}", "/a\\..*/"} {
		b.Run(pattern, func(b *testing.B) {
			p, err := ParsePattern(pattern)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				p.Match("a.b.c")
			}
		})
	}
}
