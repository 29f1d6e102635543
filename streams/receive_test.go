package streams

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"weir/internal/vfs"
)

// A pausedReader gives its bytes in parts of odd sizes; before some of them
// it takes its time, and at the end it may fail.
type pausedReader struct {
	rest   []byte
	parts  *rand.Rand
	pause  time.Duration
	paused int // bytes between two pauses
	since  int
	err    error // instead of io.EOF
}

func (r *pausedReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		return 0, io.EOF
	}
	if r.pause > 0 && r.since > r.paused {
		r.since = 0
		time.Sleep(r.pause)
	}
	n := min(len(p), len(r.rest), 1+r.parts.IntN(300_000))
	copy(p, r.rest[:n])
	r.rest = r.rest[n:]
	r.since += n
	return n, nil
}

func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}

// A body that comes fast, one that stalls again and again, and ones of sizes
// around those of buffers and pieces are kept as they came.
func TestReceive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := mustOpen(t, "data", Options{FS: vfs.NewMem(1 << 30)})
		defer s.Close()
		for _, c := range []struct {
			name  string
			size  int
			pause time.Duration
		}{
			{"a buffer", uploadBuffer, 0},
			{"a byte more", uploadBuffer + 1, 0},
			{"two buffers", 2 * uploadBuffer, 0},
			{"first piece", 2*uploadBuffer + 1<<20, 0},
			{"one byte on the belt", 2*uploadBuffer + 1, 0},
			{"more pieces than a belt has", 12<<20 + 12345, 0},
			{"slow now and then", 9<<20 + 1, 3 * time.Second},
			{"slow", 2<<20 + 77, 10 * time.Millisecond},
		} {
			data := noise(uint64(c.size), c.size)
			for _, length := range []int64{-1, int64(c.size)} {
				st := mustCreate(t, s, c.name)
				r := &pausedReader{rest: data, parts: rand.New(rand.NewPCG(uint64(c.size), 1)), pause: c.pause, paused: 2 << 20}
				if c.name == "slow" {
					r.paused = 50_000
				}
				u, err := st.Upload(t.Context(), r, UploadOptions{Length: length, Reset: true})
				if err != nil || u.Length != int64(c.size) || u.SHA256 != sha256.Sum256(data) {
					t.Fatalf("%s: %d bytes kept, %v", c.name, u.Length, err)
				}
				if !bytes.Equal(readAll(t, st), data) {
					t.Errorf("%s: other bytes came back", c.name)
				}
			}
		}
	})
}

// More uploads than there are belts, on the host's file system, go on side by
// side, and of those that fail nothing is left, neither data nor a belt less.
func TestReceiveManyAndFailures(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, dir, Options{})
	defer s.Close()
	broken := errors.New("the sender is gone")
	var all sync.WaitGroup
	for i := range 3 * belts {
		all.Go(func() {
			data := noise(uint64(i), 5<<20+i*4097)
			r := &pausedReader{rest: data, parts: rand.New(rand.NewPCG(uint64(i), 2))}
			if i%3 == 0 {
				r.err = broken
			}
			st := mustCreate(t, s, strings.Repeat("x", i+1))
			u, err := st.Upload(context.Background(), r, UploadOptions{Length: -1})
			switch {
			case i%3 == 0:
				if !errors.Is(err, broken) || st.State().Records != 0 {
					t.Errorf("upload %d of a sender that is gone: %v, %+v", i, err, st.State())
				}
			case err != nil || u.SHA256 != sha256.Sum256(data):
				t.Errorf("upload %d: %v", i, err)
			case !bytes.Equal(readAll(t, st), data):
				t.Errorf("upload %d: other bytes came back", i)
			}
		})
	}
	all.Wait()
	if len(s.belts) != belts {
		t.Errorf("%d belts are left of %d", len(s.belts), belts)
	}
	if names, err := s.o.FS.List(s.dir + "/" + uploadsFolder); err != nil || len(names) != 2*belts {
		t.Errorf("%d bodies lie in %s, %v", len(names), uploadsFolder, err)
	}
}

// A write that fails in the middle fails the upload and leaves nothing.
func TestReceiveWriteFails(t *testing.T) {
	t.Parallel()
	var writes atomic.Int64
	fs := &vfs.Faulty{FS: vfs.NewMem(1 << 30), Rule: func(op vfs.Op) *vfs.Fault {
		if op.Kind == "WriteAt" && strings.Contains(op.Name, uploadsFolder) && writes.Add(1) == 6 {
			return &vfs.Fault{Err: syscall.EIO}
		}
		return nil
	}}
	s := mustOpen(t, "data", Options{FS: fs})
	defer s.Close()
	st := mustCreate(t, s, "s")
	data := noise(1, 20<<20)
	if _, err := st.Upload(t.Context(), bytes.NewReader(data), UploadOptions{Length: -1}); !errors.Is(err, syscall.EIO) {
		t.Errorf("upload to a disk that fails: %v", err)
	}
	if st.State().Records != 0 || len(s.belts) != belts {
		t.Errorf("after it: %+v, %d belts", st.State(), len(s.belts))
	}
	if names, _ := fs.List("data/" + uploadsFolder); len(names) != 0 {
		t.Errorf("after it %v are left", names)
	}
	if u, err := st.Upload(t.Context(), bytes.NewReader(data), UploadOptions{Length: -1}); err != nil || u.SHA256 != sha256.Sum256(data) {
		t.Errorf("upload again: %v", err)
	}
}
