package streams

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/vfs"
)

const benchWriters = 64

// benchDir is a folder on a real disk: WEIR_BENCH_DIR, or the test's own.
func benchDir(b *testing.B) string {
	b.Helper()
	dir := os.Getenv("WEIR_BENCH_DIR")
	if dir == "" {
		return b.TempDir()
	}
	dir, err := os.MkdirTemp(dir, "streams")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// BenchmarkAppend has 64 writers, each waiting for its append before the
// next, to streams taken at random.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{150, 1 << 10, 64 << 10} {
		for _, streams := range []int{1, 100, 10_000} {
			b.Run(fmt.Sprintf("size=%d/streams=%d", size, streams), func(b *testing.B) {
				benchAppend(b, size, streams, 1)
			})
		}
	}
	b.Run("size=150/streams=100/batch=64", func(b *testing.B) { benchAppend(b, 150, 100, 64) })
}

func benchAppend(b *testing.B, size, streams, together int) {
	s := mustOpen(b, benchDir(b), Options{})
	defer s.Close()
	var handles []*Stream
	for i := range streams {
		handles = append(handles, mustCreate(b, s, fmt.Sprintf("bench.%05d", i)))
	}
	pool := make([]byte, 1<<20+size)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(pool)
	var left atomic.Int64
	left.Store(int64(b.N))
	slowest := make([][]time.Duration, benchWriters)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for w := range benchWriters {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 2))
			recs, res := make([]Record, together), make([]Result, together)
			for left.Add(-int64(together)) > -int64(together) {
				for i := range recs {
					at := rng.IntN(1 << 20)
					recs[i] = Record{Stream: handles[rng.IntN(streams)], Data: pool[at : at+size], Key: randomKey(rng)}
				}
				start := time.Now()
				if err := s.Append(context.Background(), recs, res); err != nil {
					b.Error(err)
					return
				}
				slowest[w] = append(slowest[w], time.Since(start))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	all := slices.Concat(slowest...)
	slices.Sort(all)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
	b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
}

func randomKey(rng *rand.Rand) (k Key) {
	for i := 0; i < len(k); i += 8 {
		v := rng.Uint64()
		for j := range 8 {
			k[i+j] = byte(v >> (8 * j))
		}
	}
	return k
}

// BenchmarkFdatasync is the limit of the disk: one writer, one write and one
// fdatasync at a time, over a file that was written before.
func BenchmarkFdatasync(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10, 4 << 20} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			f, err := vfs.OS{}.Create(filepath.Join(benchDir(b), "raw"))
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			const total = 64 << 20
			if _, err := f.WriteAt(make([]byte, total), 0); err != nil {
				b.Fatal(err)
			}
			if err := f.Datasync(); err != nil {
				b.Fatal(err)
			}
			p := make([]byte, size)
			b.SetBytes(int64(size))
			b.ResetTimer()
			for i := range b.N {
				if _, err := f.WriteAt(p, int64(i*size%total)); err != nil {
					b.Fatal(err)
				}
				if err := f.Datasync(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "syncs/s")
		})
	}
}
