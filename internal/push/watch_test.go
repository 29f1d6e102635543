package push

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// watcher follows *.log of the world's folder, one stream a path.
func (w *world) watcher(part int64) *Watcher {
	w.t.Helper()
	x, err := NewWatcher(WatchOptions{
		Client: w.client, Patterns: []string{filepath.Join(w.dir, "*.log*")}, Position: filepath.Join(w.dir, "position"),
		Target: func(path string) (string, error) { return w.base + filepath.Base(path), nil },
		Every:  time.Millisecond, Part: part, Linger: time.Millisecond,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { x.closeAll() })
	return x
}

func (w *Watcher) closeAll() {
	for _, f := range w.files {
		f.close()
	}
	clear(w.files)
}

// settle looks until there is nothing more to do.
func settle(t *testing.T, x *Watcher) {
	t.Helper()
	quiet := 0
	for range 1000 {
		more, err := x.Look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if more {
			quiet = 0
		} else if quiet++; quiet > 4 {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("it does not come to rest")
}

func (w *world) add(name, text string) {
	w.t.Helper()
	f, err := os.OpenFile(filepath.Join(w.dir, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) rename(from, to string) {
	w.t.Helper()
	if err := os.Rename(filepath.Join(w.dir, from), filepath.Join(w.dir, to)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) want(name, content string) {
	w.t.Helper()
	if got := string(w.content(name)); got != content {
		w.t.Errorf("%s holds %q, not %q", name, got, content)
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	w := start(t)
	x := w.watcher(10)
	w.add("a.log", "first line\n")
	w.add("b.log", "other\n")
	w.add("c.txt", "not matched\n")
	settle(t, x)
	w.add("a.log", "second line\n")
	settle(t, x)
	w.want("a.log", "first line\nsecond line\n")
	w.want("b.log", "other\n")
	// Cut and written anew, also to more than was there.
	for i, text := range []string{"short\n", "a new and longer beginning than all there was before it\n"} {
		if err := os.WriteFile(filepath.Join(w.dir, "b.log"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		settle(t, x)
		w.want("b.log", []string{"other\nshort\n", "other\nshort\n" + text}[i])
	}
	// Renamed: what the writer still adds comes first, the new file after it,
	// and the old one is not sent again under its new name, though it matches.
	w.add("a.log", "third ")
	w.rename("a.log", "a.log.1")
	w.add("a.log.1", "line\n")
	w.add("a.log", "fourth line\n")
	settle(t, x)
	w.want("a.log", "first line\nsecond line\nthird line\nfourth line\n")
	if _, err := os.Stat(filepath.Join(w.dir, "a.log.1")); err != nil {
		t.Fatal(err)
	}
	if s, err := (stream{w.client, w.base + "a.log.1"}).state(t.Context()); err != nil || s.etag != "" {
		t.Errorf("the renamed file has a stream of its own: %+v %v", s, err)
	}
	// Deleted, and made again.
	if err := os.Remove(filepath.Join(w.dir, "a.log")); err != nil {
		t.Fatal(err)
	}
	settle(t, x)
	w.add("a.log", "fifth line\n")
	settle(t, x)
	w.want("a.log", "first line\nsecond line\nthird line\nfourth line\nfifth line\n")
}

// A restart goes on: with the position file, without it, with rotation and
// truncation while nobody looked.
func TestWatchRestart(t *testing.T) {
	t.Parallel()
	w := start(t)
	x := w.watcher(1 << 20)
	w.add("a.log", "one\n")
	settle(t, x)
	x.closeAll()
	w.add("a.log", "two\n")
	x = w.watcher(1 << 20)
	settle(t, x)
	w.want("a.log", "one\ntwo\n")
	x.closeAll()

	w.add("a.log", "three\n")
	w.rename("a.log", "a.old")
	w.add("a.log", "four\n")
	x = w.watcher(1 << 20)
	settle(t, x)
	w.want("a.log", "one\ntwo\nthree\nfour\n")
	x.closeAll()

	// Renamed while nobody looked, and nothing has the path; then it is there.
	w.add("a.log", "five\n")
	w.rename("a.log", "a.older")
	x = w.watcher(1 << 20)
	settle(t, x)
	w.want("a.log", "one\ntwo\nthree\nfour\nfive\n")
	w.add("a.log", "six\n")
	settle(t, x)
	x.closeAll()
	// Twice renamed before the first was sent: the server was away.
	x = w.watcher(1 << 20)
	w.breaks(1000)
	for i, text := range []string{"seven\n", "eight\n", "nine\n"} {
		w.add("a.log", text)
		if _, err := x.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.rename("a.log", fmt.Sprint("a.away", i))
	}
	x.closeAll()
	w.add("a.log", "ten\n")
	x = w.watcher(1 << 20)
	w.fault.Store(nil)
	settle(t, x)
	w.want("a.log", "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\nten\n")
	x.closeAll()

	if err := os.Remove(filepath.Join(w.dir, "position")); err != nil {
		t.Fatal(err)
	}
	// Without positions the stream is compared: the file is not its beginning,
	// so it is appended.
	x = w.watcher(1 << 20)
	settle(t, x)
	w.want("a.log", "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\nten\nten\n")
	x.closeAll()

	w.add("b.log", "same\n")
	settle(t, w.watcher(1<<20))
	if err := os.Remove(filepath.Join(w.dir, "position")); err != nil {
		t.Fatal(err)
	}
	w.add("b.log", "more\n")
	settle(t, w.watcher(1<<20))
	w.want("b.log", "same\nmore\n")
}

// Patterns that match rotated names, too: each file is sent once, to the stream
// of the path under which it was found first, also when it was made and renamed
// between two looks.
func TestWatchRotatedNamesMatch(t *testing.T) {
	t.Parallel()
	w := start(t)
	rotate := func() {
		for i := 7; i > 0; i-- {
			if from := fmt.Sprint("a.log.", i); exists(w, from) {
				w.rename(from, fmt.Sprint("a.log.", i+1))
			}
		}
		w.rename("a.log", "a.log.1")
	}
	w.add("a.log.1", "from before\n")
	w.add("a.log", "one\n")
	x := w.watcher(1 << 20)
	settle(t, x)
	rotate()
	w.add("a.log", "two\n")
	settle(t, x)
	w.want("a.log", "one\ntwo\n")
	w.want("a.log.1", "from before\n")
	rotate()
	w.add("a.log", "three, seen by no look under this name\n")
	rotate()
	w.add("a.log", "four\n")
	settle(t, x)
	w.want("a.log", "one\ntwo\nfour\n")
	w.want("a.log.1", "from before\nthree, seen by no look under this name\n")
	x.closeAll()
	for _, text := range []string{"five, while nobody looks\n", "six\n"} {
		rotate()
		w.add("a.log", text)
	}
	x = w.watcher(1 << 20)
	settle(t, x)
	w.want("a.log", "one\ntwo\nfour\nsix\n")
	w.want("a.log.1", "from before\nthree, seen by no look under this name\nfive, while nobody looks\n")
	for i := 2; i < 9; i++ {
		if s, err := (stream{w.client, w.base + fmt.Sprint("a.log.", i)}).state(t.Context()); err != nil || s.etag != "" {
			t.Errorf("what was sent already has another stream, a.log.%d: %+v %v", i, s, err)
		}
	}
}

func exists(w *world, name string) bool {
	_, err := os.Stat(filepath.Join(w.dir, name))
	return err == nil
}

// The system gives the number of a deleted file to the next one, under whatever
// name: it is another file, and is sent.
func TestWatchNumberGivenAgain(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.add("a.log", "a file that will be deleted\n")
	x := w.watcher(1 << 20)
	settle(t, x)
	x.closeAll()
	w.add("b.log", "another one, to which its number is given\n")
	id, _ := identify(filepath.Join(w.dir, "b.log"))
	x = w.watcher(1 << 20)
	x.at.Files[0].identity = id
	if err := os.Remove(filepath.Join(w.dir, "a.log")); err != nil {
		t.Fatal(err)
	}
	settle(t, x)
	w.want("b.log", "another one, to which its number is given\n")
}

// A crash at any moment: the position that is found again is any of those that
// were written, or none of the last one; answers get lost. Nothing is lost or
// comes twice.
func TestWatchCrashes(t *testing.T) {
	t.Parallel()
	w := start(t)
	r := rand.New(rand.NewPCG(1, 2))
	var want strings.Builder
	var before []byte // the position file as it was before the last append
	position := filepath.Join(w.dir, "position")
	x := w.watcher(700)
	line := 0
	for round := range 60 {
		for range r.IntN(40) {
			line++
			text := fmt.Sprintf("line %d of a file that grows\n", line)
			w.add("a.log", text)
			want.WriteString(text)
		}
		if round%3 == 0 {
			w.breaks(1 + r.IntN(3))
		}
		before, _ = os.ReadFile(position) // missing at first
		if _, err := x.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
		switch r.IntN(6) {
		case 0: // killed after the answer, before the position was written
			x.closeAll()
			if before != nil {
				if err := os.WriteFile(position, before, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			x = w.watcher(700)
		case 1:
			x.closeAll()
			x = w.watcher(700)
		case 2: // rotated; the next lines go to a new file
			settle(t, x)
			if _, err := os.Stat(filepath.Join(w.dir, "a.log")); err == nil {
				w.rename("a.log", fmt.Sprintf("rotated.%d", round))
			}
		}
	}
	w.fault.Store(nil)
	settle(t, x)
	if got := string(w.content("a.log")); got != want.String() {
		t.Errorf("%d bytes arrived, %d were written; they differ from %d on", len(got), want.Len(), differ(got, want.String()))
	}
}

func differ(a, b string) int {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	return i
}

// The position file is not followed, though it matches.
func TestWatchOwnPosition(t *testing.T) {
	t.Parallel()
	w := start(t)
	x := w.watcher(100)
	x.o.Patterns = []string{filepath.Join(w.dir, "*")}
	w.add("a.log", "a\n")
	settle(t, x)
	if len(x.files) != 1 {
		t.Errorf("%d files are followed", len(x.files))
	}
}

func TestWatchTwoPathsOneStream(t *testing.T) {
	t.Parallel()
	w := start(t)
	x := w.watcher(100)
	x.o.Target = func(string) (string, error) { return w.base + "one", nil }
	w.add("a.log", "a\n")
	w.add("b.log", "b\n")
	settle(t, x)
	if got := string(w.content("one")); got != "a\n" && got != "b\n" {
		t.Errorf("two files in one stream: %q", got)
	}
}

func TestPositions(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "position")
	p, err := loadPositions("testdata/position.json")
	if err != nil || len(p.Files) != 1 || fmt.Sprint(p.Files[0]) != "{/var/log/app.log http://127.0.0.1:8880/streams/logs.app {2049 131} 4096 5feceb66 9000 [{2049 132}]}" || len(p.Old) != 1 {
		t.Fatalf("the file of version 1: %+v, %v", p, err)
	}
	p.name = name
	if err := p.save(); err != nil {
		t.Fatal(err)
	}
	a, _ := os.ReadFile("testdata/position.json")
	b, _ := os.ReadFile(name)
	if string(a) != string(b) {
		t.Errorf("it is written as %s", b)
	}
	for _, bad := range []string{"", "{", `{"format":2}`, `{"files":1}`} {
		if err := os.WriteFile(name, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := loadPositions(name); err == nil || !strings.Contains(err.Error(), "position file") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
