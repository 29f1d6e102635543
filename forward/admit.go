package forward

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// admit does what comes before the first message, within the time for it:
// the handshakes of TLS and of the protocol.
func (c *conn) admit() error {
	secure, ok := c.nc.(interface{ Handshake() error })
	if !ok && c.s.o.Security == nil {
		return nil
	}
	c.nc.SetDeadline(time.Now().Add(c.s.o.HandshakeTimeout))
	if c.s.draining.Load() {
		return errDrained
	}
	if ok {
		if err := secure.Handshake(); err != nil {
			return &handshakeError{"tls", err}
		}
	}
	if c.s.o.Security != nil {
		if err := c.handshake(); err != nil {
			return &handshakeError{"security", err}
		}
	}
	return nil
}

// A handshakeError says at which handshake a connection ended.
type handshakeError struct {
	stage string // tls or security
	err   error
}

// Error gives the stage and the cause.
func (e *handshakeError) Error() string { return e.stage + ": " + e.err.Error() }

// Unwrap gives the cause.
func (e *handshakeError) Unwrap() error { return e.err }

// check gives the word for what failed; empty when the peer only went away,
// as health checks and heartbeats do.
func (e *handshakeError) check() string {
	var d *denial
	switch {
	case errors.As(e.err, &d):
		return d.check
	case errors.Is(e.err, os.ErrDeadlineExceeded):
		return "timeout"
	case errors.Is(e.err, io.EOF), errors.Is(e.err, net.ErrClosed), errors.Is(e.err, syscall.ECONNRESET), errors.Is(e.err, syscall.EPIPE):
		return ""
	}
	return e.stage
}

// maxDetail bounds each part of a detail: a stranger's certificate may name
// kilobytes.
const maxDetail = 300

// detail describes the cause, with the subject of a certificate that failed.
func (e *handshakeError) detail() string {
	text := fmt.Sprintf("%.*s", maxDetail, e.err)
	var v *tls.CertificateVerificationError
	if errors.As(e.err, &v) && len(v.UnverifiedCertificates) > 0 {
		text += fmt.Sprintf(" (subject %.*s)", maxDetail, v.UnverifiedCertificates[0].Subject)
	}
	return text
}

// deny counts and logs a failed handshake.
func (c *conn) deny(e *handshakeError) {
	check := e.check()
	if check == "" || check == "timeout" && c.s.draining.Load() {
		return
	}
	c.s.count.fail(check)
	if n := c.w - c.r; n > 0 {
		c.s.count.refuse("handshake", n)
	}
	c.warn("handshake-"+check, "handshake failed", "check", check, "error", e.detail())
}
