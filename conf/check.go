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
	d.certificates("http.tls", c.HTTP.TLS, time.Now())
	d.certificates("forward.tls", c.Forward.TLS, time.Now())
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

func (d *decoder) certificates(path string, t TLS, now time.Time) {
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			d.at(path+".cert_file", fmt.Errorf("certificate and key cannot be used: %w", err))
		} else if until := pair.Leaf.NotAfter; now.After(until) {
			d.at(path+".cert_file", fmt.Errorf("the certificate expired on %s: renew it", until.Format(time.DateOnly)))
		}
	}
	if t.ClientCAFile != "" {
		pem, err := os.ReadFile(t.ClientCAFile)
		if err != nil {
			d.at(path+".client_ca_file", err)
		} else if !x509.NewCertPool().AppendCertsFromPEM(pem) {
			d.at(path+".client_ca_file", fmt.Errorf("%s holds no certificate: it must be in PEM form", t.ClientCAFile))
		}
	}
}
