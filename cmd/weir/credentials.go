package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"weir/internal/push"
)

// clientFlags say who a client is and whom it trusts.
type clientFlags struct {
	user, ca string
	insecure bool
}

func (f *clientFlags) define(c *cobra.Command) {
	c.Flags().StringVar(&f.user, "user", "", "`NAME[:PASSWORD]` to send (default $WEIR_USER); the password may be in $WEIR_PASSWORD, a token in $WEIR_TOKEN")
	c.Flags().StringVar(&f.ca, "ca-file", "", "`FILE` of certificates that the server's is signed by (default the system's)")
	c.Flags().BoolVar(&f.insecure, "insecure", false, "do not verify the server's certificate")
}

// open makes the client. A password that is nowhere is asked for on a terminal.
func (f *clientFlags) open() (*push.Client, error) {
	secure := &tls.Config{InsecureSkipVerify: f.insecure}
	if f.ca != "" {
		pem, err := os.ReadFile(f.ca)
		if err != nil {
			return nil, fmt.Errorf("--ca-file: %w", err)
		}
		secure.RootCAs = x509.NewCertPool()
		if !secure.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--ca-file %s has no certificate", f.ca)
		}
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: secure, TLSHandshakeTimeout: 30 * time.Second,
		ExpectContinueTimeout: 2 * time.Second, ResponseHeaderTimeout: 5 * time.Minute, DisableCompression: true, IdleConnTimeout: time.Minute, WriteBufferSize: 256 << 10,
	}
	c := &push.Client{HTTP: &http.Client{Transport: transport, CheckRedirect: noRedirect}}
	user := f.user
	if user == "" {
		c.Token, user = os.Getenv("WEIR_TOKEN"), os.Getenv("WEIR_USER")
	}
	var given bool
	c.User, c.Password, given = strings.Cut(user, ":")
	if c.User == "" || c.Token != "" || given {
		return c, nil
	}
	if c.Password = os.Getenv("WEIR_PASSWORD"); c.Password != "" {
		return c, nil
	}
	return c, f.ask(c)
}

// noRedirect gives a 3xx as it is: a stream that asks how far it is answers so.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func (f *clientFlags) ask(c *push.Client) error {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return errors.New("no password: write --user NAME:PASSWORD, or set WEIR_PASSWORD")
	}
	fmt.Fprintf(os.Stderr, "Password of %s: ", c.User)
	b, err := term.ReadPassword(int(os.Stdin.Fd()))
	fmt.Fprintln(os.Stderr)
	c.Password = string(b)
	return err
}
