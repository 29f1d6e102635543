package forward

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// TLS names the files of a TLS listener. They are read again when they
// change, without a restart.
type TLS struct {
	CertFile, KeyFile string // PEM; the certificate may be followed by its chain
	// ClientCAFile holds the authorities that clients' certificates must be
	// signed by; empty asks for no client certificate.
	ClientCAFile string
	// MinVersion and MaxVersion are versions of package crypto/tls; defaults
	// 1.2 and 1.3.
	MinVersion, MaxVersion uint16
}

// Validate says what is wrong, by field; it does not open the files.
func (t TLS) Validate() map[string]error {
	bad := map[string]error{}
	if t.CertFile == "" {
		bad["cert_path"] = errors.New("is missing")
	}
	if t.KeyFile == "" {
		bad["private_key_path"] = errors.New("is missing")
	}
	for name, v := range map[string]uint16{"min_version": t.MinVersion, "max_version": t.MaxVersion} {
		if v != 0 && v != tls.VersionTLS12 && v != tls.VersionTLS13 {
			bad[name] = errors.New("is neither TLS 1.2 nor 1.3")
		}
	}
	if t.MinVersion != 0 && t.MaxVersion != 0 && t.MinVersion > t.MaxVersion {
		bad["min_version"] = errors.New("is above max_version")
	}
	return bad
}

// reloadEvery is how often the files are looked at, at most.
const reloadEvery = time.Second

// Config reads the files and gives a configuration for tls.NewListener. At a
// client's arrival changed files are read; while they cannot be used, the
// former ones stay, and log tells.
func (t TLS) Config(log *slog.Logger) (*tls.Config, error) {
	r, err := t.open(log)
	if err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: r.get}, nil
}

// open reads the files for the first time.
func (t TLS) open(log *slog.Logger) (*reloader, error) {
	for k, err := range t.Validate() {
		return nil, fmt.Errorf("forward: tls option %s: %w", k, err)
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	r := &reloader{files: t, log: log, read: t.load, patience: reloadEvery}
	r.seen = r.stamp()
	c, err := r.read()
	r.config.Store(c)
	return r, err
}

// load reads the files.
func (t TLS) load() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("forward: load certificate %s with key %s: %w", t.CertFile, t.KeyFile, err)
	}
	c := &tls.Config{
		Certificates: []tls.Certificate{cert},
		MinVersion:   cmp.Or(t.MinVersion, tls.VersionTLS12),
		MaxVersion:   cmp.Or(t.MaxVersion, tls.VersionTLS13),
	}
	if t.ClientCAFile == "" {
		return c, nil
	}
	pem, err := os.ReadFile(t.ClientCAFile)
	if err != nil {
		return nil, fmt.Errorf("forward: load client authorities: %w", err)
	}
	c.ClientCAs = x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("forward: load client authorities %s: no certificate in PEM form", t.ClientCAFile)
	}
	c.ClientAuth = tls.RequireAndVerifyClientCert
	return c, nil
}

// A reloader holds the configuration in use.
type reloader struct {
	files    TLS
	log      *slog.Logger
	read     func() (*tls.Config, error) // files.load
	patience time.Duration               // of a client, for changed files to be read
	config   atomic.Pointer[tls.Config]

	mu      sync.Mutex
	looked  time.Time
	loading chan struct{} // closed when a look at the files ends; nil is none

	// The look that is under way alone has these.
	seen [3]os.FileInfo // the files that config came from
	told string         // why those that are there cannot be used
}

// stamp tells which files are there.
func (r *reloader) stamp() (s [3]os.FileInfo) {
	for i, name := range []string{r.files.CertFile, r.files.KeyFile, r.files.ClientCAFile} {
		if name != "" {
			s[i], _ = os.Stat(name)
		}
	}
	return s
}

// get gives the configuration for a client that arrives. It waits for changed
// files, but not for a disk that does not answer.
func (r *reloader) get(*tls.ClientHelloInfo) (*tls.Config, error) {
	r.mu.Lock()
	if r.loading == nil && time.Since(r.looked) >= reloadEvery {
		r.looked, r.loading = time.Now(), make(chan struct{})
		go r.look(r.loading)
	}
	loading := r.loading
	r.mu.Unlock()
	if loading != nil {
		select {
		case <-loading:
		case <-time.After(r.patience):
		}
	}
	return r.config.Load(), nil
}

// look takes changed files into use. Those that cannot be used are tried again
// each time, since that may pass without another change, and told of once.
func (r *reloader) look(done chan struct{}) {
	defer func() {
		r.mu.Lock()
		r.loading = nil
		r.mu.Unlock()
		close(done)
	}()
	now := r.stamp()
	if equalFiles(now, r.seen) {
		r.told = ""
		return
	}
	c, err := r.read()
	if err != nil {
		if err.Error() != r.told {
			r.log.Error("forward: changed TLS files cannot be used; the former ones stay", "error", err)
		}
		r.told = err.Error()
		return
	}
	r.config.Store(c)
	r.seen, r.told = now, ""
	r.log.Info("forward: read changed TLS files", "certificate", r.files.CertFile)
}

// equalFiles tells whether nothing changed.
func equalFiles(a, b [3]os.FileInfo) bool {
	for i := range a {
		x, y := a[i], b[i]
		if (x == nil) != (y == nil) {
			return false
		}
		if x != nil && (!os.SameFile(x, y) || x.Size() != y.Size() || !x.ModTime().Equal(y.ModTime())) {
			return false
		}
	}
	return true
}
