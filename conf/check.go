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
	"syscall"
	"time"
)

// Check looks at what a configuration needs of its machine: a folder that can
// be written, addresses that are free, certificates that can be used. It
// leaves everything as it was. An address in use is a warning: the process that
// holds it may be the weir that this configuration is for.
func Check(c *Config) Diagnostics {
	d := newDecoder(c.file, Source{})
	d.places = c.places
	d.folder("data", c.Data)
	d.bind(c)
	if c.Forward.Unix != "" {
		d.socket("forward.unix", c.Forward.Unix)
	}
	d.certificates(c.Forward.TLS, time.Now())
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
	b := binder{d: d, by: make(map[string]string)}
	b.try("http.listen", "tcp", c.HTTP.Listen)
	for i, a := range c.Forward.Listen {
		path := fmt.Sprintf("forward.listen[%d]", i)
		b.try(path, "tcp", a)
		if c.Forward.UDPHeartbeat {
			b.try(path, "udp", a)
		}
	}
	for _, l := range b.open {
		l.Close()
	}
}

// A binder holds addresses.
type binder struct {
	d    *decoder
	open []io.Closer
	by   map[string]string // network and address to the path that took it
}

func (b *binder) try(path, network, address string) {
	var l io.Closer
	var err error
	if network == "udp" {
		l, err = net.ListenPacket(network, address)
	} else {
		l, err = net.Listen(network, address)
	}
	other, ours := b.by[network+address]
	switch {
	case err == nil:
		b.open, b.by[network+address] = append(b.open, l), path
	case ours:
		b.d.at(path, fmt.Errorf("%s is the address of %s, too: write another one", address, other))
	case errors.Is(err, syscall.EADDRINUSE):
		b.d.warn(path, fmt.Errorf("%s is in use now: unless that is the weir to be replaced, write another address", address))
	default:
		b.d.at(path, fmt.Errorf("%s cannot be bound: %w: write an address of this machine", address, err))
	}
}

// socket checks the place of a Unix socket. A socket that is there was left by
// a weir, or belongs to the one to be replaced.
func (d *decoder) socket(path, name string) {
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.folder(path, filepath.Dir(name))
	case err != nil:
		d.at(path, err)
	case info.Mode().Type() != fs.ModeSocket:
		d.at(path, fmt.Errorf("%s is there and no socket: remove it, or write another path", name))
	}
}

func (d *decoder) certificates(t TLS, now time.Time) {
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			d.at("forward.tls.cert_file", fmt.Errorf("certificate and key cannot be used: %w", err))
		} else if until := pair.Leaf.NotAfter; now.After(until) {
			d.at("forward.tls.cert_file", fmt.Errorf("the certificate expired on %s: renew it", until.Format(time.DateOnly)))
		}
	}
	if t.ClientCAFile != "" {
		pem, err := os.ReadFile(t.ClientCAFile)
		if err != nil {
			d.at("forward.tls.client_ca_file", err)
		} else if !x509.NewCertPool().AppendCertsFromPEM(pem) {
			d.at("forward.tls.client_ca_file", fmt.Errorf("%s holds no certificate: it must be in PEM form", t.ClientCAFile))
		}
	}
}
