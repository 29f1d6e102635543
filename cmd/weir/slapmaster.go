package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"weir/conf"
	"weir/internal/replace"
	"weir/slap/authority"
	"weir/slap/master"
	"weir/streams"
)

// A slapMaster is a master in a process of its own.
type slapMaster struct {
	config, listen, data, computer string
	async, authority               bool
	tls                            master.TLS
	token                          string
}

func newSlapMaster() *cobra.Command {
	var s slapMaster
	c := &cobra.Command{
		Use: "master", Args: cobra.NoArgs,
		Short: "Run a standalone SLAP master",
		Long: `Run a SLAP master until SIGTERM or SIGINT. What it answered to a change is
durable. With --cfg it takes slapos's own configuration: [slapos] computer_id,
[slapproxy] host, port, database_uri (the data is kept beside it, in
database_uri.weir) and software_product_list, and [multimaster/URL]. A section
[computer/ID] gives a computer attributes that filters are compared with, such
as network_guid, group or region.
Flags go before the file.`,
		Example: "  weir slap master --listen 127.0.0.1:5000 --data ./slap-data\n  weir slap master --cfg /etc/opt/slapos/slapos.cfg",
		RunE: func(c *cobra.Command, _ []string) error {
			return s.run(c.Context(), c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&s.config, "cfg", "", "slapos configuration `FILE`")
	c.Flags().StringVar(&s.listen, "listen", "", "`HOST:PORT` to listen on (default 127.0.0.1:5000)")
	c.Flags().StringVar(&s.data, "data", "", "data `FOLDER` (default ./slap-data)")
	c.Flags().StringVar(&s.computer, "computer", "", "`NAME` of the default computer (default local)")
	c.Flags().BoolVar(&s.async, "async", false, `answer the first request of an instance with "please wait", as production does`)
	c.Flags().BoolVar(&s.authority, "authority", false, "serve TLS and issue certificates of computers, users and instances; needs --token-file")
	c.Flags().StringSliceVar(&s.tls.Names, "name", nil, "`NAME,…` and addresses by which the master is reached, for its certificate")
	c.Flags().StringVar(&s.tls.CertFile, "tls-cert", "", "serve TLS with the certificate in `FILE`")
	c.Flags().StringVar(&s.tls.KeyFile, "tls-key", "", "`FILE` of its key")
	c.Flags().StringVar(&s.tls.ClientCAFile, "client-ca", "", "`FILE` of other authorities: their certificates speak for the computer that the common name is")
	c.Flags().StringVar(&s.token, "token-file", "", "`FILE` with the access token that persons send")
	return c
}

// settings joins the flags and the configuration file.
func (s *slapMaster) settings() (*master.Config, error) {
	c := new(master.Config)
	if s.config != "" {
		var err error
		if c, err = master.LoadConfig(s.config); err != nil {
			return nil, exit{exitConfig, err.Error()}
		}
	}
	for _, f := range []struct {
		to             *string
		flag, fallback string
	}{{&c.Listen, s.listen, "127.0.0.1:5000"}, {&c.Data, s.data, "./slap-data"}, {&c.Computer, s.computer, "local"}} {
		if f.flag != "" {
			*f.to = f.flag
		} else if *f.to == "" {
			*f.to = f.fallback
		}
	}
	return c, nil
}

func (s *slapMaster) run(ctx context.Context, out io.Writer) (err error) {
	c, err := s.settings()
	if err != nil {
		return err
	}
	log := logger(conf.Default().Log, os.Stderr)
	if err := os.MkdirAll(c.Data, 0o755); err != nil {
		return fmt.Errorf("slap: data: %w", err)
	}
	if s.data == "" { // the data is beside the database
		if err := markDatabase(c.Database, c.Data); err != nil {
			return err
		}
	}
	store, err := streams.Open(filepath.Join(c.Data, "streams"), streams.Options{Log: log, SegmentBytes: 8 << 20})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	a, err := s.openAuthority(c.Data)
	if err != nil {
		return err
	}
	l, secured, err := s.bind(c.Listen, a)
	if err != nil {
		return err
	}
	access, err := s.access()
	if err != nil {
		return errors.Join(err, l.Close())
	}
	m, err := master.New(master.Options{
		Streams: store, Computer: c.Computer, Products: c.Products, Forward: c.Forward, Attributes: c.Attributes, Async: s.async,
		Access: access, Authority: a, Log: log,
	})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	if a, ok := l.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() && access == (master.Access{}) {
		log.Warn("slap: everybody who reaches the address may ask everything; --authority, --client-ca and --token-file say who may", "address", a.String())
	}
	kind := "slap"
	if secured {
		kind = "slap, tls"
	}
	fmt.Fprintf(out, "listening %-8s %s\ndata               %s\n", kind, l.Addr(), c.Data)
	at := filepath.Join(c.Data, "addresses.json")
	if err := writeAddress(at, l.Addr().String()); err != nil {
		return errors.Join(err, l.Close())
	}
	defer os.Remove(at)
	return serveSlap(ctx, l, m)
}

// openAuthority gives the certificate authority of the data folder, nil when
// none is asked for.
func (s *slapMaster) openAuthority(data string) (*authority.Authority, error) {
	if !s.authority {
		return nil, nil
	}
	if s.token == "" {
		return nil, errors.New("slap: --authority needs --token-file: who has the token is given the first certificate")
	}
	return authority.Open(filepath.Join(data, "slap"), nil)
}

// listen binds the address, and says whether TLS is spoken there.
func (s *slapMaster) bind(address string, a *authority.Authority) (_ net.Listener, secured bool, _ error) {
	host, _, _ := net.SplitHostPort(address)
	own, _ := os.Hostname()
	s.tls.Names = append(s.tls.Names, "localhost", "127.0.0.1", "::1", own, host)
	secure, err := s.tls.Config(a)
	if err != nil {
		return nil, false, err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, false, fmt.Errorf("slap: listen: %w", err)
	}
	if secure == nil {
		return l, false, nil
	}
	return tls.NewListener(l, secure), true, nil
}

// access gives who may ask.
func (s *slapMaster) access() (a master.Access, _ error) {
	a.Certificates = s.tls.ClientCAFile != ""
	if s.token == "" {
		if a.Certificates {
			return a, errors.New("slap: --client-ca needs --token-file: its certificates speak for computers, and who has the token for persons")
		}
		return a, nil
	}
	var err error
	a.Token, err = readToken(s.token)
	return a, err
}

// writeAddress tells other programs where a master with port 0 listens.
func writeAddress(name, address string) error {
	b, err := json.Marshal(map[string]string{"slap": address})
	if err != nil {
		return err
	}
	if err := replace.File(name, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("slap: addresses: %w", err)
	}
	return nil
}

// serveSlap serves until the context ends, and finishes what was begun.
func serveSlap(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	return server.Shutdown(drain)
}

// markDatabase puts a note where slapproxy has its database, unless something
// is there: slapproxy, started by mistake, then refuses rather than to begin
// with no instances.
func markDatabase(database, data string) error {
	if database == "" {
		return nil
	}
	f, err := os.OpenFile(database, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("slap: database_uri: %w", err)
	}
	_, err = fmt.Fprintf(f, "weir keeps this master's state in %s\n", data)
	return errors.Join(err, f.Close())
}
