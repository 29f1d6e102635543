package streams

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"weir/internal/vfs"
)

// A full disk takes a fold's change of the manifest in one copy and not in the
// other. The fold is done again, and the process is killed meanwhile: what the
// first copy says is then true, so the second try must not have destroyed the
// chunk files of the first.
func TestFoldAgainThenKill(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem(64 << 20)
	var full, killed atomic.Bool
	disk := &vfs.Faulty{FS: mem, Rule: func(op vfs.Op) *vfs.Fault {
		switch {
		case killed.Load():
		case op.Kind == "WriteAt" && strings.HasSuffix(op.Name, ".copy"):
			full.Store(true)
			return &vfs.Fault{Err: syscall.ENOSPC}
		case full.Load() && strings.Contains(op.Name, "/chunks/") && op.Kind == "WriteAt":
			killed.Store(true)
			return &vfs.Fault{Err: syscall.ENOSPC}
		}
		if killed.Load() && op.Kind != "ReadAt" {
			return &vfs.Fault{Err: syscall.EIO}
		}
		return nil
	}}
	s, err := Open("data", small(disk))
	if err != nil {
		t.Fatal(err)
	}
	st := mustCreate(t, s, "s")
	want := map[string][]byte{}
	var unknown []byte // the last append, whose answer says that it may be there
	for i := 0; !killed.Load(); i++ {
		b := fmt.Appendf(nil, "%04000d", i)
		res := make([]Result, 1)
		switch err := s.Append(t.Context(), []Record{{Stream: st, Data: b}}, res); {
		case err == nil:
			want["s"] = append(want["s"], b...)
		case errors.Is(err, ErrUnknown): // killed between its write and its sync
			unknown = b
		}
	}
	s.Close()
	err = checkWant(mem, want)
	if err != nil && unknown != nil {
		want["s"] = append(want["s"], unknown...)
		err = checkWant(mem, want)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// However often the first manifest cannot be written, the log has all.
func TestNoFirstManifest(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem(64 << 20)
	var full atomic.Bool
	full.Store(true)
	disk := &vfs.Faulty{FS: mem, Rule: func(op vfs.Op) *vfs.Fault {
		if full.Load() && strings.Contains(op.Name, "/manifest/") && (op.Kind == "WriteAt" || op.Kind == "Remove") {
			return &vfs.Fault{Err: syscall.ENOSPC, Partly: 7} // and killed before it is removed
		}
		return nil
	}}
	var want []byte
	for i := range 3 {
		s := mustOpen(t, "data", small(disk))
		b := fmt.Appendf(nil, "%04000d", i)
		mustAppend(t, s, Record{Stream: mustCreate(t, s, "s"), Data: b})
		want = append(want, b...)
		if s.Close() == nil {
			t.Fatal("the manifest was written")
		}
	}
	full.Store(false)
	if err := checkWant(mem, map[string][]byte{"s": want}); err != nil {
		t.Fatal(err)
	}
	if names, _ := mem.List("data/manifest"); len(names) != 2 {
		t.Errorf("there are %q", names)
	}
}

// TestFoldFailureIsSeen: while no fold succeeds, appends are taken and Stats
// say why the log grows; once folds succeed again, it is not said any more.
func TestFoldFailureIsSeen(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	s := mustOpen(t, "data", small(&vfs.Faulty{FS: vfs.NewMem(1 << 40), Rule: func(op vfs.Op) *vfs.Fault {
		if broken.Load() && strings.Contains(op.Name, "/chunks/") {
			return &vfs.Fault{Err: syscall.EIO}
		}
		return nil
	}}))
	defer s.Close()
	st := mustCreate(t, s, "a")
	broken.Store(true)
	for range 80 {
		mustAppend(t, s, Record{Stream: st, Data: make([]byte, 3000)})
	}
	for ch := s.folded.wait(); s.Stats().FoldFailed == ""; ch = s.folded.wait() {
		<-ch
	}
	if got := s.Stats(); got.Failed != "" || !strings.Contains(got.FoldFailed, "input/output error") {
		t.Fatalf("%+v", got)
	}
	broken.Store(false)
	for ch := s.folded.wait(); s.Stats().FoldFailed != ""; ch = s.folded.wait() {
		<-ch
	}
	if err := waitFolded(s); err != nil {
		t.Fatal(err)
	}
}
