package forward

import (
	"net"
	"syscall"
	"testing"
)

// TestKeepalivePackets: a peer that is gone without a word is found, for TCP
// asks after it.
func TestKeepalivePackets(t *testing.T) {
	t.Parallel()
	s, a := serve(t, Options{Handler: dropper{}})
	c, err := net.Dial("tcp", a.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(pack(list{"t", at, record(1), chunk})); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err != nil { // it is served
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		raw, err := conn.nc.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		on := 0
		err = raw.Control(func(fd uintptr) { on, err = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE) })
		if err != nil || on != 1 {
			t.Errorf("SO_KEEPALIVE is %d, %v", on, err)
		}
	}
	if len(s.conns) != 1 {
		t.Errorf("%d connections", len(s.conns))
	}
}
