package policies

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"weir/internal/vfs"
)

// numbered gives batch i of a sender that cannot be told: two good records
// and, for some, a bad one, a bad part, or a tag of no policy.
func numbered(i int) Batch {
	b := Batch{Tag: fmt.Sprintf("named.%d", i%3), ID: fmt.Appendf(nil, "chunk %d", i)}
	b.Entries = join(entry(fmt.Sprintf("<%d", i)), entry(fmt.Sprintf("|%d>", i)))
	switch i % 4 {
	case 1:
		b.Entries = append(b.Entries, entry(map[string]any{fmt.Sprintf("{%d}", i): 1})...)
	case 2:
		b.Refused = []Refused{{Reason: "bad-record", Data: fmt.Appendf(nil, "{%d}", i)}}
	case 3:
		b.Tag, b.Entries = "lost", fmt.Appendf(nil, "{%d}", i)
	}
	return b
}

// What was acknowledged is there after a crash, and what is sent again is not
// stored twice, however often that happens.
func TestCrashAndRepeat(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		fs := vfs.NewMem(256 << 20)
		total := rapid.IntRange(1, 24).Draw(rt, "batches")
		acked := make([]bool, total)
		for range rapid.IntRange(1, 4).Draw(rt, "lives") {
			s := openSegments(t, fs, 64<<10)
			r := newRouter(t, s, everyKeep...)
			for range rapid.IntRange(0, 6).Draw(rt, "calls") {
				picks := rapid.SliceOfN(rapid.IntRange(0, total-1), 1, 6).Draw(rt, "picks")
				sendAll(rt, r, picks, acked)
			}
			fs = fs.CrashClone(rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "crash"), 0)))
			s.Close()
			counted(rt, t, fs, acked, false)
		}
		s := openSegments(t, fs, 64<<10)
		all := make([]int, total)
		for i := range all {
			all[i] = i
		}
		sendAll(rt, newRouter(t, s, everyKeep...), all, acked)
		s.Close()
		counted(rt, t, fs, acked, true)
	})
}

func sendAll(rt *rapid.T, r *Router, picks []int, acked []bool) {
	batches, kept := make([]Batch, len(picks)), make([]Kept, len(picks))
	for j, i := range picks {
		batches[j] = numbered(i)
	}
	r.Keep(context.Background(), batches, kept, true)
	for j, i := range picks {
		if kept[j].Err != nil {
			rt.Fatal(kept[j].Err)
		}
		acked[i] = true
	}
}

// counted checks that each batch's parts are there once if it was
// acknowledged, and at most once if it was not.
func counted(rt *rapid.T, t *testing.T, fs vfs.FS, acked []bool, all bool) {
	s := openSegments(t, fs, 64<<10)
	defer s.Close()
	var kept []byte
	for _, name := range s.Names("", "", 100) {
		kept = append(kept, streamBytes(t, s, name)...)
	}
	for i, ok := range acked {
		if all && !ok {
			rt.Fatalf("batch %d was never acknowledged", i)
		}
		good, bad := fmt.Appendf(nil, "<%d|%d>", i, i), fmt.Appendf(nil, "{%d}", i)
		wantGood, wantBad := 1, 1
		if i%4 == 0 {
			wantBad = 0
		}
		if i%4 == 3 {
			wantGood = 0
		}
		nGood, nBad := bytes.Count(kept, good), bytes.Count(kept, bad)
		if ok && (nGood != wantGood || nBad != wantBad) || nGood > wantGood || nBad > wantBad {
			rt.Fatalf("batch %d, acknowledged %v: its data is there %d times (want %d), its bad part %d times (want %d)",
				i, ok, nGood, wantGood, nBad, wantBad)
		}
	}
}
