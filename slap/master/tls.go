package master

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"weir/slap/authority"
)

// A TLS says how a master's listener is secured.
type TLS struct {
	// CertFile and KeyFile of the listener, in PEM; without them an authority
	// makes a certificate for Names, and without that there is no TLS.
	CertFile, KeyFile string
	Names             []string
	// ClientCAFile holds authorities, besides the master's own, whose
	// certificates speak for the computer that their common name is.
	ClientCAFile string
}

// Config gives the listener's TLS, nil for none. A client need not have a
// certificate; one that it shows is verified.
func (t TLS) Config(a *authority.Authority) (*tls.Config, error) {
	if t.CertFile == "" && t.KeyFile == "" && a == nil {
		if t.ClientCAFile != "" {
			return nil, errors.New("slap: client certificates need TLS: give the listener's certificate and key, or an authority")
		}
		return nil, nil
	}
	pair, err := t.pair(a)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if t.ClientCAFile == "" && a == nil {
		return c, nil
	}
	c.ClientAuth, c.ClientCAs = tls.VerifyClientCertIfGiven, x509.NewCertPool()
	if a != nil {
		c.ClientCAs = a.Pool()
	}
	if t.ClientCAFile == "" {
		return c, nil
	}
	pem, err := os.ReadFile(t.ClientCAFile)
	if err != nil {
		return nil, fmt.Errorf("slap: client authorities: %w", err)
	}
	if !c.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("slap: client authorities: %s holds no certificate in PEM", t.ClientCAFile)
	}
	return c, nil
}

func (t TLS) pair(a *authority.Authority) (tls.Certificate, error) {
	if t.CertFile == "" && t.KeyFile == "" {
		return a.Listener(t.Names)
	}
	p, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return p, fmt.Errorf("slap: certificate and key of the listener: %w", err)
	}
	return p, nil
}
