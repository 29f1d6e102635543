package streams

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
)

// A keySet is a hash table of up to a known number of keys, open addressing
// with linear probing. It holds no pointers, so that a million keys cost the
// garbage collector nothing, and a look-up costs about one miss of the
// processor's cache.
type keySet struct {
	slots []keySlot
	n     int
	max   int // slots in the end
	seed  [3]uint64
}

// A keySlot is free where the stream is 0, which no stream's id is.
type keySlot struct {
	stream            uint32
	key               Key
	generation, order uint32
	offset            [2]uint32 // low and high half, so that a slot has 36 bytes
}

const leastSlots = 64

// newKeySet makes a set for up to max keys; it begins small.
func newKeySet(max int) *keySet {
	s := &keySet{max: max + max/2 + leastSlots, slots: make([]keySlot, leastSlots)}
	var b [24]byte
	rand.Read(b[:]) // so that no sender can choose keys that collide
	for i := range s.seed {
		s.seed[i] = binary.LittleEndian.Uint64(b[8*i:]) | 1
	}
	return s
}

// home is the slot at which the search for a key begins.
func (s *keySet) home(id *keyID) int {
	lo, hi := binary.LittleEndian.Uint64(id.key[:]), binary.LittleEndian.Uint64(id.key[8:])
	h := lo*s.seed[0] + hi*s.seed[1] + uint64(id.stream)*s.seed[2]
	h ^= h >> 32
	h *= s.seed[0]
	at, _ := bits.Mul64(h, uint64(len(s.slots)))
	return int(at)
}

// find gives the slot of a key, or the free one where it would be put.
func (s *keySet) find(id *keyID) (at int, ok bool) {
	for at = s.home(id); ; {
		e := &s.slots[at]
		if e.stream == 0 {
			return at, false
		}
		if e.key == id.key && e.stream == id.stream {
			return at, true
		}
		if at++; at == len(s.slots) {
			at = 0
		}
	}
}

func (s *keySet) get(id keyID) (keyPlace, bool) {
	at, ok := s.find(&id)
	if !ok {
		return keyPlace{}, false
	}
	e := &s.slots[at]
	return keyPlace{offset: int64(uint64(e.offset[1])<<32 | uint64(e.offset[0])), generation: e.generation, order: e.order}, true
}

func (s *keySet) put(id keyID, p keyPlace) {
	at, ok := s.find(&id)
	if !ok {
		if (s.n+1)*3 > len(s.slots)*2 && len(s.slots) < s.max {
			s.grow()
			at, _ = s.find(&id)
		}
		s.n++
	}
	s.slots[at] = keySlot{
		stream: id.stream, key: id.key, generation: p.generation, order: p.order,
		offset: [2]uint32{uint32(p.offset), uint32(uint64(p.offset) >> 32)},
	}
}

// grow makes room for twice as many keys. A set is never asked to hold more
// than max keys, so two thirds of its last slots suffice.
func (s *keySet) grow() {
	old := s.slots
	s.slots = make([]keySlot, min(2*len(old), s.max))
	for i := range old {
		if e := &old[i]; e.stream != 0 {
			at, _ := s.find(&keyID{e.stream, e.key})
			s.slots[at] = *e
		}
	}
}

// clear takes all keys out and keeps the room.
func (s *keySet) clear() {
	clear(s.slots)
	s.n = 0
}

// remove takes a key out and closes the gap, so that searches still end at
// the first free slot.
func (s *keySet) remove(id keyID) {
	gap, ok := s.find(&id)
	if !ok {
		return
	}
	s.n--
	for at := gap; ; {
		if at++; at == len(s.slots) {
			at = 0
		}
		e := &s.slots[at]
		if e.stream == 0 {
			break
		}
		home := s.home(&keyID{e.stream, e.key})
		if between := (at - home + len(s.slots)) % len(s.slots); between >= (at-gap+len(s.slots))%len(s.slots) {
			s.slots[gap] = *e
			gap = at
		}
	}
	s.slots[gap] = keySlot{}
}
