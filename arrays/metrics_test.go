package arrays

import (
	"fmt"
	"math/rand/v2"

	"github.com/tinylib/msgp/msgp"
)

// entry makes a msgpack entry [time, record].
func entry(time, record any) []byte {
	return appendValue(appendValue(msgp.AppendArrayHeader(nil, 2), time), record)
}

// appendValue appends a value as msgpack, the keys of maps in order.
func appendValue(b []byte, v any) []byte {
	if m, ok := v.(map[string]any); ok {
		b = msgp.AppendMapHeader(b, uint32(len(m)))
		for _, k := range sortedKeys(m) {
			b = appendValue(msgp.AppendString(b, k), m[k])
		}
		return b
	}
	b, err := msgp.AppendIntf(b, v)
	if err != nil {
		panic(err)
	}
	return b
}

// someEntries makes entries, few of them bad.
func someEntries(r *rand.Rand) []byte {
	var b []byte
	for i := range r.IntN(100) {
		m := map[string]any{"a": r.Float64(), "n": map[string]any{"x": i, "y": fmt.Sprint(i)}}
		switch r.IntN(12) {
		case 0:
			m["late"] = true
		case 1:
			m["a"] = "text"
		case 2:
			m["word"] = fmt.Sprintf("w%d", r.IntN(9))
		case 3:
			b = append(b, noise(r.IntN(100))...)
		case 4:
			b = msgp.AppendInt(b, 7)
		case 5:
			m["list"] = []any{1, 2}
		case 6:
			b = append(b, entry("no time", m)...)
		case 7:
			b = append(b, entry(1, "no map")...)
		case 8:
			delete(m, "a")
		}
		one := entry(1700000000+i, m)
		if r.IntN(40) == 0 {
			one = one[:r.IntN(len(one))]
		}
		b = append(b, one...)
	}
	return b
}
