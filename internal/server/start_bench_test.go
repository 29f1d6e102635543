package server

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkTransformStarts: how long after the answer to an append its rows can
// be read, while the job engine's queue is otherwise empty. The transform
// starts before that. Appends that come one after the other wait for the pause
// between two bursts of one stream. Beside large ones: four streams of 64 MiB
// are transformed meanwhile, and come again when they are done.
func BenchmarkTransformStarts(b *testing.B) {
	b.Run("now-and-then", func(b *testing.B) { transformStarts(b, 80*time.Millisecond, 0) })
	b.Run("one-after-the-other", func(b *testing.B) { transformStarts(b, 0, 0) })
	b.Run("beside-large-ones", func(b *testing.B) { transformStarts(b, 20*time.Millisecond, 4) })
}

// putLarge makes streams grow by 64 MiB each whenever their transforms are done,
// until stop is closed.
func putLarge(b *testing.B, s *Server, n int, stop <-chan struct{}) {
	text := bytes.Repeat([]byte("123456789012345\n"), 4<<20)
	for {
		for i := range n {
			a, err := http.Post(fmt.Sprintf("http://%s/streams/numbers.large%d", s.Addresses().HTTP, i), "text/plain", bytes.NewReader(text))
			if err != nil {
				b.Error(err)
				return
			}
			a.Body.Close()
		}
		for !s.jobs.Idle() {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
}

func transformStarts(b *testing.B, pause time.Duration, large int) {
	s, err := Start(Options{Config: config(b, b.TempDir())})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Stop(b.Context())
	if large > 0 {
		stop := make(chan struct{})
		var others sync.WaitGroup
		others.Go(func() { putLarge(b, s, large, stop) })
		defer others.Wait()
		defer close(stop)
	}
	url := "http://" + s.Addresses().HTTP + "/streams/numbers.late"
	var took []time.Duration
	rows := int64(0)
	for range b.N {
		time.Sleep(pause)
		a, err := http.Post(url, "text/plain", bytes.NewReader([]byte("1\n")))
		if err != nil {
			b.Fatal(err)
		}
		a.Body.Close()
		began := time.Now()
		rows++
		for {
			if i, err := s.arrays.Info("numbers.late"); err == nil && len(i.Arrays) > 0 && i.Arrays[0].Shape[0] >= rows {
				break
			}
			if time.Since(began) > 10*time.Second {
				b.Fatalf("row %d is not there after %v", rows, time.Since(began))
			}
			time.Sleep(100 * time.Microsecond)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(took[len(took)/2].Seconds()*1000, "p50-ms")
	b.ReportMetric(took[len(took)*99/100].Seconds()*1000, "p99-ms")
	b.ReportMetric(took[len(took)-1].Seconds()*1000, "max-ms")
	b.ReportMetric(float64(s.jobs.Stats().Late), "late")
}
