package streams

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// KeyOf makes a key from an identity, such as a sender's chunk id: the first
// 16 bytes of the SHA-256 over the parts, each after its length as a 64-bit
// little-endian number.
func KeyOf(parts ...[]byte) Key {
	h := sha256.New()
	var n [8]byte
	for _, p := range parts {
		binary.LittleEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write(p)
	}
	var sum [sha256.Size]byte
	return Key(h.Sum(sum[:0])[:16])
}

type keyID struct {
	stream uint32
	key    Key
}

// A keyPlace is where the append of a key is. The order is that of the batch
// that brought it in this process, 0 for those of before.
type keyPlace struct {
	offset     int64
	generation uint32
	order      uint32
}

// A keyTable remembers keys in two generations: when the young one is full or
// old, it becomes the old one, and the old one is forgotten.
type keyTable struct {
	young, old *keySet
	since      int64 // time of the young generation's first key, in ns
	max        int   // keys of one generation
	age        time.Duration
}

func newKeyTable(keys int, age time.Duration) *keyTable {
	n := max(1, keys/2)
	return &keyTable{young: newKeySet(n), old: newKeySet(n), max: n, age: age}
}

func (t *keyTable) get(id keyID) (keyPlace, bool) {
	if p, ok := t.young.get(id); ok {
		return p, true
	}
	return t.old.get(id)
}

func (t *keyTable) put(id keyID, p keyPlace, now int64) {
	if t.young.n == 0 {
		t.since = now
	}
	if t.young.n >= t.max || now-t.since > int64(t.age) {
		t.old, t.young, t.since = t.young, t.old, now
		t.young.clear()
	}
	t.young.put(id, p)
}

func (t *keyTable) forget(id keyID) {
	t.young.remove(id)
	t.old.remove(id)
}

func (t *keyTable) len() int { return t.young.n + t.old.n }
