package zookeeper

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"weir/jobs"
	"weir/jobs/queuetest"
)

// patience is how long a test waits for what must happen: in vain on a machine
// that is broken, not on one that is slow.
const patience = 2 * time.Minute

// TestOneServer: all that needs one server, which is started once.
func TestOneServer(t *testing.T) {
	e := startEnsemble(t, 1)
	t.Run("queue", func(t *testing.T) {
		queuetest.Run(t, func(t *testing.T) jobs.Queue {
			e.wipe(t)
			return expiring{e.open(t), e.raw(t)}
		})
	})
	for _, c := range []struct {
		name string
		try  func(*testing.T, *ensemble)
	}{
		{"nodes", nodes}, {"close", closeFrees}, {"fence", fence}, {"lease", leaseEnds}, {"adoption", adoption},
		{"deleted lock", deletedLock}, {"deleted folders", deletedFolders}, {"two processes", twoProcesses}, {"election", electionInOrder}, {"kazoo", kazoo},
	} {
		t.Run(c.name, func(t *testing.T) {
			e.wipe(t)
			c.try(t, e)
		})
	}
}

// An expiring queue can lose its session.
type expiring struct {
	*Client
	raw *zk.Conn
}

// Crash implements queuetest.Crasher: what is ephemeral goes, as at the end of
// the session, which the client has yet to learn of.
func (q expiring) Crash(t testing.TB) jobs.Queue {
	t.Helper()
	s, err := q.session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	gone := []string{s.canary}
	names, _, err := q.raw.Children(takenFolder)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		gone = append(gone, takenFolder+"/"+name)
	}
	for _, node := range gone {
		if err := q.raw.Delete(node, -1); err != nil && err != zk.ErrNoNode {
			t.Fatal(err)
		}
	}
	return q
}

func take(t testing.TB, q jobs.Queue) jobs.Lock {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	l, err := q.Take(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func put(t testing.TB, q jobs.Queue, id string) string {
	t.Helper()
	path, err := q.Put(t.Context(), id, 50)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// nodes: names, data and flags are those of kazoo.
func nodes(t *testing.T, e *ensemble) {
	c, raw := e.open(t), e.raw(t)
	path := put(t, c, "job/0b5fb4d1")
	l := take(t, c)
	data, stat, err := raw.Get(path)
	if err != nil || string(data) != "job/0b5fb4d1" || stat.EphemeralOwner != 0 {
		t.Errorf("the entry holds %q, owner %x, %v", data, stat.EphemeralOwner, err)
	}
	data, stat, err = raw.Get("/job/taken/" + path[len("/job/entries/"):])
	if err != nil || len(data) != 32 || strings.Trim(string(data), "0123456789abcdef") != "" || stat.EphemeralOwner == 0 {
		t.Errorf("the lock holds %q, owner %x, %v; want 32 hex digits, ephemeral", data, stat.EphemeralOwner, err)
	}
	if acl, _, err := raw.GetACL(path); err != nil || len(acl) != 1 || acl[0] != zk.WorldACL(zk.PermAll)[0] {
		t.Errorf("the entry's ACL is %v, %v", acl, err)
	}
	if err := l.Consume(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{entriesFolder, takenFolder} {
		if names, _, err := raw.Children(folder); err != nil || len(names) != 0 {
			t.Errorf("%s holds %v, %v after a consume", folder, names, err)
		}
	}
}

// closeFrees: a process that stops frees its locks at once, not when its
// session would have expired.
func closeFrees(t *testing.T, e *ensemble) {
	a, b := e.open(t), e.open(t)
	put(t, a, "job/a")
	take(t, a)
	began := time.Now()
	a.Close()
	l := take(t, b)
	if took := time.Since(began); took > 15*tick { // the session would live longer
		t.Errorf("the lock of a closed client was free after %v", took)
	}
	if err := l.Consume(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := a.Take(t.Context()); !errors.Is(err, jobs.ErrClosed) {
		t.Errorf("take after close: %v", err)
	}
}

// current gives the client's session.
func current(t *testing.T, c *Client) *session {
	t.Helper()
	s, err := c.session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fence: a session whose canary is gone changes nothing, and is given up.
func fence(t *testing.T, e *ensemble) {
	a, b, raw := e.open(t), e.open(t), e.raw(t)
	path := put(t, a, "job/a")
	l := take(t, a)
	s := current(t, a)
	name := "/job/taken/" + path[len("/job/entries/"):]
	// As if the session had expired and b had taken the entry: the node of the
	// lock is another's.
	for _, node := range []string{s.canary, name} {
		if err := raw.Delete(node, -1); err != nil {
			t.Fatal(err)
		}
	}
	other := take(t, b)
	if other.Path() != path {
		t.Fatalf("took %s", other.Path())
	}
	if err := l.Consume(t.Context()); !errors.Is(err, jobs.ErrLost) {
		t.Errorf("consume of a lost lock: %v", err)
	}
	if err := l.Release(t.Context(), 0); !errors.Is(err, jobs.ErrLost) {
		t.Errorf("release of a lost lock: %v", err)
	}
	select {
	case <-l.Lost():
	case <-time.After(patience):
		t.Error("the owner was not told")
	}
	if ok, _, err := raw.Exists(name); err != nil || !ok {
		t.Errorf("the other's lock is gone: %v", err)
	}
	if err := other.Consume(t.Context()); err != nil {
		t.Errorf("consume by the new owner: %v", err)
	}
	put(t, b, "job/b")
	if l := take(t, a); l.ID() != "job/b" { // a goes on with a new session
		t.Errorf("took %s", l.ID())
	} else if err := l.Consume(t.Context()); err != nil {
		t.Error(err)
	}
}

// A proxy between a client and a server that can be cut.
type proxy struct {
	l     net.Listener
	to    string
	mu    sync.Mutex
	conns []net.Conn
	cut   bool
	mute  func(n int64) bool // drops what the server says
}

func newProxy(t *testing.T, to string) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{l: l, to: to}
	t.Cleanup(func() { l.Close(); p.set(true) })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

// set cuts all connections, or lets them be made.
func (p *proxy) set(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = cut
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

func (p *proxy) serve(c net.Conn) {
	s, err := net.Dial("tcp", p.to)
	p.mu.Lock()
	if err != nil || p.cut {
		p.mu.Unlock()
		c.Close()
		return
	}
	p.conns = append(p.conns, c, s)
	p.mu.Unlock()
	go io.Copy(s, c)
	buf := make([]byte, 64<<10)
	for {
		n, err := s.Read(buf)
		p.mu.Lock()
		mute := p.mute
		p.mu.Unlock()
		if err != nil || mute != nil && mute(int64(n)) {
			c.Close()
			s.Close()
			return
		}
		c.Write(buf[:n])
	}
}

func (p *proxy) client(t *testing.T) *Client {
	t.Helper()
	c, err := Open(Options{Hosts: []string{p.l.Addr().String()}, Timeout: 12 * tick})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// leaseEnds: a client that is cut off gives its locks up before the server
// does, and a short cut costs nothing.
func leaseEnds(t *testing.T, e *ensemble) {
	p := newProxy(t, e.hosts[0])
	a, b := p.client(t), e.open(t)
	put(t, b, "job/a")
	l := take(t, a)
	p.set(true)
	p.set(false)
	put(t, b, "job/b")
	second := take(t, a) // after a reconnect, in the same session
	select {
	case <-l.Lost():
		t.Fatal("a short cut lost the lock")
	default:
	}
	if err := second.Consume(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.set(true)
	type taken struct {
		l  jobs.Lock
		at time.Time
	}
	got := make(chan taken, 1)
	go func() {
		l, err := b.Take(context.Background())
		if err != nil {
			t.Error(err)
		}
		got <- taken{l, time.Now()}
	}()
	select {
	case <-l.Lost():
	case <-time.After(patience):
		t.Fatal("the owner was not told")
	}
	lost := time.Now()
	other := <-got
	if !other.at.After(lost) {
		t.Errorf("the entry was taken %v before its owner gave it up", lost.Sub(other.at))
	}
	p.set(false)
	if err := l.Consume(t.Context()); !errors.Is(err, jobs.ErrLost) {
		t.Errorf("consume after the lease: %v", err)
	}
	if err := other.l.Consume(t.Context()); err != nil {
		t.Error(err)
	}
	if n := a.Losses(); n != 1 {
		t.Errorf("%d sessions were lost, want 1", n)
	}
}

// adoption: the connection ends after the server made the lock and before the
// client knows: the lock is the client's all the same. So for a consume.
func adoption(t *testing.T, e *ensemble) {
	p := newProxy(t, e.hosts[0])
	a, raw := p.client(t), e.raw(t)
	s := current(t, a)
	path := put(t, a, "job/a")
	arm := func(done func() bool) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.mute = func(int64) bool {
			if !done() {
				return false
			}
			p.mu.Lock()
			p.mute = nil
			p.mu.Unlock()
			return true
		}
	}
	name := takenFolder + path[len(entriesFolder):]
	arm(func() bool { ok, _, _ := raw.Exists(name); return ok })
	l := take(t, a)
	if l.Path() != path || l.ID() != "job/a" || s.Err() != nil {
		t.Fatalf("took %s of %s", l.Path(), l.ID())
	}
	arm(func() bool { ok, _, _ := raw.Exists(path); return !ok })
	if err := l.Consume(t.Context()); err != nil {
		t.Errorf("consume: %v", err)
	}
	for _, folder := range []string{entriesFolder, takenFolder} {
		if names, _, err := raw.Children(folder); err != nil || len(names) != 0 {
			t.Errorf("%s holds %v, %v", folder, names, err)
		}
	}
}

// deletedLock: what somebody deletes by hand is no reason to hang.
func deletedLock(t *testing.T, e *ensemble) {
	a, raw := e.open(t), e.raw(t)
	path := put(t, a, "job/a")
	l := take(t, a)
	if err := raw.Delete(path, -1); err != nil {
		t.Fatal(err)
	}
	if err := l.Consume(t.Context()); err != nil {
		t.Errorf("consume of an entry that is gone: %v", err)
	}
	path = put(t, a, "job/b")
	l = take(t, a)
	if err := raw.Delete(takenFolder+path[len(entriesFolder):], -1); err != nil {
		t.Fatal(err)
	}
	if err := l.Consume(t.Context()); !errors.Is(err, jobs.ErrLost) {
		t.Errorf("consume without the lock: %v", err)
	}
	if _, err := raw.Create(entriesFolder+"/not-of-us", []byte("\xff\x00"), 0, zk.WorldACL(zk.PermAll)); err != nil {
		t.Fatal(err)
	}
	l = take(t, a) // job/b again, or the strange one: any child is an entry
	l2 := take(t, a)
	for _, l := range []jobs.Lock{l, l2} {
		if err := l.Consume(t.Context()); err != nil {
			t.Errorf("consume %s: %v", l.Path(), err)
		}
	}
}

// takeUntilEmpty gives nil when the queue is.
func takeUntilEmpty(t *testing.T, c *Client) jobs.Lock {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		l, err := c.Take(ctx)
		cancel()
		if err == nil {
			return l
		}
		if rest, err := c.Entries(t.Context()); err == nil && len(rest) == 0 {
			return nil
		}
	}
	t.Error("entries are left that cannot be taken")
	return nil
}

// twoProcesses: two clients with four workers each share a queue.
func twoProcesses(t *testing.T, e *ensemble) {
	const n = 400
	a, b := e.open(t), e.open(t)
	for range n {
		put(t, a, "job/x")
	}
	var mu sync.Mutex
	seen := map[string]int{}
	var all sync.WaitGroup
	for i := range 8 {
		c := []*Client{a, b}[i%2]
		all.Go(func() {
			for {
				l := takeUntilEmpty(t, c)
				if l == nil {
					return
				}
				mu.Lock()
				seen[l.Path()]++
				mu.Unlock()
				if err := l.Consume(t.Context()); err != nil {
					t.Errorf("consume: %v", err)
				}
			}
		})
	}
	all.Wait()
	if len(seen) != n {
		t.Errorf("%d entries were taken, want %d", len(seen), n)
	}
	for path, times := range seen {
		if times != 1 {
			t.Errorf("%s was taken %d times", path, times)
		}
	}
}

// electionInOrder: candidates lead one after another, by the names of kazoo.
func electionInOrder(t *testing.T, e *ensemble) {
	a, b, raw := e.open(t), e.open(t), e.raw(t)
	first, err := a.Lead(t.Context(), "collect", "one")
	if err != nil {
		t.Fatal(err)
	}
	names, _, err := raw.Children("/election/collect")
	if err != nil || len(names) != 1 || len(names[0]) != 32+len(candidate)+10 || names[0][32:40] != candidate {
		t.Fatalf("the candidates are %v, %v", names, err)
	}
	if data, _, err := raw.Get("/election/collect/" + names[0]); err != nil || string(data) != "one" {
		t.Errorf("the candidate's data is %q, %v", data, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := b.Lead(ctx, "collect", "two"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second leader: %v", err)
	}
	got := make(chan jobs.Term, 1)
	go func() {
		term, err := b.Lead(context.Background(), "collect", "two")
		if err != nil {
			t.Error(err)
		}
		got <- term
	}()
	if err := first.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case second := <-got:
		if err := second.Resign(t.Context()); err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("nobody leads after the first resigned")
	}
	if names, _, _ := raw.Children("/election/collect"); len(names) != 0 {
		t.Errorf("candidates are left: %v", names)
	}
	if _, err := a.Lead(t.Context(), "a/b", "x"); err == nil {
		t.Error("a slash in the action's name was taken")
	}
}

// kazoo: Python consumers and ours share a queue and an election.
func kazoo(t *testing.T, e *ensemble) {
	python := os.Getenv("WEIR_PYTHON")
	if python == "" {
		missing(t, "WEIR_PYTHON is not set: no kazoo here; internal/e2e/peers.sh installs it")
	}
	c := e.open(t)
	const n = 500
	for i := range n {
		if _, err := c.Put(t.Context(), "job/x", 50+i%2); err != nil {
			t.Fatal(err)
		}
	}
	log := filepath.Join(t.TempDir(), "kazoo.log")
	cmd := exec.Command(python, "testdata/kazoo_peer.py", e.hosts[0], log)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	await := func(text string) string {
		t.Helper()
		for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
			b, _ := os.ReadFile(log)
			if strings.Contains(string(b), text) {
				return string(b)
			}
			if time.Now().After(end) {
				t.Fatalf("kazoo did not say %q:\n%s", text, b)
			}
		}
	}
	await("leads")
	await("took")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := c.Lead(ctx, "shared", "go"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("two lead: %v", err)
	}
	ours := map[string]bool{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for {
				l := takeUntilEmpty(t, c)
				if l == nil {
					return
				}
				mu.Lock()
				if ours[l.Path()] {
					t.Errorf("%s was taken twice", l.Path())
				}
				ours[l.Path()] = true
				mu.Unlock()
				time.Sleep(20 * time.Millisecond)
				if err := l.Consume(t.Context()); err != nil {
					t.Errorf("consume: %v", err)
				}
			}
		})
	}
	all.Wait()
	in.Close()
	text := await("ended")
	theirs := 0
	for line := range strings.Lines(text) {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "took ")
		if !ok {
			continue
		}
		theirs++
		if ours["/job/entries/"+name] {
			t.Errorf("%s was taken by both", name)
		}
	}
	if theirs == 0 || len(ours) == 0 || theirs+len(ours) != n {
		t.Errorf("kazoo took %d and we %d of %d", theirs, len(ours), n)
	}
	term, err := c.Lead(t.Context(), "shared", "go") // kazoo's candidate is gone
	if err != nil {
		t.Fatal(err)
	}
	term.Resign(t.Context())
}

// TestThreeServers: the leader is killed while both work; nothing is lost and
// nothing done twice at a time.
func TestThreeServers(t *testing.T) {
	e := startEnsemble(t, 3)
	a, b := e.open(t), e.open(t)
	const n = 150
	for range n {
		put(t, a, "job/x")
	}
	var mu sync.Mutex
	consumed := map[string]int{}
	holders := map[string]int{}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	for i := range 8 {
		c := []*Client{a, b}[i%2]
		all.Go(func() {
			for {
				l, err := c.Take(ctx)
				if err != nil {
					return
				}
				mu.Lock()
				if holders[l.Path()]++; holders[l.Path()] > 1 {
					t.Errorf("%s is held twice", l.Path())
				}
				mu.Unlock()
				select {
				case <-time.After(20 * time.Millisecond):
				case <-l.Lost():
				}
				mu.Lock()
				holders[l.Path()]--
				mu.Unlock()
				if err := l.Consume(ctx); err == nil {
					mu.Lock()
					if consumed[l.Path()]++; consumed[l.Path()] > 1 {
						t.Errorf("%s was consumed twice", l.Path())
					}
					mu.Unlock()
				} else if !errors.Is(err, jobs.ErrLost) {
					t.Errorf("consume: %v", err)
				}
			}
		})
	}
	done := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(consumed)
	}
	for end := time.Now().Add(patience); done() < n/3; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d of %d were consumed", done(), n/3)
		}
	}
	for j, h := range e.hosts {
		if mode(h) == "leader" {
			e.kill(j)
			time.Sleep(time.Second)
			e.start(j)
			break
		}
	}
	// A consume whose answer was lost with its session counts for nobody, so
	// the end is what the queue says.
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		rest, err := a.Entries(t.Context())
		if err == nil && len(rest) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d of %d were consumed; left are %v, %v", done(), n, rest, err)
		}
	}
	if done() < n-8 {
		t.Errorf("%d of %d were consumed", done(), n)
	}
	cancel()
	all.Wait()
}
