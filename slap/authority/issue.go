package authority

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net"
	"strings"
)

// Kinds of subjects.
const (
	Computer = "computer"
	User     = "user"
	Instance = "instance"
)

// Issue makes a certificate for a subject and gives it and its key in PEM.
// Text before the certificate names the subject, which "slapos node register"
// reads the computer's name from.
func (a *Authority) Issue(serial, kind, name string) (certificate, key string, err error) {
	subject := pkix.Name{Organization: []string{"weir"}, OrganizationalUnit: []string{kind}, CommonName: name}
	t := a.template(serial, subject, lastsIssued)
	t.KeyUsage, t.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if kind == Instance { // services of instances listen with it, too
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	certificate, err = a.sign(t, serial)
	if err != nil {
		return "", "", fmt.Errorf("authority: certificate of %s %q: %w", kind, name, err)
	}
	if key, err = a.Key(serial); err != nil {
		return "", "", err
	}
	return fmt.Sprintf("Subject: O=weir, OU=%s, CN=%s/emailAddress=none\n%s", kind, oneLine(name), certificate), key, nil
}

// Key gives the private key of a certificate that was issued, in PEM.
func (a *Authority) Key(serial string) (string, error) {
	k, err := a.keyOf(serial)
	if err != nil {
		return "", fmt.Errorf("authority: key: %w", err)
	}
	b, err := keyPEM(k)
	return string(b), err
}

// Listener makes a certificate for a server that is reached by the given
// names and addresses, and verifies clients by the authority. It is made anew
// at each start.
func (a *Authority) Listener(names []string) (tls.Certificate, error) {
	serial, err := NewSerial()
	if err != nil {
		return tls.Certificate{}, err
	}
	t := a.template(serial, pkix.Name{Organization: []string{"weir"}, CommonName: "SLAP master"}, lastsIssued)
	t.KeyUsage, t.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else if n != "" {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	certificate, err := a.sign(t, serial)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("authority: certificate of the listener: %w", err)
	}
	key, err := a.Key(serial)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(append([]byte(certificate), a.pem...), []byte(key))
}

func (a *Authority) sign(t *x509.Certificate, serial string) (string, error) {
	k, err := a.keyOf(serial)
	if err != nil {
		return "", err
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, k.Public(), a.key)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), nil
}

// oneLine keeps a name from looking like more than a name.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == '/' || r == ',' {
			return '_'
		}
		return r
	}, s)
}
