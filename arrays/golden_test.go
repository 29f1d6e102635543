package arrays

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// goldenDir has groups as they are written now. Those in olderGolden have no
// mark.
const (
	goldenDir   = "testdata/golden/1-mark"
	olderGolden = "testdata/golden/1"
)

// goldenStreams are the streams of the golden groups.
func goldenStreams() map[string][]byte {
	var text strings.Builder
	var entries []byte
	for i := range 300 {
		fmt.Fprintf(&text, "%d,%g\n", i, float64(i)/3)
		m := map[string]any{"temperature": float64(i) / 10, "state": []string{"on", "off"}[i/7%2]}
		if i > 150 {
			m["late/field"] = fmt.Sprint(i)
		}
		entries = append(entries, entry(1700000000+i, m)...)
	}
	samples := make([]byte, 0, 4000)
	for i := range 1000 {
		samples = append(samples, byte(i), byte(i>>8), byte(-i), byte(-i>>8))
	}
	return map[string][]byte{
		kindNumbers: []byte(text.String()),
		kindWAV:     testWAV{channels: 2, bits: 16, rate: 8000, ext: 40, mask: 3, data: samples}.bytes(),
		kindMetrics: entries,
	}
}

// writeGolden builds the golden groups in a folder.
func writeGolden(t *testing.T, dir string) {
	t.Helper()
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	s := open(t, dir, Options{ChunkBytes: 2048, BootID: "golden", SyncEvery: time.Hour, Now: func() time.Time { return at }})
	for _, kind := range Kinds() {
		advance(t, s, &fakeStream{name: "golden." + kind, data: goldenStreams()[kind]}, Spec{Kind: kind})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// files reads all files of a folder whose names do not begin with a dot.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(d.Name(), ".") && d.IsDir() && path != dir:
			return filepath.SkipDir
		case d.IsDir() || strings.HasPrefix(d.Name(), "."):
			return nil
		}
		b, err := os.ReadFile(path)
		out[strings.TrimPrefix(path, dir+"/")] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestGoldenWritten writes the groups that the golden files hold.
func TestGoldenWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeGolden(t, dir)
	got := files(t, dir)
	if *update {
		for name, text := range got {
			path := filepath.Join(goldenDir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := files(t, goldenDir)
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s is not as it was; if that is meant, and old groups are still read, run the test with -update", name)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d files, want %d", len(got), len(want))
	}
}

// TestGoldenRead goes on with groups that were written before.
func TestGoldenRead(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{goldenDir, olderGolden} {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			t.Parallel()
			goOn(t, dir)
		})
	}
}

func goOn(t *testing.T, golden string) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(golden)); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, Options{ChunkBytes: 1 << 20, BootID: "another"})
	for kind, data := range goldenStreams() {
		name, spec := "golden."+kind, Spec{Kind: kind}
		rows := checkPrefix(t, s, name, expected(t, spec, data))
		more := data
		if kind == kindWAV {
			more = testWAV{channels: 2, bits: 16, rate: 8000, ext: 40, mask: 3, data: noise(4000)}.bytes()
		}
		all := append(append([]byte(nil), data...), more...)
		advance(t, s, &fakeStream{name: name, data: all}, spec)
		if now := checkPrefix(t, s, name, expected(t, spec, all)); now != 2*rows || rows == 0 {
			t.Errorf("%s had %d rows, has %d", name, rows, now)
		}
	}
}
