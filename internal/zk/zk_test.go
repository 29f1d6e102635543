package zk

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

const patience = 30 * time.Second

// A member is a server that answers by a script.
type member struct {
	t       *testing.T
	l       net.Listener
	session func(asked int64) (id int64, timeout int32) // of a new connection
	answer  func(p *peer, xid, op int32, d *decoder)
	mu      sync.Mutex
	peers   []*peer
	mute    bool
	alone   bool // cut off from its leader
}

// A peer is a client's connection to a member.
type peer struct {
	net.Conn
	m *member
}

func newMember(t *testing.T) *member {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return memberAt(t, l)
}

func memberAt(t *testing.T, l net.Listener) *member {
	m := &member{t: t, l: l, session: func(int64) (int64, int32) { return 7, 60_000 }}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p := &peer{c, m}
			m.mu.Lock()
			m.peers = append(m.peers, p)
			m.mu.Unlock()
			all.Go(p.serve)
		}
	})
	t.Cleanup(func() { l.Close(); m.cut(); all.Wait() })
	return m
}

// cut ends all connections.
func (m *member) cut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.peers {
		p.Close()
	}
	m.peers = nil
}

func (p *peer) frame() *decoder {
	var head [4]byte
	if _, err := io.ReadFull(p, head[:]); err != nil {
		return nil
	}
	b := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := io.ReadFull(p, b); err != nil {
		return nil
	}
	return &decoder{b: b}
}

func (p *peer) send(body []byte) { p.Write(append(appendInt(nil, int32(len(body))), body...)) }

// reply answers a request.
func (p *peer) reply(xid, code int32, body []byte) {
	p.send(append(appendInt(appendLong(appendInt(nil, xid), 99), code), body...))
}

func (p *peer) serve() {
	defer p.Close()
	d := p.frame()
	if d == nil {
		return
	}
	d.int()
	d.long()
	d.int()
	id, timeout := p.m.session(d.long())
	p.send(appendBytes(appendLong(appendInt(appendInt(nil, 0), timeout), id), make([]byte, passwordLen)))
	for {
		d := p.frame()
		if d == nil {
			return
		}
		xid, op := d.int(), d.int()
		p.m.mu.Lock()
		mute, answer := p.m.mute || p.m.alone && leads(op), p.m.answer
		p.m.mu.Unlock()
		switch {
		case mute:
		case op == opSync:
			p.reply(xid, 0, appendText(nil, d.text()))
		case op == opClose:
			p.reply(xid, 0, nil)
		case answer != nil:
			answer(p, xid, op, d)
		}
	}
}

func open(t *testing.T, m ...*member) *Session {
	t.Helper()
	o := Options{Timeout: time.Minute}
	for _, one := range m {
		o.Hosts = append(o.Hosts, one.l.Addr().String())
	}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func awaitEnd(t *testing.T, s *Session) {
	t.Helper()
	select {
	case <-s.Done():
	case <-time.After(patience):
		t.Fatal("the session does not end")
	}
}

// node answers a request about a node with its data.
func node(p *peer, xid, _ int32, d *decoder) { p.reply(xid, 0, appendText(nil, "data of "+d.text())) }

func TestRequests(t *testing.T) {
	t.Parallel()
	m := newMember(t)
	m.answer = func(p *peer, xid, op int32, d *decoder) {
		path := d.text()
		switch {
		case op == opMulti: // check, create, delete: the create fails
			b := appendInt(appendInt(appendBool(appendInt(nil, opError), false), 0), 0)
			b = appendInt(appendInt(appendBool(appendInt(b, opError), false), codeNodeExists), codeNodeExists)
			b = appendInt(appendInt(appendBool(appendInt(b, opError), false), -2), -2)
			p.reply(xid, 0, appendInt(appendBool(appendInt(b, -1), true), -1))
		case path == "/none":
			p.reply(xid, codeNoNode, nil)
		case path == "/there":
			p.reply(xid, codeNodeExists, nil)
		case path == "/forbidden":
			p.reply(xid, -102, nil)
		case path == "/busy":
			p.reply(xid, -7, nil)
		case op == opChildren:
			p.reply(xid, 0, appendText(appendText(appendInt(nil, 2), "a"), "bc"))
		case op == opCreate:
			p.reply(xid, 0, appendText(nil, path+"0000000001"))
		default:
			node(p, xid, op, &decoder{b: appendText(nil, path)})
		}
	}
	s, ctx := open(t, m), t.Context()
	if s.Timeout() != time.Minute || s.Err() != nil {
		t.Errorf("the session has %v, %v", s.Timeout(), s.Err())
	}
	if b, err := s.Get(ctx, "/x"); err != nil || string(b) != "data of /x" {
		t.Errorf("get: %q, %v", b, err)
	}
	if list, err := s.Children(ctx, "/x"); err != nil || !slices.Equal(list, []string{"a", "bc"}) {
		t.Errorf("children: %q, %v", list, err)
	}
	if made, err := s.Create(ctx, "/x", []byte("d"), Sequence); err != nil || made != "/x0000000001" {
		t.Errorf("create: %q, %v", made, err)
	}
	if ok, err := s.Exists(ctx, "/x"); err != nil || !ok {
		t.Errorf("exists: %v, %v", ok, err)
	}
	if ok, err := s.Exists(ctx, "/none"); err != nil || ok {
		t.Errorf("exists of none: %v, %v", ok, err)
	}
	for path, want := range map[string]error{"/none": ErrNoNode, "/there": ErrNodeExists, "/busy": ErrUnanswered} {
		if _, err := s.Get(ctx, path); !errors.Is(err, want) {
			t.Errorf("get %s: %v, want %v", path, err, want)
		}
	}
	if _, err := s.Get(ctx, "/forbidden"); err == nil || errors.Is(err, ErrUnanswered) {
		t.Errorf("what the server refuses is an answer: %v", err)
	}
	if failed, cause, err := s.Multi(ctx, Check("/a"), Create("/b", nil, 0), Delete("/c")); failed != 1 || !errors.Is(cause, ErrNodeExists) || err != nil {
		t.Errorf("multi: %d, %v, %v", failed, cause, err)
	}
}

// TestWithinTheSession: requests wait for the next connection; one that was
// sent on the last is unanswered, and what watched it looks again.
func TestWithinTheSession(t *testing.T) {
	t.Parallel()
	a, b := newMember(t), newMember(t)
	asked := make(chan int64, 100)
	for _, m := range []*member{a, b} {
		m.session = func(id int64) (int64, int32) { asked <- id; return 7, 60_000 }
		m.answer = func(p *peer, xid, op int32, d *decoder) {
			if op == opGet { // no answer to the first
				m.mu.Lock()
				m.answer = node
				m.mu.Unlock()
				p.Close()
				return
			}
			node(p, xid, op, d)
		}
	}
	s := open(t, a, b)
	_, changed, err := s.WatchNode(t.Context(), "/watched")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), "/x"); !errors.Is(err, ErrUnanswered) {
		t.Errorf("a request whose connection ended: %v", err)
	}
	select {
	case <-changed:
	case <-time.After(patience):
		t.Error("a watch outlives its connection")
	}
	for { // the other member does not answer its first, either
		got, err := s.Get(t.Context(), "/x")
		if errors.Is(err, ErrUnanswered) {
			continue
		}
		if err != nil || string(got) != "data of /x" {
			t.Errorf("after the next connection: %q, %v", got, err)
		}
		break
	}
	if first, second := <-asked, <-asked; first != 0 || second != 7 {
		t.Errorf("the members were asked for sessions %d and %d", first, second)
	}
}

// TestAnotherSession: a server that forgot the session, or gives another
// without a word, ends it: no request crosses over.
func TestAnotherSession(t *testing.T) {
	t.Parallel()
	for _, timeout := range []int32{0, 60_000} {
		m := newMember(t)
		m.answer = node
		m.session = func(id int64) (int64, int32) {
			if id != 0 {
				return 8, timeout
			}
			return 7, 60_000
		}
		s := open(t, m)
		m.cut()
		awaitEnd(t, s)
		if _, err := s.Get(t.Context(), "/x"); !errors.Is(err, ErrOver) || !errors.Is(s.Err(), ErrOver) {
			t.Errorf("a request after the session: %v", err)
		}
	}
}

// TestContext: who no longer waits leaves the connection as it is.
func TestContext(t *testing.T) {
	t.Parallel()
	m := newMember(t)
	hold := make(chan struct{})
	m.answer = func(p *peer, xid, op int32, d *decoder) {
		<-hold
		node(p, xid, op, d)
	}
	s := open(t, m)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Get(ctx, "/x"); !errors.Is(err, ErrUnanswered) || !errors.Is(err, context.Canceled) {
		t.Errorf("a request that is given up: %v", err)
	}
	later := s.Ask(t.Context(), "/y")
	close(hold)
	if b, err := later(); err != nil || string(b) != "data of /y" {
		t.Errorf("the next request: %q, %v", b, err)
	}
}

// TestServersThatLie: what is no ZooKeeper, or answers what nobody asked, ends
// the connection and nothing else.
func TestServersThatLie(t *testing.T) {
	t.Parallel()
	for name, greeting := range map[string][]byte{
		"http":     []byte("HTTP/1.1 400 Bad Request\r\n\r\n"),
		"short":    appendInt(nil, 3),
		"long":     appendInt(nil, 1<<30),
		"password": append(appendInt(nil, leastGreeting), append(make([]byte, leastGreeting-4), 0, 0, 1, 0)...),
		"nothing":  nil,
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			if c, err := l.Accept(); err == nil {
				c.Write(greeting)
				c.Close()
			}
		}()
		if s, err := Open(t.Context(), Options{Hosts: []string{l.Addr().String()}, Timeout: time.Minute}); err == nil {
			t.Errorf("%s: it is a session %v", name, s.Timeout())
		}
		l.Close()
	}
	m := newMember(t)
	m.answer = func(p *peer, xid, op int32, d *decoder) {
		m.mu.Lock()
		m.answer = node
		m.mu.Unlock()
		p.reply(xid+5, 0, nil)
	}
	s := open(t, m)
	if _, err := s.Get(t.Context(), "/x"); !errors.Is(err, ErrUnanswered) {
		t.Errorf("an answer to another request: %v", err)
	}
	if b, err := s.Get(t.Context(), "/x"); err != nil || string(b) != "data of /x" {
		t.Errorf("on the next connection: %q, %v", b, err)
	}
	checked := appendInt(appendBool(appendInt(nil, opCheck), false), 0)
	end := appendInt(appendBool(appendInt(nil, -1), true), -1)
	for name, answer := range map[string][]byte{ // to a multi of one operation
		"nothing":       {},
		"no outcome":    end,
		"two outcomes":  append(append(checked, checked...), end...),
		"another type":  appendInt(appendBool(appendInt(nil, 77), false), 0),
		"half a number": {0, 0},
	} {
		m.mu.Lock()
		m.answer = func(p *peer, xid, _ int32, _ *decoder) { p.reply(xid, 0, answer) }
		m.mu.Unlock()
		if failed, cause, err := s.Multi(t.Context(), Check("/x")); !errors.Is(err, ErrUnanswered) {
			t.Errorf("%s: %d, %v, %v: it is open what was done", name, failed, cause, err)
		}
	}
	if _, err := Open(t.Context(), Options{}); err == nil {
		t.Error("a session without a host")
	}
}

// TestManyAtOnce: requests of many share a connection, each with its answer.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	m := newMember(t)
	m.answer = node
	s := open(t, m)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			path := "/" + string(rune('a'+i%26)) + string(bytes.Repeat([]byte("x"), i))
			for range 40 {
				if b, err := s.Get(t.Context(), path); err != nil || string(b) != "data of "+path {
					t.Errorf("get %s: %q, %v", path, b, err)
				}
			}
		})
	}
	all.Wait()
}

func FuzzAnswers(f *testing.F) {
	f.Add(appendText(appendText(appendInt(nil, 2), "a"), "bc"))
	f.Add(appendInt(appendBool(appendInt(nil, -1), true), -1))
	f.Add(appendInt(appendInt(appendBool(appendInt(nil, opError), false), -2), -2))
	f.Add(appendInt(nil, 1<<30))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := decoder{b: b}
		if list := d.texts(); len(list) > len(b) {
			t.Errorf("%d names of %d bytes", len(list), len(b))
		}
		d = decoder{b: b}
		if failed, cause := d.multi(1); failed >= 0 && cause == nil || failed*9 > len(b) {
			t.Errorf("operation %d failed with %v", failed, cause)
		}
		d = decoder{b: b}
		if out := d.bytes(); len(out) > len(b) {
			t.Errorf("%d bytes of %d", len(out), len(b))
		}
	})
}
