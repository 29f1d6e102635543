package streams

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
)

// A keySet is a hash table of up to a known number of keys, open addressing
// with linear probing. It holds no pointers to keys, so that a million of them
// cost the garbage collector nothing, and a look-up costs about one miss of the
// processor's cache. It is made of parts, which grow and are emptied one by one:
// appends wait for that, so it must not take long.
type keySet struct {
	parts []keyPart
	n     int
	most  int    // slots of a part in the end
	epoch uint32 // a part of another one is empty
	seed  [3]uint64
}

// A keyPart has the keys of one share of the hashes.
type keyPart struct {
	slots []keySlot
	n     int
	epoch uint32
}

// A keySlot is free where the stream is 0, which no stream's id is.
type keySlot struct {
	stream            uint32
	key               Key
	generation, order uint32
	offset            [2]uint32 // low and high half, so that a slot has 36 bytes
}

const (
	leastSlots = 64
	// partKeys is how many keys a part is for; there are as many parts as that
	// takes, to the next power of two below, but not more than mostParts.
	partKeys  = 4096
	mostParts = 128
)

// newKeySet makes a set for up to max keys; it begins small.
func newKeySet(max int) *keySet {
	parts := 1
	for parts < mostParts && max/(2*parts) >= partKeys {
		parts *= 2
	}
	share := max / parts
	s := &keySet{parts: make([]keyPart, parts), most: share + share/2 + leastSlots}
	var b [24]byte
	rand.Read(b[:]) // so that no sender can choose keys that collide
	for i := range s.seed {
		s.seed[i] = binary.LittleEndian.Uint64(b[8*i:]) | 1
	}
	return s
}

func (s *keySet) hash(id *keyID) uint64 {
	lo, hi := binary.LittleEndian.Uint64(id.key[:]), binary.LittleEndian.Uint64(id.key[8:])
	h := lo*s.seed[0] + hi*s.seed[1] + uint64(id.stream)*s.seed[2]
	h ^= h >> 32
	return h * s.seed[0]
}

// part is where the keys of a hash are.
func (s *keySet) part(h uint64) *keyPart { return &s.parts[h&uint64(len(s.parts)-1)] }

// home is the slot at which the search for a hash begins.
func (p *keyPart) home(h uint64) int {
	at, _ := bits.Mul64(h, uint64(len(p.slots)))
	return int(at)
}

// find gives the slot of a key, or the free one where it would be put.
func (p *keyPart) find(id *keyID, h uint64) (at int, ok bool) {
	for at = p.home(h); ; {
		e := &p.slots[at]
		if e.stream == 0 {
			return at, false
		}
		if e.key == id.key && e.stream == id.stream {
			return at, true
		}
		if at++; at == len(p.slots) {
			at = 0
		}
	}
}

func (s *keySet) get(id keyID) (keyPlace, bool) {
	h := s.hash(&id)
	p := s.part(h)
	if p.epoch != s.epoch || p.n == 0 {
		return keyPlace{}, false
	}
	at, ok := p.find(&id, h)
	if !ok {
		return keyPlace{}, false
	}
	e := &p.slots[at]
	return keyPlace{offset: int64(uint64(e.offset[1])<<32 | uint64(e.offset[0])), generation: e.generation, order: e.order}, true
}

func (s *keySet) put(id keyID, at keyPlace) {
	h := s.hash(&id)
	p := s.part(h)
	if p.epoch != s.epoch {
		clear(p.slots)
		p.n, p.epoch = 0, s.epoch
	}
	if p.full(s.most) {
		s.grow(p)
	}
	i, ok := p.find(&id, h)
	if !ok {
		s.n++
		p.n++
	}
	p.slots[i] = keySlot{
		stream: id.stream, key: id.key, generation: at.generation, order: at.order,
		offset: [2]uint32{uint32(at.offset), uint32(uint64(at.offset) >> 32)},
	}
}

// full tells whether one more key wants more slots: beyond two thirds, and
// where a part has what is its due, beyond nine tenths.
func (p *keyPart) full(most int) bool {
	if len(p.slots) < most {
		return (p.n+1)*3 > len(p.slots)*2
	}
	return (p.n+1)*10 > len(p.slots)*9
}

// grow makes room for more keys: for twice as many, up to a part's due.
func (s *keySet) grow(p *keyPart) {
	old := p.slots
	size := max(leastSlots, min(2*len(old), s.most))
	if len(old) >= s.most {
		size = len(old) + len(old)/8 + 1
	}
	p.slots = make([]keySlot, size)
	for i := range old {
		if e := &old[i]; e.stream != 0 {
			id := keyID{e.stream, e.key}
			at, _ := p.find(&id, s.hash(&id))
			p.slots[at] = *e
		}
	}
}

// clear takes all keys out and keeps the room.
func (s *keySet) clear() {
	s.epoch++
	s.n = 0
}

// remove takes a key out and closes the gap, so that searches still end at
// the first free slot.
func (s *keySet) remove(id keyID) {
	h := s.hash(&id)
	p := s.part(h)
	if p.epoch != s.epoch || p.n == 0 {
		return
	}
	gap, ok := p.find(&id, h)
	if !ok {
		return
	}
	s.n--
	p.n--
	size := len(p.slots)
	for at := gap; ; {
		if at++; at == size {
			at = 0
		}
		e := &p.slots[at]
		if e.stream == 0 {
			break
		}
		home := p.home(s.hash(&keyID{e.stream, e.key}))
		if between := (at - home + size) % size; between >= (at-gap+size)%size {
			p.slots[gap] = *e
			gap = at
		}
	}
	p.slots[gap] = keySlot{}
}
