package arrays

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"weir/internal/vfs"
)

func lines(from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, "%06d\n", i)
	}
	return b.String()
}

// TestNeeds: a stream may be trimmed up to what a power cut does not take
// back from its group.
func TestNeeds(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem(1 << 40)
	o := Options{FS: fs, SyncEvery: time.Hour, BootID: "one"}
	spec := Spec{Kind: kindNumbers}
	s, err := Open("arrays", o)
	if err != nil {
		t.Fatal(err)
	}
	needs := func(s *Store, name string, generation uint64, spec Spec, want int64) {
		t.Helper()
		if got, err := s.Needs(name, generation, spec); err != nil || got != want {
			t.Errorf("needs byte %d on, want %d: %v", got, want, err)
		}
	}
	f := &fakeStream{name: "a", gen: 3}
	f.append([]byte(lines(0, 100)))
	needs(s, "a", 3, spec, 0)
	advance(t, s, f, spec)
	needs(s, "a", 3, spec, 0) // not synced
	if err := s.sync(); err != nil {
		t.Fatal(err)
	}
	needs(s, "a", 3, spec, 700)
	needs(s, "a", 4, spec, 0)
	needs(s, "a", 3, Spec{Kind: kindMetrics}, 0)
	f.append([]byte(lines(100, 150)))
	advance(t, s, f, spec)
	needs(s, "a", 3, spec, 700)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, "arrays", o)
	needs(s, "a", 3, spec, 1050) // not loaded
	if s.groups["a"].loaded {
		t.Error("the question loaded the group")
	}
	needs(s, "b", 1, spec, 0)
	if _, err := s.Info("a"); err != nil {
		t.Fatal(err)
	}
	needs(s, "a", 3, spec, 1050)
}

// TestTrimmedStream: a group that is begun, or goes on, over a stream that was
// trimmed has the rows of what there is, and says where they begin.
func TestTrimmedStream(t *testing.T) {
	t.Parallel()
	var log refusedLog
	s := open(t, t.TempDir(), Options{Refuse: log.keep})
	spec := Spec{Kind: kindNumbers}
	f := &fakeStream{name: "a", gen: 1, cut: 700}
	f.append([]byte(lines(0, 200)))
	expect := func(from, to int, begin int64) {
		t.Helper()
		advance(t, s, f, spec)
		var want []float64
		for i := from; i < to; i++ {
			want = append(want, float64(i))
		}
		if got := values(t, s, "a", "value"); got != fmt.Sprint(want) {
			t.Fatalf("rows %s, want %d from %d on", got, len(want), from)
		}
		if info, err := s.Info("a"); err != nil || info.Begin != begin || info.Offset != int64(len(f.data)) {
			t.Fatalf("%+v %v", info, err)
		}
	}
	expect(100, 200, 700)
	f.cut = 1400 // all that was read
	expect(100, 200, 700)
	f.append([]byte(lines(200, 210)))
	expect(100, 210, 700)
	if len(log.all) > 0 {
		t.Fatalf("refused: %+v", log.all)
	}
	s.groups["a"].commit.Generation = 9 // as if it had been made of another one
	expect(200, 210, 1400)
}

// TestTrimmedTooFar: rows that nobody can make any more are told as missing,
// and the group goes on.
func TestTrimmedTooFar(t *testing.T) {
	t.Parallel()
	var log refusedLog
	s := open(t, t.TempDir(), Options{Refuse: log.keep})
	f := &fakeStream{name: "a", gen: 1}
	f.append([]byte(lines(0, 100)))
	advance(t, s, f, Spec{Kind: kindNumbers})
	f.append([]byte(lines(100, 300)))
	f.cut = 1400
	advance(t, s, f, Spec{Kind: kindNumbers})
	sl, err := s.Slice("a", "value", 0, 1<<40, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	got := float64s(sl.Data)
	if got[99] != 99 || got[len(got)-1] != 299 || len(got) < 198 || len(got) > 200 {
		t.Errorf("%d rows: %v", len(got), got)
	}
	if len(log.all) == 0 || log.all[0].Reason != "trimmed" || log.all[0].Offset != 700 || log.all[0].Length != 700 || len(log.all[0].Data) != 0 {
		t.Errorf("%+v", log.all)
	}
	if info, err := s.Info("a"); err != nil || info.Offset != 2100 || info.Refused == 0 {
		t.Errorf("%+v %v", info, err)
	}
}

// TestNeedsOfOpenRefusals: bytes that were of no use are needed until they are
// handed on, which those that are told together are when their piece is over.
func TestNeedsOfOpenRefusals(t *testing.T) {
	t.Parallel()
	var log refusedLog
	s := open(t, "arrays", Options{FS: vfs.NewMem(1 << 40), SyncEvery: time.Hour, Refuse: log.keep})
	spec := Spec{Kind: kindNumbers}
	f := &fakeStream{name: "a", gen: 1}
	needs := func(want int64) {
		t.Helper()
		advance(t, s, f, spec)
		if err := s.sync(); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Needs("a", 1, spec); err != nil || got != want {
			t.Errorf("needs byte %d on, want %d: %v", got, want, err)
		}
	}
	f.append([]byte(strings.Repeat("odd\n", directPerBlock)))
	needs(4 * directPerBlock)
	f.append([]byte(strings.Repeat("odd\n", 10)))
	needs(4 * directPerBlock)
	f.append([]byte(lines(0, 5)))
	needs(4 * directPerBlock)
	f.append([]byte(lines(0, pieceBytes/7+1)))
	f.append([]byte("odd\n"))
	f.append([]byte(lines(0, pieceBytes/7+1)))
	f.append([]byte("odd\n"))
	// What the first piece had is told, the last line is not.
	needs(int64(len(f.data)) - 4)
}
