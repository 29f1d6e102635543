package arrays

import (
	"context"
	"io"
	"slices"
	"sync"
	"testing"

	"weir/streams"
)

// A fakeStream is a stream that a test feeds.
type fakeStream struct {
	mu   sync.Mutex
	name string
	gen  uint64
	data []byte
	cut  int64 // what lies before it was trimmed
	fail error
	hole [2]int64 // bytes that are lost
}

func (f *fakeStream) Name() string { return f.name }

func (f *fakeStream) State() streams.State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return streams.State{Generation: f.gen, Begin: f.cut, Length: int64(len(f.data))}
}

func (f *fakeStream) ReadAt(generation uint64, p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return 0, f.fail
	}
	if generation != f.gen {
		return 0, streams.ErrGeneration
	}
	if off < f.cut {
		return 0, streams.ErrTrimmed
	}
	if n := f.hole[0] - off; f.hole[1] > 0 && off < f.hole[1] && int64(len(p)) > n {
		return copy(p, f.data[off:max(off, f.hole[0])]), streams.ErrHole
	}
	n := copy(p, f.data[min(off, int64(len(f.data))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *fakeStream) append(b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.data = append(f.data, b...)
}

func (f *fakeStream) reset(b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gen++
	f.data = slices.Clone(b)
}

// refusedLog keeps refusals for a test.
type refusedLog struct {
	mu  sync.Mutex
	all []Refusal
}

func (l *refusedLog) keep(_ context.Context, r Refusal) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, r)
	return nil
}

// open opens a store that the test closes.
func open(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	if o.Refuse == nil {
		o.Refuse = func(_ context.Context, r Refusal) error {
			t.Errorf("refused bytes %d+%d: %s: %s", r.Offset, r.Length, r.Reason, r.Detail)
			return nil
		}
	}
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// advance steps until nothing is left.
func advance(t testing.TB, s *Store, f *fakeStream, spec Spec) {
	t.Helper()
	for {
		more, err := s.advance(context.Background(), nil, f, spec)
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			return
		}
	}
}

func (f *fakeStream) Chunks() []streams.Chunk {
	return []streams.Chunk{{Offset: 0, Length: f.hole[0]}, {Offset: f.hole[1]}}
}
