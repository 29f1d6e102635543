package streams

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"weir/internal/vfs"
)

// small are options under which a few hundred appends fill segments and chunks.
func small(fs vfs.FS) Options {
	return Options{FS: fs, SegmentBytes: 64 << 10, LiveSegments: 1, LargeBytes: 4 << 10, ChunkBytes: 16 << 10, MinFree: 1,
		busyBytes: 900, runEager: 1800, runPiece: 4 << 10}
}

// logged are the small options with all appends in the log at first.
func logged(fs vfs.FS) Options {
	o := small(fs)
	o.busyBytes = 1 << 30
	return o
}

func mustOpen(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustCreate(t testing.TB, s *Store, name string) *Stream {
	t.Helper()
	st, err := s.Create(name, "label of "+name)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func mustAppend(t testing.TB, s *Store, r Record) Result {
	t.Helper()
	res := make([]Result, 1)
	if err := s.Append(context.Background(), []Record{r}, res); err != nil {
		t.Fatal(err)
	}
	return res[0]
}

// readAll reads a stream from its beginning on.
func readAll(t testing.TB, st *Stream) []byte {
	t.Helper()
	state := st.State()
	r, err := st.Reader(state.Generation, state.Begin, state.Length)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var b bytes.Buffer
	if _, err := io.Copy(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func eachFS(t *testing.T, f func(t *testing.T, fs vfs.FS, dir string)) {
	t.Run("mem", func(t *testing.T) { t.Parallel(); f(t, vfs.NewMem(1<<40), "data/streams") })
	t.Run("disk", func(t *testing.T) { t.Parallel(); f(t, vfs.OS{}, t.TempDir()) })
}

func TestAppendReadRestart(t *testing.T) {
	t.Parallel()
	eachFS(t, func(t *testing.T, fs vfs.FS, dir string) {
		want := map[string][]byte{}
		for round := range 4 {
			s := mustOpen(t, dir, small(fs))
			for name, b := range want {
				st, ok := s.Stream(name)
				if !ok {
					t.Fatalf("round %d: no %s", round, name)
				}
				if got := readAll(t, st); !bytes.Equal(got, b) {
					t.Fatalf("round %d: %s has %d bytes, want %d", round, name, len(got), len(b))
				}
				if st.Label() != "label of "+name {
					t.Fatalf("label %q", st.Label())
				}
			}
			for i := range 300 {
				name := fmt.Sprintf("s%d", i%7)
				data := bytes.Repeat([]byte{byte(i)}, 1+i*37%5000)
				res := mustAppend(t, s, Record{Stream: mustCreate(t, s, name), Data: data, Key: KeyOf([]byte{byte(round)}, []byte(fmt.Sprint(i)))})
				if res.Offset != int64(len(want[name])) || res.Duplicate {
					t.Fatalf("%+v, want offset %d", res, len(want[name]))
				}
				want[name] = append(want[name], data...)
			}
			if r := s.Stats().Recovery; !r.Clean || len(r.QuarantinedFiles) > 0 {
				t.Fatalf("round %d: %+v", round, r)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		s := mustOpen(t, dir, small(fs))
		defer s.Close()
		for round := range 4 {
			for i := range 300 {
				st, _ := s.Stream(fmt.Sprintf("s%d", i%7))
				res := mustAppend(t, s, Record{Stream: st, Data: []byte("again"), Key: KeyOf([]byte{byte(round)}, []byte(fmt.Sprint(i)))})
				if !res.Duplicate {
					t.Fatalf("round %d append %d was stored again", round, i)
				}
			}
		}
	})
}

func TestUpload(t *testing.T) {
	t.Parallel()
	eachFS(t, func(t *testing.T, fs vfs.FS, dir string) {
		s := mustOpen(t, dir, small(fs))
		st := mustCreate(t, s, "up/load é")
		body := bytes.Repeat([]byte("0123456789"), 5000)
		mustAppend(t, s, Record{Stream: st, Data: []byte("head")})
		u, err := st.Upload(context.Background(), bytes.NewReader(body), UploadOptions{Length: -1, Key: KeyOf([]byte("k"))})
		if err != nil || u.Offset != 4 || u.Length != int64(len(body)) {
			t.Fatalf("%+v %v", u, err)
		}
		mustAppend(t, s, Record{Stream: st, Data: []byte("tail")})
		want := "head" + string(body) + "tail"
		if got := readAll(t, st); string(got) != want {
			t.Fatal("bytes differ")
		}
		s.Close()
		s = mustOpen(t, dir, small(fs))
		st, _ = s.Stream("up/load é")
		for range 100 {
			mustAppend(t, s, Record{Stream: mustCreate(t, s, "other"), Data: body[:4000]})
		}
		if got := readAll(t, st); string(got) != want {
			t.Fatal("bytes differ after restart")
		}
		u, err = st.Upload(context.Background(), bytes.NewReader(body), UploadOptions{Length: int64(len(body)), Key: KeyOf([]byte("k"))})
		if err != nil || u.Offset != 4 || !u.Duplicate {
			t.Fatalf("%+v %v", u, err)
		}
		u, err = st.Upload(context.Background(), strings.NewReader("other"), UploadOptions{Length: 5, Key: KeyOf([]byte("k"))})
		if err != nil || u.Offset != int64(len(want)) || u.Duplicate || readAll(t, st)[len(want)] != 'o' {
			t.Fatalf("the key again, with other bytes: %+v %v", u, err)
		}
		s.Close()
	})
}
