package forward

import (
	"context"
	"fmt"
	"strings"

	"github.com/tinylib/msgp/msgp"
)

// Values for pack beyond those of Go: raw bytes, an EventTime, a map in order.
type (
	raw   string
	et    [2]uint32
	pairs []any
	list  []any
)

// pack encodes a value as msgpack.
func pack(v any) []byte {
	var b []byte
	switch v := v.(type) {
	case raw:
		return []byte(v)
	case et:
		b = append(b, 0xd7, 0)
		for _, w := range v {
			b = append(b, byte(w>>24), byte(w>>16), byte(w>>8), byte(w))
		}
		return b
	case pairs:
		b = msgp.AppendMapHeader(b, uint32(len(v)/2))
		for _, x := range v {
			b = append(b, pack(x)...)
		}
		return b
	case list:
		b = msgp.AppendArrayHeader(b, uint32(len(v)))
		for _, x := range v {
			b = append(b, pack(x)...)
		}
		return b
	case string:
		return msgp.AppendString(b, v)
	case []byte:
		return msgp.AppendBytes(b, v)
	}
	b, err := msgp.AppendIntf(b, v)
	if err != nil {
		panic(err)
	}
	return b
}

// packs encodes values back to back.
func packs(v ...any) (b []byte) {
	for _, x := range v {
		b = append(b, pack(x)...)
	}
	return b
}

// record is {"a": n}.
func record(n int) pairs { return pairs{"a", n} }

// describe gives the events of messages, one a word: tag@seconds=n for the
// record {"a": n}, tag@now for a time within the last minute, the record in
// JSON where it is another, or in
// hexadecimal where JSON has no such value.
func describe(msgs []Message, now int64) string {
	var out []string
	for _, m := range msgs {
		if m.Signal != 0 {
			out = append(out, fmt.Sprintf("%s!%d:%d", m.Tag, m.Signal, len(m.Entries)))
		}
		for rest := m.Entries; m.Signal == 0 && len(rest) > 0; {
			e, next, err := Next(rest)
			if err != nil {
				out = append(out, err.Error())
				break
			}
			rest = next
			ns, _ := UnixNano(e.Time)
			time := fmt.Sprint(ns / 1e9)
			if now-60 < ns/1e9 && ns/1e9 <= now {
				time = "now"
			} else if ns%1e9 != 0 {
				time = fmt.Sprintf("%d.%09d", ns/1e9, ns%1e9)
			}
			v, _, err := msgp.ReadIntfBytes(e.Record)
			text := asJSON(v)
			if m, _ := v.(map[string]any); len(m) == 1 && m["a"] != nil {
				text = asJSON(m["a"])
			}
			if err != nil || strings.Contains(text, "&") {
				text = fmt.Sprintf("%x", e.Record)
			}
			if len(e.Meta) > 0 {
				text += "+" + fmt.Sprintf("%x", e.Meta)
			}
			out = append(out, fmt.Sprintf("%s@%s=%s", m.Tag, time, text))
		}
		for _, b := range m.Bad {
			out = append(out, fmt.Sprintf("%s!%s:%d", m.Tag, b.Reason, len(b.Data)))
		}
	}
	return strings.Join(out, " ")
}

// resolveTo is a resolver that knows one name.
func resolveTo(name string) func(context.Context, string) (string, error) {
	return func(context.Context, string) (string, error) { return name, nil }
}
