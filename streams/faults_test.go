package streams

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weir/internal/vfs"
)

// A handClock is set by the test.
type handClock struct{ ns atomic.Int64 }

func (c *handClock) now() time.Time          { return time.Unix(0, c.ns.Load()) }
func (c *handClock) advance(d time.Duration) { c.ns.Add(int64(d)) }

func newHandClock() *handClock {
	c := &handClock{}
	c.ns.Store(1e18)
	return c
}

// insist repeats an append with its key until it is durable, as a sender does.
func insist(s *Store, c *handClock, r Record) (Result, error) {
	var err error
	for range 60 {
		res := make([]Result, 1)
		if err = s.Append(context.Background(), []Record{r}, res); err == nil {
			return res[0], nil
		}
		c.advance(time.Second)
	}
	return Result{}, err
}

// faultScript is a life of a store in one goroutine: appends, a reset, large
// appends, uploads, folds, a restart. It gives what each stream must hold.
func faultScript(fs vfs.FS, c *handClock, together int) (map[string][]byte, error) {
	want := map[string][]byte{}
	for round := range 2 {
		o := small(fs)
		o.Now, o.together = c.now, together
		s, err := Open("data", o)
		for range 5 {
			if err == nil {
				break
			}
			s, err = Open("data", o)
		}
		if err != nil {
			return nil, fmt.Errorf("open: %w", err)
		}
		for i := range 40 {
			name := fmt.Sprintf("s%d", i%3)
			st, _ := s.Create(name, "")
			r := Record{Stream: st, Data: bytes.Repeat([]byte{byte(i + 100*round)}, 1000+i), Key: Key{1, byte(round), byte(i)}}
			switch {
			case i == 5:
				r.Data = append(r.Data, make([]byte, 5000)...)
			case i == 7:
				r.Reset = true
				want[name] = nil
			case i > 8: // fill segments
				r.Data = append(r.Data, make([]byte, 3000)...)
			}
			res, err := insist(s, c, r)
			if err != nil {
				return nil, fmt.Errorf("append %d.%d: %w", round, i, err)
			}
			if res.Offset != int64(len(want[name])) {
				return nil, fmt.Errorf("append %d.%d: offset %d, want %d", round, i, res.Offset, len(want[name]))
			}
			want[name] = append(want[name], r.Data...)
		}
		st, _ := s.Create("s1", "")
		body := bytes.Repeat([]byte{byte(round)}, 9000)
		_, err = st.Upload(context.Background(), bytes.NewReader(body), UploadOptions{Length: 9000, Key: Key{2, byte(round)}})
		for range 60 {
			if err == nil {
				break
			}
			c.advance(time.Second)
			_, err = st.Upload(context.Background(), bytes.NewReader(body), UploadOptions{Length: 9000, Key: Key{2, byte(round)}})
		}
		if err != nil {
			return nil, fmt.Errorf("upload: %w", err)
		}
		want["s1"] = append(want["s1"], body...)
		if err := waitFolded(s); err != nil {
			return nil, err
		}
		s.Close() // may fail; what was acknowledged is durable all the same
	}
	return want, nil
}

// waitFolded waits until the keeper has nothing to fold.
func waitFolded(s *Store) error {
	for {
		ch := s.folded.wait()
		if s.log.oldest(s.o.LiveSegments) == nil {
			return nil
		}
		select {
		case <-ch:
		case <-time.After(time.Minute):
			return errors.New("the fold is stuck")
		}
	}
}

func checkWant(fs vfs.FS, want map[string][]byte) error {
	s, err := Open("data", small(fs))
	if err != nil {
		return err
	}
	defer s.Close()
	if q := s.Stats().Recovery.QuarantinedFiles; len(q) > 0 {
		return fmt.Errorf("set aside: %v", q)
	}
	for name, b := range want {
		st, ok := s.Stream(name)
		if !ok {
			return fmt.Errorf("%s is not there", name)
		}
		state := st.State()
		got := make([]byte, state.Length)
		if _, err := st.ReadAt(state.Generation, got, 0); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if !bytes.Equal(got, b) {
			return fmt.Errorf("%s has %d bytes, want %d", name, len(got), len(b))
		}
	}
	return nil
}

// thorough asks for tests that take minutes, by WEIR_THOROUGH=1.
func thorough() bool { return os.Getenv("WEIR_THOROUGH") != "" }

// TestFaultAtEachCall fails the n-th call of the file system, for all n (every
// fifth when not thorough), in three ways. The sender repeats; nothing is lost, nothing is there twice, and
// a power cut at the end changes nothing.
func TestFaultAtEachCall(t *testing.T) {
	t.Parallel()
	boom := syscall.EIO
	step := int64(5)
	if thorough() {
		step = 1
	}
	first := int64(0)
	for kind, fault := range map[string]vfs.Fault{
		"before": {Err: boom}, "after": {Err: boom, After: true}, "partly": {Err: boom, Partly: 700},
	} {
		first++
		t.Run(kind, func(t *testing.T) {
			first := first
			t.Parallel()
			for n := first; ; n += step {
				mem := vfs.NewMem(1 << 40)
				var calls atomic.Int64
				var mu sync.Mutex
				hit := ""
				fs := &vfs.Faulty{FS: mem, Rule: func(op vfs.Op) *vfs.Fault {
					if calls.Add(1) != n {
						return nil
					}
					mu.Lock()
					hit = fmt.Sprintf("%+v", op)
					mu.Unlock()
					return &fault
				}}
				want, err := faultScript(fs, newHandClock(), 1+int(n%3))
				if err == nil {
					err = checkWant(mem.CrashClone(rand.New(rand.NewPCG(uint64(n), 1))), want)
				}
				if err == nil {
					err = checkWant(mem, want)
				}
				if err != nil {
					t.Fatalf("fault at call %d, %s: %v", n, hit, err)
				}
				if hit == "" {
					t.Logf("%d calls", n-1)
					return
				}
			}
		})
	}
}

// TestFailureWithholdsAck: while the disk refuses, appends fail, say so in
// Stats, keep their offsets and keys free, and go on by themselves later.
func TestFailureWithholdsAck(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	fs := &vfs.Faulty{FS: vfs.NewMem(1 << 40), Rule: func(op vfs.Op) *vfs.Fault {
		if broken.Load() && (op.Kind == "Datasync" || op.Kind == "Create") {
			return &vfs.Fault{Err: syscall.EIO}
		}
		return nil
	}}
	clock := newHandClock()
	o := small(fs)
	o.Now = clock.now
	s := mustOpen(t, "data", o)
	defer s.Close()
	st := mustCreate(t, s, "a")
	mustAppend(t, s, Record{Stream: st, Data: []byte("good"), Key: Key{1}})
	broken.Store(true)
	res := make([]Result, 2)
	for range 3 {
		err := s.Append(context.Background(), []Record{{Stream: st, Data: []byte("lost"), Key: Key{2}}, {Stream: st, Data: []byte("lost"), Key: Key{2}}}, res)
		if !errors.Is(err, ErrUnknown) || res[0].Err == nil || res[1].Err == nil {
			t.Fatalf("%v %+v", err, res)
		}
		if got := s.Stats().Failed; !strings.Contains(got, "input/output error") {
			t.Fatalf("Failed = %q", got)
		}
		if got := st.State(); got.Length != 4 || got.Records != 1 {
			t.Fatalf("%+v", got)
		}
		clock.advance(time.Minute)
	}
	broken.Store(false)
	r := mustAppend(t, s, Record{Stream: st, Data: []byte("kept"), Key: Key{2}})
	if r.Offset != 4 || r.Duplicate || s.Stats().Failed != "" {
		t.Fatalf("%+v, failed %q", r, s.Stats().Failed)
	}
	if got := string(readAll(t, st)); got != "goodkept" {
		t.Fatalf("%q", got)
	}
}

// TestFullDisk: a full disk refuses before anything is taken, and room makes
// appends go on without a restart.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	var full atomic.Bool
	fs := vfs.Full(vfs.NewMem(1<<40), &full)
	clock := newHandClock()
	o := small(fs)
	o.Now = clock.now
	s := mustOpen(t, "data", o)
	st := mustCreate(t, s, "a")
	var want []byte
	data := bytes.Repeat([]byte("x"), 3000)
	for range 3 {
		full.Store(true)
		clock.advance(time.Minute)
		err := error(nil)
		for n := 0; err == nil; n++ {
			if n > 1000 {
				t.Fatal("a full disk takes everything")
			}
			res := make([]Result, 1)
			if err = s.Append(context.Background(), []Record{{Stream: st, Data: data}}, res); err == nil {
				want = append(want, data...)
			}
		}
		if !errors.Is(err, ErrNoSpace) {
			t.Fatal(err)
		}
		if _, err := st.Upload(context.Background(), bytes.NewReader(make([]byte, 10000)), UploadOptions{Length: 10000}); !errors.Is(err, ErrNoSpace) {
			t.Fatalf("upload: %v", err)
		}
		full.Store(false)
		clock.advance(time.Minute)
		mustAppend(t, s, Record{Stream: st, Data: data})
		want = append(want, data...)
	}
	if !bytes.Equal(readAll(t, st), want) {
		t.Fatal("bytes differ")
	}
	full.Store(true)
	if err := s.Close(); err != nil {
		t.Logf("close on a full disk: %v", err)
	}
	s, err := Open("data", o) // reading needs no room
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	st, _ = s.Stream("a")
	if !bytes.Equal(readAll(t, st), want) {
		t.Fatal("bytes differ after restart")
	}
}
