package jobs_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"weir/internal/vfs"
	"weir/jobs"
	"weir/jobs/queuetest"
	"weir/streams"
)

func openQueue(t testing.TB, dir string, fs vfs.FS, segment int64) *jobs.Store {
	t.Helper()
	kept, err := streams.Open(dir, streams.Options{FS: fs, SegmentBytes: segment, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	s, err := jobs.OpenStore(jobs.StoreOptions{Streams: kept})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); kept.Close() })
	return s
}

func TestEmbeddedQueue(t *testing.T) {
	t.Parallel()
	queuetest.Run(t, func(t *testing.T) jobs.Queue {
		return openCrashing(t, vfs.NewMem(1<<30))
	})
}

// A crashing queue can lose its process.
type crashing struct {
	jobs.Queue
	fs  *vfs.Mem
	end func()
}

func openCrashing(t testing.TB, fs *vfs.Mem) crashing {
	t.Helper()
	kept, err := streams.Open("data", streams.Options{FS: fs, SegmentBytes: 64 << 10, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	s, err := jobs.OpenStore(jobs.StoreOptions{Streams: kept})
	if err != nil {
		t.Fatal(err)
	}
	end := sync.OnceFunc(func() { s.Close(); kept.Close() })
	t.Cleanup(end)
	return crashing{s.Queue(), fs, end}
}

// Crash implements queuetest.Crasher: what was on the disk is all that is left.
func (q crashing) Crash(t testing.TB) jobs.Queue {
	disk := q.fs.CrashClone(rand.New(rand.NewPCG(1, 1)))
	q.end()
	return openCrashing(t, disk)
}

// BenchmarkEmbedded: cycles of take and durable consume, 8 workers, 10,000 queued.
func BenchmarkEmbedded(b *testing.B) {
	for _, workers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			q := openQueue(b, b.TempDir(), vfs.OS{}, 64<<20).Queue()
			var all sync.WaitGroup
			for w := range 64 {
				all.Go(func() {
					for i := w; i < b.N; i += 64 {
						if _, err := q.Put(b.Context(), "job/x", 100); err != nil {
							b.Error(err)
						}
					}
				})
			}
			all.Wait()
			b.ReportAllocs()
			b.ResetTimer()
			for w := range workers {
				all.Go(func() {
					for i := w; i < b.N; i += workers {
						l, err := q.Take(b.Context())
						if err == nil {
							err = l.Consume(b.Context())
						}
						if err != nil {
							b.Error(err)
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "cycles/s")
		})
	}
}
