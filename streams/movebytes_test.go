package streams

import (
	"bytes"
	"fmt"
	"testing"

	"weir/internal/vfs"
)

// TestFoldTogetherOrApart folds the same appends with few and with many
// streams side by side: the files are the same.
func TestFoldTogetherOrApart(t *testing.T) {
	t.Parallel()
	const streams = 9
	var files [2]map[string]string
	for i, together := range []int{streams, streams - 1} {
		mem := vfs.NewMem(1 << 40)
		o := logged(mem)
		o.SegmentBytes, o.LargeBytes, o.together = 1<<20, 64<<10, together
		s := mustOpen(t, "data", o)
		for n := range 400 {
			st := mustCreate(t, s, fmt.Sprint("s", n%streams))
			data := bytes.Repeat([]byte{byte(n)}, []int{100, 3000, 20_000, 70_000}[n%4])
			mustAppend(t, s, Record{Stream: st, Data: data, Reset: n == 100})
		}
		if err := waitFolded(s); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s.crowded != (together < streams) {
			t.Errorf("together %d: crowded %v", together, s.crowded)
		}
		r, err := Check("data", o, true)
		if err != nil || r.Condition != Clean {
			t.Fatalf("together %d: %+v %v", together, r, err)
		}
		files[i] = map[string]string{}
		for n := range streams {
			dir := fmt.Sprintf("data/chunks/s%d", n)
			names, err := mem.List(dir)
			if err != nil || len(names) == 0 {
				t.Fatalf("%v %v", names, err)
			}
			for _, name := range names {
				b, err := vfs.ReadFile(mem, dir+"/"+name)
				if err != nil {
					t.Fatal(err)
				}
				files[i][dir+"/"+name] = string(b)
			}
		}
	}
	if len(files[0]) != len(files[1]) {
		t.Fatalf("%d files and %d files", len(files[0]), len(files[1]))
	}
	for name, b := range files[0] {
		if files[1][name] != b {
			t.Errorf("%s differs", name)
		}
	}
}
