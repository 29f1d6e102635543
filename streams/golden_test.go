package streams

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"weir/internal/vfs"
)

var rewrite = flag.Bool("rewrite", false, "write testdata/v3 anew; only for a format that was never released")

// goldenRecord is the i-th append of the stores in testdata.
func goldenRecord(s *Store, t *testing.T, i int) Record {
	st, err := s.Create([]string{"plain", "näme/with %", "reset"}[i%3], "golden")
	if err != nil {
		t.Fatal(err)
	}
	n := 200
	if i%20 == 7 {
		n = 1500 // beyond LargeBytes
	}
	return Record{Stream: st, Data: identified(uint64(i), n), Key: KeyOf([]byte("golden"), []byte(fmt.Sprint(i))), Reset: i == 44}
}

const goldenRecords = 420

// runOptions make commits write to chunk files, too.
func runOptions(fs vfs.FS) Options {
	o := goldenOptions(fs)
	o.busyBytes, o.runEager, o.runPiece = 150, 200, 4<<10
	return o
}

func goldenOptions(fs vfs.FS) Options {
	return Options{FS: fs, SegmentBytes: 64 << 10, LiveSegments: 1, LargeBytes: 1 << 10, ChunkBytes: 4 << 10, MinFree: 1,
		Now: func() time.Time { return time.Unix(1_800_000_000, 0) }}
}

// goldenBytes is what the streams hold after the first n records.
func goldenBytes(s *Store, t *testing.T, n int) map[string][]byte {
	want := map[string][]byte{}
	for i := range n {
		r := goldenRecord(s, t, i)
		if r.Reset {
			want[r.Stream.name] = nil
		}
		want[r.Stream.name] = append(want[r.Stream.name], r.Data...)
	}
	return want
}

// goldenBegins is where streams of testdata/v2 were trimmed to.
var goldenBegins = map[string]int64{"plain": 9000, "näme/with %": 8480}

func writeGolden(t *testing.T, dir string) {
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for half := range 2 { // two lives: folded bytes, and a live log
		s := mustOpen(t, dir, runOptions(nil))
		for i := half * goldenRecords / 2; i < (half+1)*goldenRecords/2; i++ {
			mustAppend(t, s, goldenRecord(s, t, i))
		}
		if err := waitFolded(s); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestGolden opens folders that earlier versions wrote: all bytes, labels and
// keys are there, and the store goes on, in the present format.
func TestGolden(t *testing.T) {
	t.Parallel()
	if *rewrite {
		writeGolden(t, filepath.Join("testdata", "v3"))
	}
	t.Run("v1", func(t *testing.T) { golden(t, "v1", nil) })
	t.Run("v2", func(t *testing.T) { golden(t, "v2", goldenBegins) })
	t.Run("v3", func(t *testing.T) { golden(t, "v3", nil) }) // with runs
}

func golden(t *testing.T, version string, begins map[string]int64) {
	mem := vfs.NewMem(1 << 40)
	copyFolder(t, mem, filepath.Join("testdata", version), "data")
	if r, err := Check("data", goldenOptions(mem), true); err != nil || r.Condition != Clean || r.Segments == 0 || r.Chunks == 0 {
		t.Fatalf("%+v %v", r, err)
	}
	s := mustOpen(t, "data", goldenOptions(mem))
	defer func() { s.Close() }()
	if r := s.Stats().Recovery; !r.Clean {
		t.Fatalf("%+v", r)
	}
	same := func() {
		t.Helper()
		for name, want := range goldenBytes(s, t, goldenRecords) {
			st, ok := s.Stream(name)
			if begin := begins[name]; !ok || st.Label() != "golden" || st.State().Begin != begin || !bytes.Equal(readAll(t, st), want[begin:]) {
				t.Fatalf("%q differs", name)
			}
		}
	}
	same()
	for i := range goldenRecords {
		if res := mustAppend(t, s, goldenRecord(s, t, i)); !res.Duplicate {
			t.Fatalf("append %d was stored again", i)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, "data", goldenOptions(mem))
	same()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	goesOnWithRuns(t, mem, begins)
}

// goesOnWithRuns appends as much again to a store of a version, so that commits
// write to chunk files behind those of the version, and reads all of it.
func goesOnWithRuns(t *testing.T, mem *vfs.Mem, begins map[string]int64) {
	t.Helper()
	s := mustOpen(t, "data", runOptions(mem))
	inRun := 0
	for i := goldenRecords; i < 2*goldenRecords; i++ {
		r := goldenRecord(s, t, i)
		mustAppend(t, s, r)
		if runOf(s, r.Stream) != nil {
			inRun++
		}
	}
	if inRun < goldenRecords/4 {
		t.Errorf("%d of %d appends went to runs", inRun, goldenRecords)
	}
	if err := waitFolded(s); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := Check("data", goldenOptions(mem), true); err != nil || r.Condition != Clean {
		t.Fatalf("%+v %v", r, err)
	}
	s = mustOpen(t, "data", goldenOptions(mem))
	defer s.Close()
	for name, want := range goldenBytes(s, t, 2*goldenRecords) {
		if st, ok := s.Stream(name); !ok || !bytes.Equal(readAll(t, st), want[begins[name]:]) {
			t.Errorf("%q differs", name)
		}
	}
}

// TestNewerFormat: a folder of a version to come is refused, not guessed at.
func TestNewerFormat(t *testing.T) {
	t.Parallel()
	segment := segHeader{generation: 9}.encode()
	segment[8] = segmentVersion + 1
	putHeaderCRC(segment)
	manifest := (&frame{kind: frameStart}).encode()
	manifest[3]++
	for name, b := range map[string][]byte{"log/00000001.seg": segment, "manifest/00000001.copy": manifest} {
		mem := vfs.NewMem(1 << 40)
		s := mustOpen(t, "data", small(mem))
		mustAppend(t, s, Record{Stream: mustCreate(t, s, "a"), Data: []byte("x")})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		f, err := mem.OpenFile("data/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(b, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := Open("data", small(mem)); !errors.Is(err, errVersion) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Check("data", small(mem), false); !errors.Is(err, errVersion) {
			t.Errorf("check of %s: %v", name, err)
		}
	}
}

func copyFolder(t *testing.T, mem vfs.FS, from, to string) {
	t.Helper()
	if err := mem.MkdirAll(to); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		a, b := filepath.Join(from, e.Name()), to+"/"+e.Name()
		if e.IsDir() {
			copyFolder(t, mem, a, b)
			continue
		}
		data, err := os.ReadFile(a)
		if err != nil {
			t.Fatal(err)
		}
		f, err := mem.Create(b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(data, 0); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
}
