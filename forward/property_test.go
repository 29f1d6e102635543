package forward

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// A sent is a message that a test made up: its bytes, and what they say.
type sent struct {
	bytes  []byte
	events string // as describe gives them
	chunk  string
}

// made draws a message: any mode, width of head, time, and option.
func made(t *rapid.T, i int) sent {
	tag := rapid.SampledFrom([]string{"t", "a.b", strings.Repeat("long.", 60)}).Draw(t, "tag")
	n := rapid.IntRange(0, 5).Draw(t, "entries")
	mode := rapid.SampledFrom([]string{"message", "forward", "packed", "gzip", "zstd"}).Draw(t, "mode")
	if mode == "message" {
		n = 1
	}
	var events []string
	var array list
	var packed []byte
	for e := range n {
		sec := rapid.IntRange(1, 1<<31).Draw(t, "seconds")
		times := map[string]any{"integer": sec, "event": et{uint32(sec), 0}, "float": float64(sec), "ext8": raw("\xc7\x08") + raw(pack(et{uint32(sec), 0})[1:])}
		time := times[rapid.SampledFrom([]string{"integer", "event", "float", "ext8"}).Draw(t, "time")]
		value := fmt.Sprintf("%d.%d", i, e)
		rec := pairs{"a", value}
		kind := "good"
		if mode != "message" {
			kind = rapid.SampledFrom([]string{"good", "good", "good", "text", "marker", "no time"}).Draw(t, "kind")
		}
		entry := list{time, rec}
		switch kind {
		case "good":
			events = append(events, fmt.Sprintf(`%s@%d=%q`, tag, sec, value))
		case "text":
			entry = list{time, "text"}
		case "marker":
			entry = list{list{et{0xffffffff, 0}, pairs{}}, rec}
		case "no time":
			entry = list{"no", rec}
		}
		array = append(array, entry)
		packed = append(packed, pack(entry)...)
		if mode == "message" {
			array = entry
		}
	}
	s := sent{chunk: rapid.SampledFrom([]string{"", "c", fmt.Sprint("chunk", i)}).Draw(t, "chunk")}
	option := pairs{"size", n}
	if s.chunk != "" {
		option = append(option, "chunk", s.chunk)
	}
	switch mode {
	case "message":
		s.bytes = pack(append(append(list{tag}, array...), option))
	case "forward":
		s.bytes = pack(list{tag, array, option})
	case "packed":
		s.bytes = pack(list{tag, packed, option})
	case "gzip", "zstd":
		cut := rapid.IntRange(0, len(packed)).Draw(t, "member")
		press := map[string]func(...[]byte) []byte{"gzip": zip, "zstd": zstandard}[mode]
		s.bytes = pack(list{tag, press(packed[:cut], packed[cut:]), append(option, "compressed", mode)})
	}
	s.events = strings.Join(events, " ")
	return s
}

// TestAnyMessages sends messages of every shape, cut into pieces anywhere, in
// a batch limit or none: events and acks are those that were sent, in order.
func TestAnyMessages(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		var in []byte
		var events []string
		acks := ""
		for i := range rapid.IntRange(1, 12).Draw(r, "messages") {
			s := made(r, i)
			in = append(in, s.bytes...)
			if s.events != "" {
				events = append(events, s.events)
			}
			if s.chunk != "" {
				acks += ack(s.chunk)
			}
			if rapid.Bool().Draw(r, "nil between") {
				in = append(in, 0xc0)
			}
		}
		k := &keeper{}
		s, err := NewServer(Options{Handler: k})
		if err != nil {
			r.Fatal(err)
		}
		talk := connect(t, s)
		for len(in) > 0 {
			n := min(rapid.IntRange(1, 4000).Draw(r, "piece"), len(in))
			talk.send(in[:n], 0)
			in = in[n:]
		}
		if got := talk.finish(); string(got) != acks {
			r.Fatalf("answer %q, want %q", got, acks)
		}
		msgs := k.kept()
		for i := range msgs {
			msgs[i].Bad = nil
		}
		if got := describe(msgs, 0); got != strings.Join(events, " ") {
			r.Fatalf("events\n%s, want\n%s", got, strings.Join(events, " "))
		}
	})
}

// TestSkipLikeMsgp draws values and bytes: the walk ends where another one
// does, wherever the bytes are cut.
func TestSkipLikeMsgp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		s := made(r, 0).bytes
		cut := rapid.IntRange(0, len(s)).Draw(r, "cut")
		n, st := skip(s[:cut], 0, 1, 0)
		if want := cut == len(s); (st == whole) != want || want && n != cut || !want && st != short {
			r.Fatalf("cut at %d of %d: %d, %d", cut, len(s), n, st)
		}
		var sc scanner
		sc.start()
		for at := 0; ; at += rapid.IntRange(1, 50).Draw(r, "more") {
			least, st := sc.run(s[:min(at, len(s))])
			if st == whole {
				if least != uint64(len(s)) || at < len(s) {
					r.Fatalf("the scanner ends at %d of %d", least, len(s))
				}
				return
			}
			if least > uint64(len(s)) || st != short {
				r.Fatalf("the scanner wants %d of %d: %d", least, len(s), st)
			}
		}
	})
	if n, st := skip(bytes.Repeat([]byte{0x91}, MaxDepth+1), 0, 1, 0); st != deep || n != MaxDepth {
		t.Errorf("deep: %d, %d", n, st)
	}
}
