package zookeeper

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// BenchmarkQueue: cycles of take and consume with b.N entries queued, or as many
// as WEIR_QUEUED says, by one session with several workers and by several
// sessions. WEIR_ZOOKEEPER_HOSTS names an ensemble to use, so that others can
// be measured beside.
func BenchmarkQueue(b *testing.B) {
	e := &ensemble{t: b, hosts: strings.Split(os.Getenv("WEIR_ZOOKEEPER_HOSTS"), ",")}
	if e.hosts[0] == "" {
		e = startEnsemble(b, 1)
	}
	for _, c := range []struct{ sessions, workers int }{{1, 1}, {1, 8}, {8, 1}} {
		b.Run(fmt.Sprintf("sessions=%d/workers=%d", c.sessions, c.workers), func(b *testing.B) {
			e.wipe(b)
			var clients []*Client
			for range c.sessions {
				clients = append(clients, e.open(b))
			}
			queued, _ := strconv.Atoi(os.Getenv("WEIR_QUEUED"))
			enqueue(b, clients[0], max(queued, b.N))
			b.ReportAllocs()
			b.ResetTimer()
			var all sync.WaitGroup
			for w := range c.sessions * c.workers {
				all.Go(func() {
					for i := w; i < b.N; i += c.sessions * c.workers {
						l, err := clients[w%c.sessions].Take(b.Context())
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

func enqueue(b *testing.B, c *Client, n int) {
	const producers = 64
	var all sync.WaitGroup
	for p := range producers {
		all.Go(func() {
			for i := p; i < n; i += producers {
				if _, err := c.Put(b.Context(), "job/0b5fb4d1-0e2e-4f0a-9d52-6a0e3f3a4d11", 100); err != nil {
					b.Error(err)
				}
			}
		})
	}
	all.Wait()
}
