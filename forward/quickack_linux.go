package forward

import (
	"net"
	"syscall"
)

// A quickAck has the kernel acknowledge segments at once. fluentd sends the
// first byte of a message alone; on a warm connection its next segment would
// wait 40 ms for a delayed acknowledgement.
type quickAck struct {
	raw syscall.RawConn
	do  func(fd uintptr)
}

// newQuickAck is for TCP, also under TLS; for others it does nothing.
func newQuickAck(nc net.Conn) quickAck {
	if t, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = t.NetConn()
	}
	t, ok := nc.(*net.TCPConn)
	if !ok {
		return quickAck{}
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return quickAck{}
	}
	return quickAck{raw, func(fd uintptr) {
		syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1)
	}}
}

// set renews the mode, which the kernel leaves by itself.
func (q quickAck) set() {
	if q.raw != nil {
		q.raw.Control(q.do)
	}
}
