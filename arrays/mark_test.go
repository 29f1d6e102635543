package arrays

import (
	"bytes"
	"fmt"
	"testing"

	"weir/internal/vfs"
)

// counted are numbers from one on, a line each.
func counted(from, n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintln(&b, from+i)
	}
	return b.Bytes()
}

// TestStreamLostItsEnd: damage took the end of a stream, and it grew beyond what
// the group had read before the group looks again. The rows are those of the
// bytes that are there; a group that was read from the same bytes stays.
func TestStreamLostItsEnd(t *testing.T) {
	t.Parallel()
	trimmed := func(f *fakeStream) { f.append(counted(500, 20)); f.cut = 18 }
	hole := func(f *fakeStream) { f.append(counted(500, 20)); f.hole = [2]int64{4, 20} }
	for name, c := range map[string]struct {
		read, left int // lines
		after      func(f *fakeStream)
		again      bool // the group is built again
	}{
		"a little":               {10, 7, func(f *fakeStream) { f.append(counted(500, 20)) }, true},
		"much":                   {9000, 4000, func(f *fakeStream) { f.append(counted(20000, 9000)) }, true},
		"to the same length":     {10, 7, func(f *fakeStream) { f.append([]byte("5\n4\n3\n")) }, true},
		"nothing":                {10, 10, func(f *fakeStream) { f.append(counted(500, 20)) }, false},
		"nothing of much":        {9000, 9000, func(f *fakeStream) { f.append(counted(500, 20)) }, false},
		"nothing, and trimmed":   {10, 10, trimmed, false},
		"what was read, by hole": {10, 10, hole, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mem := vfs.NewMem(1 << 40)
			f := &fakeStream{name: "n", data: counted(0, c.read)}
			s := open(t, "d", Options{FS: mem})
			advance(t, s, f, numbersSpec)
			was, err := s.look("n")
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			f.data = counted(0, c.left)
			c.after(f)
			s = open(t, "d", Options{FS: mem})
			advance(t, s, f, numbersSpec)
			now, err := s.look("n")
			if err != nil || (now.Build != was.Build) != c.again {
				t.Errorf("built at %d and then at %d, %v", was.Build, now.Build, err)
			}
			want := fmt.Sprintf("[%s]", bytes.ReplaceAll(bytes.TrimSpace(f.data), []byte("\n"), []byte(" ")))
			if got := values(t, s, "n", "value"); got != want {
				t.Errorf("%d bytes of values %.300s, want %d: %.300s", len(got), got, len(want), want)
			}
		})
	}
}

// TestGroupWithoutMark: a group from before there were marks goes on.
func TestGroupWithoutMark(t *testing.T) {
	t.Parallel()
	g := &group{commit: commit{position: position{Offset: 4}}}
	f := &fakeStream{name: "n", data: []byte("1\n2\n3\n")}
	if !g.follows(f, f.State()) {
		t.Error("it is built again")
	}
}
