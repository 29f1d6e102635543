package zk

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// A script is a server that has said all already.
type script struct {
	net.Conn
	r       io.Reader
	largest int // read that was asked for
}

func (s *script) Read(b []byte) (int, error) {
	s.largest = max(s.largest, len(b))
	return s.r.Read(b)
}
func (s *script) Close() error         { return nil }
func (s *script) RemoteAddr() net.Addr { return &net.TCPAddr{} }

// TestMemoryFollowsWhatArrives: a server that announces much takes no memory.
func TestMemoryFollowsWhatArrives(t *testing.T) {
	t.Parallel()
	s := &script{r: bytes.NewReader(append(appendInt(nil, maxAnswer), make([]byte, 100<<10)...))}
	if _, err := newConn(s).frame(0, maxAnswer); !errors.Is(err, io.EOF) {
		t.Errorf("a frame that is cut short: %v", err)
	}
	if s.largest > 1<<20 {
		t.Errorf("%d bytes were made room for, of 100 KiB that came", s.largest)
	}
	long := bytes.Repeat([]byte("0123456789abcdef"), readBuffer/4)
	s = &script{r: bytes.NewReader(appendBytes(nil, long))}
	if b, err := newConn(s).frame(0, maxAnswer); err != nil || !bytes.Equal(b, long) {
		t.Errorf("a long frame: %d bytes, %v", len(b), err)
	}
}

func frames(bodies ...[]byte) (out []byte) {
	for _, b := range bodies {
		out = appendBytes(out, b)
	}
	return out
}

func head(xid, code int32) []byte { return appendInt(appendLong(appendInt(nil, xid), 99), code) }

// FuzzServe: whatever a server says, each request ends once, each watch ends,
// and nothing is proved that was not asked.
func FuzzServe(f *testing.F) {
	event := appendText(appendInt(appendInt(head(xidEvent, 0), 4), 3), "/watched")
	f.Add(frames(head(1, 0), event, appendText(head(2, 0), "data"), head(3, codeNoNode)))
	f.Add(frames(head(2, 0)))
	f.Add(frames(head(1, codeExpired), head(2, 0)))
	f.Add(frames(event[:20]))
	f.Add(appendInt(nil, maxAnswer))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := newConn(&script{r: bytes.NewReader(b)})
		at := time.Unix(1, 0)
		var asked []*request
		for xid := range int32(3) {
			asked = append(asked, &request{xid: xid + 1, sent: at, proves: xid == 1, answer: make(chan answer, 1)})
		}
		c.asked = append(c.asked, asked...)
		changed, proofs := c.watch("/watched"), 0
		err := c.serve(func(sent time.Time, _ int64) {
			if !sent.IsZero() {
				proofs++
			}
		})
		c.end()
		if err == nil || proofs > 1 {
			t.Errorf("it ends with %v, after %d proofs", err, proofs)
		}
		<-changed
		for _, r := range asked {
			select {
			case <-r.answer:
			default:
				t.Errorf("request %d has no end", r.xid)
			}
		}
	})
}
