package streams

import (
	"runtime"
	"time"
)

const (
	// sliceBytes is how much a fold moves before it lets others run, above all
	// a commit that somebody waits for.
	sliceBytes = 256 << 10
	// turnBytes is how much it moves before commits have the disk for as long
	// as that took, but no longer than turnMost.
	turnBytes = 1 << 20
	turnMost  = 5 * time.Millisecond
)

// turns make a fold take turns with commits: side by side, its large writes
// would keep every write and sync of theirs waiting.
type turns struct {
	s       *Store
	slice   int       // bytes since others could run
	bytes   int       // since the last turn began
	began   time.Time // when it did
	commits int64     // up to then
}

// take counts bytes that the fold moved.
func (t *turns) take(n int) {
	t.bytes += n
	if t.slice += n; t.slice < sliceBytes {
		return
	}
	t.slice = 0
	runtime.Gosched()
	if t.bytes >= turnBytes {
		t.give()
	}
}

// give lets commits have their turn, if there were any meanwhile. A fold that is
// behind does not: soon commits would wait for its end.
func (t *turns) give() {
	commits := t.s.count.commits.Load()
	if full, _ := t.s.log.counts(); commits != t.commits && full <= t.s.o.LiveSegments+1 {
		time.Sleep(min(time.Since(t.began), turnMost))
	}
	t.bytes, t.began, t.commits = 0, time.Now(), commits
}
