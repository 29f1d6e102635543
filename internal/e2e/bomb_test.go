package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/tinylib/msgp/msgp"
)

// bomb is a CompressedPackedForward message of records of zeros that is size
// bytes large once inflated, about.
func bomb(t *testing.T, size int, chunk string) []byte {
	t.Helper()
	records := bytes.Repeat(msgp.AppendBytes([]byte("\x92\x01\x81\xa1a"), make([]byte, 65_500)), 16)
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	for n := 0; n+len(records) <= size; n += len(records) {
		if _, err := w.Write(records); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	b := msgp.AppendString([]byte{0x93}, "bomb")
	b = msgp.AppendBytes(b, z.Bytes())
	return appendOption(b, "chunk", chunk, "compressed", "gzip")
}

// TestBombs sends sixteen gzip bombs at once: some as large as may be, some
// larger, some whose checksum is wrong. The whole process stays within the sum
// that the configuration names, and serves others.
func TestBombs(t *testing.T) {
	t.Parallel()
	const budget, message, inflated = 32, 8, 64 // MiB
	file := filepath.Join(t.TempDir(), "weir.yaml")
	config := fmt.Sprintf("forward: {max_bytes: %dMiB, chunk_size_limit: %dMiB, decompression_size_limit: %dMiB}\n", budget, message, inflated)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	w := start(t, "--config", file)
	over := bomb(t, 8*inflated<<20, "over")
	fits := bomb(t, (inflated-1)<<20, "fits")
	wrong := bomb(t, (inflated-1)<<20, "wrong")
	at := bytes.LastIndex(wrong, []byte("\x82\xa5chunk")) // the option, and the trailer before it
	wrong[at-8] ^= 1
	var wait sync.WaitGroup
	for i := range 16 {
		c := mustDial(t, w.Forward)
		b, good := over, i%4 == 0
		switch {
		case good:
			b = fits
		case i%4 == 1:
			b = wrong
		}
		wait.Go(func() {
			if _, err := c.Write(b); err != nil {
				t.Error(err)
				return
			}
			id, err := c.ack(4 * patience)
			if good && (id != "fits" || err != nil) || !good && !errors.Is(err, io.EOF) {
				t.Errorf("bomb %d: ack %q, %v", i, id, err)
			}
		})
	}
	wait.Wait()
	c := mustDial(t, w.Forward)
	c.send(t, packed("after", encode(entry{1, 0, map[string]any{"a": 1}}), "after"), "after")

	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.cmd.Process.Pid))
	if err != nil {
		t.Skip(err)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if m == nil {
		t.Fatalf("no VmHWM in %s", status)
	}
	most, err := strconv.Atoi(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	const idle = 64 // what weir takes without a load, generously
	if limit := budget + message + inflated + idle; most>>10 > limit {
		t.Errorf("%d MiB at most, the configuration allows %d", most>>10, limit)
	} else {
		t.Logf("%d MiB at most of %d", most>>10, limit)
	}
}
