package vfs

import (
	"bytes"
	"math/rand/v2"
	"path"
	"testing"
)

// buffered hides that a file system can write past the page cache.
type buffered struct{ FS }

// refusing opens files for direct writes that then fail.
type refusing struct{ OS }

func (refusing) OpenDirect(name string) (File, error) {
	return OS{}.Open(name) // not for writing
}

func TestSequentialWritesTheSameBytesEveryWay(t *testing.T) {
	t.Parallel()
	for name, fs := range map[string]FS{"direct": OS{}, "buffered": buffered{OS{}}, "refusing": refusing{}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(4) {
				sequential(t, fs, rand.New(rand.NewPCG(seed, 1)))
			}
		})
	}
}

// sequential appends to a file in several sessions, in parts of any size.
func sequential(t *testing.T, fs FS, r *rand.Rand) {
	t.Helper()
	name := path.Join(t.TempDir(), "f")
	p := NewPiece([]int{256 << 10, 1 << 20}[r.IntN(2)])
	var want []byte
	for range 3 {
		file, err := fs.OpenFile(name)
		if err != nil {
			t.Fatal(err)
		}
		s := NewSequential(fs, name, file, int64(len(want)), p)
		for left := r.IntN(5 << 20); left > 0; {
			part := min(left, 1+r.IntN(1<<r.IntN(22)))
			left -= part
			for part > 0 {
				room, err := s.Next(int64(part))
				if err != nil {
					t.Fatal(err)
				}
				if len(room) == 0 || len(room) > part {
					t.Fatalf("room for %d bytes, asked for %d", len(room), part)
				}
				first := byte(r.Uint32())
				for i := range room {
					room[i] = first + byte(i) + byte(i>>8)
				}
				want = append(want, room...)
				s.Advance(len(room))
				part -= len(room)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	}
	got, err := ReadFile(fs, name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%d bytes, want %d, or other ones", len(got), len(want))
	}
}
