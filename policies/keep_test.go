package policies

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/tinylib/msgp/msgp"

	"weir/internal/vfs"
	"weir/streams"
)

// entry gives the entry [0, record] of a record that msgp knows.
func entry(record any) []byte {
	b, err := msgp.AppendIntf([]byte{0x92, 0x00}, record)
	if err != nil {
		panic(err)
	}
	return b
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// linesA1 is the text of Wendelin's own ingestion test: the numbers up to
// 100000, ten a line.
func linesA1() []byte {
	var b bytes.Buffer
	for i := 0; i <= 100000; i++ {
		sep := ","
		if i%10 == 9 || i == 100000 {
			sep = "\n"
		}
		fmt.Fprintf(&b, "%d%s", i, sep)
	}
	return b.Bytes()
}

func TestWendelinNumbers(t *testing.T) {
	t.Parallel()
	text := linesA1()
	if sum := md5.Sum(text); len(text) != 588897 || hex.EncodeToString(sum[:]) != "9ab92a072f5f532f3d1d45dda2e3aba9" {
		t.Fatalf("the test's own text is wrong: %d bytes", len(text))
	}
	body := entry(string(text))
	if len(body) != 588904 || !bytes.HasPrefix(body, []byte{0x92, 0, 0xdb, 0, 8, 0xfc, 0x61}) {
		t.Fatalf("the test's own body is wrong: %x", body[:8])
	}
	s := openStore(t, vfs.NewMem(64<<20))
	r := newRouter(t, s, everyKeep...)
	k := keep(r, Batch{Tag: "a.b", Policy: "numbers", Entries: body, Raw: true, ID: []byte("k")}, false)
	if k.Err != nil || k.Length != 588897 || k.Offset != 0 || k.Policy != "numbers" || k.Stream.Name() != "a.b" {
		t.Fatalf("got %+v", k)
	}
	if !bytes.Equal(streamBytes(t, s, "a.b"), text) {
		t.Error("the stream is not the text")
	}
}

// What is kept as it came is handed on without a copy.
func TestNoCopy(t *testing.T) {
	t.Parallel()
	r := newRouter(t, openStore(t, vfs.NewMem(64<<20)), everyKeep...)
	for _, body := range [][]byte{entry("some text\n"), entry(map[string]any{"message": "some text\n"})} {
		for _, name := range []string{"raw", "numbers", "wavs"} {
			out, err := r.names[name].extract(new(work), &Batch{Entries: body})
			if err != nil || &out.data[len(out.data)-1] != &body[len(body)-1] {
				t.Errorf("%s copies its data: %q, %v", name, out.data, err)
			}
		}
	}
}

func TestExtract(t *testing.T) {
	t.Parallel()
	type m = map[string]any
	for _, c := range []struct {
		policy  string
		entries []byte
		want    string
		refused string // reasons and numbers of entries
	}{
		{"numbers", entry("1,2"), "1,2", ""},
		{"numbers", join(entry("1"), entry("2")), "12", ""},
		{"numbers", entry([]byte("1\n")), "1\n", ""},
		{"numbers", entry(""), "", ""},
		{"numbers", entry(m{"message": "1"}), "1\n", ""},
		{"numbers", entry(m{"message": "1\n"}), "1\n", ""},
		{"numbers", entry(m{"message": ""}), "\n", ""},
		{"numbers", join(entry(m{"value": 1}), entry(m{"value": -2.5}), entry(m{"value": uint64(1 << 63)})), "1\n-2.5\n9223372036854775808\n", ""},
		{"numbers", entry(m{"value": float32(0.1)}), "0.1\n", ""},
		{"numbers", join(entry(1e20), entry(1e21), entry(1e-7), entry(0.0)), "100000000000000000000\n1e+21\n1e-07\n0\n", ""},
		{"numbers", entry(m{"x": "only"}), "only\n", ""},
		{"numbers", entry(m{"value": "v", "data": "d", "a": "a"}), "d\n", ""},
		{"numbers", entry(m{"log": "l", "text": "t"}), "l\n", ""},
		{"numbers", []byte{0x92, 0, 0x82, 0xa3, 'l', 'o', 'g', 0xa1, '1', 0xa3, 'l', 'o', 'g', 0xa1, '2'}, "2\n", ""},
		{"numbers", []byte{0x92, 0, 0x81, 0xc4, 3, 'l', 'o', 'g', 0xa1, '1'}, "1\n", ""},
		{"numbers", []byte{0x92, 0x92, 1, 0x80, 0xa1, '1'}, "1", ""},
		{"numbers", join(entry("a"), entry(m{"a": 1, "b": 2}), entry(m{}), entry("b")), "ab", "no-field:2"},
		{"numbers", join(entry(m{"log": nil}), entry(true), entry([]any{1}), entry(m{"log": m{}}), entry("x")), "x", "bad-value:4"},
		{"numbers", join(entry("x"), []byte{0x92, 0xd7, 0, 255, 255, 255, 255, 0, 0, 0, 0, 0x80}, entry("y")), "xy", "group-marker:1"},
		{"numbers", join(entry("x"), []byte{0x91, 1}, entry("y")), "xy", "bad-entry:1"},
		{"numbers", join(entry("x"), []byte{0x92, 1}), "x", "bad-entry:1"},
		{"named", entry(m{"line": "l", "message": "m"}), "l\n", ""},
		{"named", join(entry(m{"message": "m"}), entry("s")), "s", "no-field:1"},
		{"named", []byte{0x92, 0, 0x82, 0xa4, 'l', 'i', 'n', 'e', 0xa1, '1', 0xa4, 'l', 'i', 'n', 'e', 0xa1, '2'}, "2\n", ""},
		{"wavs", join(entry(m{"message": "RI"}), entry(m{"message": []byte("FF\x00")})), "RIFF\x00", ""},
		{"wavs", join(entry("a"), entry(m{"data": "b"}), entry(m{"data": 7})), "ab7", ""},
	} {
		s := openStore(t, vfs.NewMem(64<<20))
		r := newRouter(t, s, everyKeep...)
		k := keep(r, Batch{Tag: c.policy + ".x", Entries: c.entries, ID: []byte("id")}, true)
		if k.Err != nil {
			t.Errorf("%x: %v", c.entries, k.Err)
		}
		if got := string(streamBytes(t, s, c.policy+".x")); got != c.want {
			t.Errorf("%x: got %q, want %q", c.entries, got, c.want)
		}
		var refused []string
		for reason, n := range r.Stats().Refused {
			refused = append(refused, fmt.Sprintf("%s:%d", reason, n.Records))
		}
		if got := strings.Join(refused, " "); got != c.refused || k.Dead != len(refused) {
			t.Errorf("%x: refused %q in %d letters, want %q", c.entries, got, k.Dead, c.refused)
		}
	}
}

func TestRaw(t *testing.T) {
	t.Parallel()
	two := join(entry(map[string]any{"value": 1}), entry(map[string]any{"value": 2}))
	for _, c := range []struct{ tag, body, want, says string }{
		{"raw.x", "anything\xc1", "anything\xc1", ""},
		{"raw.x", string(two[:5]), string(two[:5]), ""},
		{"numbers.x", "1,2\n3", "1,2\n3", ""},
		{"numbers.x", string(two), "1\n2\n", ""},
		{"numbers.x", string(two[:len(two)-1]), "", "entry 1 at byte 10"},
		{"numbers.x", "\x92", "", "entry 0 at byte 0"},
		{"wavs.x", "RIFF\x92\x00", "RIFF\x92\x00", ""},
		{"wavs.x", "\x92\x00", "\x92\x00", ""},
		{"wavs.x", string(entry("RIFF")), "RIFF", ""},
		{"metrics.x", string(two), string(two), ""},
		{"metrics.x", string(two[:len(two)-1]), "", "entry 1 at byte 10"},
		{"metrics.x", "1,2\n", "", "entry 0 at byte 0"},
		{"numbers.x", string(join(two, entry(true))), "", "entry 2: value is no text"},
	} {
		s := openStore(t, vfs.NewMem(64<<20))
		k := keep(newRouter(t, s, everyKeep...), Batch{Tag: c.tag, Entries: []byte(c.body), Raw: true}, false)
		if got := string(streamBytes(t, s, c.tag)); got != c.want {
			t.Errorf("%s %q: got %q, want %q", c.tag, c.body, got, c.want)
		}
		if c.says == "" && k.Err != nil {
			t.Errorf("%s %q: %v", c.tag, c.body, k.Err)
		}
		if c.says != "" && (!errors.Is(k.Err, ErrData) || !strings.Contains(k.Err.Error(), c.says) || k.Stream != nil) {
			t.Errorf("%s %q: got %v, want an error with %q", c.tag, c.body, k.Err, c.says)
		}
	}
}

// refusals are batches that no stream takes, with the error for a sender that
// can be told and the dead letters' stream for one that cannot.
var refusals = []struct {
	name   string
	batch  Batch
	err    error
	says   string
	dead   string
	reason string
}{
	{"unmatched", Batch{Tag: "other.x"}, ErrUnmatched, "raw (raw.**)", "_dead", "unmatched-tag"},
	{"unknown policy", Batch{Tag: "raw.x", Policy: "rwa"}, ErrUnknownPolicy, "raw, numbers", "_dead", "unknown-policy"},
	{"no tag", Batch{}, ErrTag, "empty", "_dead", "bad-tag"},
	{"no tag, policy", Batch{Policy: "raw"}, ErrTag, "empty", "_dead", "bad-tag"},
	{"long tag", Batch{Tag: "raw." + strings.Repeat("x", 1024)}, ErrTag, "1028 bytes", "_dead", "bad-tag"},
	{"weir's tag", Batch{Tag: "_dead.raw", Policy: "raw"}, ErrTag, "begins with _", "_dead", "bad-tag"},
	{"too large", Batch{Tag: "small.x"}, ErrTooLarge, "takes 5", "_dead.small", "too-large"},
	{"conflict", Batch{Tag: "numbers.x", Policy: "raw"}, ErrConflict, `made by policy "numbers"`, "_dead.raw", "other-policy"},
	{"bad part", Batch{Tag: "raw.x", Refused: []Refused{{Reason: "bad-record", Detail: "no map", Data: []byte("x")}}}, ErrData, "no map", "_dead.raw", "bad-record"},
	{"bad record", Batch{Tag: "named.x"}, ErrData, `no field "line"`, "_dead.named", "no-field"},
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for _, c := range refusals {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := openStore(t, vfs.NewMem(64<<20))
			r := newRouter(t, s, everyKeep...)
			if k := keep(r, Batch{Tag: "numbers.x", Entries: entry("1")}, false); k.Err != nil {
				t.Fatal(k.Err)
			}
			b := c.batch
			b.Entries, b.ID, b.Records = entry(map[string]any{"a": 1, "b": 2}), []byte("id"), 1
			before := s.Stats().Records
			k := keep(r, b, false)
			if !errors.Is(k.Err, c.err) || !strings.Contains(k.Err.Error(), c.says) || k.Stream != nil || k.Dead != 0 {
				t.Errorf("got %+v, want an error with %q", k, c.says)
			}
			if s.Stats().Records != before {
				t.Error("something was kept")
			}
			if n := r.Stats().Refused; len(n) != 1 {
				t.Errorf("counted %v", n)
			}
		})
	}
}

func TestAccepted(t *testing.T) {
	t.Parallel()
	for _, c := range refusals {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			fs := vfs.NewMem(64 << 20)
			s := openStore(t, fs)
			r := newRouter(t, s, everyKeep...)
			if k := keep(r, Batch{Tag: "numbers.x", Entries: entry("1")}, false); k.Err != nil {
				t.Fatal(k.Err)
			}
			b := c.batch
			b.Entries, b.ID, b.Records, b.Peer = entry(map[string]any{"a": 1, "b": 2}), []byte("id"), 1, "192.0.2.1:5"
			for round := range 3 {
				if round == 2 { // after a restart
					s.Close()
					s = openStore(t, fs)
					r = newRouter(t, s, everyKeep...)
				}
				k := keep(r, b, true)
				if k.Err != nil || k.Dead != 1 || k.Duplicate != (round > 0) {
					t.Fatalf("round %d: got %+v", round, k)
				}
				letters := readLetters(t, streamBytes(t, s, c.dead))
				if len(letters) != 1 {
					t.Fatalf("round %d: %d letters", round, len(letters))
				}
				l := letters[0]
				if l["reason"] != c.reason || l["tag"] != b.Tag || l["peer"] != b.Peer || l["detail"] == "" {
					t.Errorf("got %v", l)
				}
				want := b.Entries
				if len(b.Refused) > 0 {
					want = b.Refused[0].Data
				}
				if !bytes.Equal(l["data"].([]byte), want) {
					t.Errorf("got %x, want %x", l["data"], want)
				}
				if n := r.Stats().Refused[c.reason]; round == 0 && (n.Records != 1 || n.Bytes != int64(len(want))) {
					t.Errorf("counted %+v", n)
				}
			}
		})
	}
}

// readLetters reads the entries of a dead letter stream.
func readLetters(t *testing.T, b []byte) (out []map[string]any) {
	t.Helper()
	for len(b) > 0 {
		v, rest, err := msgp.ReadIntfBytes(b)
		if err != nil {
			t.Fatal(err)
		}
		out, b = append(out, v.([]any)[1].(map[string]any)), rest
	}
	return out
}

// Data, bad parts and what has no policy are durable with one commit.
func TestOneCommit(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem(64<<20))
	r := newRouter(t, s, everyKeep...)
	var batches []Batch
	for i := range 50 {
		batches = append(batches,
			Batch{Tag: fmt.Sprintf("raw.%d", i%7), Entries: entry(i), Records: 1},
			Batch{Tag: "named.x", Entries: join(entry("a"), entry(map[string]any{"x": 1}))},
			Batch{Tag: "lost", Entries: entry(i), Refused: []Refused{{Reason: "bad-record", Data: []byte("y")}}})
	}
	kept := make([]Kept, len(batches))
	before := s.Stats()
	r.Keep(context.Background(), batches, kept, true)
	after := s.Stats()
	if n := after.Commits - before.Commits; n != 1 {
		t.Errorf("%d commits", n)
	}
	if n := after.Records - before.Records; n != 50+100+100 {
		t.Errorf("%d records", n)
	}
	dead := 0
	for _, k := range kept {
		if k.Err != nil {
			t.Fatal(k.Err)
		}
		dead += k.Dead
	}
	if dead != 150 {
		t.Errorf("%d dead letters", dead)
	}
	st := r.Stats()
	if st.Policies["raw"].Batches != 50 || st.Policies["raw"].Records != 50 || st.Policies["named"].Dead != 50 ||
		st.Policies["named"].Bytes != 50 || st.Unmatched["lost"] != 50 || st.Refused["bad-record"].Bytes != 50 {
		t.Errorf("got %+v", st)
	}
	if !bytes.Equal(streamBytes(t, s, "named.x"), bytes.Repeat([]byte("a"), 50)) {
		t.Error("the order or the text is wrong")
	}
}

func TestDuplicates(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem(64 << 20)
	s := openStore(t, fs)
	r := newRouter(t, s, everyKeep...)
	for _, c := range []struct {
		tag, id, data string
		duplicate     bool
	}{
		{"raw.a", "1", "x", false},
		{"raw.a", "1", "x", true},
		{"raw.a", "2", "x", false},
		{"raw.b", "1", "x", false},
		{"raw.a", "", "x", false},
		{"raw.a", "", "x", false},
		{"equal.a", "", "x", false},
		{"equal.a", "7", "x", true},
		{"equal.a", "", "y", false},
		{"equal.b", "", "x", false},
	} {
		k := keep(r, Batch{Tag: c.tag, Entries: entry(c.data), ID: []byte(c.id)}, false)
		if k.Err != nil || k.Duplicate != c.duplicate {
			t.Errorf("%+v: got %+v", c, k)
		}
	}
	s.Close()
	s = openStore(t, fs)
	k := keep(newRouter(t, s, everyKeep...), Batch{Tag: "raw.a", Entries: entry("x"), ID: []byte("1")}, false)
	if k.Err != nil || !k.Duplicate || k.Offset != 0 || k.Length != 4 {
		t.Errorf("after a restart: %+v", k)
	}
	if n := len(streamBytes(t, s, "raw.a")); n != 4*4 {
		t.Errorf("the stream has %d bytes", n)
	}
}

// A chunk of nothing but bad records is one letter, made in one pass.
func TestManyRefused(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem(64<<20))
	r := newRouter(t, s, everyKeep...)
	const n = 200_000
	one := entry(map[string]any{"a": 1, "b": 2})
	body := bytes.Repeat(one, n)
	k := keep(r, Batch{Tag: "named.x", Entries: body, ID: []byte("id")}, true)
	if k.Err != nil || k.Dead != 1 || k.Stream != nil {
		t.Fatalf("got %+v", k)
	}
	letters := readLetters(t, streamBytes(t, s, "_dead.named"))
	if len(letters) != 1 || !bytes.Equal(letters[0]["data"].([]byte), body) {
		t.Errorf("%d letters, or other bytes", len(letters))
	}
	if c := r.Stats().Refused["no-field"]; c.Records != n || c.Bytes != int64(len(body)) {
		t.Errorf("counted %+v", c)
	}
	if !bytes.Equal(body, bytes.Repeat(one, n)) {
		t.Error("the batch was written to")
	}
}

// One chunk that comes by many connections at once is stored once.
func TestSameChunkAtOnce(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem(64<<20))
	r := newRouter(t, s, everyKeep...)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := range 20 {
				id := fmt.Appendf(nil, "chunk %d", i)
				k := keep(r, Batch{Tag: "named.x", Entries: join(entry("a"), entry(map[string]any{"b": 1})), ID: id}, true)
				if k.Err != nil || k.Dead != 1 {
					t.Errorf("got %+v", k)
				}
			}
		})
	}
	wg.Wait()
	if got := streamBytes(t, s, "named.x"); string(got) != strings.Repeat("a", 20) {
		t.Errorf("got %q", got)
	}
	if n := len(readLetters(t, streamBytes(t, s, "_dead.named"))); n != 20 {
		t.Errorf("%d letters", n)
	}
	if p := r.Stats().Policies["named"]; p.Dead != 20 || p.Duplicates != 15*20 || p.Batches != 16*20 {
		t.Errorf("counted %+v", p)
	}
}

// A group marker is no event, so no sender is refused for it.
func TestMarkerIsNoError(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem(64<<20))
	marker := []byte{0x92, 0xd7, 0, 255, 255, 255, 254, 0, 0, 0, 0, 0x80}
	k := keep(newRouter(t, s, everyKeep...), Batch{Tag: "numbers.x", Entries: join(entry("1\n"), marker), Raw: true}, false)
	if k.Err != nil || k.Dead != 1 || k.Length != 2 {
		t.Errorf("got %+v", k)
	}
	if l := readLetters(t, streamBytes(t, s, "_dead.numbers")); len(l) != 1 || !bytes.Equal(l[0]["data"].([]byte), marker) {
		t.Errorf("got %v", l)
	}
}

// Letters of one batch do not hide each other.
func TestLettersOfOneBatch(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem(64<<20))
	r := newRouter(t, s, everyKeep...)
	part := func(reason string) Refused { return Refused{Reason: reason, Data: []byte(reason)} }
	for _, parts := range [][]Refused{
		{part("a"), part("a")}, {part("b")}, {part("a"), part("a")}, {part("b"), part("a")},
	} {
		if k := keep(r, Batch{Tag: "raw.x", ID: []byte("id"), Refused: parts}, true); k.Err != nil || k.Dead != len(parts) {
			t.Errorf("got %+v", k)
		}
	}
	if n := len(readLetters(t, streamBytes(t, s, "_dead.raw"))); n != 3 {
		t.Errorf("%d letters, want 3", n)
	}
}

// A listener uses the bytes of a tag again after Keep.
func TestTagIsCopied(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem(64<<20))
	r := newRouter(t, s, everyKeep...)
	tag := []byte("raw.first")
	if k := keep(r, Batch{Tag: unsafe.String(&tag[0], len(tag)), Entries: entry("a")}, true); k.Err != nil {
		t.Fatal(k.Err)
	}
	copy(tag, "raw.other")
	for _, name := range []string{"raw.first", "raw.other"} {
		if k := keep(r, Batch{Tag: name, Entries: entry("b")}, true); k.Err != nil || k.Stream.Name() != name {
			t.Errorf("%s: got %+v", name, k)
		}
	}
	if got := streamBytes(t, s, "raw.first"); !bytes.Equal(got, join(entry("a"), entry("b"))) {
		t.Errorf("got %x", got)
	}
}

func TestNothingToKeep(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem(64<<20))
	r := newRouter(t, s, everyKeep...)
	r.Keep(context.Background(), nil, nil, true)
	for _, b := range []Batch{{Tag: "raw.x"}, {Tag: "numbers.x", Raw: true}, {Tag: "metrics.x", Raw: true}} {
		if k := keep(r, b, false); k.Err != nil || k.Stream != nil || k.Length != 0 {
			t.Errorf("%+v: got %+v", b, k)
		}
	}
	if n := s.Stats().Records; n != 0 {
		t.Errorf("%d records", n)
	}
}

// Without a durable append there is no ack, whatever a batch holds.
func TestAppendFails(t *testing.T) {
	t.Parallel()
	for _, accepted := range []bool{false, true} {
		fs := &brokenFS{FS: vfs.NewMem(64 << 20)}
		s := openStore(t, fs)
		r := newRouter(t, s, everyKeep...)
		if k := keep(r, Batch{Tag: "raw.x", Entries: entry("ok")}, accepted); k.Err != nil {
			t.Fatal(k.Err)
		}
		fs.broken.Store(true)
		batches := []Batch{
			{Tag: "raw.x", Entries: entry("a"), ID: []byte("1")},
			{Tag: "nobody's", Entries: entry("b")},
			{Tag: "named.x", Entries: entry(map[string]any{"x": 1})},
			{Tag: "raw.x", Refused: []Refused{{Reason: "bad-record", Data: []byte("x")}}},
		}
		kept := make([]Kept, len(batches))
		r.Keep(context.Background(), batches, kept, accepted)
		for i, k := range kept {
			if k.Err == nil {
				t.Errorf("accepted %v: batch %d has no error", accepted, i)
			}
		}
		if r.Stats().Refused["outcome-unknown"].Bytes == 0 {
			t.Error("not counted")
		}
		if err := r.DeadLetter(context.Background(), Dead{Policy: "raw", Data: []byte("x")}); err == nil {
			t.Error("a dead letter was kept on a broken disk")
		}
	}
}

func TestClosedAndCanceled(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem(64<<20))
	r := newRouter(t, s, everyKeep...)
	s.Close()
	k := keep(r, Batch{Tag: "raw.x", Entries: entry("a")}, true)
	if !errors.Is(k.Err, streams.ErrClosed) || k.Dead != 0 {
		t.Errorf("got %+v", k)
	}
}
