package streams

import (
	"math"
	"time"
)

// A Limit says how much of a stream is kept.
type Limit struct {
	Age   time.Duration // what was appended before is given up; 0 is no bound
	Bytes int64         // so many of the last bytes are kept; 0 is no bound
}

const (
	// sealAfter is the part of a limit for which a chunk file is appended to: a
	// file goes with the last byte in it, so up to so much more is kept.
	sealAfter = 8
	// leastSealed keeps a small limit from making files of a few bytes.
	leastSealed = 64 << 10
)

// Over plans what of a stream is beyond a limit at a time: whole chunk files
// from the beginning on, all of whose appends are too old, or behind which
// there are bytes enough. Before is where the stream begins already when there
// are none. Nothing from upto on goes, for somebody still needs it; held says
// how many bytes that keeps.
func (st *Stream) Over(l Limit, upto int64, now time.Time) (c Cut, held int64) {
	st.mu.Lock()
	chunks, length, modified := append([]chunk(nil), st.chunks...), st.durable.length, st.modified
	growing := st.firstGrowing(math.MaxInt64)
	c = Cut{Stream: st, Generation: st.durable.generation, Before: st.start}
	st.mu.Unlock()
	for i := range chunks {
		end := chunks[i].offset + chunks[i].length
		old := l.Age > 0 && now.UnixNano()-st.chunkTime(chunks, i, modified) > int64(l.Age)
		if !old && (l.Bytes == 0 || length-end < l.Bytes) || chunks[i].offset >= growing {
			break
		}
		if end > upto {
			held += end - max(chunks[i].offset, c.Before)
			continue
		}
		c.Before = end
	}
	if n := len(chunks); n > 0 && growing > chunks[n-1].offset {
		c.Seal = l.seals(&chunks[n-1], now)
	}
	return c, held
}

// seals tells whether a chunk file that is appended to has got enough.
func (l Limit) seals(last *chunk, now time.Time) bool {
	switch {
	case last.sealed:
		return false
	case l.Age > 0 && now.UnixNano()-last.since > int64(l.Age)/sealAfter:
		return true
	}
	return l.Bytes > 0 && last.length >= max(leastSealed, l.Bytes/sealAfter)
}
