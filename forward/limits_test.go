package forward

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// lockedBuffer is a log that several connections write to.
type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

// sized packs a message with a chunk, of exactly n bytes on the wire.
func sized(t *testing.T, n int, id string) []byte {
	t.Helper()
	e := func(text string) []byte {
		return pack(list{"t", pack(list{at, pairs{"a", text}}), pairs{"chunk", id}})
	}
	text := strings.Repeat("x", n-len(e(""))) // heads may be wider with more text
	for text = text[:n-len(e(text))+len(text)]; len(e(text)) < n; text += "x" {
	}
	if b := e(text); len(b) == n {
		return b
	}
	t.Fatalf("no message of %d bytes", n)
	return nil
}

func TestMessageLimits(t *testing.T) {
	t.Parallel()
	small := Options{MaxMessage: 2000, WarnMessage: 500}
	large := Options{WarnMessage: 16 << 20}
	for _, c := range []struct {
		name    string
		o       Options
		in      []byte
		kept    int
		acks    string
		refused int64 // messages
		log     string
	}{
		{"below both", small, sized(t, 499, "1"), 1, ack("1"), 0, ""},
		{"at the warn limit", small, sized(t, 500, "1"), 1, ack("1"), 0, "chunk_size_warn_limit"},
		{"at the limit", small, sized(t, 2000, "1"), 1, ack("1"), 0, "chunk_size_warn_limit"},
		{"above the limit", small, append(sized(t, 400, "1"), sized(t, 2001, "2")...), 1, ack("1"), 1, "chunk_size_limit"},
		{"two in one read", Options{MaxMessage: 2000}, append(sized(t, 1500, "1"), sized(t, 1500, "2")...), 2, ack("1") + ack("2"), 0, ""},
		{"announced", small, []byte("\x93\xa1t\xdb\x7f\xff\xff\xff"), 0, "", 1, "chunk_size_limit"},
		{"entries announced", small, []byte("\x93\xa1t\xdd\x7f\xff\xff\xff\x92"), 0, "", 1, "chunk_size_limit"},
		{"large, warned", large, sized(t, 16<<20+285, "1"), 1, ack("1"), 0, "chunk_size_warn_limit"},
		{"large, limited", Options{MaxMessage: 16 << 20}, sized(t, 16<<20+1, "1"), 0, "", 1, "chunk_size_limit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var log lockedBuffer
			k := &keeper{}
			c.o.Handler, c.o.Log = k, slog.New(slog.NewTextHandler(&log, nil))
			s, err := NewServer(c.o)
			if err != nil {
				t.Fatal(err)
			}
			talk := connect(t, s)
			talk.send(c.in, 64<<10)
			if got := talk.finish(); string(got) != c.acks {
				t.Errorf("answer %q, want %q", got, c.acks)
			}
			s.done.Wait()
			if n := len(k.kept()); n != c.kept {
				t.Errorf("kept %d, want %d", n, c.kept)
			}
			if n := s.Stats(); n.Refused["too-large"].Messages != c.refused || n.InFlight != 0 || n.Connections != 0 {
				t.Errorf("stats %+v", n)
			}
			if !strings.Contains(log.String(), c.log) || c.log == "" && log.String() != "" || strings.Count(log.String(), "\n") > 1 {
				t.Errorf("log %q, want %q", log.String(), c.log)
			}
		})
	}
}

func TestInflatedLimit(t *testing.T) {
	t.Parallel()
	var members [][]byte
	for range 20 {
		members = append(members, pack(list{at, pairs{"a", strings.Repeat("x", 1000)}}))
	}
	all := bytes.Join(members, nil)
	bomb := make([]byte, 64<<20)
	for _, c := range []struct {
		name   string
		method string
		body   []byte
		limit  int64
		ok     bool
	}{
		{"members below", "gzip", zip(members...), int64(len(all)), true},
		{"members above together", "gzip", zip(members...), 5 << 10, false},
		{"one above by a byte", "gzip", zip(all), int64(len(all)) - 1, false},
		{"frames below", "zstd", zstandard(members...), int64(len(all)), true},
		{"frames above together", "zstd", zstandard(members...), 5 << 10, false},
		{"gzip bomb", "gzip", zip(bomb), 1 << 20, false},
		{"zstd bomb", "zstd", zstandard(bomb), 1 << 20, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var log lockedBuffer
			k := &keeper{}
			s, err := NewServer(Options{Handler: k, MaxInflated: c.limit, Log: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			talk := connect(t, s)
			talk.send(pack(list{"t", c.body, pairs{"compressed", c.method, "chunk", "1"}}), 0)
			want := ""
			if c.ok {
				want = ack("1")
			}
			if got := talk.finish(); string(got) != want {
				t.Errorf("answer %q", got)
			}
			s.done.Wait()
			n := s.Stats()
			if (n.Records == 20) != c.ok || (n.Refused["inflated-too-large"].Messages == 1) == c.ok || n.InFlight != 0 {
				t.Errorf("stats %+v", n)
			}
			if c.ok != (log.String() == "") || !c.ok && !strings.Contains(log.String(), `tag \"t\"`) {
				t.Errorf("log %q", log.String())
			}
		})
	}
}

// TestInflateHoldsLittle inflates with as much memory as each payload may need
// and no more: one that is too large is refused before it has a place, the
// others get one of about their size, also when their beginning misleads.
func TestInflateHoldsLittle(t *testing.T) {
	t.Parallel()
	const limit = 32 << 20
	noise := make([]byte, 6<<20)
	rand.NewChaCha8([32]byte{}).Read(noise)
	gone := make(chan struct{})
	close(gone)
	for _, c := range []struct {
		name  string
		data  []byte
		most  int64 // bytes that may be held at once
		fails error
	}{
		{"small", noise[:1000], minArena, nil},
		{"some MiB", noise[:countFrom-1], 3 * countFrom, nil},
		{"evenly", bytes.Repeat([]byte("even "), 2<<20), 11<<20 + 2*countFrom, nil},
		{"more than its beginning said", append(noise, make([]byte, 20<<20)...), 26 << 20, nil},
		{"less than its beginning said", append(make([]byte, 6<<20), noise...), 12 << 20, nil},
		{"as much as may be", append(noise, make([]byte, limit-len(noise))...), limit, nil},
		{"too much", make([]byte, limit+1), 3 * countFrom, errInflated},
		{"too much at its end", append(noise, make([]byte, limit)...), 3 * countFrom, errInflated},
	} {
		for method, compress := range map[string]func(...[]byte) []byte{"gzip": zip, "zstd": zstandard} {
			t.Run(c.name+"/"+method, func(t *testing.T) {
				t.Parallel()
				b := &budget{max: c.most, beyond: &lease{}}
				a := arena{lease: &lease{budget: b}, done: gone}
				a.begin()
				err := newInflaters(1).inflate(&a, compress(c.data), method, limit)
				if !errors.Is(err, c.fails) {
					t.Fatalf("%v, want %v", err, c.fails)
				}
				if err == nil && !bytes.Equal(a.take(), c.data) {
					t.Error("the data differs")
				}
				if b.used != a.held || a.held > c.most {
					t.Errorf("%d bytes are held, %d of the budget used, %d allowed", a.held, b.used, c.most)
				}
			})
		}
	}
}

// TestHugeCounts sends counts and nesting that promise far more than comes:
// memory stays flat and other connections go on.
func TestHugeCounts(t *testing.T) {
	t.Parallel()
	k := &keeper{}
	s, err := NewServer(Options{Handler: k})
	if err != nil {
		t.Fatal(err)
	}
	rest := func(head string) []byte { return pack(list{"t", list{raw("\x92\x01" + head)}})[:5+len(head)] }
	for name, in := range map[string][]byte{
		"array32 alone":      []byte("\xdd\xff\xff\xff\xff"),
		"array32 in record":  []byte("\x93\xa1t\x01\x81\xa1a\xdd\xff\xff\xff\xff"),
		"array32 2^31-1":     []byte("\x93\xa1t\x01\x81\xa1a\xdd\x7f\xff\xff\xff"),
		"array32 in entries": rest("\xdd\xff\xff\xff\xff"),
		"map32":              []byte("\x93\xa1t\x01\xdf\xff\xff\xff\xff"),
		"bin32":              []byte("\x93\xa1t\xc6\xff\xff\xff\xff"),
		"str32 tag":          []byte("\x93\xdb\xff\xff\xff\xff"),
		"ext32":              []byte("\x93\xa1t\xc9\xff\xff\xff\xff\x00"),
		"many maps":          []byte("\x93\xa1t\x01" + strings.Repeat("\xdf\xff\xff\xff\xff\x01", 300)),
		"deep":               []byte("\x93\xa1t\x01" + strings.Repeat("\x91", 100_000)),
	} {
		talk := connect(t, s)
		talk.send(in, 0)
		if got := talk.finish(); len(got) > 0 {
			t.Errorf("%s: answer %q", name, got)
		}
	}
	talk := connect(t, s)
	talk.send(pack(list{"t", at, record(1), chunk}), 0)
	if got := talk.finish(); string(got) != ack("id") {
		t.Errorf("answer %q", got)
	}
	s.done.Wait()
	if n := s.Stats(); n.InFlight != 0 || n.Records != 1 || n.Refused["too-deep"].Messages != 2 {
		t.Errorf("stats %+v", n)
	}
}

// TestPackedCounts has entries whose payload promises more than there is: the
// good ones are taken and the rest is handed over.
func TestPackedCounts(t *testing.T) {
	t.Parallel()
	for _, odd := range []string{"\xdd\xff\xff\xff\xff", "\x92\x01\xdf\xff\xff\xff\xff", "\x92\xdd\x7f\xff\xff\xff", "\x92\x01" + strings.Repeat("\x91", 1000)} {
		k := &keeper{}
		_, a := serve(t, Options{Handler: k})
		in := pack(list{"t", append(bytes.Clone(two), odd...), chunk})
		if got := exchange(t, a, in); string(got) != ack("id") {
			t.Errorf("answer %q", got)
		}
		if m := k.kept(); len(m) != 1 || m[0].Records != 2 || len(m[0].Bad) != 1 || string(m[0].Bad[0].Data) != odd {
			t.Errorf("kept %+v", m)
		}
	}
}

// TestManyBad has more bad parts than are told apart: none is lost.
func TestManyBad(t *testing.T) {
	t.Parallel()
	k := &keeper{}
	_, a := serve(t, Options{Handler: k})
	var body []byte
	for i := range 3 * maxBad {
		body = append(body, packs(list{at, record(i)}, list{at, "text"})...)
	}
	if got := exchange(t, a, pack(list{"t", body, chunk})); string(got) != ack("id") {
		t.Errorf("answer %q", got)
	}
	m := k.kept()[0]
	total := len(m.Entries)
	for _, b := range m.Bad {
		total += len(b.Data)
	}
	if total != len(body) || len(m.Bad) != maxBad+1 || m.Records != maxBad {
		t.Errorf("%d of %d bytes, %d bad, %d records", total, len(body), len(m.Bad), m.Records)
	}
}

// TestBudget has two connections that each need more than is left: one goes
// ahead, the other waits and is served then.
func TestBudget(t *testing.T) {
	t.Parallel()
	k := &keeper{}
	s, err := NewServer(Options{Handler: k, MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	in := sized(t, 3<<20, "1")
	var wait sync.WaitGroup
	for range 3 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			talk := connect(t, s)
			talk.pipe.SetWriteDeadline(time.Now().Add(2 * time.Minute))
			talk.send(in, 100_000)
			if got := talk.finish(); string(got) != ack("1") {
				t.Errorf("answer %q", got)
			}
		}()
	}
	wait.Wait()
	s.done.Wait()
	if n := s.Stats(); n.InFlight != 0 || n.Records != 3 {
		t.Errorf("stats %+v", n)
	}
}

// TestBudgetInflates has more connections than decompressors inflate more than
// the budget holds: none waits for ever.
func TestBudgetInflates(t *testing.T) {
	t.Parallel()
	k := &keeper{}
	s, err := NewServer(Options{Handler: k, MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	noise := make([]byte, 700_000)
	rand.NewChaCha8([32]byte{}).Read(noise)
	entry := pack(list{at, pairs{"a", append(noise, make([]byte, 2<<20)...)}})
	in := pack(list{"t", zip(entry), pairs{"compressed", "gzip", "chunk", "1"}})
	var wait sync.WaitGroup
	for range 8 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			talk := connect(t, s)
			talk.pipe.SetWriteDeadline(time.Now().Add(2 * time.Minute))
			talk.send(in, 100_000)
			if got := talk.finish(); string(got) != ack("1") {
				t.Errorf("answer %q", got)
			}
		}()
	}
	wait.Wait()
	s.done.Wait()
	if n := s.Stats(); n.InFlight != 0 || n.Records != 8 {
		t.Errorf("stats %+v", n)
	}
}

// TestBombsTogether has many connections inflate all that a message may, again
// and again: the memory in use, with what the collector has yet to find, stays
// near the budget and the one message that may go beyond it.
func TestBombsTogether(t *testing.T) { // alone, since it looks at the memory of the process
	const budget, inflated = 32 << 20, 8 << 20
	s, err := NewServer(Options{Handler: dropper{}, MaxBytes: budget, MaxInflated: inflated})
	if err != nil {
		t.Fatal(err)
	}
	bomb := func(n int) []byte {
		return pack(list{"t", zip(pack(list{at, pairs{"a", make([]byte, n)}})), pairs{"compressed", "gzip", "chunk", "1"}})
	}
	fits, over := bomb(inflated-100), bomb(2*inflated)
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before, most := m.HeapAlloc, uint64(0)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	var wait sync.WaitGroup
	for i := range 16 {
		wait.Go(func() {
			for range 2 {
				talk := connect(t, s)
				talk.pipe.SetWriteDeadline(time.Now().Add(2 * time.Minute))
				in, want := fits, ack("1")
				if i%4 == 0 {
					in, want = over, ""
				}
				talk.send(in, 100_000)
				if got := talk.finish(); string(got) != want {
					t.Errorf("answer %q", got)
				}
			}
		})
	}
	wait.Wait()
	s.done.Wait()
	close(stop)
	<-stopped
	if n := s.Stats(); n.InFlight != 0 || n.Records != 12*2 {
		t.Errorf("stats %+v", n)
	}
	// A message of a few MiB takes twice its size while it grows.
	if limit := uint64(budget + budget/8 + 2*inflated + 8<<20); most-before > limit {
		t.Errorf("%d MiB were in use at once, the limit is %d", (most-before)>>20, limit>>20)
	} else {
		t.Logf("%d MiB", (most-before)>>20)
	}
}

// TestInflaterForTheLeaseAhead shows that the lease for which others wait does
// not wait for a decompressor that one of them has.
func TestInflaterForTheLeaseAhead(t *testing.T) {
	t.Parallel()
	b := &budget{max: 1}
	ahead, other := &lease{budget: b}, &lease{budget: b}
	if !ahead.take(2, nil) {
		t.Fatal("nobody is ahead")
	}
	c := newInflaters(1)
	shared := c.take(other)
	got := make(chan *inflater, 1)
	go func() { got <- c.take(ahead) }()
	select {
	case f := <-got:
		if c.give(f); len(c) != 0 {
			t.Fatal("its own decompressor went to the shared ones")
		}
	case <-time.After(time.Minute):
		t.Error("the lease that is ahead waits")
	}
	c.give(shared)
	if len(c) != 1 {
		t.Errorf("%d decompressors", len(c))
	}
}

func TestBudgetWaits(t *testing.T) {
	t.Parallel()
	b := &budget{max: 100}
	first, second, third := &lease{budget: b}, &lease{budget: b}, &lease{budget: b}
	never := make(chan struct{})
	if !first.take(80, never) || !second.take(50, never) {
		t.Fatal("the first fits, the second may go beyond")
	}
	gone := make(chan struct{})
	close(gone)
	if third.take(1, gone) {
		t.Error("the third got bytes beyond the budget")
	}
	got := make(chan bool)
	go func() { got <- third.take(30, never) }()
	second.give(50)
	first.give(60)
	if !<-got || b.used != 50 || third.held != 30 {
		t.Errorf("used %d, held %d", b.used, third.held)
	}
}

// TestConnectionsBounded shows that more connections than allowed wait, and
// are served when others end.
func TestConnectionsBounded(t *testing.T) {
	t.Parallel()
	k := &keeper{}
	s, a := serve(t, Options{Handler: k, MaxConnections: 1})
	first, err := net.Dial("tcp", a.String())
	if err != nil {
		t.Fatal(err)
	}
	first.Write(pack(list{"t", at, record(1), chunk}))
	if _, err := io.ReadFull(first, make([]byte, len(ack("id")))); err != nil {
		t.Fatal(err)
	}
	second, err := net.Dial("tcp", a.String())
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	second.Write(pack(list{"t", at, record(2), chunk}))
	second.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := second.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the second was served beside the first: %v", err)
	}
	if n := s.Stats(); n.Connections != 1 {
		t.Errorf("%d connections", n.Connections)
	}
	first.Close()
	second.SetReadDeadline(time.Now().Add(2 * time.Minute))
	if _, err := io.ReadFull(second, make([]byte, len(ack("id")))); err != nil {
		t.Errorf("the second was not served after the first: %v", err)
	}
}

// A dropper takes everything.
type dropper struct{}

func (dropper) Keep(_ context.Context, _ *Peer, msgs []Message) (int, error) { return len(msgs), nil }
