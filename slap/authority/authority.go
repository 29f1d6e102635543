package authority

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"weir/internal/replace"
)

// How long certificates last. Nodes and persons get theirs once and the tools
// never ask for another, so it is long; what ends one is its revocation.
const (
	lastsRoot   = 30 * 365 * 24 * time.Hour
	lastsIssued = 10 * 365 * 24 * time.Hour
	backdated   = time.Hour // for clocks that are late
)

// Files of an authority in its folder.
const (
	KeyFile         = "ca.key" // its private key, readable by the owner alone
	CertificateFile = "ca.crt" // its certificate, for all who verify
)

// An Authority issues certificates. It is safe for concurrent use.
type Authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pem  []byte
	now  func() time.Time
}

// Open reads the authority in a folder, or makes one: the key first, so that a
// crash in between leaves a key whose certificate is made at the next start.
func Open(dir string, now func() time.Time) (*Authority, error) {
	if now == nil {
		now = time.Now
	}
	a := &Authority{now: now}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("authority: open %s: %w", dir, err)
	}
	var err error
	if a.key, err = openKey(filepath.Join(dir, KeyFile)); err != nil {
		return nil, err
	}
	name := filepath.Join(dir, CertificateFile)
	a.pem, err = os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		if a.pem, err = a.root(); err == nil {
			err = replace.File(name, a.pem, 0o644)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("authority: certificate: %w", err)
	}
	if a.cert, err = parse(a.pem); err != nil {
		return nil, fmt.Errorf("authority: certificate %s: %w", name, err)
	}
	if public, ok := a.cert.PublicKey.(*ecdsa.PublicKey); !ok || !public.Equal(a.key.Public()) {
		return nil, fmt.Errorf("authority: %s is not the certificate of %s: restore both from a backup, or remove both to begin anew", name, KeyFile)
	}
	return a, nil
}

// Certificate is the authority's own, in PEM.
func (a *Authority) Certificate() []byte { return bytes.Clone(a.pem) }

// Pool holds the authority's certificate, to verify what it issued.
func (a *Authority) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// Issued tells whether a chain that was verified ends at this authority.
func (a *Authority) Issued(chain []*x509.Certificate) bool {
	return len(chain) > 1 && chain[len(chain)-1].Equal(a.cert)
}

// openKey reads a private key, or makes one.
func openKey(name string) (*ecdsa.PrivateKey, error) {
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return makeKey(name)
	}
	if err != nil {
		return nil, fmt.Errorf("authority: key: %w", err)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("authority: key %s is no PEM: restore it from a backup", name)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("authority: key %s: %w", name, err)
	}
	k, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("authority: key %s is a %T, not one of elliptic curves", name, key)
	}
	return k, nil
}

func makeKey(name string) (*ecdsa.PrivateKey, error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("authority: make a key: %w", err)
	}
	b, err := keyPEM(k)
	if err == nil {
		err = replace.File(name, b, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("authority: keep the key: %w", err)
	}
	return k, nil
}

// root makes the authority's own certificate.
func (a *Authority) root() ([]byte, error) {
	serial, err := NewSerial()
	if err != nil {
		return nil, err
	}
	host, _ := os.Hostname()
	t := a.template(serial, pkix.Name{Organization: []string{"weir"}, CommonName: "SLAP master " + host}, lastsRoot)
	t.IsCA, t.BasicConstraintsValid, t.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, t, t, a.key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

// NewSerial gives the number of a certificate to be: 32 hex digits, which
// nobody can guess.
func NewSerial() (string, error) {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		return "", err
	}
	b[0] = b[0]&0x7f | 0x40 // positive, and of one length
	return hex.EncodeToString(b), nil
}

// Serial is the number of a certificate as NewSerial gave it.
func Serial(c *x509.Certificate) string { return c.SerialNumber.Text(16) }

func (a *Authority) template(serial string, subject pkix.Name, lasts time.Duration) *x509.Certificate {
	n, _ := new(big.Int).SetString(serial, 16)
	now := a.now()
	return &x509.Certificate{SerialNumber: n, Subject: subject, NotBefore: now.Add(-backdated), NotAfter: now.Add(lasts)}
}

// keyOf derives the key of a certificate from the authority's and the
// certificate's number. So no key but the authority's is kept anywhere, and an
// instance that asks again is given the same one.
func (a *Authority) keyOf(serial string) (*ecdsa.PrivateKey, error) {
	secret, err := a.key.Bytes()
	if err != nil {
		return nil, err
	}
	for n := 0; ; n++ { // nearly always the first: a number beyond the curve's order is no key
		b, err := hkdf.Key(sha256.New, secret, []byte(serial), fmt.Sprintf("weir slap key %d", n), 32)
		if err != nil {
			return nil, err
		}
		k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), b)
		if err == nil || n > 100 {
			return k, err
		}
	}
}

func keyPEM(k *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// parse reads the first certificate of a PEM text, whatever is before it.
func parse(b []byte) (*x509.Certificate, error) {
	for {
		block, rest := pem.Decode(b)
		if block == nil {
			return nil, errors.New("it holds no certificate in PEM")
		}
		if block.Type == "CERTIFICATE" {
			return x509.ParseCertificate(block.Bytes)
		}
		b = rest
	}
}
