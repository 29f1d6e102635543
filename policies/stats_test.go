package policies

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"weir/internal/vfs"
)

func TestUnmatchedBounded(t *testing.T) {
	t.Parallel()
	var f frequent
	for i := range 3 * maxUnmatched {
		f.add(fmt.Sprintf("rare %d", i))
		f.add("often")
		if i%2 == 0 {
			f.add("half")
		}
	}
	l := f.list()
	if len(l) != maxUnmatched {
		t.Errorf("%d names, want %d", len(l), maxUnmatched)
	}
	if n := l["often"]; n != 3*maxUnmatched {
		t.Errorf("often was counted %d times", n)
	}
	if n := l["half"]; n < 3*maxUnmatched/2 {
		t.Errorf("half was counted %d times", n)
	}
}

func TestReasonsBounded(t *testing.T) {
	t.Parallel()
	r := newRouter(t, openStore(t, vfs.NewMem(64<<20)))
	for i := range 2 * maxReasons {
		r.CountRefused(fmt.Sprintf("reason %d", i), 1, 10)
	}
	var sum Count
	n := r.Stats().Refused
	for _, c := range n {
		sum.Records += c.Records
		sum.Bytes += c.Bytes
	}
	if len(n) > maxReasons+1 || sum.Records != 2*maxReasons || sum.Bytes != 20*maxReasons {
		t.Errorf("%d reasons, %+v in all", len(n), sum)
	}
	n["reason 0"] = Count{}
	if r.Stats().Refused["reason 0"].Records != 1 {
		t.Error("a reader changed the counters")
	}
}

// What is refused again and again is logged ever more rarely.
func TestLogIsBounded(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	r, err := New(Options{
		Policies: everyKeep, Streams: openStore(t, vfs.NewMem(64<<20)), Now: clock,
		Log: slog.New(slog.NewTextHandler(&out, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		keep(r, Batch{Tag: "typo.x", Entries: []byte("x"), Peer: "192.0.2.7:1"}, false)
	}
	lines := strings.Count(out.String(), "\n")
	if lines < 2 || lines > 25 || !strings.Contains(out.String(), "tag=typo.x") || !strings.Contains(out.String(), "192.0.2.7") {
		t.Errorf("%d lines:\n%s", lines, out.String())
	}
}
