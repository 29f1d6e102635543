package streams

import (
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"
)

// TestKeySetIsAMap compares a set with a map over random calls, on keys so few
// that they collide, come again and are taken out.
func TestKeySetIsAMap(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const most = 300 // one part
		s, model := newKeySet(most), map[keyID]keyPlace{}
		s.seed = [3]uint64{1, rapid.Uint64Range(0, 1).Draw(t, "seed"), 0} // a poor hash
		for range rapid.IntRange(1, 600).Draw(t, "calls") {
			id := keyID{stream: rapid.Uint32Range(1, 3).Draw(t, "stream")}
			binary.LittleEndian.PutUint64(id.key[:], rapid.Uint64Range(0, 120).Draw(t, "key"))
			if what := rapid.IntRange(0, 60).Draw(t, "what"); what == 0 {
				s.clear()
				clear(model)
			} else if what < 20 {
				s.remove(id)
				delete(model, id)
			} else if len(model) < most {
				p := keyPlace{offset: rapid.Int64Range(0, 1<<62).Draw(t, "offset"), generation: 7, order: uint32(len(model))}
				s.put(id, p)
				model[id] = p
			}
		}
		if s.n != len(model) {
			t.Fatalf("%d keys, want %d", s.n, len(model))
		}
		for stream := range uint32(3) {
			for k := range uint64(121) {
				id := keyID{stream: stream + 1}
				binary.LittleEndian.PutUint64(id.key[:], k)
				got, ok := s.get(id)
				if want, has := model[id]; ok != has || got != want {
					t.Fatalf("key %d of stream %d: %v %v, want %v %v", k, stream+1, got, ok, want, has)
				}
			}
		}
	})
}

func TestKeySetHoldsAllThatItIsFor(t *testing.T) {
	t.Parallel()
	for _, most := range []int{1, 63, 64, 65, 10000, 100_000} {
		s := newKeySet(most)
		for i := range most {
			s.put(keyID{1, KeyOf(binary.AppendUvarint(nil, uint64(i)))}, keyPlace{offset: int64(i)})
		}
		for i := range most {
			if p, ok := s.get(keyID{1, KeyOf(binary.AppendUvarint(nil, uint64(i)))}); !ok || p.offset != int64(i) {
				t.Fatalf("of %d keys, key %d is %v %v", most, i, p, ok)
			}
		}
		slots := 0
		for _, p := range s.parts {
			slots += len(p.slots)
		}
		if slots > most+most/2+leastSlots*len(s.parts) {
			t.Errorf("%d slots for %d keys", slots, most)
		}
		s.clear()
		if _, ok := s.get(keyID{1, KeyOf(binary.AppendUvarint(nil, 0))}); ok || s.n != 0 {
			t.Errorf("an empty set has %d keys", s.n)
		}
	}
}

func BenchmarkKeyTable(b *testing.B) {
	t := newKeyTable(1<<20, 1<<60)
	var id keyID
	id.stream = 1
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		binary.LittleEndian.PutUint64(id.key[:], uint64(i)*0x9e3779b97f4a7c15)
		if _, ok := t.get(id); !ok {
			t.put(id, keyPlace{}, 1)
		}
	}
}
