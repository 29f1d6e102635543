package streams

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"weir/internal/vfs"
)

// A model is what a store should be: bytes, appends and keys by stream.
type model struct {
	t     *rapid.T
	mem   *vfs.Mem
	s     *Store
	bytes map[string][]byte
	gen   map[string]uint64
	recs  map[string]int64
	begin map[string]int64
	keys  map[string]map[Key]Result
}

var modelNames = []string{"a", "b", "b/c", "ünï", strings.Repeat("long", 80)}

func (m *model) open() {
	s, err := Open("data", small(m.mem))
	if err != nil {
		m.t.Fatal(err)
	}
	m.s = s
}

func (m *model) stream() *Stream {
	st, err := m.s.Create(rapid.SampledFrom(modelNames).Draw(m.t, "stream"), "label")
	if err != nil {
		m.t.Fatal(err)
	}
	return st
}

func (m *model) body(most int) []byte {
	n := rapid.IntRange(0, most).Draw(m.t, "bytes")
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n), rapid.Byte().Draw(m.t, "fill")}).Read(b)
	return b
}

func (m *model) record() Record {
	r := Record{Stream: m.stream(), Data: m.body(600)}
	if rapid.IntRange(0, 20).Draw(m.t, "large") == 0 {
		r.Data = m.body(9000)
	}
	if k := rapid.IntRange(0, 40).Draw(m.t, "key"); k < 30 {
		r.Key = Key{1, byte(k)}
	}
	r.Reset = rapid.IntRange(0, 30).Draw(m.t, "reset") == 0
	if rapid.IntRange(0, 5).Draw(m.t, "conditional") == 0 {
		r.Conditional, r.Expect = true, int64(len(m.bytes[r.Stream.name])+rapid.IntRange(0, 1).Draw(m.t, "off by"))
	}
	return r
}

// apply gives what the store must answer.
func (m *model) apply(r *Record) (Result, error) {
	name := r.Stream.name
	if res, ok := m.keys[name][r.Key]; ok {
		res.Duplicate = true
		return res, nil
	}
	if r.Conditional && r.Expect != int64(len(m.bytes[name])) {
		return Result{}, ErrExpect
	}
	if m.gen[name] == 0 {
		m.gen[name] = 1
	} else if r.Reset {
		m.gen[name]++
		m.bytes[name], m.recs[name], m.begin[name] = nil, 0, 0
	}
	res := Result{Generation: m.gen[name], Offset: int64(len(m.bytes[name]))}
	m.bytes[name] = append(m.bytes[name], r.Data...)
	m.recs[name]++
	if r.Key != (Key{}) {
		if m.keys[name] == nil {
			m.keys[name] = map[Key]Result{}
		}
		m.keys[name][r.Key] = res
	}
	return res, nil
}

func (m *model) append(t *rapid.T) {
	recs := make([]Record, rapid.IntRange(1, 6).Draw(t, "records"))
	for i := range recs {
		recs[i] = m.record()
		if recs[i].Conditional && i > 0 {
			recs[i].Conditional = false // the length is known for the first only
		}
	}
	res := make([]Result, len(recs))
	err := m.s.Append(context.Background(), recs, res)
	var first error
	for i := range recs {
		want, werr := m.apply(&recs[i])
		if !errors.Is(res[i].Err, werr) || werr == nil && res[i] != want {
			t.Fatalf("record %d: %+v, want %+v %v", i, res[i], want, werr)
		}
		if first == nil {
			first = werr
		}
	}
	if !errors.Is(err, first) {
		t.Fatalf("append: %v, want %v", err, first)
	}
}

func (m *model) upload(t *rapid.T) {
	r := m.record()
	r.Data = m.body(12000)
	o := UploadOptions{Key: r.Key, Expect: r.Expect, Conditional: r.Conditional, Reset: r.Reset, Length: int64(len(r.Data))}
	wrong := 0
	switch rapid.IntRange(0, 4).Draw(t, "length") {
	case 0:
		o.Length = -1
	case 1:
		wrong = 1
	case 2:
		wrong = -1
	}
	if o.Length += int64(wrong); o.Length < 0 {
		o.Length, wrong = -1, 0
	}
	u, err := r.Stream.Upload(context.Background(), bytes.NewReader(r.Data), o)
	if wrong != 0 {
		if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, ErrExpect) {
			t.Fatalf("%d bytes announced, %d sent: %v", o.Length, len(r.Data), err)
		}
		return
	}
	if r.Key != (Key{}) {
		r.Key = uploadKey(r.Key, sha256.Sum256(r.Data))
	}
	want, werr := m.apply(&r)
	if !errors.Is(err, werr) || werr == nil && (u.Result != want || u.Length != int64(len(r.Data))) {
		t.Fatalf("%+v %v, want %+v %v", u, err, want, werr)
	}
}

func (m *model) restart(t *rapid.T) {
	if err := m.s.Close(); err != nil {
		t.Fatal(err)
	}
	if rapid.Bool().Draw(t, "power cut") {
		m.mem = m.mem.CrashClone(rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)))
	}
	m.open()
	if r := m.s.Stats().Recovery; !r.Clean || len(r.QuarantinedFiles) > 0 {
		t.Fatalf("%+v", r)
	}
}

// trim cuts some streams at once, anywhere; what the log has stays.
func (m *model) trim(t *rapid.T) {
	if rapid.Bool().Draw(t, "wait") {
		if err := waitFolded(m.s); err != nil {
			t.Fatal(err)
		}
	}
	var cuts []Cut
	for range rapid.IntRange(1, 3).Draw(t, "cuts") {
		st := m.stream()
		c := Cut{Stream: st, Generation: st.State().Generation, Before: rapid.Int64Range(0, int64(len(m.bytes[st.name]))+10).Draw(t, "before")}
		c.Seal = rapid.Bool().Draw(t, "seal")
		if rapid.IntRange(0, 8).Draw(t, "old") == 0 {
			c.Generation--
		}
		cuts = append(cuts, c)
	}
	if err := m.s.Trim(context.Background(), cuts); err != nil {
		t.Fatal(err)
	}
	most := map[string]int64{}
	for _, c := range cuts {
		if c.Generation == c.Stream.State().Generation {
			most[c.Stream.name] = max(most[c.Stream.name], c.Before)
		}
	}
	for _, c := range cuts {
		name, now := c.Stream.name, c.Stream.State().Begin
		if was := m.begin[name]; now < was || now > max(was, most[name]) {
			t.Fatalf("%q begins at %d, was %d, cuts %+v", name, now, was, cuts)
		}
	}
	for _, c := range cuts {
		m.begin[c.Stream.name] = c.Stream.State().Begin
	}
}

func (m *model) read(t *rapid.T) {
	st := m.stream()
	want := m.bytes[st.name]
	off := rapid.Int64Range(0, int64(len(want))).Draw(t, "from")
	p := make([]byte, rapid.IntRange(1, 3000).Draw(t, "n"))
	n, err := st.ReadAt(st.State().Generation, p, off)
	if off < m.begin[st.name] {
		if n != 0 || !errors.Is(err, ErrTrimmed) {
			t.Fatalf("read at %d of a stream that begins at %d: %d %v", off, m.begin[st.name], n, err)
		}
		return
	}
	if !bytes.Equal(p[:n], want[off:min(off+int64(len(p)), int64(len(want)))]) || (err == io.EOF) != (n < len(p)) {
		t.Fatalf("read of %d at %d of %d: %d %v", len(p), off, len(want), n, err)
	}
	if _, err := st.ReadAt(st.State().Generation+1, p, 0); !errors.Is(err, ErrGeneration) {
		t.Fatalf("a generation to come: %v", err)
	}
}

// check compares all.
func (m *model) check(t *rapid.T) {
	var names []string
	for name, want := range m.bytes {
		names = append(names, name)
		st, ok := m.s.Stream(name)
		if !ok {
			t.Fatalf("no %q", name)
		}
		state := st.State()
		begin := m.begin[name]
		if state.Begin != begin || state.Length != int64(len(want)) || state.Generation != m.gen[name] || state.Records != m.recs[name] || st.Label() != "label" {
			t.Fatalf("%q: %+v, want %d bytes, generation %d, %d records", name, state, len(want), m.gen[name], m.recs[name])
		}
		r, err := st.Reader(state.Generation, begin, state.Length)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, want[begin:]) {
			t.Fatalf("%q: bytes differ: %v", name, err)
		}
		at, recs := begin, int64(0)
		for i, c := range st.Chunks() {
			if i == 0 && c.Offset <= begin && c.Offset+c.Length > begin {
				at = c.Offset // the beginning is inside of its file
			}
			if c.Offset != at {
				t.Fatalf("%q: chunks have a gap at %d", name, at)
			}
			at += c.Length
			recs += c.Records
		}
		if at != state.Length || recs > state.Records {
			t.Fatalf("%q: chunks end at %d with %d records, want %+v", name, at, recs, state)
		}
	}
	slices.Sort(names)
	if got := m.s.Names("", "", 100); !slices.Equal(got, names) {
		t.Fatalf("names %q, want %q", got, names)
	}
}

// TestModel compares a store with a map through appends, uploads, resets,
// trims, restarts and power cuts, under options that fold all the time.
func TestModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := &model{t: t, mem: vfs.NewMem(1 << 40), bytes: map[string][]byte{}, gen: map[string]uint64{}, recs: map[string]int64{}, begin: map[string]int64{}, keys: map[string]map[Key]Result{}}
		m.open()
		defer func() { m.s.Close() }()
		many := func(t *rapid.T) {
			for range 8 {
				m.append(t)
			}
		}
		t.Repeat(map[string]func(*rapid.T){"append": many, "upload": m.upload, "restart": m.restart, "read": m.read, "trim": m.trim, "": m.check})
	})
}

func TestNames(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, "data", small(vfs.NewMem(1<<40)))
	defer s.Close()
	for _, name := range []string{"b", "a.2", "a.1", "c", "a"} {
		mustAppend(t, s, Record{Stream: mustCreate(t, s, name), Data: []byte("x")})
	}
	mustCreate(t, s, "a.never") // nothing was appended
	for _, c := range []struct {
		prefix, after string
		limit         int
		want          string
	}{
		{"", "", 10, "a a.1 a.2 b c"}, {"a", "", 10, "a a.1 a.2"}, {"a.", "a.1", 10, "a.2"}, {"", "a.1", 2, "a.2 b"}, {"x", "", 10, ""}, {"", "c", 10, ""},
	} {
		if got := strings.Join(s.Names(c.prefix, c.after, c.limit), " "); got != c.want {
			t.Errorf("Names(%q, %q, %d) = %q, want %q", c.prefix, c.after, c.limit, got, c.want)
		}
	}
	if _, ok := s.Stream("a.never"); ok {
		t.Error("a stream without an append exists")
	}
	for _, name := range []string{"", strings.Repeat("x", MaxName+1)} {
		if _, err := s.Create(name, ""); !errors.Is(err, ErrName) {
			t.Errorf("name of %d bytes: %v", len(name), err)
		}
	}
	if _, err := s.Create("l", strings.Repeat("x", maxLabel+1)); !errors.Is(err, ErrName) {
		t.Errorf("long label: %v", err)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for what, o := range map[string]Options{
		"tiny segments": {SegmentBytes: 1024}, "odd segments": {SegmentBytes: 1<<20 + 1}, "large appends": {SegmentBytes: 1 << 20, LargeBytes: 1 << 19},
		"negative": {LiveSegments: -1}, "negative age": {KeyAge: -1},
	} {
		if _, err := Open(t.TempDir(), o); err == nil {
			t.Errorf("%s: opened", what)
		} else if fmt.Sprint(err) == "" {
			t.Errorf("%s: no reason", what)
		}
	}
}
