package lake

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"weir/internal/vfs"
	"weir/streams"
)

// A world is a lake on a file system in memory, with a clock of its own.
type world struct {
	t     *testing.T
	fs    vfs.FS
	now   atomic.Int64 // Unix ms
	store *streams.Store
	lake  *Lake
}

func start(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, fs: vfs.NewMem(1 << 30)}
	w.now.Store(1_800_000_000_000)
	w.open()
	t.Cleanup(w.close)
	return w
}

func (w *world) open() {
	w.t.Helper()
	var err error
	if w.store, err = streams.Open("data", streams.Options{FS: w.fs, SegmentBytes: 1 << 20, MinFree: 1}); err != nil {
		w.t.Fatal(err)
	}
	w.lake, err = Open(Options{Streams: w.store, Now: func() time.Time { return time.UnixMilli(w.now.Add(1)) }})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) close() {
	w.lake.Close()
	w.store.Close()
}

func (w *world) again() {
	w.t.Helper()
	w.close()
	w.open()
}

func (w *world) push(reference, data string) (Pushed, error) {
	w.t.Helper()
	ref, err := ParseReference(reference)
	if err != nil {
		return Pushed{}, err
	}
	return w.lake.Push(context.Background(), ref, strings.NewReader(data))
}

func (w *world) must(reference, data string) Pushed {
	w.t.Helper()
	p, err := w.push(reference, data)
	if err != nil {
		w.t.Fatalf("push %s: %v", reference, err)
	}
	return p
}

// content reads a file part by part, as ebulk pulls it.
func (w *world) content(set, ref string) string {
	w.t.Helper()
	for _, f := range w.lake.List(set, 0, 0) {
		if f.Reference != ref {
			continue
		}
		var b strings.Builder
		for _, p := range f.Parts {
			r, err := w.lake.Chunk(p.ID, 0, 1<<40)
			if err != nil {
				w.t.Fatal(err)
			}
			part := w.read(r)
			if sum := md5.Sum([]byte(part)); hex.EncodeToString(sum[:]) != p.Hash || int64(len(part)) != p.Size {
				w.t.Errorf("part %s has %d bytes, listed with %d and hash %s", p.ID, len(part), p.Size, p.Hash)
			}
			b.WriteString(part)
		}
		return b.String()
	}
	return "(absent)"
}

func (w *world) read(r Range) string {
	w.t.Helper()
	in, err := r.Stream.Reader(r.Stream.State().Generation, r.From, r.To)
	if err != nil {
		w.t.Fatal(err)
	}
	defer in.Close()
	b, err := io.ReadAll(in)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b)
}

func (w *world) exists(reference string) bool {
	w.t.Helper()
	ref, err := ParseReference(reference)
	if err != nil {
		w.t.Fatal(err)
	}
	yes, err := w.lake.Exists(ref)
	if err != nil {
		w.t.Fatal(err)
	}
	return yes
}

func md5Of(s string) string { b := md5.Sum([]byte(s)); return hex.EncodeToString(b[:]) }

func sha256Of(s string) string { b := sha256.Sum256([]byte(s)); return hex.EncodeToString(b[:]) }

func TestReferences(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]Reference{
		"sup/set/file/csv//10/h":     {"sup", "set", "file", "csv", "", "10", "h"},
		"sup/set/a/b/c/nii/END//":    {"sup", "set", "a/b/c", "nii", "END", "", ""},
		"/set/file name/none/001//":  {"", "set", "file name", "none", "001", "", ""},
		"sup/set/file/fif/EOF/12/ab": {"sup", "set", "file", "fif", "EOF", "12", "ab"},
	} {
		if got, err := ParseReference(s); err != nil || got != want {
			t.Errorf("%s: %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{
		"", "a/b/c", "s/set/file/csv/END/1", "s//file/csv/END//", "s/set//csv/END//", "s/set/file//END//",
		"s/set/f&g/csv/END//", "s/set/f;g/csv/END//", "s/set/f#g/csv/END//", "s/set/f%/csv/END//", "s/set/f\"/csv/END//", "s/set/f+g/csv/END//",
		"s/set/file/csv/000//", "s/set/file/csv/-1//", "s/set/file/csv/1a//", "s/set/file/csv/eof//", "s/set/file/csv/99999999999//",
		"s/set_invalid/file/csv/END//", "s/set/file/csv_invalid/END//", "s/set/f\x00/csv/END//", "s/set/f\xff/csv/END//", "s/set/f\n/csv/END//",
		"s/set/" + strings.Repeat("x", 3000) + "/csv/END//",
		// What a client pulls these to is not in its folder.
		"s/set/../file/csv/END//", "s/set/a/../../file/csv/END//", "s/../file/csv/END//", "s/./file/csv/END//", "s/set/./none/END//", "s/set//etc/file/csv/END//",
	} {
		if got, err := ParseReference(s); !errors.Is(err, ErrReference) {
			t.Errorf("%q: %+v, %v", s, got, err)
		}
	}
	for ref, title := range map[string]string{"set/a/csv": "a.csv", "set/a/b/none": "a/b", "set/a/b/fif": "a/b.fif", "set/none": "none"} {
		if got := Title(ref); got != title {
			t.Errorf("title of %s: %q, want %q", ref, got, title)
		}
	}
}

// A19: a file in one part.
func TestSingle(t *testing.T) {
	t.Parallel()
	w := start(t)
	const ref = "sup/set/raw/day1/csv"
	if w.exists(ref + "/END//") {
		t.Error("it exists before it came")
	}
	p := w.must(ref+"//fake-size/fake-hash", "1,2,3\n")
	if !p.Whole || p.Duplicate || p.Size != 6 || p.MD5 != md5Of("1,2,3\n") || !strings.HasPrefix(p.ID, "sup_set_2027") || !strings.HasSuffix(p.ID, "_END") {
		t.Errorf("pushed: %+v", p)
	}
	if set, err := w.lake.Set("set"); err != nil || set != (Set{Name: "set", State: Validated}) {
		t.Errorf("set: %+v, %v", set, err)
	}
	list := w.lake.List("set", 0, 0)
	if len(list) != 1 || list[0].Reference != "set/raw/day1/csv" || list[0].State != Validated || list[0].FullSize != 6 ||
		list[0].LargeHash != md5Of("1,2,3\n") || list[0].SHA256 != sha256Of("1,2,3\n") || list[0].Verified || list[0].ID != idFolder+p.ID {
		t.Errorf("list: %+v", list)
	}
	for range 2 {
		if got := w.content("set", "set/raw/day1/csv"); got != "1,2,3\n" {
			t.Errorf("content %q", got)
		}
		if f, r, err := w.lake.Open("set", "raw/day1.csv"); err != nil || f.Size() != 6 || w.read(r) != "1,2,3\n" {
			t.Errorf("open: %+v, %v", f, err)
		}
		if !w.exists(ref+"/END//") || w.exists(ref+"/END/7/x") {
			t.Error("an upload without a size is to be refused, one with a size is of a changed file")
		}
		w.again()
	}
	w.must("sup/set/empty/none/END/0/"+md5Of(""), "")
	if got := w.content("set", "set/empty/none"); got != "" {
		t.Errorf("an empty file has %q", got)
	}
}

// A20: four parts become one file, in one stream; not before the last came.
func TestParts(t *testing.T) {
	t.Parallel()
	w := start(t)
	parts := []string{strings.Repeat("a", 250), strings.Repeat("b", 250), strings.Repeat("c", 250), strings.Repeat("d", 250)}
	all := strings.Join(parts, "")
	tail := fmt.Sprintf("/%d/%s", len(all), md5Of(all))
	for i, mark := range []string{"001", "002", "003", "EOF"} {
		if got := w.content("set", "set/f/fif"); got != "(absent)" {
			t.Fatalf("before part %s the set has the file: %q", mark, got)
		}
		if w.exists("s/set/f/fif/" + mark + tail) {
			t.Errorf("part %s: it exists", mark)
		}
		p := w.must("s/set/f/fif/"+mark+tail, parts[i])
		if p.Whole != (mark == "EOF") {
			t.Errorf("part %s: %+v", mark, p)
		}
		w.again()
		// Its answer was lost: it comes again. The first part begins anew.
		if mark != "001" {
			if p := w.must("s/set/f/fif/"+mark+tail, parts[i]); !p.Duplicate {
				t.Errorf("part %s again: %+v", mark, p)
			}
		}
	}
	if got := w.content("set", "set/f/fif"); got != all {
		t.Errorf("the file is %q", got)
	}
	list := w.lake.List("set", 0, 0)
	if len(list) != 1 || len(list[0].Parts) != 4 || list[0].FullSize != 1000 || !list[0].Verified || list[0].MD5 != md5Of(all) || list[0].SHA256 != sha256Of(all) {
		t.Errorf("list: %+v", list)
	}
	if want := md5Of(parts[0]) + md5Of(parts[1]) + md5Of(parts[2]) + md5Of(parts[3]); list[0].LargeHash != want {
		t.Errorf("large-hash %s", list[0].LargeHash)
	}
	if n := w.lake.Count("set"); n != 4 {
		t.Errorf("count %d", n)
	}
	if two := w.lake.List("set", 1, 2); len(two) != 1 || len(two[0].Parts) != 2 || two[0].Parts[0].Hash != md5Of(parts[1]) {
		t.Errorf("two from the second on: %+v", two)
	}
	if _, r, err := w.lake.Open("set", "f.fif"); err != nil || w.read(r) != all {
		t.Errorf("the stream does not hold the parts back to back: %v", err)
	}
	if st := w.lake.Stats(); st != (Stats{Sets: 1, Files: 1, Bytes: 1000}) {
		t.Errorf("stats %+v", st)
	}
}

func TestPartsOutOfOrder(t *testing.T) {
	t.Parallel()
	w := start(t)
	refuse := func(reference, data string, want error) {
		t.Helper()
		if p, err := w.push(reference, data); !errors.Is(err, want) {
			t.Errorf("push %s: %+v, %v, want %v", reference, p, err, want)
		}
	}
	refuse("s/set/f/fif/002//", "b", ErrOrder)
	refuse("s/set/f/fif/EOF//", "b", ErrOrder)
	w.must("s/set/f/fif/001//", "a")
	refuse("s/set/f/fif/003//", "c", ErrOrder)
	refuse("s/set/f/fif/END//", "c", ErrOrder)
	w.must("s/set/f/fif/002//", "b")
	refuse("s/set/f/fif/002//", "B", ErrOrder) // there with other bytes
	w.must("s/set/f/fif/001//", "x")           // begins anew
	w.again()
	refuse("s/set/f/fif/003//", "c", ErrOrder)
	w.must("s/set/f/fif/EOF//", "y")
	if got := w.content("set", "set/f/fif"); got != "xy" {
		t.Errorf("the file is %q", got)
	}
	refuse("s/set/f/fif/EOF//", "z", ErrOrder)
	// Asking for the first part gives up what came before.
	w.must("s/set/g/fif/001//", "a")
	if w.exists("s/set/g/fif/002//") || w.lake.Stats().Partial != 1 {
		t.Error("asking for the second part is no beginning")
	}
	if w.exists("s/set/g/fif/001//") || w.lake.Stats().Partial != 0 {
		t.Error("asking for the first part is one")
	}
	w.again()
	w.must("s/set/g/fif/END//", "whole")
}

func TestMismatch(t *testing.T) {
	t.Parallel()
	w := start(t)
	for _, c := range []struct {
		tail string
		ok   bool
	}{
		{"5/" + md5Of("hello"), true},
		{"5/" + strings.ToUpper(sha256Of("hello")), true},
		{"5/", true},
		{"/" + md5Of("hello"), true},
		{"6/" + md5Of("hello"), false},
		{"5/" + md5Of("hellO"), false},
		{"5/" + sha256Of("hellO"), false},
		{"4/", false},
		{"/" + md5Of(""), false},
	} {
		_, err := w.push("s/set/a/csv/END/"+c.tail, "hello")
		if c.ok != (err == nil) || err != nil && !errors.Is(err, ErrMismatch) {
			t.Errorf("said %s: %v", c.tail, err)
		}
		if got := w.content("set", "set/a/csv"); (got == "hello") != c.ok {
			t.Errorf("said %s: the set has %q", c.tail, got)
		}
		if err := w.lake.Remove("set/a/csv"); err != nil {
			t.Fatal(err)
		}
	}
	// Of parts the whole is judged, and each part where it is the part's own.
	whole := "/5/" + md5Of("hello")
	w.must("s/set/b/csv/001"+whole, "he")
	if _, err := w.push("s/set/b/csv/002/9/"+md5Of("other"), "l"); !errors.Is(err, ErrMismatch) {
		t.Errorf("a part of another file: %v", err)
	}
	if _, err := w.push("s/set/b/csv/EOF"+whole, "llO"); !errors.Is(err, ErrMismatch) {
		t.Errorf("a last part that is not right: %v", err)
	}
	if got := w.content("set", "set/b/csv"); got != "(absent)" {
		t.Errorf("the set has %q", got)
	}
	w.must("s/set/b/csv/EOF"+whole, "llo")
	w.must("s/set/c/csv/001/2/"+md5Of("he"), "he")
	w.must("s/set/c/csv/EOF/3/"+md5Of("llo"), "llo")
	for _, ref := range []string{"set/b/csv", "set/c/csv"} {
		if got := w.content("set", ref); got != "hello" {
			t.Errorf("%s has %q", ref, got)
		}
	}
	w.must("s/set/d/csv/001"+whole, "he")
	if _, err := w.push("s/set/d/csv/EOF//", "llO"); !errors.Is(err, ErrMismatch) {
		t.Errorf("what the first part said holds for the last: %v", err)
	}
}

// A22: what comes again replaces, and the same bytes need nothing.
func TestReplace(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.must("s/set/f/csv/END//", "one")
	if p := w.must("s/set/f/csv/END//", "one"); !p.Duplicate {
		t.Errorf("the same bytes: %+v", p)
	}
	w.must("s/set/f/csv/END/3/"+md5Of("two"), "two")
	w.again()
	if got := w.content("set", "set/f/csv"); got != "two" || len(w.lake.List("set", 0, 0)) != 1 {
		t.Errorf("the file is %q, the list %+v", got, w.lake.List("set", 0, 0))
	}
	// A file in parts replaces only when it is whole.
	w.must("s/set/f/csv/001//", "th")
	if got := w.content("set", "set/f/csv"); got != "two" {
		t.Errorf("the file is %q", got)
	}
	w.must("s/set/f/csv/EOF//", "ree")
	if got := w.content("set", "set/f/csv"); got != "three" {
		t.Errorf("the file is %q", got)
	}
	var old []string
	w.lake.view(func(m *model) {
		for _, f := range m.files {
			if f.Reference == "set/f/csv_invalid" && f.State == Invalidated {
				old = append(old, f.MD5)
			}
		}
	})
	if len(old) != 2 {
		t.Errorf("%d old ones are marked", len(old))
	}
}

// A21: the state of a set is that of its files.
func TestStates(t *testing.T) {
	t.Parallel()
	w := start(t)
	states := func(want ...State) {
		t.Helper()
		w.again()
		var got []State
		w.lake.view(func(m *model) {
			for _, stream := range m.members["set"] {
				got = append(got, m.files[stream].State)
			}
		})
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("states %v, want %v", got, want)
		}
	}
	set := func(to State, want error) {
		t.Helper()
		if err := w.lake.SetState("set", to); !errors.Is(err, want) {
			t.Errorf("to %s: %v, want %v", to, err, want)
		}
	}
	set(Published, ErrNotFound)
	w.must("s/set/a/csv/END//", "a")
	w.must("s/set/b/csv/END//", "b")
	states(Validated, Validated)
	set(Published, nil)
	states(Published, Published)
	set(Validated, ErrState)
	w.must("s/set/late/csv/END//", "c")
	states(Published, Published, Published)
	set(Invalidated, nil)
	states(Invalidated, Invalidated, Invalidated)
	if n := w.lake.Count("set"); n != 0 {
		t.Errorf("%d files are listed", n)
	}
	set(Published, ErrState)
	w.must("s/set/a/csv/END//", "new")
	states(Invalidated, Invalidated, Validated)
	if s, _ := w.lake.Set("set"); s.State != Validated {
		t.Errorf("the set is %s", s.State)
	}
	set(Published, nil)
	states(Invalidated, Invalidated, Published)
	set(Invalidated, nil)
	set(Validated, nil)
	states(Validated, Validated, Validated)
}

func TestRenameRemoveVersion(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.must("s/set/a/csv/END//", "a")
	w.must("s/set/b/csv/END//", "b")
	for _, c := range []struct {
		from, to string
		want     error
	}{
		{"set/a/csv", "set/b/csv", ErrExists},
		{"set/none/csv", "set/c/csv", ErrNotFound},
		{"set/a/csv", "other/a/csv", ErrReference},
		{"set/a/csv", "set/a", ErrReference},
		{"set/a/csv", "set/a+b/csv", ErrReference},
		{"set/a/csv", "set/../a/csv", ErrReference},
		{"set/a/csv", "set/a/csv", ErrExists},
		{"set/a/csv", "set/sub/a/txt", nil},
	} {
		if err := w.lake.Rename(c.from, c.to); !errors.Is(err, c.want) {
			t.Errorf("%s to %s: %v, want %v", c.from, c.to, err, c.want)
		}
	}
	w.again()
	if got := w.content("set", "set/sub/a/txt"); got != "a" || w.content("set", "set/a/csv") != "(absent)" {
		t.Errorf("renamed: %q", got)
	}
	if w.exists("s/set/a/csv/END//") || !w.exists("s/set/sub/a/txt/END//") {
		t.Error("the old name exists, or the new one does not")
	}
	if err := errors.Join(w.lake.Remove("set/b/csv"), w.lake.Remove("set/b/csv"), w.lake.IncreaseVersion("set"), w.lake.Describe("set", "about\xff")); err != nil {
		t.Error(err)
	}
	w.again()
	if n := w.lake.Count("set"); n != 1 || w.exists("s/set/b/csv/END//") {
		t.Errorf("%d files after one was removed", n)
	}
	if s, err := w.lake.Set("set"); err != nil || s != (Set{"set", 1, "about\uFFFD", Validated}) {
		t.Errorf("set %+v, %v", s, err)
	}
	for _, err := range []error{w.lake.IncreaseVersion("no"), w.lake.Describe("no", "")} {
		if !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
	}
	if sets := w.lake.Sets(); len(sets) != 1 {
		t.Errorf("sets %+v", sets)
	}
	if list := w.lake.List("no", 0, 0); list == nil || len(list) != 0 {
		t.Errorf("an unknown set has %v", list)
	}
	if _, err := w.lake.Chunk("data_stream_module/no", 0, 1); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

func TestExpire(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.must("s/set/old/fif/001//", "old")
	w.now.Add(20 * 3_600_000)
	w.must("s/set/old/fif/002//", "er")
	w.must("s/set/new/fif/001//", "new")
	w.now.Add(10 * 3_600_000)
	if n := w.lake.Expire(); n != 0 {
		t.Errorf("%d were given up before their time", n)
	}
	w.must("s/set/new/fif/002//", "er")
	w.now.Add(15 * 3_600_000)
	if n := w.lake.Expire(); n != 1 {
		t.Errorf("%d were given up, want 1", n)
	}
	if _, err := w.push("s/set/old/fif/EOF//", "st"); !errors.Is(err, ErrOrder) {
		t.Errorf("a part of what was given up: %v", err)
	}
	w.must("s/set/new/fif/EOF//", "st")
	if got := w.content("set", "set/new/fif"); got != "newerst" {
		t.Errorf("the other one is %q", got)
	}
	if st, ok := w.store.Stream("_lake.1"); !ok || st.State().Length != 0 {
		t.Error("what was given up takes space")
	}
}

// A part that breaks off, or comes while another one comes, is not kept.
func TestBrokenPart(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.must("s/set/f/fif/001//", "one")
	ref, _ := ParseReference("s/set/f/fif/EOF//")
	gone := errors.New("gone")
	in, out := io.Pipe()
	done := make(chan error)
	go func() {
		_, err := w.lake.Push(context.Background(), ref, in)
		done <- err
	}()
	if _, err := out.Write([]byte("tw")); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{second(w.push("s/set/f/fif/EOF//", "two")), w.lake.Remove("set/f/fif"), w.lake.Rename("set/f/fif", "set/g/fif")} {
		if !errors.Is(err, ErrBusy) {
			t.Errorf("while a part comes in: %v", err)
		}
	}
	if !w.exists("s/set/f/fif/001//") {
		t.Error("while a part comes in it exists")
	}
	out.CloseWithError(gone)
	if err := <-done; !errors.Is(err, gone) {
		t.Errorf("a part that broke off: %v", err)
	}
	w.must("s/set/f/fif/EOF//", "two")
	if got := w.content("set", "set/f/fif"); got != "onetwo" {
		t.Errorf("the file is %q", got)
	}
}

func second(_ Pushed, err error) error { return err }

// An upload of which nothing is kept leaves nothing, not even a stream,
// however often it comes.
func TestRefusedUploadsLeaveNothing(t *testing.T) {
	t.Parallel()
	w := start(t)
	first := w.must("s/set/f/fif/END//", "whole")
	gone := errors.New("gone")
	ref, err := ParseReference("s/set/g/fif/001//")
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if p := w.must("s/set/f/fif/END//", "whole"); !p.Duplicate || p.ID != first.ID {
			t.Fatalf("again: %+v", p)
		}
		if _, err := w.push("s/set/g/fif/END/999/", "short"); !errors.Is(err, ErrMismatch) {
			t.Fatalf("a wrong size: %v", err)
		}
		broken := io.MultiReader(strings.NewReader("half"), iotest.ErrReader(gone))
		if _, err := w.lake.Push(context.Background(), ref, broken); !errors.Is(err, gone) {
			t.Fatalf("half a part: %v", err)
		}
	}
	w.must("s/set/g/fif/END/5/", "right")
	w.must("s/set/h/fif/END/5/", "other")
	for i, want := range []string{"whole", "right", "other"} {
		f := w.lake.List("set", 0, 0)[i]
		if got := w.content("set", f.Reference); got != want {
			t.Errorf("%s is %q", f.Reference, got)
		}
		if name := fmt.Sprintf("_lake.%d", i+1); f.Stream != name {
			t.Errorf("%s is in stream %s: refused uploads have left some", f.Reference, f.Stream)
		}
	}
}

// TestSnapshot: a long history becomes a snapshot that says the same.
func TestSnapshot(t *testing.T) {
	t.Parallel()
	w := start(t)
	long := strings.Repeat("x", 100_000)
	for i := range 30 {
		w.must(fmt.Sprintf("s/set/f%d/csv/END//", i%7), fmt.Sprint(i))
		if err := w.lake.Describe("set", long); err != nil {
			t.Fatal(err)
		}
	}
	w.must("s/set/p/csv/001//", "p")
	if g := w.lake.stream.State().Generation; g < 2 {
		t.Errorf("the state is in generation %d", g)
	}
	var before, after bytes.Buffer
	fmt.Fprint(&before, w.lake.List("set", 0, 0), w.lake.Sets(), w.lake.Stats())
	w.again()
	fmt.Fprint(&after, w.lake.List("set", 0, 0), w.lake.Sets(), w.lake.Stats())
	if before.String() != after.String() {
		t.Errorf("before: %s\nafter: %s", &before, &after)
	}
	w.must("s/set/p/csv/EOF//", "q")
	if got := w.content("set", "set/p/csv"); got != "pq" {
		t.Errorf("the file is %q", got)
	}
}

// The space of what was removed or replaced comes back when it is old enough,
// not before, also after a restart and after a crash between the two steps.
func TestSpaceOfRemovedFiles(t *testing.T) {
	t.Parallel()
	w := start(t)
	first := w.must("s/set/a/csv/END//", "first").ID
	w.must("s/set/a/csv/END//", "second")
	w.must("s/set/b/csv/END//", "removed")
	if err := w.lake.Remove("set/b/csv"); err != nil {
		t.Fatal(err)
	}
	lengths := func() (list []int64) {
		for _, name := range []string{"_lake.1", "_lake.2", "_lake.3"} {
			st, ok := w.store.Stream(name)
			if !ok {
				t.Fatalf("there is no stream %s", name)
			}
			list = append(list, st.State().Length)
		}
		return list
	}
	const day = 24 * 3_600_000
	w.now.Add(6 * day)
	w.again()
	if n := w.lake.Free(); n != 0 || !slices.Equal(lengths(), []int64{5, 6, 7}) {
		t.Errorf("before their time %d are gone, the streams have %d bytes", n, lengths())
	}
	if r, err := w.lake.Chunk(first, 0, 9); err != nil || w.read(r) != "first" {
		t.Errorf("a replaced file is read before its time: %v", err)
	}
	w.now.Add(2 * day)
	if n := w.lake.Free(); n != 2 || !slices.Equal(lengths(), []int64{0, 6, 0}) {
		t.Errorf("%d are gone, the streams have %d bytes", n, lengths())
	}
	if _, err := w.lake.Chunk(first, 0, 9); !errors.Is(err, ErrNotFound) {
		t.Errorf("a part of a file that is gone: %v", err)
	}
	w.again()
	if got := w.content("set", "set/a/csv"); got != "second" {
		t.Errorf("the file that is there is %q", got)
	}
	if n := w.lake.Free(); n != 0 {
		t.Errorf("%d are gone twice", n)
	}

	w.must("s/set/a/csv/END//", "third")
	w.now.Add(8 * day)
	err := w.lake.update(func(*model) (*record, error) { return &record{Gone: []string{"_lake.2"}}, nil })
	if err != nil {
		t.Fatal(err)
	}
	w.again() // as after a crash
	if got := lengths(); got[1] != 0 {
		t.Errorf("the stream of a file that is gone has %d bytes", got[1])
	}
	if got := w.content("set", "set/a/csv"); got != "third" {
		t.Errorf("the file that is there is %q", got)
	}
}

// A title that two files have is told; each is found by its reference.
func TestOneTitleOfTwoFiles(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.must("s/set/day1/csv/END//", "with an extension")
	if f, _, err := w.lake.Open("set", "day1.csv"); err != nil || f.Reference != "set/day1/csv" {
		t.Errorf("%+v, %v", f, err)
	}
	w.must("s/set/day1.csv/none/END//", "without")
	if _, _, err := w.lake.Open("set", "day1.csv"); !errors.Is(err, ErrExists) || !strings.Contains(err.Error(), "set/day1/csv and set/day1.csv/none") {
		t.Errorf("the error is %v", err)
	}
	for title, want := range map[string]string{"day1/csv": "with an extension", "day1.csv/none": "without"} {
		if _, r, err := w.lake.Open("set", title); err != nil || w.read(r) != want {
			t.Errorf("%s: %v", title, err)
		}
	}
}
