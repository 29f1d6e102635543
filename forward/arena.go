package forward

// minArena is the smallest block of an arena.
const minArena = 64 << 10

// An arena holds what the messages of one batch need beyond the bytes that
// came: inflated payloads and rewritten entries. A piece is begun, grown and
// taken; pieces stay valid until reset.
type arena struct {
	buf   []byte
	mark  int   // where the open piece begins
	held  int64 // capacity of all blocks since the last reset
	most  int   // what the open piece can come to, where that is known
	lease *lease
	done  <-chan struct{}
}

// begin opens a piece.
func (a *arena) begin() { a.mark, a.most = len(a.buf), 0 }

// size is the length of the open piece.
func (a *arena) size() int { return len(a.buf) - a.mark }

// grow makes room for n more bytes, and false when the connection ends before
// memory is free. Earlier pieces stay where they are.
func (a *arena) grow(n int) bool {
	if cap(a.buf)-len(a.buf) >= n {
		return true
	}
	size := max(minArena, 2*cap(a.buf))
	if a.most > 0 {
		size = min(size, a.most)
	}
	size = max(size, a.size()+n)
	if !a.lease.take(int64(size), a.done) {
		return false
	}
	a.held += int64(size)
	next := make([]byte, a.size(), size)
	copy(next, a.buf[a.mark:])
	if a.mark == 0 { // nothing else is in the block before
		a.held -= int64(cap(a.buf))
		a.lease.give(int64(cap(a.buf)))
	}
	a.buf, a.mark = next, 0
	return true
}

// add appends to the open piece.
func (a *arena) add(b ...byte) bool {
	if !a.grow(len(b)) {
		return false
	}
	a.buf = append(a.buf, b...)
	return true
}

// take closes the piece.
func (a *arena) take() []byte { return a.buf[a.mark:len(a.buf):len(a.buf)] }

// drop gives up the open piece.
func (a *arena) drop() { a.buf = a.buf[:a.mark] }

// decode appends to the open piece what comes out of d, at most limit bytes in
// all, and gives how many there was room for.
func (a *arena) decode(d decompressor, limit int) (room int, err error) {
	room = min(cap(a.buf)-a.mark, limit)
	piece, err := d.Decode(a.buf[a.mark : len(a.buf) : a.mark+room])
	a.buf = a.buf[:a.mark+len(piece)]
	return room, err
}

// renew gives up the open piece, and its block when nothing else is in it.
func (a *arena) renew() {
	a.drop()
	if a.mark == 0 {
		a.held -= int64(cap(a.buf))
		a.lease.give(int64(cap(a.buf)))
		a.buf = nil
	}
}

// reset gives up all pieces; a block of up to keep bytes stays.
func (a *arena) reset(keep int) {
	left := cap(a.buf)
	if left > keep {
		a.buf, left = nil, 0
	}
	a.buf = a.buf[:0]
	a.mark = 0
	a.lease.give(a.held - int64(left))
	a.held = int64(left)
}
