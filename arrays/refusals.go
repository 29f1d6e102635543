package arrays

// Refusals are told one by one up to directPerBlock in each block of blockBytes
// of the stream; what else is refused in the block is told in one refusal for
// each pieceBytes. So a stream of nothing but garbage does not make more dead
// letters than it has bytes. Blocks and pieces are cut at multiples of their
// size, so the same bytes make the same refusals however they arrive.
const (
	blockBytes     = 1 << 20
	directPerBlock = 16
	pieceBytes     = 64 << 10
)

// A refusal is a range of the stream that the decoder could not use.
type refusal struct {
	Offset int64  `json:"offset"`
	Length int64  `json:"length"`
	Reason string `json:"reason"`
	Detail string `json:"detail"`
	Count  int64  `json:"count"` // what was refused in the range
}

// refusals collects them. The exported fields are part of the committed state.
type refusals struct {
	Block  int64               `json:"block"`  // the block of the last refusal
	Direct int                 `json:"direct"` // refusals told in that block
	Open   map[string]*refusal `json:"open,omitempty"`

	out   []refusal        // to be told now
	count map[string]int64 // added since the last reset, by reason
}

// add refuses n bytes at offset off.
func (r *refusals) add(off, n int64, reason, detail string) {
	r.pass(off)
	if r.count == nil {
		r.count = map[string]int64{}
	}
	r.count[reason]++
	if block := off / blockBytes; block != r.Block {
		r.Block, r.Direct = block, 0
	}
	for i := len(r.out) - 1; i >= 0 && r.out[i].Offset == off; i-- {
		if r.out[i].Reason == reason { // another part of the same record
			r.out[i].Count++
			return
		}
	}
	one := refusal{Offset: off, Length: n, Reason: reason, Detail: detail, Count: 1}
	switch open := r.Open[reason]; {
	case open != nil:
		open.Length = max(open.Length, off+n-open.Offset)
		open.Count++
	case r.Direct < directPerBlock:
		r.Direct++
		r.out = append(r.out, one)
	default:
		if r.Open == nil {
			r.Open = map[string]*refusal{}
		}
		r.Open[reason] = &one
	}
}

// pass says that the decoder came to offset off: pieces that end before it are
// complete.
func (r *refusals) pass(off int64) {
	for _, reason := range sortedKeys(r.Open) {
		if open := r.Open[reason]; off/pieceBytes > open.Offset/pieceBytes {
			r.out = append(r.out, *open)
			delete(r.Open, reason)
		}
	}
}

// reset forgets what was told.
func (r *refusals) reset() { r.out, r.count = nil, nil }
