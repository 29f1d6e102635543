package arrays

import (
	"hash/crc32"

	"weir/streams"
)

// A mark is a checksum of what a group read last. A stream whose acknowledged
// end was lost to damage, and which then grew beyond the group's offset, has
// other bytes there; its length and generation do not tell.
type mark struct {
	Bytes int64  `json:"bytes"` // how many before the offset; 0 is no mark
	CRC   uint32 `json:"crc32c"`
}

// markBytes is how much a mark is of at most: more than a block of a file
// system, so that damage to a block is in it, and little to read.
const markBytes = 8 << 10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// markAt makes a mark of what a stream has before an offset; none where it
// cannot be read.
func markAt(src source, now streams.State, offset int64) mark {
	return markOf(src, now, offset, min(markBytes, offset-now.Begin))
}

func markOf(src source, now streams.State, offset, n int64) mark {
	if n <= 0 || n > markBytes || offset-n < now.Begin {
		return mark{}
	}
	b := make([]byte, n)
	if got, _ := src.ReadAt(now.Generation, b, offset-n); got < len(b) {
		return mark{}
	}
	return mark{Bytes: n, CRC: crc32.Checksum(b, castagnoli)}
}

// follows tells whether the stream still has before the group's offset what the
// group read there, once after each load: a stream changes so only between two
// starts. Where it cannot be read any more, it does.
func (g *group) follows(src source, now streams.State) bool {
	if g.proved {
		return true
	}
	g.proved = true
	m := markOf(src, now, g.commit.Offset, g.commit.Mark.Bytes)
	return m.Bytes == 0 || m == g.commit.Mark
}
