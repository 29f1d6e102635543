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

// trustFlags say whose certificate is a server's.
type trustFlags struct {
	ca       string
	insecure bool
}

func (f *trustFlags) define(c *cobra.Command) {
	c.Flags().StringVar(&f.ca, "ca-file", "", "`FILE` of certificates that the server's is signed by (default the system's)")
	c.Flags().BoolVar(&f.insecure, "insecure", false, "do not verify the server's certificate")
}

// config makes a client's side of TLS.
func (f *trustFlags) config() (*tls.Config, error) {
	secure := &tls.Config{InsecureSkipVerify: f.insecure}
	if f.ca == "" {
		return secure, nil
	}
	pem, err := os.ReadFile(f.ca)
	if err != nil {
		return nil, fmt.Errorf("--ca-file: %w", err)
	}
	secure.RootCAs = x509.NewCertPool()
	if !secure.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--ca-file %s has no certificate", f.ca)
	}
	return secure, nil
}

// clientFlags say who a client is and whom it trusts.
type clientFlags struct {
	user  string
	trust trustFlags
}

func (f *clientFlags) define(c *cobra.Command) {
	c.Flags().StringVar(&f.user, "user", "", "`NAME[:PASSWORD]` to send (default $WEIR_USER); the password may be in $WEIR_PASSWORD, a token in $WEIR_TOKEN")
	f.trust.define(c)
}

// open makes the client. A password that is nowhere is asked for on a terminal.
func (f *clientFlags) open() (*push.Client, error) {
	secure, err := f.trust.config()
	if err != nil {
		return nil, err
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
	if c.Token != "" {
		c.User, c.Password, _ = strings.Cut(user, ":")
		return c, nil
	}
	c.User, c.Password, err = credentials(user)
	return c, err
}

// credentials gives the name and the password of NAME[:PASSWORD]. A password
// that is not there is $WEIR_PASSWORD, or asked for on a terminal.
func credentials(user string) (name, password string, err error) {
	name, password, given := strings.Cut(user, ":")
	if name == "" || given {
		return name, password, nil
	}
	if password = os.Getenv("WEIR_PASSWORD"); password != "" {
		return name, password, nil
	}
	password, err = ask(name)
	return name, password, err
}

// noRedirect gives a 3xx as it is: a stream that asks how far it is answers so.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// ask asks for a password.
func ask(name string) (string, error) {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return "", errors.New("no password: write --user NAME:PASSWORD, or set WEIR_PASSWORD")
	}
	fmt.Fprintf(os.Stderr, "Password of %s: ", name)
	b, err := term.ReadPassword(int(os.Stdin.Fd()))
	fmt.Fprintln(os.Stderr)
	return string(b), err
}
