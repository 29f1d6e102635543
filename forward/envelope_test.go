package forward

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestEnvelopeSame keeps every input of the acceptance table as envelopes and
// opens them: what comes out is what a server that checks hands over.
func TestEnvelopeSame(t *testing.T) {
	t.Parallel()
	compared := 0
	for _, a := range acceptances() {
		if a.in == nil || a.set != nil || a.refused == "bad-compression" {
			continue
		}
		checked, _ := keepAll(t, a.in, Options{})
		kept, acks := keepAll(t, a.in, Options{Check: func([]byte) CheckLevel { return CheckEnvelope }})
		if acks != a.acks {
			t.Errorf("%s: acks %q, want %q", a.what, acks, a.acks)
		}
		var frames []byte
		var opened []Message
		for _, m := range kept {
			frames = append(frames, m.Envelope...)
			if m.Envelope == nil {
				opened = append(opened, m) // only bad parts
			}
			if m.Entries != nil {
				t.Errorf("%s: entries and envelope", a.what)
			}
		}
		opened = append(opened, openAll(t, frames)...)
		// Messages of bad parts alone come before the frames here.
		if got, want := sorted(describe(opened, now.Unix())), sorted(describe(checked, now.Unix())); got != want {
			t.Errorf("%s: opened\n%s, want\n%s", a.what, got, want)
		}
		compared++
	}
	if compared < 80 {
		t.Errorf("%d compared", compared)
	}
}

// sorted puts words in order.
func sorted(s string) string {
	words := strings.Fields(s)
	for i := range words {
		for j := range i {
			if words[i] < words[j] {
				words[i], words[j] = words[j], words[i]
			}
		}
	}
	return strings.Join(words, " ")
}

// keepAll sends in and gives what was kept and said.
func keepAll(t *testing.T, in []byte, o Options) ([]Message, string) {
	t.Helper()
	k := &keeper{}
	o.Handler, o.Now = k, func() time.Time { return now }
	s, err := NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	talk := connect(t, s)
	talk.send(in, 0)
	acks := string(talk.finish())
	return k.kept(), acks
}

// openAll opens frames back to back, and sees that they are not written to.
func openAll(t *testing.T, frames []byte) (out []Message) {
	t.Helper()
	before := bytes.Clone(frames)
	o := NewOpener(Options{})
	for rest := frames; len(rest) > 0; {
		m, next, err := o.Next(rest)
		if err != nil {
			t.Fatal(err)
		}
		out, rest = append(out, clone(&m)), next
	}
	if !bytes.Equal(frames, before) {
		t.Error("the opener wrote to the frames")
	}
	return out
}

// TestEnvelopeConversations does the same with what real senders send.
func TestEnvelopeConversations(t *testing.T) {
	t.Parallel()
	files, _ := filepath.Glob("testdata/conversations/*.txt")
	for _, f := range files {
		c := readConversation(t, f)
		if c.values["key"] != nil {
			continue
		}
		var frames []byte
		for conn := 1; conn < 30; conn++ {
			kept, _ := keepAll(t, c.side(conn, true), Options{Check: func([]byte) CheckLevel { return CheckEnvelope }})
			for _, m := range kept {
				frames = append(frames, m.Envelope...)
			}
		}
		opened := openAll(t, frames)
		compareEvents(t, c, opened)
		compareSignals(t, c, opened)
	}
}

func TestOpenerErrors(t *testing.T) {
	t.Parallel()
	good := pack(list{"t", two})
	for name, c := range map[string]struct {
		in   []byte
		skip bool // the next frame is reached
		err  error
		text string
	}{
		"cut":         {good[:9], false, ErrShort, ""},
		"never used":  {[]byte("\xc1"), false, ErrSyntax, ""},
		"deep":        {bytes.Repeat([]byte{0x91}, 1000), false, ErrDepth, ""},
		"no array":    {[]byte("\x01"), true, nil, "no array"},
		"no message":  {[]byte("\x91\x01"), true, nil, "fewer than two"},
		"broken gzip": {pack(list{"t", []byte("\x1f\x8b\x08garbage"), chunk}), true, nil, "bad-compression"},
		"unknown":     {pack(list{"t", two, pairs{"compressed", "lz4"}}), true, nil, "lz4"},
	} {
		in := c.in
		if c.skip {
			in = append(bytes.Clone(in), good...)
		}
		o := NewOpener(Options{})
		_, rest, err := o.Next(in)
		if err == nil || c.err != nil && !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
		if want := map[bool]int{true: len(good), false: len(in)}[c.skip]; len(rest) != want {
			t.Errorf("%s: %d bytes left, want %d", name, len(rest), want)
		}
		if c.skip {
			if m, _, err := o.Next(rest); err != nil || m.Records != 2 {
				t.Errorf("%s: afterwards %d records, %v", name, m.Records, err)
			}
		}
	}
}

// TestEnvelopeUnchecked shows what envelope does not look at, and by which
// tags it is chosen.
func TestEnvelopeUnchecked(t *testing.T) {
	t.Parallel()
	o := Options{Check: func(tag []byte) CheckLevel {
		if string(tag) == "e" {
			return CheckEnvelope
		}
		return CheckEntries
	}}
	broken := pack(list{"e", []byte("\x1f\x8bbroken"), pairs{"compressed", "gzip", "size", 7, "chunk", "id"}})
	kept, acks := keepAll(t, append(bytes.Clone(broken), pack(list{"t", two})...), o)
	if acks != ack("id") || len(kept) != 2 {
		t.Fatalf("acks %q, kept %d", acks, len(kept))
	}
	if m := kept[0]; !bytes.Equal(m.Envelope, broken) || m.Records != 7 || m.Mode != ModeCompressed || string(m.Chunk) != "id" {
		t.Errorf("kept %+v", m)
	}
	if m := kept[1]; m.Envelope != nil || m.Records != 2 {
		t.Errorf("kept %+v", m)
	}
	o.Handler, o.AddressKey = &keeper{}, "from"
	if _, err := NewServer(o); err == nil || !strings.Contains(err.Error(), "option check") {
		t.Errorf("error %v", err)
	}
}
