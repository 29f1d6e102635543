package forward

import (
	"errors"
	"fmt"
	"hash/maphash"
	"net"
	"os"
	"time"
)

const (
	beatGroups = 256
	beatsEach  = 64 // a second
)

// A pulse bounds how often a second the addresses of a group are answered: two
// servers that answer every datagram could be made to answer each other.
type pulse struct {
	seed   maphash.Seed
	groups [beatGroups]struct{ second, beats int64 }
}

// allow tells whether an address is to be answered.
func (p *pulse) allow(from net.Addr, now time.Time) bool {
	g := &p.groups[maphash.String(p.seed, from.String())%beatGroups]
	if s := now.Unix(); s != g.second {
		g.second, g.beats = s, 0
	}
	g.beats++
	return g.beats <= beatsEach
}

// ServePacket answers heartbeats: one zero byte to each datagram, but for an
// address that sends many a second. It returns ErrClosed when the server is
// shut down, and closes the socket.
func (s *Server) ServePacket(p net.PacketConn) error {
	if !s.track(p, nil) {
		return ErrClosed
	}
	defer s.untrack(p)
	var b [128]byte
	beats := pulse{seed: maphash.MakeSeed()}
	for {
		n, from, err := p.ReadFrom(b[:])
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
		if !beats.allow(from, s.o.Now()) {
			s.count.refuse("heartbeat", n)
			continue
		}
		if _, err := p.WriteTo([]byte{0}, from); err == nil {
			s.count.heartbeats.Add(1)
		}
	}
}
