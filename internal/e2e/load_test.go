package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/tinylib/msgp/msgp"
)

// A load is senders of every kind that ask for acknowledgements and repeat
// what was not acknowledged, whatever becomes of the server.
type load struct {
	t        *testing.T
	w        *weir
	senders  []*sender
	uploads  *uploads
	stopping chan struct{} // no new data
	wg       sync.WaitGroup
}

// A sender repeats frames until they are acknowledged.
type sender struct {
	tag    string
	window int
	// frame gives the n-th piece of the tag: what is sent, and its bytes and
	// rows as they must be kept.
	frame func(n int) piece
	post  string // policy to which pieces are posted; empty sends forward messages
	begun int    // pieces that were sent at least once

	mu      sync.Mutex
	kept    []byte // all that was acknowledged, in order
	rows    int
	acked   int // frames
	resent  int
	refusal error
}

type piece struct {
	entries []byte
	kept    []byte
	rows    int
}

// newLoad starts senders: raw, numbers and metrics by forward, numbers by
// POST, and uploads by PUT.
func newLoad(t *testing.T, w *weir) *load {
	l := &load{t: t, w: w, stopping: make(chan struct{})}
	for i := range 3 {
		l.senders = append(l.senders, &sender{tag: fmt.Sprintf("raw.load.%d", i), window: 8, frame: rawPiece(i)})
	}
	l.senders = append(l.senders,
		&sender{tag: "numbers.load", window: 4, frame: numbersPiece},
		&sender{tag: "metrics.load", window: 4, frame: metricsPiece},
		&sender{tag: "numbers.posted", window: 1, frame: numbersPiece, post: "numbers"},
		&sender{tag: "raw.posted", window: 1, frame: rawPiece(9), post: "raw"},
	)
	l.uploads = &uploads{}
	for _, s := range l.senders {
		l.wg.Go(func() { s.run(w.Forward, w.url(""), l.stopping) })
	}
	l.wg.Go(func() { l.uploads.run(w.url(""), l.stopping) })
	return l
}

// finish ends the load when all that was begun is acknowledged.
func (l *load) finish() {
	l.t.Helper()
	close(l.stopping)
	done := make(chan struct{})
	go func() { l.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(2 * patience):
		l.t.Fatalf("%v after the last kill not everything was acknowledged: %s\n%s", 2*patience, l, l.w.tail())
	}
}

func (l *load) String() string {
	var b bytes.Buffer
	for _, s := range l.senders {
		s.mu.Lock()
		fmt.Fprintf(&b, "%s: %d frames, %d bytes, %d resent, last error %v; ", s.tag, s.acked, len(s.kept), s.resent, s.refusal)
		s.mu.Unlock()
	}
	return b.String()
}

// compare holds every acknowledged byte against the streams and arrays.
func (l *load) compare() {
	l.t.Helper()
	var groups []group
	for _, s := range l.senders {
		if got := l.w.stream(s.tag); !bytes.Equal(got, s.kept) {
			at := 0
			for at < min(len(got), len(s.kept)) && got[at] == s.kept[at] {
				at++
			}
			l.t.Errorf("stream %s has %d bytes, %d were acknowledged; they differ from byte %d\ngot  %.120q\nwant %.120q",
				s.tag, len(got), len(s.kept), at, got[at:], s.kept[at:])
		}
		if s.acked == 0 {
			l.t.Errorf("%s: nothing was acknowledged, last error %v", s.tag, s.refusal)
		}
		switch {
		case s.rows == 0:
		case s.tag == "metrics.load":
			l.w.awaitRows(s.tag, "seq", s.rows)
			column := array{Dtype: "float64", Shape: []int{s.rows}, Values: counting(s.rows)}
			groups = append(groups, group{Name: s.tag, Times: loadTimes(s.rows), Arrays: map[string]array{"seq": column}})
		default:
			l.w.awaitRows(s.tag, "value", s.rows)
			column := array{Dtype: "float64", Shape: []int{s.rows}, Values: counting(s.rows)}
			groups = append(groups, group{Name: s.tag, Arrays: map[string]array{"value": column}})
		}
	}
	l.uploads.compare(l.t, l.w)
	checkArrays(l.t, l.w, groups...)
	l.t.Log(l.String())
}

func rawPiece(who int) func(int) piece {
	return func(n int) piece {
		r := rand.New(rand.NewPCG(uint64(who), uint64(n)))
		var list []entry
		for i := range 1 + r.IntN(40) {
			list = append(list, entry{1_700_000_000, uint32(n), map[string]any{
				"sender": who, "seq": n, "i": i, "text": string(bytes.Repeat([]byte("x"), r.IntN(400))),
			}})
		}
		b := encodeSorted(list)
		return piece{entries: b, kept: b}
	}
}

// encodeSorted encodes records with their keys in one order, so that the same
// piece always has the same bytes.
func encodeSorted(list []entry) []byte {
	var b []byte
	for _, e := range list {
		m := e.record.(map[string]any)
		b = entry{e.sec, e.nsec, nil}.encode(b)
		b = b[:len(b)-1] // the nil
		b = msgp.AppendMapHeader(b, 4)
		for _, k := range []string{"sender", "seq", "i", "text"} {
			b = msgp.AppendString(b, k)
			b, _ = msgp.AppendIntf(b, m[k])
		}
	}
	return b
}

const numbersPerPiece = 50

func numbersPiece(n int) piece {
	var b bytes.Buffer
	for i := n * numbersPerPiece; i < (n+1)*numbersPerPiece; i++ {
		fmt.Fprintf(&b, "%d\n", i)
	}
	return piece{entries: encode(entry{1_700_000_000, 0, b.String()}), kept: b.Bytes(), rows: numbersPerPiece}
}

const metricsPerPiece = 20

func loadTimes(n int) []int64 {
	v := make([]int64, n)
	for i := range v {
		v[i] = 1_700_000_000*1e9 + int64(i)*1e6
	}
	return v
}

func metricsPiece(n int) piece {
	var b []byte
	for i := n * metricsPerPiece; i < (n+1)*metricsPerPiece; i++ {
		b = entry{uint32(1_700_000_000 + i/1000), uint32(i % 1000 * 1e6), map[string]any{"seq": i}}.encode(b)
	}
	return piece{entries: b, kept: b, rows: metricsPerPiece}
}

// run sends until stopping is closed, and then until all is acknowledged.
func (s *sender) run(forward, base string, stopping <-chan struct{}) {
	for {
		var done bool
		var err error
		if s.post != "" {
			done, err = s.postSome(base, stopping)
		} else {
			done, err = s.sendSome(forward, stopping)
		}
		if done {
			return
		}
		s.mu.Lock()
		s.refusal = err
		s.mu.Unlock()
		time.Sleep(10 * time.Millisecond)
	}
}

func (s *sender) id(n int) string { return fmt.Sprintf("%s/%d", s.tag, n) }

// acknowledge notes that the frame that follows the acknowledged ones is kept.
func (s *sender) acknowledge() {
	p := s.frame(s.acked)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = append(s.kept, p.kept...)
	s.rows += p.rows
	s.acked++
}

// sendSome sends over one connection, beginning with what is not
// acknowledged, until the connection fails or all is done.
func (s *sender) sendSome(addr string, stopping <-chan struct{}) (done bool, err error) {
	c, err := dial(addr)
	if err != nil {
		return false, err
	}
	defer c.Close()
	next := s.acked
	for {
		for ; next < s.acked+s.window && (!closedChan(stopping) || next < s.begun); next++ {
			s.begun = max(s.begun, next+1)
			if err := s.write(c, next); err != nil {
				s.noteResent(next - s.acked)
				return false, err
			}
		}
		if next == s.acked {
			return true, nil
		}
		got, err := c.ack(patience)
		if err != nil {
			s.noteResent(next - s.acked)
			return false, err
		}
		if want := s.id(s.acked); got != want {
			return false, fmt.Errorf("ack of %q, want %q", got, want)
		}
		s.acknowledge()
	}
}

// noteResent counts frames whose acknowledgement did not come.
func (s *sender) noteResent(n int) {
	s.mu.Lock()
	s.resent += n
	s.mu.Unlock()
}

func (s *sender) write(c *wire, n int) error {
	p := s.frame(n)
	c.SetWriteDeadline(time.Now().Add(patience))
	message := packed(s.tag, p.entries, s.id(n))
	if n%3 == 1 {
		message = compressed(s.tag, p.entries, s.id(n))
	}
	_, err := c.Write(message)
	return err
}

func closedChan(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// postSome posts pieces with an Idempotency-Key until a request fails. A piece
// whose answer did not come may be kept: it is repeated before the end.
func (s *sender) postSome(base string, stopping <-chan struct{}) (done bool, err error) {
	for !closedChan(stopping) || s.begun > s.acked {
		s.begun = s.acked + 1
		if err := s.postOne(base); err != nil {
			s.noteResent(1)
			return false, err
		}
	}
	return true, nil
}

func (s *sender) postOne(base string) error {
	p := s.frame(s.acked)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "POST", base+"/x/portal_ingestion_policies/"+s.post+"/ingest?reference="+s.tag, bytes.NewReader(p.entries))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("Idempotency-Key", s.id(s.acked))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return errors.New(resp.Status)
	}
	s.acknowledge()
	return nil
}

// An uploads puts files, each to a name of its own, and repeats what failed.
type uploads struct {
	mu   sync.Mutex
	done int
}

const uploadBytes = 1_500_000

func (u *uploads) name(n int) string { return fmt.Sprintf("raw.upload.%d", n) }

func (u *uploads) run(base string, stopping <-chan struct{}) {
	for n := 0; ; {
		a, err := ask("PUT", base+"/streams/"+u.name(n), bytes.NewReader(noise(uint64(n), uploadBytes)))
		switch {
		case err == nil && a.Status/100 == 2:
			n++
			u.mu.Lock()
			u.done = n
			u.mu.Unlock()
			if closedChan(stopping) {
				return
			}
			time.Sleep(30 * time.Millisecond)
		default:
			time.Sleep(10 * time.Millisecond)
		}
	}
}

func (u *uploads) compare(t *testing.T, w *weir) {
	t.Helper()
	if u.done == 0 {
		t.Error("no upload was answered")
	}
	for n := range u.done {
		if got := w.stream(u.name(n)); !bytes.Equal(got, noise(uint64(n), uploadBytes)) {
			t.Errorf("upload %d was answered, its stream has %d bytes or others", n, len(got))
		}
	}
}
