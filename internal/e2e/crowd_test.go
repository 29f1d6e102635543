package e2e

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestManyStreams: ten thousand tags, each a stream, in bounded memory; after
// a kill all are there.
func TestManyStreams(t *testing.T) {
	t.Parallel()
	const n, own, limit = 10_000, 8, 200 << 20
	w := start(t)
	c := mustDial(t, w.Forward)
	tag := func(i int) string { return fmt.Sprintf("many.%05d", i) }
	body := func(i int) []byte {
		return encode(entry{1_700_000_000, uint32(i), map[string]any{"seq": i}})
	}
	for from := 0; from < n; from += 500 {
		var frames, acks []byte
		for i := from; i < from+500; i++ {
			frames = append(frames, packed(tag(i), body(i), tag(i))...)
			acks = append(acks, ackOf(tag(i))...)
		}
		c.write(t, frames)
		if got, err := c.ackBytes(len(acks)); err != nil || !bytes.Equal(got, acks) {
			t.Fatalf("acks from tag %d on: %d bytes, %v", from, len(got), err)
		}
	}
	if got := w.memory(); got > limit {
		t.Errorf("memory is %d MiB with %d streams, want at most %d", got>>20, n, limit>>20)
	}
	w.kill()
	began := time.Now()
	w.up()
	t.Logf("recovered in %v", time.Since(began))
	for i := 0; i < n; i += 97 {
		if got := w.stream(tag(i)); !bytes.Equal(got, body(i)) {
			t.Errorf("stream %s has %d bytes, want %d", tag(i), len(got), len(body(i)))
		}
	}
	a := w.do("GET", "/metrics", nil)
	_, line, _ := strings.Cut(string(a.Body), "\nweir_streams ")
	line, _, _ = strings.Cut(line, "\n")
	if got, err := strconv.Atoi(line); err != nil || got < n || got > n+own {
		t.Errorf("weir_streams is %q with %d streams and at most %d of weir's own", line, n, own)
	}
}

// TestStuckPeers: senders that stop in the middle of a message, that never
// read their acks, or that trickle, harm no one else.
func TestStuckPeers(t *testing.T) {
	t.Parallel()
	const limit = 300 << 20
	w := start(t)
	bulk := encode(entry{1_700_000_000, 0, map[string]any{"bulk": strings.Repeat("x", 1<<19)}})
	for i := range 40 {
		half := mustDial(t, w.Forward)
		half.write(t, packed("stuck.half", bulk, "chunk")[:len(bulk)/2])
		deaf := mustDial(t, w.Forward)
		go func() { // until the server takes no more
			deaf.SetWriteDeadline(time.Now().Add(3 * time.Second))
			for j := 0; ; j++ {
				if _, err := deaf.Write(packed("stuck.deaf", bulk[:0], strings.Repeat("c", 200)+fmt.Sprint(i, j))); err != nil {
					return
				}
			}
		}()
		if i%4 == 0 {
			c, err := net.Dial("tcp", w.HTTP)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			fmt.Fprintf(c, "PUT /streams/stuck.put HTTP/1.1\r\nHost: weir\r\nContent-Length: 1000000\r\n\r\nabc")
		}
	}
	good := mustDial(t, w.Forward)
	var slowest time.Duration
	for i := range 200 {
		began := time.Now()
		chunk := fmt.Sprintf("good-%d", i)
		good.send(t, packed("stuck.good", encode(entry{1_700_000_000, uint32(i), "x"}), chunk), chunk)
		slowest = max(slowest, time.Since(began))
	}
	if got := w.status("/ready"); got != http.StatusOK {
		t.Errorf("/ready: %d", got)
	}
	got := w.memory()
	if got > limit && os.Getenv("WEIR_RACE") == "" { // the race detector takes several times as much
		t.Errorf("memory is %d MiB, want at most %d", got>>20, limit>>20)
	}
	if slowest > 25*time.Second {
		t.Errorf("the slowest ack of a good sender took %v", slowest)
	}
	if got := w.stream("stuck.half"); len(got) != 0 {
		t.Errorf("%d bytes of messages that are not whole are in a stream", len(got))
	}
	t.Logf("the slowest ack of a good sender took %v, memory is %d MiB", slowest, got>>20)
}
