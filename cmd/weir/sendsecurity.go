package main

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir/internal/sender"
)

// sendFlags say where weir send sends, and how it is secured.
type sendFlags struct {
	to                      string
	wait                    time.Duration
	tls                     bool
	trust                   trustFlags
	cert, key               string
	keyFile, user, hostname string
}

func (f *sendFlags) define(c *cobra.Command) {
	c.Flags().StringVar(&f.to, "to", defaultForward, "`HOST:PORT` of a forward listener, or unix:PATH of its socket")
	c.Flags().DurationVar(&f.wait, "timeout", 30*time.Second, "how long to wait for the connection and for an acknowledgement")
	c.Flags().BoolVar(&f.tls, "tls", false, "speak TLS")
	f.trust.define(c)
	c.Flags().StringVar(&f.cert, "cert-file", "", "`FILE` of the certificate to show")
	c.Flags().StringVar(&f.key, "key-file", "", "`FILE` of its key")
	c.Flags().StringVar(&f.keyFile, "shared-key-file", "", "`FILE` that holds the shared key (default $WEIR_SHARED_KEY)")
	c.Flags().StringVar(&f.user, "user", "", "`NAME[:PASSWORD]` for a server that asks for users, too (default $WEIR_USER); the password may be in $WEIR_PASSWORD")
	c.Flags().StringVar(&f.hostname, "hostname", "", "`NAME` that the server is told in the handshake (default this machine's, with /weir-send)")
}

// check finds flags that do not go together.
func (f *sendFlags) check(sharedKey string) error {
	_, unix := strings.CutPrefix(f.to, "unix:")
	for _, c := range []struct {
		wrong bool
		text  string
	}{
		{unix && f.tls, "--tls is for HOST:PORT, not for a Unix socket"},
		{!f.tls && (f.trust != trustFlags{} || f.cert+f.key != ""), "--ca-file, --insecure, --cert-file and --key-file are for --tls"},
		{(f.cert == "") != (f.key == ""), "--cert-file and --key-file go together"},
		{sharedKey == "" && f.user != "", "--user needs the shared key, too: --shared-key-file FILE"},
		{sharedKey == "" && f.hostname != "", "--hostname is for --shared-key-file"},
		{f.wait <= 0, "--timeout must be above 0"},
	} {
		if c.wrong {
			return errors.New(c.text)
		}
	}
	if unix {
		return nil
	}
	_, port, err := net.SplitHostPort(f.to)
	if err != nil {
		return fmt.Errorf("--to: %w", err)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("--to: port %q is no number", port)
	}
	return nil
}

// sharedKey gives the key of the file, or of the environment.
func (f *sendFlags) sharedKey() (string, error) {
	if f.keyFile == "" {
		return os.Getenv("WEIR_SHARED_KEY"), nil
	}
	b, err := os.ReadFile(f.keyFile)
	if err != nil {
		return "", fmt.Errorf("send: --shared-key-file: %w", err)
	}
	key := strings.TrimRight(string(b), "\r\n")
	if key == "" {
		return "", fmt.Errorf("send: --shared-key-file: %s is empty", f.keyFile)
	}
	return key, nil
}

// options makes the sender's options of flags that check found nothing in.
func (f *sendFlags) options(sharedKey string) (o sender.Options, err error) {
	o = sender.Options{Address: f.to, Timeout: f.wait, SharedKey: sharedKey}
	if path, ok := strings.CutPrefix(f.to, "unix:"); ok {
		o.Network, o.Address = "unix", path
	}
	if f.tls {
		if o.TLS, err = f.secure(); err != nil {
			return o, fmt.Errorf("send: %w", err)
		}
	}
	if sharedKey == "" {
		return o, nil
	}
	if o.Hostname = f.hostname; o.Hostname == "" {
		machine, err := os.Hostname()
		if err != nil {
			return o, fmt.Errorf("send: this machine has no name; give one with --hostname: %w", err)
		}
		o.Hostname = machine + "/weir-send"
	}
	if o.User, o.Password, err = credentials(cmp.Or(f.user, os.Getenv("WEIR_USER"))); err != nil {
		return o, fmt.Errorf("send: %w", err)
	}
	return o, nil
}

// secure makes the client's side of TLS.
func (f *sendFlags) secure() (*tls.Config, error) {
	config, err := f.trust.config()
	if err != nil || f.cert == "" {
		return config, err
	}
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return nil, fmt.Errorf("--cert-file %s with --key-file %s: %w", f.cert, f.key, err)
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}

// advise adds to an error of the sender which flag helps; worked tells that the
// server took something before.
func (f *sendFlags) advise(err error, worked bool) error {
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	for _, c := range []struct {
		is   bool
		text string
	}{
		{errors.Is(err, sender.ErrSecured), "give it with --shared-key-file"},
		{errors.Is(err, sender.ErrNoHello) && f.tls, "leave the shared key out"},
		{errors.Is(err, sender.ErrNoHello), "leave the shared key out, or add --tls if it speaks that"},
		{errors.Is(err, sender.ErrSharedKey), "the key is that of --shared-key-file, or of WEIR_SHARED_KEY"},
		{errors.Is(err, sender.ErrUser), "give both with --user"},
		{errors.Is(err, sender.ErrSameName), "choose another one with --hostname"},
		{errors.Is(err, sender.ErrPlain), "leave --tls out"},
		{errors.Is(err, sender.ErrTLS), "add --tls"},
		{errors.As(err, &authority), "name the certificate of its authority with --ca-file"},
		{errors.As(err, &name), "--to must have a name that is in the certificate"},
		{errors.Is(err, sender.ErrAlert) && f.cert == "", "if it asks for a certificate, show one with --cert-file and --key-file"},
		{errors.Is(err, sender.ErrClosed) && !worked && !f.tls, "if it speaks TLS, add --tls"},
		{errors.Is(err, sender.ErrClosed) && !worked, "if it does not speak TLS, leave --tls out"},
	} {
		if c.is {
			return fmt.Errorf("%w; %s", err, c.text)
		}
	}
	return err
}
