package arrays

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/internal/vfs"
	"weir/streams"
)

var numbersSpec = Spec{Kind: kindNumbers}

// values reads all of an array of float64.
func values(t *testing.T, s *Store, name, array string) string {
	t.Helper()
	sl, err := s.Slice(name, array, 0, 1<<40, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(float64s(sl.Data))
}

// TestRealStream builds a group from a stream of the real store, over a reset
// and a restart.
func TestRealStream(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ss, err := streams.Open(filepath.Join(dir, "streams"), streams.Options{SegmentBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer ss.Close()
	st, err := ss.Create("a.b", "")
	if err != nil {
		t.Fatal(err)
	}
	put := func(text string, reset bool) {
		t.Helper()
		var res [1]streams.Result
		if err := ss.Append(context.Background(), []streams.Record{{Stream: st, Data: []byte(text), Reset: reset}}, res[:]); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, filepath.Join(dir, "arrays"), Options{})
	step := func() {
		t.Helper()
		if more, err := s.Advance(context.Background(), st, numbersSpec); err != nil || more {
			t.Fatal(more, err)
		}
	}
	put("1,2\n3", false)
	step()
	put("4,5\n", false)
	step()
	if got := values(t, s, "a.b", "value"); got != "[1 2 34 5]" {
		t.Errorf("values %s", got)
	}
	put("7\n8\n", true)
	step()
	if got := values(t, s, "a.b", "value"); got != "[7 8]" {
		t.Errorf("values after the reset %s", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	put("9\n", false)
	s = open(t, filepath.Join(dir, "arrays"), Options{})
	step()
	if got := values(t, s, "a.b", "value"); got != "[7 8 9]" {
		t.Errorf("values after the restart %s", got)
	}
	info, err := s.Info("a.b")
	if err != nil || info.Generation != st.State().Generation || info.Offset != 6 || info.Kind != kindNumbers {
		t.Errorf("info %+v, %v", info, err)
	}
}

// TestReset replaces a group only when the next one has its first rows.
func TestReset(t *testing.T) {
	t.Parallel()
	s := open(t, "d", Options{FS: vfs.NewMem(1 << 40)})
	f := &fakeStream{name: "n"}
	f.append([]byte("1\n2\n3\n"))
	advance(t, s, f, numbersSpec)
	old, err := s.Object("n", "zarr.json")
	if err != nil {
		t.Fatal(err)
	}
	f.reset(nil)
	advance(t, s, f, numbersSpec)
	if info, _ := s.Info("n"); info.Generation != 1 || info.Arrays[0].Shape[0] != 0 {
		t.Errorf("the group of an emptied stream is %+v", info)
	}
	f.append([]byte("5\n6\n7\n"))
	f.fail = errors.New("cannot read")
	if _, err := s.advance(context.Background(), nil, f, numbersSpec); !errors.Is(err, f.fail) {
		t.Errorf("a failed read gave %v", err)
	}
	f.fail = nil
	advance(t, s, f, numbersSpec)
	if got := values(t, s, "n", "value"); got != "[5 6 7]" {
		t.Errorf("values %s", got)
	}
	o, err := s.Object("n", "value/c/0")
	if err != nil || o.ETag == old.ETag {
		t.Errorf("object %+v, %v", o, err)
	}
	for _, d := range []string{newDir, oldDir, tmpDir} {
		if names, err := s.fs.List("d/" + d); err != nil || len(names) > 0 {
			t.Errorf("%s holds %v, %v", d, names, err)
		}
	}
}

// TestSpecChange builds the group again when what is wanted of it changed.
func TestSpecChange(t *testing.T) {
	t.Parallel()
	s := open(t, "d", Options{FS: vfs.NewMem(1 << 40)})
	f := &fakeStream{name: "m"}
	f.append(entry(1, map[string]any{"code": "7"}))
	advance(t, s, f, Spec{Kind: kindMetrics})
	if got := values(t, s, "m", "code"); got != "[7]" {
		t.Errorf("values %s", got)
	}
	advance(t, s, f, Spec{Kind: kindMetrics, Columns: map[string]string{"code": columnCategory}})
	info, err := s.Info("m")
	if err != nil || info.Arrays[1].DataType != "uint32" || fmt.Sprint(info.Arrays[1].Attributes["vocabulary"]) != "[7]" {
		t.Errorf("info %+v, %v", info, err)
	}
}

// TestShorterStream builds again what was made of bytes that the stream no
// longer has.
func TestShorterStream(t *testing.T) {
	t.Parallel()
	s := open(t, "d", Options{FS: vfs.NewMem(1 << 40)})
	f := &fakeStream{name: "n"}
	f.append([]byte("1\n2\n3\n"))
	advance(t, s, f, numbersSpec)
	f.data = []byte("4\n")
	advance(t, s, f, numbersSpec)
	if got := values(t, s, "n", "value"); got != "[4]" {
		t.Errorf("values %s", got)
	}
}

// TestUnreadableGroup sets a broken zarr.json aside and builds again.
func TestUnreadableGroup(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"empty": "", "cut": `{"zarr_format":3,`, "other": `{"zarr_format":3,"node_type":"group","attributes":{}}`,
		"future": `{"attributes":{"weir":{"format":99}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mem := vfs.NewMem(1 << 40)
			f := &fakeStream{name: "n"}
			f.append([]byte("1\n2\n"))
			s := open(t, "d", Options{FS: mem})
			advance(t, s, f, numbersSpec)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := s.writeFile("d/n/zarr.json", []byte(text)); err != nil {
				t.Fatal(err)
			}
			s = open(t, "d", Options{FS: mem})
			if _, err := s.Info("n"); !errors.Is(err, ErrNotFound) {
				t.Errorf("info of a broken group: %v", err)
			}
			advance(t, s, f, numbersSpec)
			if got := values(t, s, "n", "value"); got != "[1 2]" {
				t.Errorf("values %s", got)
			}
			if names, _ := mem.List("d/" + badDir); len(names) != 1 {
				t.Errorf("set aside: %v", names)
			}
		})
	}
}

// TestDamagedTail builds again when published rows of the open chunk are gone.
func TestDamagedTail(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem(1 << 40)
	f := &fakeStream{name: "n"}
	f.append([]byte("1\n2\n"))
	s := open(t, "d", Options{FS: mem})
	advance(t, s, f, numbersSpec)
	if err := errors.Join(s.Close(), s.writeFile("d/n/value/c/0", []byte("nonsense"))); err != nil {
		t.Fatal(err)
	}
	s = open(t, "d", Options{FS: mem})
	f.append([]byte("3\n"))
	advance(t, s, f, numbersSpec)
	if got := values(t, s, "n", "value"); got != "[1 2 3]" {
		t.Errorf("values %s", got)
	}
}

// TestRefusalsHoldTheStep commits nothing before what was refused is kept.
func TestRefusalsHoldTheStep(t *testing.T) {
	t.Parallel()
	full := errors.New("no room for dead letters")
	var log refusedLog
	fail := true
	s := open(t, "d", Options{FS: vfs.NewMem(1 << 40), Refuse: func(ctx context.Context, r Refusal) error {
		if fail {
			return full
		}
		return log.keep(ctx, r)
	}})
	f := &fakeStream{name: "n"}
	f.append([]byte("1\n2\n"))
	advance(t, s, f, numbersSpec)
	f.append([]byte("x,1\n3\n"))
	if _, err := s.advance(context.Background(), nil, f, numbersSpec); !errors.Is(err, full) {
		t.Fatalf("advance: %v", err)
	}
	if info, err := s.Info("n"); err != nil || info.Offset != 4 || info.Refused != 0 {
		t.Errorf("info %+v, %v", info, err)
	}
	fail = false
	advance(t, s, f, numbersSpec)
	if got := values(t, s, "n", "value"); got != "[1 2 3]" {
		t.Errorf("values %s", got)
	}
	if len(log.all) != 1 || string(log.all[0].Data) != "x,1\n" || log.all[0].Offset != 4 || log.all[0].Reason != "not-a-number" {
		t.Errorf("refused %+v", log.all)
	}
	if st := s.Stats(); st.Refused != 1 || st.RefusedByReason["not-a-number"] != 1 || st.Rows != 3 || st.Bytes != 10 || st.Groups != 1 {
		t.Errorf("stats %+v", st)
	}
}

func TestNobodyTakesRefusals(t *testing.T) {
	t.Parallel()
	s, err := Open("d", Options{FS: vfs.NewMem(1 << 40)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	f := &fakeStream{name: "n"}
	f.append([]byte("x\n"))
	if _, err := s.advance(context.Background(), nil, f, numbersSpec); err == nil {
		t.Error("a line was refused and nobody took it, and no error was given")
	}
}

// TestHole goes over bytes that the stream lost.
func TestHole(t *testing.T) {
	t.Parallel()
	var log refusedLog
	s := open(t, "d", Options{FS: vfs.NewMem(1 << 40), Refuse: log.keep})
	f := &fakeStream{name: "n", hole: [2]int64{4, 9}}
	f.append([]byte("1\n2,_____9\n10\n"))
	advance(t, s, f, numbersSpec)
	if got := values(t, s, "n", "value"); got != "[1 10]" {
		t.Errorf("values %s", got)
	}
	if len(log.all) != 2 || log.all[0].Reason != "lost" || log.all[0].Offset != 2 || log.all[0].Length != 7 || log.all[1].Reason != "rest-of-line" {
		t.Errorf("refused %+v", log.all)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem(1 << 40)
	long := strings.Repeat("ö/", 200)
	names := []string{"a", "a.b", "a.c", "b/c d", ".x", long}
	s := open(t, "d", Options{FS: mem})
	for _, n := range names {
		f := &fakeStream{name: n}
		f.append([]byte("1\n"))
		advance(t, s, f, numbersSpec)
	}
	advance(t, s, &fakeStream{name: "empty"}, numbersSpec)
	for range 2 {
		for _, c := range []struct {
			prefix, after string
			limit         int
			want          []string
		}{
			{"", "", 10, []string{".x", "a", "a.b", "a.c", "b/c d", long}},
			{"a", "", 2, []string{"a", "a.b"}},
			{"a", "a.b", 10, []string{"a.c"}},
			{"", "b", 1, []string{"b/c d"}},
			{"zz", "", 10, nil},
			{"a", "b", 10, nil},
		} {
			if got := s.Names(c.prefix, c.after, c.limit); fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("Names(%q, %q, %d) = %q, want %q", c.prefix, c.after, c.limit, got, c.want)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, "d", Options{FS: mem})
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem(1 << 40)
	s := open(t, "d", Options{FS: mem})
	if _, err := Open("d", Options{FS: mem}); err == nil {
		t.Error("the folder was opened twice")
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	if _, err := s.advance(context.Background(), nil, &fakeStream{name: "n"}, numbersSpec); !errors.Is(err, ErrClosed) {
		t.Errorf("advance of a closed store: %v", err)
	}
	if _, err := s.Info("n"); !errors.Is(err, ErrClosed) {
		t.Errorf("info of a closed store: %v", err)
	}
}

// TestCloseIsClean loses nothing at a power cut after Close.
func TestCloseIsClean(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem(1 << 40)
	s := open(t, "d", Options{FS: mem, BootID: "one"})
	f := &fakeStream{name: "n"}
	f.append(bytes.Repeat([]byte("1,2,3\n"), 1000))
	advance(t, s, f, numbersSpec)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	tr := newTrial(t, 1)
	s = open(t, "d", Options{FS: mem.CrashClone(tr.r), BootID: "two"})
	if info, err := s.Info("n"); err != nil || info.Arrays[0].Shape[0] != 3000 {
		t.Errorf("info %+v, %v", info, err)
	}
}

// TestSyncedAfterAWhile notes what is synced without further steps.
func TestSyncedAfterAWhile(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem(1 << 40)
	s := open(t, "d", Options{FS: mem, SyncEvery: time.Millisecond})
	f := &fakeStream{name: "n"}
	f.append([]byte("1\n"))
	advance(t, s, f, numbersSpec)
	for deadline := time.Now().Add(2 * time.Minute); ; {
		b, err := s.readFile("d/n/zarr.json")
		if err != nil {
			t.Fatal(err)
		}
		c, _, _, err := parseGroup(b)
		if err != nil {
			t.Fatal(err)
		}
		if c.Synced.Rows == 1 && c.Synced.Offset == 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("synced %+v", c.Synced)
		}
		time.Sleep(time.Millisecond)
	}
}

// readObject reads a key of a group.
func readObject(t *testing.T, s *Store, name, key string) (Object, []byte) {
	t.Helper()
	o, err := s.Object(name, key)
	if err != nil {
		t.Fatalf("object %s of %s: %v", key, name, err)
	}
	defer o.Body.Close()
	b, err := io.ReadAll(o.Body)
	if err != nil || int64(len(b)) != o.Size {
		t.Fatalf("object %s of %s: %d bytes of %d, %v", key, name, len(b), o.Size, err)
	}
	return o, b
}

func TestObjects(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{ChunkBytes: 80})
	if o, b := readObject(t, s, "", "zarr.json"); o.Type != "application/json" || !json.Valid(b) {
		t.Errorf("root %s", b)
	}
	n := &fakeStream{name: "n"}
	n.append(bytes.Repeat([]byte("7\n"), 25))
	advance(t, s, n, numbersSpec)
	w := &fakeStream{name: "w"}
	w.append(testWAV{channels: 2, bits: 16, rate: 8, data: noise(100)}.bytes())
	advance(t, s, w, Spec{Kind: kindWAV})

	first, _ := readObject(t, s, "n", "zarr.json")
	own, b := readObject(t, s, "n", "value/zarr.json")
	if !strings.Contains(string(b), `"shape":[25]`) || own.Final {
		t.Errorf("value/zarr.json is %s", b)
	}
	full, frame := readObject(t, s, "n", "value/c/1")
	if data, err := decompress(frame, 8, 80); err != nil || float64s(data)[9] != 7 || !full.Final {
		t.Errorf("a full chunk is %v, final %v, %v", data, full.Final, err)
	}
	tail, frame := readObject(t, s, "n", "value/c/2")
	if data, err := decompress(frame, 8, 80); err != nil || float64s(data)[4] != 7 || float64s(data)[5] != 0 || tail.Final {
		t.Errorf("the open chunk is %v, final %v, %v", data, tail.Final, err)
	}
	if _, frame := readObject(t, s, "w", "pcm/c/1/0"); len(frame) == 0 {
		t.Error("pcm/c/1/0 is empty")
	}
	for _, key := range []string{
		"", "zarr", "value", "value/", "value/c", "value/c/3", "value/c/-1", "value/c/01", "value/c/+1", "value/c/0/0",
		"value/c/1x", "value/zarr.json/x", "none/zarr.json", "../n/zarr.json", "value/../value/zarr.json", ".zarr.json",
	} {
		if _, err := s.Object("n", key); !errors.Is(err, ErrNotFound) {
			t.Errorf("key %q gave %v", key, err)
		}
	}
	for _, key := range []string{"pcm/c/0", "pcm/c/0/1", "pcm/c/0/0/0", "pcm/c/9/0"} {
		if _, err := s.Object("w", key); !errors.Is(err, ErrNotFound) {
			t.Errorf("key %q gave %v", key, err)
		}
	}
	for _, name := range []string{"", "none", "../d", ".tmp"} {
		if _, err := s.Object(name, "value/zarr.json"); !errors.Is(err, ErrNotFound) {
			t.Errorf("group %q gave %v", name, err)
		}
	}

	n.append([]byte("8\n"))
	advance(t, s, n, numbersSpec)
	if o, _ := readObject(t, s, "n", "zarr.json"); o.ETag == first.ETag {
		t.Error("zarr.json changed, its ETag did not")
	}
	if o, _ := readObject(t, s, "n", "value/zarr.json"); o.ETag == own.ETag {
		t.Error("value/zarr.json changed, its ETag did not")
	}
	if o, _ := readObject(t, s, "n", "value/c/2"); o.ETag == tail.ETag {
		t.Error("the open chunk changed, its ETag did not")
	}
	if o, b := readObject(t, s, "n", "value/c/1"); o.ETag != full.ETag || len(b) != int(full.Size) {
		t.Error("a full chunk changed")
	}
}

func TestSlices(t *testing.T) {
	t.Parallel()
	s := open(t, "d", Options{FS: vfs.NewMem(1 << 40), ChunkBytes: 80})
	f := &fakeStream{name: "n"}
	var text bytes.Buffer
	for i := range 25 {
		fmt.Fprintln(&text, i)
	}
	f.append(text.Bytes())
	advance(t, s, f, numbersSpec)
	for _, c := range []struct {
		start, stop int64
		max         int
		first, rows int64
	}{
		{0, 25, 1 << 20, 0, 25},
		{0, 1 << 60, 1 << 20, 0, 25},
		{8, 12, 1 << 20, 8, 4},
		{-3, 25, 1 << 20, 22, 3},
		{-3, -1, 1 << 20, 22, 2},
		{-100, 2, 1 << 20, 0, 2},
		{5, 5, 1 << 20, 5, 0},
		{7, 3, 1 << 20, 7, 0},
		{99, 200, 1 << 20, 25, 0},
		{5, 25, 24, 5, 3},
		{5, 25, 1, 5, 1},
	} {
		got, err := s.Slice("n", "value", c.start, c.stop, c.max)
		if err != nil || got.Start != c.first || got.Rows != c.rows || len(got.Data) != int(8*c.rows) {
			t.Errorf("slice [%d, %d) of %d bytes: %d rows from %d, %v", c.start, c.stop, c.max, got.Rows, got.Start, err)
			continue
		}
		for i, v := range float64s(got.Data) {
			if v != float64(c.first+int64(i)) {
				t.Errorf("slice [%d, %d): value %d is %v", c.start, c.stop, i, v)
			}
		}
	}
	if _, err := s.Slice("n", "none", 0, 1, 1); !errors.Is(err, ErrNotFound) {
		t.Errorf("a missing array gave %v", err)
	}
	if st := s.Stats(); st.CacheHits == 0 || st.CacheMisses == 0 || st.CacheBytes != 160 {
		t.Errorf("stats %+v", st)
	}
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	c := newChunkCache(100)
	for i := range int64(10) {
		c.put(chunkKey{index: i}, make([]byte, 30))
	}
	c.put(chunkKey{index: 99}, make([]byte, 101))
	if bytes, _, _ := c.stats(); bytes != 90 {
		t.Errorf("the cache holds %d bytes", bytes)
	}
	if _, ok := c.get(chunkKey{index: 9}); !ok {
		t.Error("the newest chunk is gone")
	}
	if _, ok := c.get(chunkKey{index: 0}); ok {
		t.Error("the oldest chunk is still there")
	}
}
