package streams

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"path"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"weir/internal/vfs"
)

func mustStage(t *testing.T, s *Store, parts ...[]byte) *Staged {
	t.Helper()
	b, err := s.NewStaged()
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range parts {
		if i%2 == 0 {
			_, err = b.Write(p)
		} else {
			_, err = b.ReadFrom(bytes.NewReader(p))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// uploadFiles counts the files of uploads.
func uploadFiles(t *testing.T, fs vfs.FS, dir string) int {
	t.Helper()
	names, err := fs.List(path.Join(dir, uploadsFolder))
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// A staged body becomes a record of a stream like any other, is known again by
// its key, and survives a crash.
func TestStaged(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem(1 << 30)
	s := mustOpen(t, "data", small(fs))
	st := mustCreate(t, s, "a")
	head, rest, tail := noise(1, 1000), noise(2, 3<<20), noise(3, 1)
	all := append(append(append([]byte{}, head...), rest...), tail...)
	mustAppend(t, s, Record{Stream: st, Data: []byte("before")})

	b := mustStage(t, s, head, rest, tail)
	if b.Length() != int64(len(all)) || b.SHA256() != sha256.Sum256(all) {
		t.Errorf("it has %d bytes, SHA-256 %x", b.Length(), b.SHA256())
	}
	if got, err := io.ReadAll(b.Reader()); err != nil || !bytes.Equal(got, all) {
		t.Errorf("%d bytes are read before the append, %v", len(got), err)
	}
	key := KeyOf([]byte("k"))
	if res := mustAppend(t, s, Record{Stream: st, Body: b, Key: key}); res.Offset != 6 || res.Duplicate {
		t.Errorf("the append gives %+v", res)
	}
	b.Discard() // a record has it
	again := mustStage(t, s, all)
	if res := mustAppend(t, s, Record{Stream: st, Body: again, Key: key}); res.Offset != 6 || !res.Duplicate {
		t.Errorf("the repetition gives %+v", res)
	}
	again.Discard()
	tiny := mustStage(t, s, tail) // smaller than LargeBytes
	mustAppend(t, s, Record{Stream: st, Body: tiny})
	want := append(append([]byte("before"), all...), tail...)
	if got := readAll(t, st); !bytes.Equal(got, want) {
		t.Fatalf("the stream has %d bytes, or others than the %d", len(got), len(want))
	}
	err := s.Append(context.Background(), []Record{{Stream: st, Body: b}}, make([]Result, 1))
	if err == nil {
		t.Error("a body can be used twice")
	}

	left := mustStage(t, s, rest) // a body that nobody finishes
	crashed := fs.CrashClone(rand.New(rand.NewPCG(1, 2)))
	left.Discard()
	s.Close()
	s = mustOpen(t, "data", small(crashed))
	defer s.Close()
	st, _ = s.Stream("a")
	if got := readAll(t, st); !bytes.Equal(got, want) {
		t.Errorf("after a crash the stream has %d bytes, want %d", len(got), len(want))
	}
	var known int
	for _, c := range st.Chunks() {
		if !c.Log {
			known++
		}
	}
	if n := uploadFiles(t, crashed, "data"); n > known {
		t.Errorf("after a crash %d files of uploads are left, %d belong to the stream", n, known)
	}
}

// What is not taken leaves nothing: discarded, broken off, no room, a disk
// that fails to sync.
func TestStagedLeavesNothing(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, c := range []struct {
		name string
		use  func(t *testing.T, s *Store, st *Stream, failing *atomic.Bool)
	}{
		{"discarded", func(t *testing.T, s *Store, _ *Stream, _ *atomic.Bool) {
			b := mustStage(t, s, noise(1, 1<<20))
			b.Discard()
			b.Discard()
		}},
		{"broken off", func(t *testing.T, s *Store, _ *Stream, _ *atomic.Bool) {
			b := mustStage(t, s)
			defer b.Discard()
			if _, err := b.ReadFrom(io.MultiReader(bytes.NewReader(noise(1, 1<<20)), iotest.ErrReader(broken))); !errors.Is(err, broken) {
				t.Errorf("the error is %v", err)
			}
		}},
		{"no room", func(t *testing.T, s *Store, _ *Stream, _ *atomic.Bool) {
			b := mustStage(t, s)
			defer b.Discard()
			if _, err := b.ReadFrom(bytes.NewReader(noise(1, 64<<20))); !errors.Is(err, ErrNoSpace) {
				t.Errorf("the error is %v", err)
			}
		}},
		{"no sync", func(t *testing.T, s *Store, st *Stream, failing *atomic.Bool) {
			b := mustStage(t, s, noise(1, 1<<20))
			defer b.Discard()
			failing.Store(true)
			err := s.Append(context.Background(), []Record{{Stream: st, Body: b}}, make([]Result, 1))
			if !errors.Is(err, broken) {
				t.Errorf("the error is %v", err)
			}
			if st.State().Length != 0 {
				t.Error("the stream has bytes that are not durable")
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var failing atomic.Bool
			disk := &vfs.Faulty{FS: vfs.NewMem(16 << 20), Rule: func(op vfs.Op) *vfs.Fault {
				if failing.Load() && op.Kind == "Datasync" && strings.Contains(op.Name, uploadsFolder) {
					return &vfs.Fault{Err: broken}
				}
				return nil
			}}
			s := mustOpen(t, "data", small(disk))
			defer s.Close()
			c.use(t, s, mustCreate(t, s, "a"), &failing)
			if n := uploadFiles(t, disk, "data"); n != 0 {
				t.Errorf("%d files are left", n)
			}
		})
	}
}
