package policies

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tinylib/msgp/msgp"

	"weir/buckets"
	"weir/internal/vfs"
)

// record is an entry [0, map]; fields are names and values in turn.
func record(fields ...string) []byte {
	b := msgp.AppendMapHeader([]byte{0x92, 0}, uint32(len(fields)/2))
	for _, f := range fields {
		b = msgp.AppendString(b, f)
	}
	return b
}

func TestKeepBuckets(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem(64<<20))
	r := newRouter(t, s,
		Policy{Name: "drones", Match: "drone.**", Keep: Buckets},
		Policy{Name: "named", Match: "named.**", Keep: Buckets, Key: "id", Field: "text"},
		Policy{Name: "mqtt", Match: "mqtt.**", Keep: Messages})
	for _, b := range []Batch{
		{Tag: "drone.1", Entries: join(record("filepath", "/a/b/one.csv", "message", "1"), record("filepath", "two.csv", "message", "x"), record("filepath", "/c/one.csv", "message", "2"))},
		{Tag: "drone.1", Entries: record("filepath", "/a/b/one.csv", "message", "3"), Raw: true},
		{Tag: "named.1", Entries: record("id", "k", "other", "", "text", "v")},
		{Tag: "mqtt.1", Entries: join(record("topic", "room/t", "payload", "21"), record("topic", "room/t", "payload", "22"))},
		{Tag: "mqtt.1", Entries: join([]byte{0x92, 0, 0x82}, msgp.AppendString(nil, "topic"), msgp.AppendString(nil, "dict"), msgp.AppendString(nil, "payload"), []byte{0x81, 0xa1, 'v', 0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0})},
	} {
		if k := keep(r, b, false); k.Err != nil {
			t.Fatalf("%s: %v", b.Tag, k.Err)
		}
	}
	store := buckets.New(s, nil)
	for _, c := range []struct{ stream, key, want string }{
		{"drone.1", "one.csv", "3"}, {"drone.1", "two.csv", "x"}, {"named.1", "k", "v"}, {"mqtt.1", "room/t", "22"}, {"mqtt.1", "dict", "{'v': 1.5}"},
	} {
		st, ok := s.Stream(c.stream)
		if !ok {
			t.Fatal(c.stream)
		}
		v, err := store.ByKey(st, strings.HasPrefix(c.stream, "mqtt"), c.key)
		if err != nil {
			t.Errorf("%s: %v", c.key, err)
			continue
		}
		got := make([]byte, v.Size)
		if _, err := st.ReadAt(v.Generation, got, v.Offset); string(got) != c.want || err != nil && v.Size > 0 && string(got) != c.want {
			t.Errorf("%s of %s is %q, %v", c.key, c.stream, got, err)
		}
	}
	st, _ := s.Stream("drone.1")
	if v, err := store.ByIndex(st, false, 1); err != nil || v.Key != "two.csv" || !v.Time.Equal(time.Unix(0, 0)) {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestBucketsRefuse(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem(64<<20))
	r := newRouter(t, s, Policy{Name: "b", Match: "b.**", Keep: Buckets}, Policy{Name: "m", Match: "m.**", Keep: Messages}, Policy{Name: "d", Match: "d.**", Keep: Decoded})
	for _, c := range []struct {
		tag     string
		entries []byte
		says    string
	}{
		{"b.1", record("filepath", "x"), `no fields "filepath" and "message"`},
		{"b.1", record("message", "x"), `no fields`},
		{"b.1", record("filepath", "", "message", "x"), "no key"},
		{"b.1", record("filepath", "/", "message", "x"), "no key"},
		{"b.1", record("filepath", strings.Repeat("k", 2000), "message", "x"), "no key"},
		{"b.1", record("filepath", "a/b\xff", "message", "x"), "no UTF-8"},
		{"m.1", record("topic", "\xff", "payload", "x"), "no UTF-8"},
		{"b.1", []byte{0x92, 0, 0xa1, 'x'}, "no map"},
		{"b.1", join([]byte{0x92, 0, 0x82}, msgp.AppendString(nil, "filepath"), []byte{1}, msgp.AppendString(nil, "message"), []byte{1}), "is no text"},
		{"b.1", []byte("no msgpack"), "back to back"},
		{"m.1", record("topic", "x"), "payload"},
		{"m.1", []byte("no msgpack"), "back to back"},
		{"d.1", []byte("no msgpack"), "back to back"},
	} {
		k := keep(r, Batch{Tag: c.tag, Entries: c.entries, Raw: true}, false)
		if !errors.Is(k.Err, ErrData) || !strings.Contains(fmt.Sprint(k.Err), c.says) {
			t.Errorf("%s %q: %v, want %q", c.tag, c.entries, k.Err, c.says)
		}
		if b := streamBytes(t, s, c.tag); len(b) > 0 {
			t.Errorf("%s holds %q", c.tag, b)
		}
	}
	// A sender that cannot be told: the good record is kept, the bad one a dead letter.
	k := keep(r, Batch{Tag: "b.2", Entries: join(record("filepath", "x", "message", "y"), record("other", "z")), Records: 2}, true)
	if k.Err != nil || k.Dead != 1 || k.Length == 0 {
		t.Errorf("%+v", k)
	}
	if _, _, err := r.Target("b.file"); !errors.Is(err, ErrData) {
		t.Errorf("a file goes to buckets: %v", err)
	}
	if bad := (Policy{Name: "x", Match: "x", Keep: Text, Key: "k"}).Validate(); bad["key"] == nil {
		t.Error("a policy of text has a key")
	}
	if bad := (Policy{Name: "x", Match: "x", Keep: Decoded, Field: "k"}).Validate(); bad["field"] == nil {
		t.Error("a policy of whole records has a field")
	}
}

func TestKeepDecoded(t *testing.T) {
	t.Parallel()
	s := openStore(t, vfs.NewMem(64<<20))
	r := newRouter(t, s, Policy{Name: "d", Match: "d.**", Keep: Decoded})
	text := strings.Repeat("0,1,2\n", 100)
	for _, e := range [][]byte{join([]byte{0x92, 0}, msgp.AppendString(nil, text)), join(record("a", "b"), []byte{0x92, 0, 7}, record())} {
		if k := keep(r, Batch{Tag: "d.1", Entries: e, Raw: true}, false); k.Err != nil {
			t.Fatal(k.Err)
		}
	}
	if got := string(streamBytes(t, s, "d.1")); got != text+"{'a': 'b'}7{}" {
		t.Errorf("the stream holds %q", got)
	}
}
