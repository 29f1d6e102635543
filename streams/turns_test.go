package streams

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestTurns: a fold rests as long as it worked where commits go on beside it,
// and not at all when nobody commits or it is behind.
func TestTurns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what           string
		commits        int64
		behind         int // full segments beyond those that stay
		worked, rested time.Duration
	}{
		{"beside commits", 1, 1, 2 * time.Millisecond, 2 * time.Millisecond},
		{"beside commits, slowly", 1, 1, time.Second, turnMost},
		{"nobody commits", 0, 1, 2 * time.Millisecond, 0},
		{"behind", 1, 2, 2 * time.Millisecond, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &Store{o: Options{LiveSegments: 3}, log: &segLog{}}
			s.log.full = make([]*segment, s.o.LiveSegments+c.behind)
			turn := turns{s: s, began: time.Now()}
			for range 3 {
				s.count.commits.Add(c.commits)
				turn.take(turnBytes - 1)
				time.Sleep(c.worked)
				from := time.Now()
				turn.take(1)
				turn.take(sliceBytes)
				if rested := time.Since(from); rested != c.rested {
					t.Errorf("%s: it rested for %v after %v, want %v", c.what, rested, c.worked, c.rested)
				}
			}
		})
	}
}
