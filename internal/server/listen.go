package server

import (
	"crypto/tls"
	"fmt"
	"io/fs"
	"net"
	"os"

	"weir/conf"
)

// Addresses are where a server listens, as it was bound.
type Addresses struct {
	HTTP    string   `json:"http"`
	Forward []string `json:"forward"`
	Unix    string   `json:"unix,omitempty"`
	Slap    string   `json:"slap,omitempty"` // of the own SLAP master
	TLS     bool     `json:"tls,omitempty"`  // HTTP is https
}

// URL is the address of the HTTP listener, without a slash at its end.
func (a Addresses) URL() string {
	if a.TLS {
		return "https://" + a.HTTP
	}
	return "http://" + a.HTTP
}

// listeners are bound before anything is served, so that an address that is
// taken is an error of the start.
type listeners struct {
	http    net.Listener
	forward []net.Listener
	packet  []net.PacketConn
	at      Addresses
}

// listen binds all addresses, or none.
func listen(h conf.HTTP, f conf.Forward, secure security) (_ *listeners, err error) {
	l := new(listeners)
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.http, err = net.Listen("tcp", h.Listen); err != nil {
		return nil, fmt.Errorf("server: http.listen: %w", err)
	}
	l.at.HTTP, l.at.TLS = l.http.Addr().String(), secure.http != nil
	if secure.http != nil {
		l.http = tls.NewListener(l.http, secure.http)
	}
	for _, address := range f.Listen {
		if err = l.listenForward(address, secure.forward, f.UDPHeartbeat); err != nil {
			return nil, fmt.Errorf("server: forward.listen: %w", err)
		}
	}
	if f.Unix != "" {
		if err = l.listenUnix(f.Unix, fs.FileMode(f.UnixPerm)); err != nil {
			return nil, fmt.Errorf("server: forward.unix: %w", err)
		}
	}
	return l, nil
}

func (l *listeners) listenForward(address string, secure *tls.Config, heartbeat bool) error {
	tcp, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	bound := tcp.Addr().String()
	if secure != nil {
		tcp = tls.NewListener(tcp, secure)
	}
	l.forward = append(l.forward, tcp)
	l.at.Forward = append(l.at.Forward, bound)
	if !heartbeat {
		return nil
	}
	udp, err := net.ListenPacket("udp", bound)
	if err != nil {
		return fmt.Errorf("heartbeats: %w; forward.udp_heartbeat: false does without", err)
	}
	l.packet = append(l.packet, udp)
	return nil
}

// listenUnix binds a socket file, with a mode unless that is 0; one that nobody
// listens on is replaced.
func (l *listeners) listenUnix(path string, mode fs.FileMode) error {
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return fmt.Errorf("%s: another process listens there", path)
	}
	if i, err := os.Lstat(path); err == nil && i.Mode().Type() == fs.ModeSocket {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	u, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	if mode != 0 {
		if err := os.Chmod(path, mode); err != nil {
			u.Close()
			return fmt.Errorf("forward.unix_perm: %w", err)
		}
	}
	l.forward = append(l.forward, u)
	l.at.Unix = path
	return nil
}

// close releases what was bound and not served: nothing can be lost by it.
func (l *listeners) close() {
	if l.http != nil {
		l.http.Close()
	}
	for _, f := range l.forward {
		f.Close()
	}
	for _, p := range l.packet {
		p.Close()
	}
}
