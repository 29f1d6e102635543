package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"sync"
	"testing"
)

// TestRepeated: a chunk id or an Idempotency-Key that was seen is answered and
// not stored again: on the same connection, on another, after an orderly stop
// and after a kill.
func TestRepeated(t *testing.T) {
	t.Parallel()
	w := start(t, acceptance()...)
	entries := encode(entry{1_700_000_000, 1, map[string]any{"seq": 1}}, entry{1_700_000_000, 2, map[string]any{"seq": 2}})
	send := func() {
		t.Helper()
		c := mustDial(t, w.Forward)
		c.send(t, packed("raw.repeated", entries, "chunk-1"), "chunk-1")
		c.send(t, compressed("raw.repeated", entries, "chunk-1"), "chunk-1")
		c.send(t, packed("raw.other", entries, "chunk-1"), "chunk-1")
		if a := w.ingest("raw", "raw.posted", entries, "Idempotency-Key", "key-1"); a.Status != http.StatusNoContent {
			t.Errorf("POST: %d %s", a.Status, a.Body)
		}
		for _, tag := range []string{"raw.repeated", "raw.other", "raw.posted"} {
			if got := w.stream(tag); !bytes.Equal(got, entries) {
				t.Errorf("stream %s has %d bytes, want %d", tag, len(got), len(entries))
			}
		}
	}
	send()
	send()
	w.stop()
	w.up()
	send()
	w.kill()
	w.up()
	send()
	// Another key with the same bytes is another chunk.
	c := mustDial(t, w.Forward)
	c.send(t, packed("raw.repeated", entries, "chunk-2"), "chunk-2")
	if got := w.stream("raw.repeated"); len(got) != 2*len(entries) {
		t.Errorf("after a second chunk the stream has %d bytes, want %d", len(got), 2*len(entries))
	}
}

// TestRepeatedAtOnce: the same chunk on many connections at the same time is
// stored once and acknowledged on each.
func TestRepeatedAtOnce(t *testing.T) {
	t.Parallel()
	w := start(t, acceptance()...)
	const chunks, senders = 20, 8
	var want []byte
	for i := range chunks {
		entries := encode(entry{1_700_000_000, uint32(i), map[string]any{"seq": i}})
		want = append(want, entries...)
		chunk := fmt.Sprintf("chunk-%d", i)
		var wg sync.WaitGroup
		for range senders {
			c := mustDial(t, w.Forward)
			wg.Go(func() {
				if _, err := c.Write(packed("raw.at-once", entries, chunk)); err != nil {
					t.Error(err)
				}
				if got, err := c.ackBytes(len(ackOf(chunk))); err != nil || !bytes.Equal(got, ackOf(chunk)) {
					t.Errorf("%s: ack %q, %v", chunk, got, err)
				}
				c.Close()
			})
		}
		wg.Wait()
	}
	if got := w.stream("raw.at-once"); !bytes.Equal(got, want) {
		t.Errorf("the stream has %d bytes, want %d", len(got), len(want))
	}
}
