package server

import (
	"crypto/tls"
	"fmt"
	"net"

	"weir/access"
	"weir/conf"
)

// security is that of the listeners; nil is a plain one.
type security struct{ http, forward *tls.Config }

// secure reads the certificate of a listener, where it has one.
func (s *Server) secure(path string, t conf.TLS) (*tls.Config, error) {
	o, ok := t.Options()
	if !ok {
		return nil, nil
	}
	c, err := o.Config(s.log.With("listener", path))
	if err != nil {
		return nil, fmt.Errorf("server: %s: %w", path, err)
	}
	return c, nil
}

// guard knows the users of HTTP; nil is a door that is open to everybody.
func (s *Server) guard() (*access.Guard, error) {
	o, ok := s.conf.HTTP.Access()
	if !ok {
		return nil, nil
	}
	if !s.bound.at.TLS && !isLoopback(s.bound.http.Addr()) {
		s.log.Warn("passwords come unencrypted: write http.tls, or put a server with TLS in front", "listening", s.bound.at.HTTP)
	}
	g, err := access.New(o)
	if err != nil {
		return nil, fmt.Errorf("server: http.users: %w", err)
	}
	return g, nil
}

// isLoopback tells whether only this machine reaches an address.
func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}
