package streams

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"

	"weir/internal/vfs"
)

// TestReadersOfARun: who reads a file that commits write to past the page cache
// gets the new bytes of its last block as soon as they count, though the block
// was read before: by reads, and where the kernel sends the file.
func TestReadersOfARun(t *testing.T) {
	t.Parallel()
	o := Options{FS: vfs.OS{}, SegmentBytes: 8 << 20, ChunkBytes: 6 << 20, MinFree: 1, busyBytes: 64 << 10, runEager: 128 << 10, runPiece: 1 << 20}
	s := mustOpen(t, t.TempDir(), o)
	defer s.Close()
	st := mustCreate(t, s, "a")
	var mu sync.Mutex
	var want []byte
	var readers sync.WaitGroup
	stop := make(chan struct{})
	ended := func() bool {
		select {
		case <-stop:
			return true
		default:
			return false
		}
	}
	compare := func(from int64, got []byte, how string) bool {
		mu.Lock()
		defer mu.Unlock()
		if !bytes.Equal(got, want[from:from+int64(len(got))]) {
			t.Errorf("%s: %d bytes at %d are not what was appended", how, len(got), from)
			return false
		}
		return true
	}
	for i := range 2 {
		rng := rand.New(rand.NewPCG(uint64(i), 1))
		readers.Go(func() {
			for !ended() {
				end := st.State().Length
				from := max(0, end-rng.Int64N(20_000)-1)
				got := make([]byte, end-from)
				if end == 0 {
					continue
				}
				if _, err := st.ReadAt(1, got, from); err != nil {
					t.Error(err)
					return
				}
				if !compare(from, got, "ReadAt") {
					return
				}
			}
		})
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	send := func() bool {
		end := st.State().Length
		from := max(0, end-300_000)
		r, err := st.Reader(1, from, end)
		if err != nil {
			t.Error(err)
			return false
		}
		var sender sync.WaitGroup
		sender.Go(func() {
			conn, err := l.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			if _, err := io.Copy(conn, r); err != nil {
				t.Error(err)
			}
		})
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Error(err)
			l.Close()
			sender.Wait()
			return false
		}
		defer conn.Close()
		got, err := io.ReadAll(conn)
		sender.Wait()
		if err != nil || int64(len(got)) != end-from {
			t.Errorf("%d bytes of %d were sent: %v", len(got), end-from, err)
			return false
		}
		return compare(from, got, "sent")
	}
	readers.Go(func() {
		for !ended() && send() {
		}
	})
	rounds := uint64(60)
	if thorough() {
		rounds = 3000
	}
	rng := rand.New(rand.NewPCG(7, 7))
	inRun := 0
	for i := range rounds {
		b := identified(i, 150_000+rng.IntN(600_000)) // below and above what goes past the page cache
		if i%5 == 4 {
			b = identified(i, 20_000+rng.IntN(9000))
		}
		mu.Lock()
		want = append(want, b...)
		mu.Unlock()
		if err := s.Append(context.Background(), []Record{{Stream: st, Data: b}}, make([]Result, 1)); err != nil {
			t.Error(err)
			break
		}
		if runOf(s, st) != nil {
			inRun++
		}
		got := make([]byte, len(b))
		if _, err := st.ReadAt(1, got, st.State().Length-int64(len(b))); err != nil || !bytes.Equal(got, b) {
			t.Errorf("append %d reads otherwise at once: %v", i, err)
			break
		}
	}
	close(stop)
	readers.Wait()
	if inRun < int(rounds)/2 {
		t.Errorf("%d of %d appends went to runs", inRun, rounds)
	}
}
