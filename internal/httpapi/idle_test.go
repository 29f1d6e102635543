package httpapi

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A pipes is a listener whose connections are pipes in memory, so that their
// deadlines follow the clock of a synctest.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, io.EOF
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// A connection of fluentd's plugin survives 15 idle minutes, as its tests
// want, and is closed by weir in the end.
func TestAnIdleConnectionSurvives15Minutes(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.get("/health").want(t, 200, "") // what fasthttp starts once is not the bubble's
	synctest.Test(t, func(t *testing.T) {
		l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
		served := make(chan error, 1)
		go func() { served <- w.s.Serve(l) }()
		ours, theirs := net.Pipe()
		l.conns <- theirs
		r := bufio.NewReader(ours)
		ask := func() { // which needs no store, whose goroutines are not the bubble's
			if _, err := io.WriteString(ours, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			answer, err := http.ReadResponse(r, nil)
			if err != nil || answer.StatusCode != 200 || answer.Close {
				t.Fatal(answer, err)
			}
			if _, err := io.Copy(io.Discard, answer.Body); err != nil {
				t.Fatal(err)
			}
		}
		ask()
		for range 4 { // an hour, each time 15 minutes and a second
			time.Sleep(15*time.Minute + time.Second)
			ask()
		}
		began := time.Now()
		if b, err := r.ReadByte(); err != io.EOF {
			t.Errorf("in the end there is %q, %v", b, err)
		}
		if rest := time.Since(began); rest < 15*time.Minute || rest > 30*time.Minute {
			t.Errorf("an idle connection is closed after %v", rest)
		}
		ours.Close()
		l.Close()
		<-served
		time.Sleep(time.Minute) // for what fasthttp looks after now and then
	})
}
