package buckets

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"weir/streams"
)

// An Item is a bucket as a list shows it.
type Item struct {
	Key   string    `json:"key"`
	Index int       `json:"index"`
	Size  int64     `json:"size"` // of the value, in bytes
	Time  time.Time `json:"time"`
}

// An index knows where the buckets of a stream's generation are.
type index struct {
	own bool // each index has its own value, as messages do

	mu         sync.Mutex
	generation uint64
	offset     int64 // up to which the stream was looked at
	places     []place
	keys       map[string][]int // indices by key, in order
	sorted     []string         // keys in order; nil when they are to be sorted
}

// A place is where a value is in the stream.
type place struct {
	key     string
	offset  int64
	length  int64
	at      time.Time
	deleted bool
}

// windowBytes is how much of a stream is looked at in one read.
const windowBytes = 64 << 10

// follow brings the index to the end of the stream. The caller holds mu.
func (x *index) follow(st *streams.Stream) error {
	state := st.State()
	if x.keys == nil || state.Generation != x.generation {
		x.generation, x.offset, x.places, x.keys, x.sorted = state.Generation, 0, nil, map[string][]int{}, nil
	}
	var room, window []byte // of the room, from offset on
	for x.offset < state.Length {
		h, err := parse(window)
		if errors.Is(err, errShort) {
			if len(window) >= windowBytes {
				return fmt.Errorf("buckets: stream %q at byte %d: the key has more than %d bytes", st.Name(), x.offset, MaxKey)
			}
			if room == nil {
				room = make([]byte, min(windowBytes, state.Length-x.offset))
			}
			if window, err = x.read(st, room, state.Length); err != nil {
				return err
			}
			if h, err = parse(window); errors.Is(err, errShort) {
				return fmt.Errorf("buckets: stream %q at byte %d: the entry is cut off", st.Name(), x.offset)
			}
		}
		if err != nil {
			return fmt.Errorf("buckets: stream %q at byte %d: %w", st.Name(), x.offset, err)
		}
		end := int64(h.value) + h.length
		if x.offset+end > state.Length {
			return fmt.Errorf("buckets: stream %q at byte %d: the entry is cut off", st.Name(), x.offset)
		}
		x.add(h)
		x.offset += end
		window = window[min(end, int64(len(window))):]
	}
	return nil
}

// read fills the room with what is at the offset.
func (x *index) read(st *streams.Stream, room []byte, length int64) ([]byte, error) {
	n := min(int64(len(room)), length-x.offset)
	k, err := st.ReadAt(x.generation, room[:n], x.offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return room[:k], nil
}

// add takes note of an entry.
func (x *index) add(h head) {
	if h.deleted {
		for _, i := range x.keys[h.key] {
			x.places[i].deleted = true
		}
		delete(x.keys, h.key)
		x.sorted = nil
		return
	}
	if x.keys[h.key] == nil {
		x.sorted = nil
	}
	x.keys[h.key] = append(x.keys[h.key], len(x.places))
	x.places = append(x.places, place{key: h.key, offset: x.offset + int64(h.value), length: h.length, at: h.at})
}

// current gives the place of the value that an index stands for.
func (x *index) current(i int) place {
	p := x.places[i]
	if !x.own && !p.deleted {
		all := x.keys[p.key]
		return x.places[all[len(all)-1]]
	}
	return p
}

func (x *index) item(i int) Item {
	p := x.current(i)
	return Item{Key: p.key, Index: i, Size: p.length, Time: p.at}
}

// newest gives the last index of a key, -1 where there is none.
func (x *index) newest(key string) int {
	if all := x.keys[key]; len(all) > 0 {
		return all[len(all)-1]
	}
	return -1
}

// byIndex lists the buckets with indices in [start, stop).
func (x *index) byIndex(start, stop, limit int) []Item {
	list := []Item{}
	for i := max(0, start); i < min(stop, len(x.places)) && len(list) < limit; i++ {
		if !x.places[i].deleted {
			list = append(list, x.item(i))
		}
	}
	return list
}

// byKey lists the newest bucket of each key in [start, stop), stop "" being
// the end.
func (x *index) byKey(start, stop string, limit int) []Item {
	if x.sorted == nil {
		x.sorted = make([]string, 0, len(x.keys))
		for k := range x.keys {
			x.sorted = append(x.sorted, k)
		}
		slices.SortFunc(x.sorted, strings.Compare)
	}
	list := []Item{}
	from, _ := slices.BinarySearch(x.sorted, start)
	for _, k := range x.sorted[from:] {
		if stop != "" && k >= stop || len(list) == limit {
			break
		}
		list = append(list, x.item(x.newest(k)))
	}
	return list
}
