package vfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func eachFS(t *testing.T, f func(t *testing.T, fs FS, dir string)) {
	t.Run("os", func(t *testing.T) { t.Parallel(); f(t, OS{}, t.TempDir()) })
	t.Run("mem", func(t *testing.T) {
		t.Parallel()
		m := NewMem(1 << 30)
		m.MkdirAll("tmp/x")
		f(t, m, "tmp/x")
	})
	t.Run("faulty", func(t *testing.T) {
		t.Parallel()
		f(t, &Faulty{FS: OS{}, Rule: func(Op) *Fault { return nil }}, t.TempDir())
	})
}

func write(t *testing.T, fs FS, name, text string) {
	t.Helper()
	f, err := fs.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte(text), 0); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, fs FS, name string) string {
	t.Helper()
	b, err := ReadFile(fs, name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestConformance holds every implementation to the contract of FS.
func TestConformance(t *testing.T) {
	t.Parallel()
	eachFS(t, func(t *testing.T, fsys FS, dir string) {
		a, b := path.Join(dir, "a"), path.Join(dir, "sub", "b")
		if _, err := fsys.Open(a); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("open of nothing: %v", err)
		}
		if _, err := fsys.Create(b); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("create without folder: %v", err)
		}
		if err := fsys.MkdirAll(path.Dir(b)); err != nil {
			t.Fatal(err)
		}
		if err := fsys.MkdirAll(path.Dir(b)); err != nil {
			t.Fatalf("again: %v", err)
		}
		write(t, fsys, a, "hello")
		write(t, fsys, b, "old")
		names, err := fsys.List(dir)
		if err != nil || !slices.Equal(names, []string{"a", "sub/"}) {
			t.Fatalf("list: %q %v", names, err)
		}
		if err := fsys.Remove(path.Dir(b)); err == nil {
			t.Fatal("a folder that is not empty was removed")
		}
		if err := fsys.Rename(a, b); err != nil {
			t.Fatal(err)
		}
		if got := read(t, fsys, b); got != "hello" {
			t.Fatalf("%q", got)
		}
		if err := fsys.Rename(a, b); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("rename of nothing: %v", err)
		}
		if n, err := fsys.Size(b); n != 5 || err != nil {
			t.Fatalf("size %d %v", n, err)
		}
		testFile(t, fsys, b)
		for _, err := range []error{fsys.SyncDir(dir), fsys.SyncAll(dir), fsys.RemoveAll(path.Dir(b)), fsys.RemoveAll(path.Dir(b))} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if _, err := fsys.Size(b); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("after RemoveAll: %v", err)
		}
		u, err := fsys.Usage(dir)
		if err != nil || u.Free <= 0 || u.Free > u.Total {
			t.Fatalf("%+v %v", u, err)
		}
		testLock(t, fsys, path.Join(dir, "lock"))
	})
}

func testFile(t *testing.T, fsys FS, name string) {
	f, err := fsys.OpenFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("J"), 0); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(2), f.Truncate(4), f.Datasync()); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 9)
	if n, err := f.ReadAt(p, 1); n != 3 || err != io.EOF || !bytes.Equal(p[:3], []byte{'e', 0, 0}) {
		t.Fatalf("%d %v %q", n, err, p)
	}
	if n, err := f.Size(); n != 4 || err != nil {
		t.Fatalf("size %d %v", n, err)
	}
	r, err := fsys.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.WriteAt(p, 0); err == nil {
		t.Fatal("wrote to a file that is open for reading")
	}
	if err := errors.Join(r.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	if f.Close() == nil {
		t.Fatal("closed twice")
	}
}

func testLock(t *testing.T, fsys FS, name string) {
	l, err := fsys.Lock(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fsys.Lock(name); err == nil {
		t.Fatal("locked twice")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = fsys.Lock(name); err != nil {
		t.Fatal(err)
	}
	l.Close()
}

// TestCrashClone: what was synced is always there, what was not is there in
// some clones and missing in others, and sectors are whole.
func TestCrashClone(t *testing.T) {
	t.Parallel()
	m := NewMem(1 << 30)
	m.MkdirAll("d")
	m.SyncDir(".")
	f, _ := m.Create("d/f")
	f.WriteAt(bytes.Repeat([]byte("s"), 2048), 0)
	f.Datasync()
	m.SyncDir("d")
	f.WriteAt(bytes.Repeat([]byte("u"), 3000), 1024)
	write(t, m, "d/new", "x")
	m.Rename("d/new", "d/renamed")
	seen := map[string]int{}
	for seed := range uint64(200) {
		c := m.CrashClone(rand.New(rand.NewPCG(seed, 0)))
		b, err := ReadFile(c, "d/f")
		if err != nil || !strings.HasPrefix(string(b), strings.Repeat("s", 1024)) || len(b) < 2048 {
			t.Fatalf("seed %d: %v, %d bytes", seed, err, len(b))
		}
		for at := 1024; at < len(b); at += sector {
			s := b[at:min(at+sector, len(b))]
			if n := bytes.Count(s, s[:1]); n != len(s) {
				t.Fatalf("seed %d: sector at %d is torn", seed, at)
			}
			seen["sector "+string(rune(s[0]))]++
		}
		names, _ := c.List("d")
		seen[strings.Join(names, " ")]++
	}
	for _, want := range []string{"sector s", "sector u", "sector \x00", "f", "f new", "f renamed"} {
		if seen[want] == 0 {
			t.Errorf("never seen: %q in %v", want, seen)
		}
	}
}

func TestFaulty(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	var next *Fault
	f := &Faulty{FS: NewMem(1 << 20), Rule: func(Op) *Fault { return next }}
	file, err := f.Create("f")
	if err != nil {
		t.Fatal(err)
	}
	next = &Fault{Err: boom, Partly: 2}
	if n, err := file.WriteAt([]byte("abcd"), 0); n != 2 || err != boom {
		t.Fatalf("%d %v", n, err)
	}
	next = &Fault{Err: boom, After: true}
	if err := f.Rename("f", "g"); err != boom {
		t.Fatal(err)
	}
	next = nil
	if got := read(t, f, "g"); got != "ab" {
		t.Fatalf("%q", got)
	}
	next = &Fault{Err: boom}
	if err := f.Remove("g"); err != boom {
		t.Fatal(err)
	}
	next = nil
	if _, err := f.Size("g"); err != nil {
		t.Fatalf("removed although it failed: %v", err)
	}
}

func TestFull(t *testing.T) {
	t.Parallel()
	var full atomic.Bool
	f := Full(NewMem(1<<20), &full)
	file, err := f.Create("f")
	if err != nil {
		t.Fatal(err)
	}
	file.WriteAt([]byte("abcd"), 0)
	full.Store(true)
	if _, err := file.WriteAt([]byte("x"), 4); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("grew: %v", err)
	}
	if _, err := file.WriteAt([]byte("x"), 3); err != nil {
		t.Fatalf("overwrite: %v", err)
	}
	if _, err := f.Create("g"); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("create: %v", err)
	}
	if u, _ := f.Usage("."); u.Free != 0 {
		t.Fatalf("%+v", u)
	}
}

func TestSlow(t *testing.T) {
	t.Parallel()
	f := Slow(NewMem(1<<20), 3*time.Millisecond)
	start := time.Now()
	if err := f.SyncDir("."); err != nil || time.Since(start) < 3*time.Millisecond {
		t.Fatalf("%v after %v", err, time.Since(start))
	}
}

func TestEscape(t *testing.T) {
	t.Parallel()
	for ref, want := range map[string]string{
		"a.b-c_D9": "a.b-c_D9", ".": "%2E", "..": "%2E.", "a/b": "a%2Fb", "é": "%C3%A9", "%": "%25", "": "",
	} {
		if got := Escape(ref); got != want {
			t.Errorf("Escape(%q) = %q, want %q", ref, got, want)
		}
	}
	a, b := Escape(strings.Repeat("x", 300)), Escape(strings.Repeat("x", 301))
	if a == b || len(a) != 200+2+32 || !strings.HasPrefix(a, strings.Repeat("x", 200)+"%~") {
		t.Errorf("long names: %q %q", a, b)
	}
}
