package conf

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Verify reads a configuration file and looks at what it needs of its machine,
// as Load and Check do, and tells the mistakes of both at once.
func Verify(name string, s Source) (*Config, Diagnostics) {
	c, found := Load(name, s)
	s.Offline = true
	if plain, mistakes := Load(name, s); len(mistakes) == 0 { // else nothing is known of the machine it wants
		found = append(found, Check(plain)...)
		found.sort()
	}
	if len(found) > 0 {
		return nil, found
	}
	return c, nil
}

// Check looks at what a configuration needs of its machine: a folder that can
// be written, addresses that are free, certificates that can be used. It
// leaves everything as it was. A weir that runs with the same configuration
// is a finding, since it holds the addresses.
func Check(c *Config) Diagnostics {
	d := newDecoder(c.file, Source{})
	d.places = c.places
	d.folder("data", c.Data)
	d.bind(c)
	if c.Forward.Unix != "" {
		d.socket("forward.unix", c.Forward.Unix)
	}
	d.certificates(c, time.Now())
	d.found.sort()
	return d.found
}

// folder checks that a folder can be written, or made.
func (d *decoder) folder(path, dir string) {
	at, err := filepath.Abs(dir)
	if err != nil {
		d.at(path, err)
		return
	}
	for {
		if _, err = os.Stat(at); !errors.Is(err, fs.ErrNotExist) || at == filepath.Dir(at) {
			break
		}
		at = filepath.Dir(at)
	}
	if err != nil {
		d.at(path, err)
		return
	}
	probe, err := os.MkdirTemp(at, ".weir-check-*")
	if err != nil {
		d.at(path, fmt.Errorf("%s cannot be written: %w: name another folder, or give weir's user the right", at, err))
		return
	}
	if err := os.Remove(probe); err != nil {
		d.at(path, err)
	}
}

// bind takes every address at once, so that two equal ones are found, and
// lets them go.
func (d *decoder) bind(c *Config) {
	var open []io.Closer
	defer func() {
		for _, l := range open {
			l.Close()
		}
	}()
	try := func(path, address string, listen func() (io.Closer, error)) {
		l, err := listen()
		if err != nil {
			d.at(path, fmt.Errorf("%s cannot be bound: %w: stop what listens there, or write another address", address, err))
			return
		}
		open = append(open, l)
	}
	tcp := func(path, address string) {
		try(path, address, func() (io.Closer, error) { return net.Listen("tcp", address) })
	}
	tcp("http.listen", c.HTTP.Listen)
	if c.Slap.Listen != "" {
		tcp("slap.listen", c.Slap.Listen)
	}
	for i, a := range c.Forward.Listen {
		path := fmt.Sprintf("forward.listen[%d]", i)
		tcp(path, a)
		if c.Forward.UDPHeartbeat {
			try(path, a, func() (io.Closer, error) { return net.ListenPacket("udp", a) })
		}
	}
}

// socket checks the place of a Unix socket: free, or left by a process that is gone.
func (d *decoder) socket(path, name string) {
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.folder(path, filepath.Dir(name))
	case err != nil:
		d.at(path, err)
	case info.Mode().Type() != fs.ModeSocket:
		d.at(path, fmt.Errorf("%s is there and no socket: remove it, or write another path", name))
	default:
		if conn, err := net.DialTimeout("unix", name, time.Second); err == nil {
			conn.Close()
			d.at(path, fmt.Errorf("another process listens at %s: stop it, or write another path", name))
		}
	}
}

func (d *decoder) certificates(c *Config, now time.Time) {
	d.certificate("http.tls.cert_file", c.HTTP.TLS.CertFile, c.HTTP.TLS.KeyFile, now)
	d.authorities("http.tls.client_ca_file", c.HTTP.TLS.ClientCAFile)
	d.certificate("forward.tls.cert_file", c.Forward.TLS.CertFile, c.Forward.TLS.KeyFile, now)
	d.authorities("forward.tls.client_ca_file", c.Forward.TLS.ClientCAFile)
	d.certificate("slap.tls_cert_file", c.Slap.TLSCertFile, c.Slap.TLSKeyFile, now)
	d.certificate("slap.cert_file", c.Slap.CertFile, c.Slap.KeyFile, now)
	d.authorities("slap.client_ca_file", c.Slap.ClientCAFile)
	d.authorities("slap.ca_file", c.Slap.CAFile)
	for i, f := range c.Slap.Forward {
		at := fmt.Sprintf("slap.forward[%d].", i)
		d.certificate(at+"cert_file", f.CertFile, f.KeyFile, now)
		d.authorities(at+"ca_file", f.CAFile)
	}
}

// certificate checks a pair of files, where there is one.
func (d *decoder) certificate(at, cert, key string, now time.Time) {
	if cert == "" {
		return
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		d.at(at, fmt.Errorf("certificate and key cannot be used: %w", err))
	} else if until := pair.Leaf.NotAfter; now.After(until) {
		d.at(at, fmt.Errorf("the certificate expired on %s: renew it", until.Format(time.DateOnly)))
	}
}

// authorities checks a file of certificates, where there is one.
func (d *decoder) authorities(at, file string) {
	if file == "" {
		return
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		d.at(at, err)
	} else if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		d.at(at, fmt.Errorf("%s holds no certificate: it must be in PEM form", file))
	}
}
