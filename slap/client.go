package slap

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// Errors that callers test for. What a master answered is a *StatusError that
// matches one of them.
var (
	// ErrNotReady is "please wait": the request is recorded, ask again.
	ErrNotReady = errors.New("slap: not ready, please wait")
	// ErrNotFound: the master knows no such thing, or has no free partition.
	ErrNotFound = errors.New("slap: not found")
	// ErrForbidden: the master knows who asks, and refuses, or does not know.
	ErrForbidden = errors.New("slap: not allowed")
	// ErrServer: the master is in trouble, or cannot reach another one.
	ErrServer = errors.New("slap: the master failed")
	// ErrUnreachable: no answer came; whether the request was taken is not known.
	ErrUnreachable = errors.New("slap: the master cannot be reached")
)

// A StatusError is an answer that is no success.
type StatusError struct {
	Status int
	Path   string
	Text   string // of the body, shortened
}

func (e *StatusError) Error() string {
	s := fmt.Sprintf("slap: %s: %d", e.Path, e.Status)
	if name := http.StatusText(e.Status); name != "" {
		s += " " + name
	}
	if e.Text != "" {
		s += ": " + e.Text
	}
	return s
}

// Is matches the error of the status.
func (e *StatusError) Is(target error) bool {
	switch e.Status {
	case http.StatusNotFound:
		return target == ErrNotFound
	case http.StatusRequestTimeout:
		return target == ErrNotReady
	case http.StatusUnauthorized, http.StatusForbidden:
		return target == ErrForbidden
	}
	return e.Status >= http.StatusInternalServerError && target == ErrServer
}

// ClientOptions say how a client reaches its master.
type ClientOptions struct {
	// URL of the master; a path prefix is kept.
	URL string
	// CA is a file of certificates that the master's has to be signed by;
	// default those of the system.
	CA string
	// Cert and Key are files of the client's certificate.
	Cert, Key string
	// Token is sent as X-Access-Token.
	Token string
	// As is the partition on whose behalf the client speaks.
	As Place
	// Timeout of one exchange; default 60 s.
	Timeout time.Duration
	// HTTP replaces the transport that the fields above describe.
	HTTP *http.Client
}

// A Place names a partition of a computer.
type Place struct{ Computer, Partition string }

// A Client speaks to one master. It is safe for concurrent use.
type Client struct {
	base  string
	token string
	as    Place
	http  *http.Client
}

// MaxAnswer bounds an answer in bytes.
const MaxAnswer = MaxDocument

// NewClient makes a client. It connects with the first request only.
func NewClient(o ClientOptions) (*Client, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("slap: master %q is no http or https URL", o.URL)
	}
	c := &Client{base: strings.TrimSuffix(u.String(), "/"), token: o.Token, as: o.As, http: o.HTTP}
	if c.http != nil {
		return c, nil
	}
	secure, err := o.tls()
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = secure
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	c.http = &http.Client{Transport: transport, Timeout: o.Timeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return c, nil
}

// tls makes the configuration of connections; the master is always verified.
func (o ClientOptions) tls() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CA != "" {
		pem, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, fmt.Errorf("slap: certificates of the master: %w", err)
		}
		if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("slap: certificates of the master: %s holds none in PEM", o.CA)
		}
	}
	if o.Cert == "" && o.Key == "" {
		return c, nil
	}
	pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
	if err != nil {
		return nil, fmt.Errorf("slap: certificate of the client: %w", err)
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}

// On gives a client that speaks for a partition.
func (c *Client) On(p Place) *Client {
	other := *c
	other.as = p
	return &other
}

// Get asks for a path below the master's URL and gives the body.
func (c *Client) Get(ctx context.Context, path string, query url.Values) ([]byte, error) {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return c.do(ctx, http.MethodGet, path, "", nil)
}

// Post sends a form and gives the body of the answer.
func (c *Client) Post(ctx context.Context, path string, form url.Values) ([]byte, error) {
	return c.do(ctx, http.MethodPost, path, "application/x-www-form-urlencoded", []byte(form.Encode()))
}

// Call speaks the JSON interface: verb is such as post.v0.software_instance.
// The answer is decoded into out, unless that is nil.
func (c *Client) Call(ctx context.Context, verb string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("slap: %s: %w", verb, err)
	}
	b, err := c.do(ctx, http.MethodPost, "/slapos."+verb, "application/json", body)
	if err != nil {
		return err
	}
	var wait struct {
		Status  int
		Message string
	}
	if json.Unmarshal(b, &wait) == nil && wait.Status == http.StatusProcessing {
		return &StatusError{Status: http.StatusRequestTimeout, Path: "/slapos." + verb, Text: wait.Message}
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("slap: %s: the answer is not what was expected: %w", verb, err)
	}
	return nil
}

func (c *Client) do(ctx context.Context, method, path, contentType string, body []byte) ([]byte, error) {
	b, _, err := c.exchange(ctx, method, path, contentType, body)
	return b, err
}

// exchange gives the body of a success, and where a redirection leads.
func (c *Client) exchange(ctx context.Context, method, path, contentType string, body []byte) (_ []byte, location string, _ error) {
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, "", fmt.Errorf("slap: %s: %w", path, err)
	}
	r.Header.Set("User-Agent", "weir")
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	if c.as != (Place{}) {
		r.Header.Set("Authorization", "X-SlapPartition computer_id="+c.as.Computer+", computer_partition_id="+c.as.Partition)
	}
	if c.token != "" {
		r.Header.Set("X-Access-Token", c.token)
	}
	short, _, _ := strings.Cut(path, "?")
	answer, err := c.http.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return nil, "", fmt.Errorf("slap: %s: %w", short, ctx.Err())
		}
		return nil, "", fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	defer answer.Body.Close()
	b, err := readAll(answer)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %s: the answer broke off: %w", ErrUnreachable, short, err)
	}
	if len(b) > MaxAnswer {
		return nil, "", fmt.Errorf("slap: %s: the answer is larger than %d bytes", short, MaxAnswer)
	}
	if answer.StatusCode/100 != 2 {
		return nil, answer.Header.Get("Location"), &StatusError{Status: answer.StatusCode, Path: short, Text: excerpt(b)}
	}
	return b, "", nil
}

// readAll gives the body, up to a byte more than it may have.
func readAll(answer *http.Response) ([]byte, error) {
	room := min(max(answer.ContentLength, 0), 1<<20) + bytes.MinRead // the length may be a lie
	b := bytes.NewBuffer(make([]byte, 0, room))
	_, err := b.ReadFrom(io.LimitReader(answer.Body, MaxAnswer+1))
	return b.Bytes(), err
}

// excerpt makes one line of text of an error's body, which may be HTML.
func excerpt(b []byte) string {
	s := string(b[:min(len(b), 2048)])
	if _, p, ok := strings.Cut(s, "<p>"); ok {
		s, _, _ = strings.Cut(p, "</p>")
	}
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	if len(s) > 400 {
		s = s[:400] + "…"
	}
	return s
}
