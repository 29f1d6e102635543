package forward

import "testing"

// TestCheckIsAskedOnce: Options.Check is asked once for messages of one tag
// that follow each other in a batch, and again in the next batch.
func TestCheckIsAskedOnce(t *testing.T) {
	t.Parallel()
	var asked []string
	o := Options{TagPrefix: "p", Check: func(tag []byte) CheckLevel {
		asked = append(asked, string(tag))
		if string(tag) == "p.b" {
			return CheckEntries
		}
		return CheckEnvelope
	}}.withDefaults()
	d := decoder{o: &o, count: &counters{}, arena: arena{lease: &lease{budget: &budget{max: 1 << 20}}}}
	frames := []string{"\x92\xa1a\x90", "\x92\xa1a\x90", "\x92\xa1b\x90", "\x92\xa1b\x90", "\x92\xa0\x90", "\x92\xa1a\x90"}
	for range 2 {
		for _, raw := range frames {
			b := []byte(raw)
			if n, st := d.frame.parse(b, false); n != len(b) || st != whole {
				t.Fatalf("%q: %d %v", raw, n, st)
			}
			if err := d.add(&d.frame, b); err != nil {
				t.Fatal(err)
			}
		}
		for i, m := range d.msgs {
			if (m.Envelope != nil) != (string(m.Tag) != "p.b") {
				t.Errorf("message %d of %q: %+v", i, m.Tag, m)
			}
		}
		d.reset()
	}
	if got := len(asked); got != 2*4 {
		t.Errorf("asked %d times: %q", got, asked)
	}
}
