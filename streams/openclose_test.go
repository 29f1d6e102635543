package streams

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"weir/internal/vfs"
)

// TestCloseAnywhere: a store is closed while others append, upload, trim, read
// and watch, on a disk that may fail or be full. All calls return.
func TestCloseAnywhere(t *testing.T) {
	t.Parallel()
	rounds := uint64(24)
	if thorough() {
		rounds = 600
	}
	var wg sync.WaitGroup
	for w := range uint64(4) {
		wg.Go(func() {
			for i := w; i < rounds; i += 4 {
				closeAnywhere(t, i)
			}
		})
	}
	wg.Wait()
}

func closeAnywhere(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 8))
	var full atomic.Bool
	var calls atomic.Int64
	bad := rng.Int64N(3) * rng.Int64N(200) // each so many calls one fails; 0 is none
	disk := vfs.Full(&vfs.Faulty{FS: vfs.NewMem(1 << 40), Rule: func(vfs.Op) *vfs.Fault {
		if n := calls.Add(1); bad > 0 && n > 60 && n%bad == 0 {
			return &vfs.Fault{Err: syscall.EIO}
		}
		return nil
	}}, &full)
	o := small(disk)
	o.LiveSegments = rng.IntN(2)
	s, err := Open("data", o)
	if err != nil {
		t.Errorf("seed %d: %v", seed, err)
		return
	}
	changes := s.Changes()
	var wg sync.WaitGroup
	var appends atomic.Int64
	most := 20 + rng.Int64N(300)
	enough := make(chan struct{})
	for i := range uint64(5) {
		rng := rand.New(rand.NewPCG(seed, i))
		wg.Go(func() {
			for n := uint64(0); ; n++ {
				st, err := s.Create(fmt.Sprint(rng.IntN(3)), "")
				if err != nil {
					t.Errorf("seed %d: %v", seed, err)
					return
				}
				recs := make([]Record, 1+rng.IntN(3))
				for k := range recs {
					recs[k] = Record{Stream: st, Data: make([]byte, rng.IntN(5000)), Key: Key{byte(i), byte(n >> 8), byte(n), byte(k)}, Reset: rng.IntN(50) == 0}
				}
				err = s.Append(context.Background(), recs, make([]Result, len(recs)))
				if rng.IntN(20) == 0 {
					s.Trim(context.Background(), []Cut{{Stream: st, Generation: 1, Before: 3000, Seal: true}})
				}
				if rng.IntN(100) == 0 {
					full.Store(!full.Load())
				}
				if appends.Add(1) == most {
					close(enough)
				}
				if errors.Is(err, ErrClosed) {
					return
				}
			}
		})
	}
	wg.Go(func() {
		for {
			if _, err := changes.Next(context.Background()); err != nil {
				return
			}
		}
	})
	<-enough
	wg.Go(func() { s.Close() })
	s.Close()
	wg.Wait()
}
