package streams

import (
	"context"
	"errors"
	"strings"
	"testing"

	"weir/internal/vfs"
)

// TestNoSpaceIsTold: while appends are refused for want of space the counters
// say so, and say nothing when there is room again.
func TestNoSpaceIsTold(t *testing.T) {
	t.Parallel()
	disk := vfs.NewMem(4 << 20)
	o := small(disk)
	o.MinFree = 1 << 20
	s := mustOpen(t, "data", o)
	defer s.Close()
	st := mustCreate(t, s, "a")
	mustAppend(t, s, Record{Stream: st, Data: []byte("x")})
	if got := s.Stats().Failed; got != "" {
		t.Errorf("with room the store says %q", got)
	}
	ballast, err := disk.Create("ballast")
	if err != nil {
		t.Fatal(err)
	}
	u, err := disk.Usage("data")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ballast.WriteAt(make([]byte, u.Free-1<<19), 0); err != nil {
		t.Fatal(err)
	}
	s.refreshFree()
	err = s.Append(context.Background(), []Record{{Stream: st, Data: []byte("y")}}, make([]Result, 1))
	if !errors.Is(err, ErrNoSpace) {
		t.Errorf("append without room: %v, want %v", err, ErrNoSpace)
	}
	if got := s.Stats().Failed; !strings.Contains(got, "space") {
		t.Errorf("without room the store says %q", got)
	}
	if err := ballast.Truncate(0); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, Record{Stream: st, Data: []byte("z")})
	if got := s.Stats().Failed; got != "" {
		t.Errorf("with room again the store says %q", got)
	}
}
