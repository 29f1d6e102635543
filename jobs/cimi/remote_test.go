package cimi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/vfs"
	"weir/jobs"
	"weir/jobs/queuetest"
	"weir/streams"
)

// patience is how long a test waits for what must happen: in vain on a machine
// that is broken, not on one that is slow.
const patience = 2 * time.Minute

// A gateway is a store whose queue is lent over HTTP, and can begin anew.
type gateway struct {
	t      *testing.T
	fs     *vfs.Mem
	lease  time.Duration
	server *httptest.Server
	away   atomic.Bool // answers nothing
	drop   atomic.Bool // does what it is asked and loses the next answer of a take

	mu      sync.Mutex
	service *Service
	store   *jobs.Store
	end     func()
}

func newGateway(t *testing.T, lease time.Duration) *gateway {
	t.Helper()
	g := &gateway{t: t, fs: vfs.NewMem(1 << 30), lease: lease}
	g.up()
	g.server = httptest.NewServer(http.HandlerFunc(g.serve))
	t.Cleanup(func() { g.server.Close(); g.down() })
	return g
}

func (g *gateway) up() {
	g.t.Helper()
	kept, err := streams.Open("data", streams.Options{FS: g.fs, SegmentBytes: 64 << 10, MinFree: 1})
	if err != nil {
		g.t.Fatal(err)
	}
	store, err := jobs.OpenStore(jobs.StoreOptions{Streams: kept, Lease: g.lease})
	if err != nil {
		g.t.Fatal(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.store, g.end = store, func() { store.Close(); kept.Close() }
	g.service = NewService(Options{Store: store, Lender: jobs.NewLender(jobs.LenderOptions{Queue: store.Queue(), Get: store.Get, Lease: g.lease})})
}

func (g *gateway) down() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.end != nil {
		g.end()
	}
	g.end, g.service = nil, nil
}

func (g *gateway) serve(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	s := g.service
	g.mu.Unlock()
	if s == nil || g.away.Load() {
		panic(http.ErrAbortHandler)
	}
	body, _ := io.ReadAll(r.Body)
	a := s.Serve(r.Context(), Request{Method: r.Method, Path: strings.TrimPrefix(r.URL.Path, "/api/"), Query: r.URL.RawQuery,
		ContentType: r.Header.Get("Content-Type"), Body: body})
	if g.away.Load() || strings.HasSuffix(r.URL.Path, "/take") && strings.Contains(string(a.Body), "job/") && g.drop.CompareAndSwap(true, false) {
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(a.Status)
	w.Write(a.Body)
}

// lender is that of the gateway now.
func (g *gateway) lender() *jobs.Lender {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.service.o.Lender
}

func (g *gateway) client() *Client {
	g.t.Helper()
	c, err := NewClient(ClientOptions{URL: g.server.URL})
	if err != nil {
		g.t.Fatal(err)
	}
	return c
}

func (g *gateway) remote(name string) *Remote {
	g.t.Helper()
	r := NewRemote(RemoteOptions{Client: g.client(), Status: func() jobs.ExecutorStatus { return jobs.ExecutorStatus{Name: name, Threads: 1} }})
	g.t.Cleanup(func() { r.Close() })
	return r
}

func takeOne(t *testing.T, q jobs.Taker) jobs.Lock {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	l, err := q.Take(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A lentQueue is a queue whose entries are borrowed.
type lentQueue struct {
	jobs.Queue
	remote *Remote
}

func (q lentQueue) Take(ctx context.Context) (jobs.Lock, error) { return q.remote.Take(ctx) }

// TestRemoteQueue: what every queue must do holds for a borrowed one.
func TestRemoteQueue(t *testing.T) {
	t.Parallel()
	queuetest.Run(t, func(t *testing.T) jobs.Queue {
		g := newGateway(t, 30*time.Second)
		return lentQueue{g.store.Queue(), g.remote("one")}
	})
}

// TestRemoteLease: an executor that is not heard gives up what it has before
// another can have it, and its consume is refused.
func TestRemoteLease(t *testing.T) {
	t.Parallel()
	const lease = 6 * time.Second // so long that a slow machine is no silence
	g := newGateway(t, lease)
	if _, err := g.store.Queue().Put(t.Context(), "job/a", 1); err != nil {
		t.Fatal(err)
	}
	l := takeOne(t, g.remote("one"))
	got := make(chan time.Time, 1)
	go func() {
		if other, err := g.store.Queue().Take(context.Background()); err == nil {
			got <- time.Now()
			other.Consume(context.Background())
		}
	}()
	select {
	case <-got:
		t.Fatal("a borrowed entry was taken")
	case <-l.Lost():
		t.Fatal("a lock was lost while heart-beats came")
	case <-time.After(lease + time.Second):
	}
	g.away.Store(true)
	select {
	case <-l.Lost():
	case <-time.After(patience):
		t.Fatal("the owner was not told")
	}
	lost := time.Now()
	if at := <-got; !at.After(lost) {
		t.Errorf("another had the entry %v before its owner gave it up", lost.Sub(at))
	}
	g.away.Store(false)
	if err := l.Consume(t.Context()); !errors.Is(err, jobs.ErrLost) {
		t.Errorf("consume after the lease: %v", err)
	}
}

// TestRemoteLostAnswer: an entry whose answer was lost is the asker's all the same.
func TestRemoteLostAnswer(t *testing.T) {
	t.Parallel()
	g := newGateway(t, 30*time.Second)
	g.drop.Store(true)
	if _, err := g.store.Queue().Put(t.Context(), "job/a", 1); err != nil {
		t.Fatal(err)
	}
	l := takeOne(t, g.remote("one"))
	if l.ID() != "job/a" || g.drop.Load() {
		t.Errorf("took %s; the answer was dropped: %v", l.ID(), !g.drop.Load())
	}
	if err := l.Consume(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestRemoteGiveUp: a take that nobody waits for any more holds nothing.
func TestRemoteGiveUp(t *testing.T) {
	t.Parallel()
	g := newGateway(t, 30*time.Second)
	r := g.remote("one")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := r.Take(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("take: %v", err)
	}
	if _, err := g.store.Queue().Put(t.Context(), "job/a", 1); err != nil {
		t.Fatal(err)
	}
	l := takeOne(t, g.store.Queue())
	if err := l.Consume(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestRemoteClose: a session that ends frees what it has, at once.
func TestRemoteClose(t *testing.T) {
	t.Parallel()
	g := newGateway(t, 30*time.Second)
	if _, err := g.store.Queue().Put(t.Context(), "job/a", 1); err != nil {
		t.Fatal(err)
	}
	r := g.remote("one")
	l := takeOne(t, r)
	began := time.Now()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	<-l.Lost()
	other := takeOne(t, g.store.Queue())
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it was free after %v", took)
	}
	if err := other.Consume(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := r.Take(t.Context()); !errors.Is(err, jobs.ErrClosed) {
		t.Errorf("take after close: %v", err)
	}
}

// TestGatewayBeginsAnew: a job that runs elsewhere while the gateway is killed
// stays with its executor; one that its executor did not begin is free.
func TestGatewayBeginsAnew(t *testing.T) {
	t.Parallel()
	const lease = 12 * time.Second
	g := newGateway(t, lease)
	j, err := g.store.Create(t.Context(), []byte(`{"action":"a"}`), jobs.Principal{Principal: "ADMIN", Type: "ROLE"})
	if err != nil {
		t.Fatal(err)
	}
	r := g.remote("one")
	l := takeOne(t, r)
	if _, err := g.store.Edit(t.Context(), j.ID, jobs.Change{State: jobs.Running, Executor: "one"}); err != nil {
		t.Fatal(err)
	}
	g.down()
	time.Sleep(200 * time.Millisecond)
	g.up()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if other, err := g.store.Queue().Take(ctx); err == nil {
		t.Fatalf("%s was taken though its executor goes on", other.ID())
	}
	select {
	case <-l.Lost():
		t.Fatal("the lock is lost")
	default:
	}
	awaitConsume(t, l)
	if entries, err := g.store.Queue().Entries(t.Context()); err != nil || len(entries) != 0 {
		t.Errorf("entries are left: %v, %v", entries, err)
	}
	// One whose executor is gone for good is free after the lease.
	k, err := g.store.Create(t.Context(), []byte(`{"action":"a"}`), jobs.Principal{Principal: "ADMIN", Type: "ROLE"})
	if err != nil {
		t.Fatal(err)
	}
	takeOne(t, r)
	if _, err := g.store.Edit(t.Context(), k.ID, jobs.Change{State: jobs.Running, Executor: "gone"}); err != nil {
		t.Fatal(err)
	}
	g.down()
	g.up()
	began := time.Now()
	other := takeOne(t, g.store.Queue())
	if took := time.Since(began); took < lease/3*2 || other.ID() != k.ID {
		t.Errorf("%s was taken after %v, want %s after the lease", other.ID(), took, k.ID)
	}
	if err := other.Consume(t.Context()); err != nil {
		t.Error(err)
	}
}

// awaitConsume consumes when there is a session again.
func awaitConsume(t *testing.T, l jobs.Lock) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := l.Consume(t.Context())
		if err == nil {
			return
		}
		if errors.Is(err, jobs.ErrLost) || time.Now().After(end) {
			t.Fatalf("consume: %v", err)
		}
	}
}

// TestExecutorRequests: bad requests of executors are told what is wrong.
func TestExecutorRequests(t *testing.T) {
	t.Parallel()
	g := newGateway(t, 30*time.Second)
	s := g.service
	_, made := ask(t, s, Request{Method: "POST", Path: "executor", Body: []byte(`{"name":"one","threads":2}`)})
	id := made["id"].(string)
	for _, c := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"POST", "executor", `{"name":""}`, 400, "name"},
		{"POST", "executor", `{"name":"weir/x"}`, 400, "weir/"},
		{"POST", "executor", `{"colour":1}`, 400, "colour"},
		{"PUT", id, `{"name":"one","running":["job/a"]}`, 200, id},
		{"GET", "executor", "", 200, `"running":["job/a"]`},
		{"DELETE", "executor", "", 405, "GET"},
		{"PUT", "executor/none", `{"name":"one"}`, 404, "not heard in time"},
		{"GET", id, "", 405, "PUT"},
		{"POST", id + "/take", `{}`, 400, "token"},
		{"POST", id + "/take", `{"token":"x","wait":1}`, 200, `"path":""`},
		{"POST", "executor/none/take", `{"token":"x"}`, 404, "none"},
		{"POST", id + "/consume", `{"path":"/job/entries/x"}`, 409, "lost"},
		{"POST", id + "/release", `{"path":"/job/entries/x"}`, 409, "lost"},
		{"POST", "executor/none/consume", `{"path":"x"}`, 404, "not heard"},
		{"POST", id + "/lead", `{"action":"a"}`, 200, `"leads":true`},
		{"POST", "executor/none/lead", `{"action":"a"}`, 404, "none"},
		{"POST", id + "/dance", `{}`, 404, "dance"},
		{"GET", id + "/take", ``, 405, "POST"},
		{"POST", id + "/giveup", `{"token":"y"}`, 200, id},
		{"DELETE", id, "", 200, id},
		{"POST", id + "/giveup", `{"token":"y"}`, 404, "not heard"},
	} {
		a, _ := ask(t, s, Request{Method: c.method, Path: c.path, Body: []byte(c.body)})
		if a.Status != c.status || !strings.Contains(string(a.Body), c.says) {
			t.Errorf("%s %s %s: %d %s, want %d with %s", c.method, c.path, c.body, a.Status, a.Body, c.status, c.says)
		}
	}
}

// TestRemoteLead: one of two distributors leads, and the other when it resigns
// or is gone.
func TestRemoteLead(t *testing.T) {
	t.Parallel()
	const lease = 3 * time.Second
	g := newGateway(t, lease)
	a, b := g.remote("one"), g.remote("two")
	first, err := a.Lead(t.Context(), "collect", "one")
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := b.Lead(short, "collect", "two"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("two lead: %v", err)
	}
	if err := first.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	second, err := b.Lead(t.Context(), "collect", "two")
	if err != nil {
		t.Fatal(err)
	}
	g.away.Store(true)
	select {
	case <-second.Lost():
	case <-time.After(patience):
		t.Fatal("the leader was not told")
	}
	time.Sleep(lease) // the gateway gives it up later than its owner
	g.away.Store(false)
	if _, err := a.Lead(t.Context(), "collect", "one"); err != nil {
		t.Error(err)
	}
}

// TestRemoteHold: who runs a job that it pulled keeps it when the gateway
// begins anew, and loses it when it is not heard.
func TestRemoteHold(t *testing.T) {
	t.Parallel()
	g := newGateway(t, 6*time.Second)
	j, err := g.store.Create(t.Context(), []byte(`{"action":"a","executionMode":"pull"}`), jobs.Principal{Principal: "ADMIN", Type: "ROLE"})
	if err != nil {
		t.Fatal(err)
	}
	r := g.remote("edge")
	l, err := r.Hold(t.Context(), j.ID)
	if err != nil {
		t.Fatal(err)
	}
	zero := 0
	if _, err := g.store.Edit(t.Context(), j.ID, jobs.Change{State: jobs.Running, Attempt: &zero, Executor: "edge"}); err != nil {
		t.Fatal(err)
	}
	heard := func() bool { return g.lender().Heard("edge") }
	if !heard() || g.lender().Heard("another") {
		t.Error("who holds a job is not heard, or another is")
	}
	g.down()
	g.up()
	for end := time.Now().Add(patience); !heard(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no session with the gateway that began anew")
		}
	}
	select {
	case <-l.Lost():
		t.Fatal("the job was lost with the gateway")
	default:
	}
	g.away.Store(true)
	select {
	case <-l.Lost():
	case <-time.After(patience):
		t.Fatal("its executor was not told")
	}
}
