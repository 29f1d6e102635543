package forward

import (
	"errors"
	"fmt"
	"net"
	"os"
)

// ServePacket answers heartbeats: one zero byte to each datagram. It returns
// ErrClosed when the server is shut down, and closes the socket.
func (s *Server) ServePacket(p net.PacketConn) error {
	if !s.track(p, nil) {
		return ErrClosed
	}
	defer s.untrack(p)
	var b [128]byte
	for {
		_, from, err := p.ReadFrom(b[:])
		if err != nil {
			if s.stopping.Load() {
				return ErrClosed
			}
			if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
				return fmt.Errorf("forward: heartbeats on %s: %w", p.LocalAddr(), err)
			}
			s.log.warn("heartbeat", "cannot read a heartbeat", "error", err)
			continue
		}
		if _, err := p.WriteTo([]byte{0}, from); err == nil {
			s.count.heartbeats.Add(1)
		}
	}
}
