package arrays

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

func TestFrames(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		item := rapid.SampledFrom([]int{1, 2, 4, 8}).Draw(t, "item")
		items := rapid.SampledFrom([]int{1, 2, 7, 1000, blockSize/item - 1, blockSize / item, blockSize/item + 1, 3*blockSize/item + 5}).Draw(t, "items")
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 9))
		src := make([]byte, items*item)
		spread := rapid.SampledFrom([]uint32{1, 3, 256}).Draw(t, "spread")
		for i := range src {
			src[i] = byte(r.Uint32N(spread))
		}
		frame := new(compressor).compress(src, item)
		if len(frame) > frameHeader+len(src) {
			t.Fatalf("a frame of %d bytes for %d", len(frame), len(src))
		}
		if n := binary.LittleEndian.Uint32(frame[12:]); int(n) != len(frame) {
			t.Fatalf("the header says %d bytes, there are %d", n, len(frame))
		}
		got, err := decompress(frame, item, len(src))
		if err != nil || !bytes.Equal(got, src) {
			t.Fatalf("frame of %d items of %d: %v", items, item, err)
		}
		for _, cut := range []int{0, 8, frameHeader, len(frame) - 1} {
			if _, err := decompress(frame[:cut], item, len(src)); err == nil {
				t.Fatalf("a frame cut at %d of %d is taken", cut, len(frame))
			}
		}
		if _, err := decompress(frame, item, len(src)+item); err == nil {
			t.Fatal("a frame of another size is taken")
		}
	})
}

func FuzzDecompress(f *testing.F) {
	f.Add(new(compressor).compress(make([]byte, 4096), 8), 4096)
	f.Add(storedHeader(8, 64), 64)
	f.Fuzz(func(t *testing.T, frame []byte, n int) {
		if n < 0 || n > 1<<20 {
			return
		}
		if b, err := decompress(frame, 8, n); err == nil && len(b) != n {
			t.Fatalf("%d bytes instead of %d", len(b), n)
		}
	})
}
