package streams

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"weir/internal/vfs"
)

// TestBlocks writes batches of all sizes, on a disk and in memory: through the
// page cache and past it, the log reads back whole, also what was there before
// a write into the same block.
func TestBlocks(t *testing.T) {
	t.Parallel()
	for name, fs := range map[string]vfs.FS{"memory": vfs.NewMem(1 << 40), "disk": vfs.OS{}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := "data"
			if name == "disk" {
				dir = t.TempDir()
			}
			o := Options{FS: fs, SegmentBytes: 5<<20 + 3*sectorBytes, LiveSegments: 4, MinFree: 1}
			s := mustOpen(t, dir, o)
			st := mustCreate(t, s, "a")
			r := rand.New(rand.NewPCG(1, 2))
			var want []byte
			for range 150 {
				data := bytes.Repeat([]byte{byte(r.Uint32())}, r.IntN(1<<r.IntN(20)))
				mustAppend(t, s, Record{Stream: st, Data: data})
				want = append(want, data...)
				from := max(0, len(want)-r.IntN(1<<r.IntN(20)))
				got := make([]byte, len(want)-from)
				if _, err := st.ReadAt(1, got, int64(from)); err != nil || !bytes.Equal(got, want[from:]) {
					t.Fatalf("%d bytes from %d: %v", len(got), from, err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = mustOpen(t, dir, o)
			st, _ = s.Stream("a")
			if q := s.Stats().Recovery.QuarantinedFiles; len(q) > 0 || !bytes.Equal(readAll(t, st), want) {
				t.Fatalf("after a restart the bytes differ; set aside %v", q)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestBlocksNeedNoReading: no write to the log begins or ends within a block,
// but in the last one of a segment, where the copy of the header follows.
func TestBlocksNeedNoReading(t *testing.T) {
	t.Parallel()
	odd := 0
	fs := &vfs.Faulty{FS: vfs.NewMem(1 << 40), Rule: func(op vfs.Op) *vfs.Fault {
		if op.Kind == "WriteAt" && bytes.HasPrefix([]byte(op.Name), []byte("data/log/")) && op.Size%blockBytes != 0 {
			odd++
		}
		return nil
	}}
	o := logged(fs)
	o.LiveSegments = 100
	s := mustOpen(t, "data", o)
	st := mustCreate(t, s, "a")
	for i := range 200 {
		mustAppend(t, s, Record{Stream: st, Data: make([]byte, 37*i%4000)})
	}
	segments, _ := s.log.counts()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if segments < 3 || odd > 7*segments {
		t.Errorf("%d writes of parts of blocks to %d segments", odd, segments)
	}
}
