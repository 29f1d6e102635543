package server

import (
	"bytes"
	"net/http"
	"slices"
	"testing"
	"time"
)

// BenchmarkTransformStarts: how long after the answer to an append its rows can
// be read, while the job engine's queue is otherwise empty. The transform
// starts before that. Appends that come one after the other wait for the pause
// between two bursts of one stream.
func BenchmarkTransformStarts(b *testing.B) {
	b.Run("now-and-then", func(b *testing.B) { transformStarts(b, 80*time.Millisecond) })
	b.Run("one-after-the-other", func(b *testing.B) { transformStarts(b, 0) })
}

func transformStarts(b *testing.B, pause time.Duration) {
	s, err := Start(Options{Config: config(b, b.TempDir())})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Stop(b.Context())
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
}
