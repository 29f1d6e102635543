package arrays

import (
	"strings"
	"sync/atomic"
	"testing"

	"weir/internal/vfs"
)

// TestOddNames: names that a file system could stumble over make groups like
// all others, are built again, and are found after a restart.
func TestOddNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	names := []string{"zarr.json", "..", "%7Aarr.json", strings.Repeat("x", 1024), strings.Repeat("ö", 512), strings.Repeat("y", 200)}
	var fakes []*fakeStream
	for _, n := range names {
		fakes = append(fakes, &fakeStream{name: n})
	}
	s := open(t, dir, Options{FS: vfs.OS{}})
	for round := range 3 {
		for _, f := range fakes {
			f.reset([]byte("1\n2\n"))
			advance(t, s, f, numbersSpec)
			if got := values(t, s, f.name, "value"); got != "[1 2]" {
				t.Errorf("round %d: %.20q has %s", round, f.name, got)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir, Options{FS: vfs.OS{}})
		if got := s.Names("", "", 100); len(got) != len(names) {
			t.Errorf("round %d: %d names, want %d", round, len(got), len(names))
		}
		if b, err := s.readFile(dir + "/zarr.json"); err != nil || string(b) != rootJSON {
			t.Errorf("round %d: the root is %q, %v", round, b, err)
		}
	}
}

// TestOpenOnFullDisk: what is there can be read when nothing can be written.
func TestOpenOnFullDisk(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem(1 << 40)
	var full atomic.Bool
	disk := vfs.Full(mem, &full)
	s := open(t, "d", Options{FS: disk})
	f := &fakeStream{name: "n", data: []byte("1\n")}
	advance(t, s, f, numbersSpec)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	full.Store(true)
	s = open(t, "d", Options{FS: disk})
	if got := values(t, s, "n", "value"); got != "[1]" {
		t.Errorf("values %s", got)
	}
	full.Store(false)
}
