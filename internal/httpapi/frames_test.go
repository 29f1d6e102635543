package httpapi

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/klauspost/compress/zstd"
)

// framed compresses as one frame.
func framed(t *testing.T, b []byte, o ...zstd.EOption) []byte {
	t.Helper()
	var out bytes.Buffer
	z, err := zstd.NewWriter(&out, append(o, zstd.WithEncoderConcurrency(1))...)
	if err != nil {
		t.Fatal(err)
	}
	for len(b) > 0 { // so that the size is not known at the beginning
		n := min(len(b), 100_000)
		z.Write(b[:n])
		z.Flush()
		b = b[n:]
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestFramesWindows follows frames of all kinds, however their bytes come, and
// leaves what is none alone.
func TestFramesWindows(t *testing.T) {
	t.Parallel()
	text := bytes.Repeat([]byte("some text, "), 50_000)
	skipped := append(binary.LittleEndian.AppendUint32([]byte{0x53, 0x2a, 0x4d, 0x18}, 300), make([]byte, 300)...)
	repeated := []byte("\x28\xb5\x2f\xfd\x00\x6a" + "\x42\x1f\x00x" + "\x43\x1f\x00x") // 10 MiB for two blocks of one letter
	dictionary := []byte("\x28\xb5\x2f\xfd\xa3\x01\x02\x03\x04\x00\x00\x20\x00" + "\x01\x00\x00")
	src := slices.Concat(
		framed(t, text, zstd.WithWindowSize(1<<20)), skipped, framed(t, text, zstd.WithWindowSize(4<<20), zstd.WithEncoderCRC(false)),
		zstded(text[:100]), repeated, zstded(text[:2000]), dictionary, framed(t, noise(300_000), zstd.WithWindowSize(64<<10)), zstded(nil))
	// A size in two bytes counts from 256, which no window that matters needs.
	want := []int64{1 << 20, 4 << 20, 1 << 10, 10 << 20, 2000 - 256, 2 << 20, 64 << 10, 0}
	for name, r := range map[string]io.Reader{"at once": bytes.NewReader(src), "byte by byte": iotest.OneByteReader(bytes.NewReader(src))} {
		var got []int64
		f := newFrames(r, func(n int64) error { got = append(got, n); return nil })
		if through, err := io.ReadAll(f); err != nil || !bytes.Equal(through, src) {
			t.Errorf("%s: %d of %d bytes, %v", name, len(through), len(src), err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: windows %v, not %v", name, got, want)
		}
	}
	f := newFrames(bytes.NewReader([]byte("this is no frame")), func(int64) error { t.Error("a window"); return nil })
	if got, err := io.ReadAll(f); err != nil || string(got) != "this is no frame" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestWindowsAreCounted sends a few bytes each that make decoders want large
// windows: there is room for two, and for others once these are done.
func TestWindowsAreCounted(t *testing.T) {
	t.Parallel()
	w := start(t, func(o *Options) { o.BodyMemory, o.BodyWait = 4<<20, 50*time.Millisecond })
	head := func(encoding string) string {
		return "POST /portal_ingestion_policies/raw/ingest?reference=raw.windows HTTP/1.1\r\nHost: x\r\nContent-Encoding: " + encoding + "\r\nTransfer-Encoding: chunked\r\n\r\n"
	}
	piece := func(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }
	const frame = "\x28\xb5\x2f\xfd\x00\x68"
	var conns []*wire
	for i := range 2 {
		c := w.dial()
		// A small frame first, so that the window is one of a second.
		c.say(head("zstd") + piece(string(zstded([]byte("a")))) + piece(frame+"\x0a\x00\x00x"))
		waitFor(t, func() bool {
			return w.s.decoders.memory.used() == int64(i+1)*(zstdMemory+maxWindow-smallWindow)
		})
		conns = append(conns, c)
	}
	refused := w.dial()
	refused.say(head("zstd") + piece(frame+"\x0b\x00\x00x") + "0\r\n\r\n")
	refused.hear("POST").want(t, 503, "too many compressed bodies")
	w.ingest("raw", "raw.gzip", gzipped([]byte("z")), "Content-Encoding", "gzip").want(t, 204, "")
	for _, c := range conns {
		c.say(piece("\x0b\x00\x00x") + "0\r\n\r\n")
		c.hear("POST").want(t, 204, "")
	}
	w.ingest("raw", "raw.after", []byte(frame+"\x0b\x00\x00x"), "Content-Encoding", "zstd").want(t, 204, "")
	for _, odd := range []string{"no frame", frame + "\x07", frame[:5] + "\xff"} {
		w.ingest("raw", "raw.odd", []byte(odd), "Content-Encoding", "zstd").want(t, 400, "zstd")
		w.ingest("raw", "raw.odd", []byte(odd), "Content-Encoding", "gzip").want(t, 400, "gzip")
	}
	waitFor(t, func() bool { return w.s.decoders.memory.used() == 0 })
	if got, want := w.content("raw.windows"), "axxaxx"; got != want {
		t.Errorf("the stream is %q, not %q", got, want)
	}
}

// TestReusedBuffersAreCounted reads a small body into what a large one left:
// that is counted, and done without where memory is short.
func TestReusedBuffersAreCounted(t *testing.T) {
	t.Parallel()
	const memory = 4 << 20
	w := start(t, func(o *Options) { o.BodyMemory = memory })
	for _, known := range []int64{-1, 5} {
		for _, taken := range []int64{0, memory/2 - keepBuffer/2} {
			if err := w.s.budget.take(t.Context(), taken, time.Second); err != nil {
				t.Fatal(err)
			}
			r := &request{s: w.s, buf: make([]byte, keepBuffer)}
			got, more, err := r.fill(strings.NewReader("small"), known, 100, false)
			if string(got) != "small" || more || err != nil {
				t.Errorf("%q, %v, %v", got, more, err)
			}
			if used := w.s.budget.used() - taken; used != r.held || int64(cap(r.buf)) > r.held+minBuffer {
				t.Errorf("known %d, %d taken: a buffer of %d bytes, %d counted, %d held", known, taken, cap(r.buf), used, r.held)
			}
			if kept := cap(r.buf) == keepBuffer; kept != (taken == 0) {
				t.Errorf("known %d, %d taken: the buffer was kept: %v", known, taken, kept)
			}
			w.s.budget.give(taken + r.held)
		}
	}
}
