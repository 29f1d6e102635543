package sender

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
)

// Conditions that another attempt does not change.
var (
	// ErrSharedKey: the server does not have the same shared key.
	ErrSharedKey = errors.New("the shared key is not the server's")
	// ErrUser: the server does not know the user, or the password is wrong.
	ErrUser = errors.New("the server refuses the user or the password")
	// ErrDenied: the server refuses for the reason that it gives.
	ErrDenied = errors.New("the server refuses")
	// ErrSecured: the server asks for a shared key, and none was given.
	ErrSecured = errors.New("the server asks for a shared key")
	// ErrSameName: the server calls itself what the sender does, so it may
	// only have sent back what the sender itself said.
	ErrSameName = errors.New("the server has the sender's own name")
	// ErrPlain: the server does not speak TLS.
	ErrPlain = errors.New("the server does not speak TLS")
	// ErrTLS: the server speaks TLS, and the sender does not.
	ErrTLS = errors.New("the server speaks TLS")
	// ErrCertificate: the server's certificate does not hold.
	ErrCertificate = errors.New("the server's certificate is refused")
	// ErrAlert: the server ended TLS, as when it does not take the sender's
	// certificate.
	ErrAlert = errors.New("the server refuses TLS")
	// ErrProtocol: what the server sent is not the forward protocol.
	ErrProtocol = errors.New("the server does not speak the forward protocol")
)

// Conditions that may have passed at the next attempt.
var (
	// ErrNoHello: a shared key was given, and the server did not ask for it.
	ErrNoHello = errors.New("the server asked for no shared key")
	// ErrClosed: the server closed the connection without a word.
	ErrClosed = errors.New("the server closed the connection")
)

func isFinal(err error) bool {
	final := []error{ErrSharedKey, ErrUser, ErrDenied, ErrSecured, ErrSameName, ErrPlain, ErrTLS, ErrCertificate, ErrAlert, ErrProtocol}
	return slices.ContainsFunc(final, func(e error) bool { return errors.Is(err, e) })
}

// denied gives the error for the reason in a PONG; the words are fluentd's.
func denied(reason string) error {
	kind := ErrDenied
	switch {
	case strings.Contains(reason, "shared_key"):
		kind = ErrSharedKey
	case strings.Contains(reason, "username"), strings.Contains(reason, "password"):
		kind = ErrUser
	}
	return fmt.Errorf("%w: it says %.200q", kind, reason)
}

// meaning gives the condition that an error of a connection stands for.
func meaning(err error) error {
	var plain tls.RecordHeaderError
	var bad *tls.CertificateVerificationError
	var remote *net.OpError
	switch {
	case errors.As(err, &plain):
		return fmt.Errorf("%w: %w", ErrPlain, err)
	case errors.As(err, &bad):
		return fmt.Errorf("%w: %w%s", ErrCertificate, err, subject(bad.UnverifiedCertificates))
	case errors.As(err, &remote) && remote.Op == "remote error":
		return fmt.Errorf("%w: %w", ErrAlert, err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return err
}

// subject names the certificate that a server showed.
func subject(chain []*x509.Certificate) string {
	if len(chain) == 0 {
		return ""
	}
	return fmt.Sprintf(" (subject %s)", chain[0].Subject)
}
