package forward

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"path/filepath"
	"testing"

	"github.com/tinylib/msgp/msgp"
)

// seeds adds the inputs of the acceptance table and of the shorter recorded
// conversations.
func seeds(f *testing.F) {
	f.Helper()
	for _, a := range acceptances() {
		f.Add(a.in)
	}
	files, _ := filepath.Glob("testdata/conversations/*.txt")
	for _, name := range files {
		c := readConversation(f, name)
		for conn := 1; conn <= 3; conn++ {
			if b := c.side(conn, true); len(b) > 0 && len(b) < 4<<10 {
				f.Add(b)
			}
		}
	}
}

// fuzzed makes a decoder that is bounded tightly.
func fuzzed() *decoder {
	o := Options{MaxInflated: 1 << 20, MaxMessage: 1 << 20}.withDefaults()
	o.MaxInflated, o.MaxMessage = 1<<20, 1<<20
	return &decoder{
		o: &o, count: &counters{}, inflate: newInflaters(1).inflate,
		arena: arena{lease: &lease{budget: &budget{max: 1 << 30}}},
	}
}

// FuzzFrame decodes a frame, compares its end with msgp's opinion and with
// the scanner's, fed in parts, and checks what a message promises.
func FuzzFrame(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if KindOf(b) != KindArray {
			return
		}
		var fr frame
		n, st := fr.parse(b, false)
		sc := scanner{left: 1}
		var sn uint64
		sst := short
		for i := 0; sst == short && i <= len(b); i += 1 + i/8 {
			sn, sst = sc.run(b[:i])
		}
		if sst == short {
			sn, sst = sc.run(b)
		}
		if st != deep && (sst != st || st == whole && sn != uint64(n)) {
			t.Fatalf("parse ends %d with %d, the scanner %d with %d", st, n, sst, sn)
		}
		rest, err := msgp.Skip(b)
		if st == whole && (err != nil || len(rest) != len(b)-n) {
			t.Fatalf("parse takes %d bytes, msgp leaves %d, %v", n, len(rest), err)
		}
		if st != whole || fr.fault != "" {
			return
		}
		d := fuzzed()
		raw := bytes.Clone(b[:n:n])
		if err := d.add(&fr, raw); err != nil {
			return
		}
		// fr points into b; what is decoded from a copy must be the same.
		promised(t, &d.msgs[0])
	})
}

// promised checks a message by another decoder of msgpack.
func promised(t *testing.T, m *Message) {
	t.Helper()
	if m.Signal != 0 {
		return
	}
	n := 0
	for rest := m.Entries; len(rest) > 0; n++ {
		e, next, err := Next(rest)
		if err != nil || KindOf(e.Record) != KindMap {
			t.Fatalf("entry %d: %v", n, err)
		}
		if left, err := msgp.Skip(e.Record); err != nil || len(left) > 0 {
			t.Fatalf("entry %d: msgp: %v", n, err)
		}
		rest = next
	}
	if checked, _, err := Check(m.Entries); n != m.Records || checked != n || err != nil {
		t.Fatalf("%d entries, %d said, %d checked, %v", n, m.Records, checked, err)
	}
}

// FuzzConn plays bytes to a connection: it comes to an end, with nothing in
// flight, whatever they are.
func FuzzConn(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		k := &keeper{}
		s, err := NewServer(Options{Handler: k, MaxMessage: 64 << 10, MaxInflated: 256 << 10, MaxBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		talk := connect(t, s)
		talk.send(b, 0)
		talk.finish()
		talk.pipe.Close()
		s.done.Wait()
		if n := s.Stats().InFlight; n != 0 {
			t.Fatalf("%d bytes in flight", n)
		}
		for _, m := range k.kept() {
			promised(t, &m)
		}
	})
}

// FuzzPing takes PINGs: without the key none is right.
func FuzzPing(f *testing.F) {
	f.Add(pinged([]byte("nonce"), []byte("auth"), "key", "user", "password"))
	f.Add(pack(list{[]byte("PING"), "", "", "", nil, nil}))
	f.Add([]byte("\x96\xa4PING\xdb\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, st := skip(b, 0, 1, 0); st != whole {
			return
		}
		p, err := parsePing(b)
		if err != nil {
			return
		}
		sec := &Security{Hostname: "h", SharedKey: "unguessable", UserAuth: true, Users: []User{{"u", "p"}}}
		var d *denial
		if err := sec.verify(&p, &challenge{}, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}); !errors.As(err, &d) {
			t.Fatalf("taken: %q", b)
		}
	})
}

// FuzzInflate decompresses: never more than the limit.
func FuzzInflate(f *testing.F) {
	f.Add(zip(two, nil, two), true)
	f.Add(zstandard(two, nil, two), false)
	f.Add(zip(make([]byte, 1<<16)), true)
	f.Add(zstandard(make([]byte, 1<<16)), false)
	f.Fuzz(func(t *testing.T, b []byte, gz bool) {
		a := arena{lease: &lease{budget: &budget{max: 1 << 30}}}
		method := methodZstd
		if gz {
			method = methodGzip
		}
		a.begin()
		err := newInflaters(1).inflate(&a, b, method, 10_000)
		if a.size() > 10_001 || err == nil && a.size() > 10_000 || a.held > 1<<20 {
			t.Fatalf("%d bytes came out, %d are held, %v", a.size(), a.held, err)
		}
	})
}

// FuzzJSON packs JSON and compares it with encoding/json.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`["t",1,{"a":1,"a":{"b":[1,2.5,-7,18446744073709551615,null,true,"\u00e9"]}}]`, `["t",-0,{"a":-0.0}]`, `{"":[[],{}]}`, `[1e5,"\ud800"]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 || b[0] != '[' && b[0] != '{' {
			return
		}
		var sc jsonScanner
		if !sc.run(b) {
			return
		}
		b = b[:sc.p]
		d := fuzzed()
		d.arena.begin()
		packed, err := d.pack(b)
		if err != nil {
			return
		}
		if n, st := skip(packed, 0, 1, -2); st != whole || n != len(packed) {
			t.Fatalf("%q gives %x", b, packed)
		}
		var want any
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatalf("%q is packed, encoding/json says %v", b, err)
		}
		got, _, err := msgp.ReadIntfBytes(packed)
		if err != nil {
			t.Fatal(err)
		}
		one, _ := json.Marshal(got)
		var again any
		if err := json.Unmarshal(one, &again); err != nil {
			t.Fatal(err)
		}
		first, _ := json.Marshal(withoutMinusZero(again))
		second, _ := json.Marshal(withoutMinusZero(want))
		if !bytes.Equal(first, second) {
			t.Fatalf("%q gives %s, want %s", b, first, second)
		}
	})
}

// withoutMinusZero makes 0 of each -0 in a value: an integer -0 is packed as 0.
func withoutMinusZero(v any) any {
	switch v := v.(type) {
	case float64:
		return v + 0
	case []any:
		for i := range v {
			v[i] = withoutMinusZero(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = withoutMinusZero(v[k])
		}
	}
	return v
}
